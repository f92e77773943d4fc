import html
import json

import numpy as np
import pytest
from told_answers import answered

from training.evaluation_report.charts import (
    MOST_CLASSES,
    confusion_chart,
    curves_chart,
    reliability_chart,
)
from training.evaluation_report.measures import confusion_counts, reliability
from training.evaluation_report.run_record import Curve


def matrix_of(chart):
    return np.asarray(chart.figure.data[0].z)


def test_few_classes_stand_in_the_order_of_labels_with_their_counts_written():
    counts = confusion_counts(answered([(0, 0), (0, 2), (0, 2), (1, 1), (2, 2)], 3))
    chart = confusion_chart(counts, ["ant", "bee", "cat"])
    heatmap = chart.figure.data[0]
    assert list(heatmap.y) == list(heatmap.x) == ["ant", "bee", "cat"]
    np.testing.assert_array_equal(matrix_of(chart), [[1, 0, 2], [0, 1, 0], [0, 0, 1]])
    assert [list(row) for row in heatmap.text] == [["1", "", "2"], ["", "1", ""], ["", "", "1"]]


def test_many_classes_stand_by_confusion_and_can_be_put_back():
    pairs = [(label, label) for label in range(30)] + [(3, 27), (27, 3)]
    counts = confusion_counts(answered(pairs, 30))
    chart = confusion_chart(counts, [f"class {label}" for label in range(30)])
    assert abs(int(np.subtract(*np.flatnonzero(np.isin(chart.classes, [3, 27]))))) == 1
    labels = np.array(chart.figure.data[0].x)
    expected = [f"class {label}" for label in range(30)]
    assert labels[chart.by_label].tolist() == expected
    by_label = matrix_of(chart)[np.ix_(chart.by_label, chart.by_label)]
    np.testing.assert_array_equal(by_label, counts.matrix(np.arange(30)))


def test_counts_take_no_more_bytes_than_they_need():
    counts = confusion_counts(answered([(0, 0)] * 255, 30))
    chart = confusion_chart(counts, list(map(str, range(30))))
    assert json.loads(chart.figure.to_json())["data"][0]["z"]["dtype"] == "u1"
    counts = confusion_counts(answered([(0, 0)] * 256, 30))
    chart = confusion_chart(counts, list(map(str, range(30))))
    assert json.loads(chart.figure.to_json())["data"][0]["z"]["dtype"] == "u2"


def test_of_too_many_classes_those_in_mistakes_are_shown():
    many = MOST_CLASSES + 5
    pairs = [(label, label) for label in range(many)] + [(many - 1, many - 2)]
    chart = confusion_chart(confusion_counts(answered(pairs, many)), list(map(str, range(many))))
    assert len(chart.classes) == MOST_CLASSES
    assert {many - 1, many - 2} <= set(chart.classes.tolist())


def test_names_beside_an_axis_are_escaped_short_and_each_another():
    names = ["<b>crane</b>", "crane", "crane", "crane (2)", "2019", "x" * 40, "x" * 41]
    names += ["a very long name of something old", "a very long name of something new"]
    chart = confusion_chart(confusion_counts(answered([(0, 0)], 9)), names)
    labels = list(chart.figure.data[0].x)
    assert labels[:5] == ["&lt;b&gt;crane&lt;/b&gt;", "crane", "crane (2)", "crane (2) (2)", "2019"]
    assert labels[-2:] == ["a very long n…something old", "a very long n…something new"]
    assert len(set(labels)) == 9
    assert all(len(html.unescape(label)) <= 31 for label in labels)
    assert chart.figure.layout.xaxis.type == "category"


def test_calibration_shows_each_bin_that_has_images():
    chart = reliability_chart(reliability(answered([(0, 0), (0, 1), (1, 1)], 2)))
    accuracy, diagonal, images = chart.data
    assert list(accuracy.y) == [pytest.approx(2 / 3)]
    assert list(accuracy.x) == [pytest.approx(0.8, abs=1 / 15)]
    assert list(images.y) == [3]
    assert (list(diagonal.x), list(diagonal.y)) == ([0, 1], [0, 1])
    # Wilson's interval of 2 of 3.
    assert accuracy.error_y.array[0] + accuracy.y[0] == pytest.approx(0.9385, abs=1e-4)
    assert accuracy.y[0] - accuracy.error_y.arrayminus[0] == pytest.approx(0.2077, abs=1e-4)


def test_curves_mark_what_was_evaluated():
    curves = [Curve("training loss", [1, 2], [3, 2]), Curve("validation loss", [2], [2.5])]
    chart = curves_chart(curves, "loss (nats)", 2, shares=False)
    assert [trace.name for trace in chart.data] == ["training loss", "validation loss"]
    assert chart.layout.shapes[0].x0 == 2
    assert not curves_chart(curves, "loss (nats)", None, shares=False).layout.shapes
