"""The charts of a report as figures of plotly, which the page draws.

The page sets the colors of letters and lines, as the reader's screen is light or dark. What plotly
shows as text can hold tags, so that names come to it escaped.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from training.evaluation_report.class_order import order_by_confusion
from training.evaluation_report.measures import ConfusionCounts, Reliability, wilson_interval
from training.evaluation_report.run_record import Curve

BLUE, ORANGE, GRAY = "#3b7dd8", "#e07b39", "#9aa0a6"

FEW_CLASSES = 20  # whose counts are written into the cells of the matrix
MOST_CLASSES = 1000  # that the matrix shows
_LONGEST_LABEL = 26  # letters beside an axis

# Beginning with the color of the page. The first steps are large: 1 of 50 images is to be seen.
_LIGHT = ((0, "#ffffff"), (0.001, "#dcebfb"), (0.1, "#9cc5ee"), (0.4, "#4a8fd6"), (1, "#0b3d78"))
_DARK = ((0, "#16191d"), (0.001, "#1d3a5c"), (0.1, "#2c5f96"), (0.4, "#5b9fe3"), (1, "#d6e9ff"))


class ConfusionChart(NamedTuple):
    """The confusion matrix as a figure.

    Attributes:
      figure: of plotly.
      classes: the rows from top to bottom, int64; the columns are the same.
      by_label: positions among them, in the order of labels, int64.
    """

    figure: go.Figure
    classes: np.ndarray
    by_label: np.ndarray


def confusion_chart(counts: ConfusionCounts, names: Sequence[str]) -> ConfusionChart:
    """Draws the confusion matrix.

    A few classes stand in the order of labels, with the counts in the cells; more of them so that
    those that are confused stand together. Of more than `MOST_CLASSES`, those are shown that are
    in most mistakes.

    Args:
      counts: what was counted.
      names: of all classes, each another.
    """
    classes = _classes_to_show(counts)
    matrix = counts.matrix(classes)
    is_small = len(classes) <= FEW_CLASSES
    if not is_small:
        order = order_by_confusion(matrix)
        classes, matrix = classes[order], matrix[np.ix_(order, order)]
    labels = _axis_labels([names[label] for label in classes])
    heatmap = go.Heatmap(
        x=labels,
        y=labels,
        z=matrix.astype(np.min_scalar_type(int(matrix.max(initial=1)))),
        coloraxis="coloraxis",
        hovertemplate="%{z} images of <b>%{y}</b><br>taken for <b>%{x}</b><extra></extra>",
        xgap=1 if is_small else 0,
        ygap=1 if is_small else 0,
    )
    if is_small:
        heatmap.update(
            text=np.where(matrix > 0, matrix.astype(str), ""),
            texttemplate="%{text}",
        )
    figure = go.Figure(heatmap)
    figure.update_layout(
        template="none",
        height=150 + 34 * len(classes) if is_small else 820,
        margin={"l": 10, "r": 10, "t": 34, "b": 10},
        coloraxis={
            "colorscale": _LIGHT,
            "cmin": 0,
            "cmax": int(matrix.max(initial=1)),
            "colorbar": {"thickness": 12, "title": {"text": "images", "side": "right"}},
        },
        meta={"light": _LIGHT, "dark": _DARK},
    )
    axis = {
        "type": "category",  # a class can be called "2019"
        "automargin": True,
        "showgrid": False,
        "ticks": "",
        "constrain": "domain",
    }
    figure.update_xaxes(
        **axis, title={"text": "taken for", "standoff": 8}, tickangle=-45 if is_small else 90
    )
    figure.update_yaxes(**axis, title={"text": "true class", "standoff": 8}, autorange="reversed")
    return ConfusionChart(figure, classes, np.argsort(classes, kind="stable"))


def reliability_chart(measured: Reliability) -> go.Figure:
    """Draws how often answers of a confidence are right, and how many there are of each."""
    figure = make_subplots(2, 1, shared_xaxes=True, row_heights=[0.75, 0.25], vertical_spacing=0.06)
    middles = (measured.edges[:-1] + measured.edges[1:]) / 2
    width = measured.edges[1] - measured.edges[0]
    filled = np.flatnonzero(measured.images)
    intervals = [
        wilson_interval(round(measured.accuracy[bin] * measured.images[bin]), measured.images[bin])
        for bin in filled
    ]
    accuracy = measured.accuracy[filled]
    figure.add_bar(
        x=middles[filled],
        y=accuracy,
        width=width * 0.94,
        marker={"color": BLUE},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [above - share for (_, above), share in zip(intervals, accuracy, strict=True)],
            "arrayminus": [
                share - below for (below, _), share in zip(intervals, accuracy, strict=True)
            ],
            "thickness": 1,
            "width": 3,
            "color": GRAY,
        },
        customdata=np.stack([measured.confidence[filled], measured.images[filled]], axis=1),
        hovertemplate="confidence %{customdata[0]:.1%} on average<br>%{y:.1%} of "
        "%{customdata[1]:,} images right<extra></extra>",
        name="share that is right",
        row=1,
        col=1,
    )
    figure.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        line={"dash": "dash", "color": GRAY},
        hoverinfo="skip",
        name="if confidence were accuracy",
        row=1,
        col=1,
    )
    figure.add_bar(
        x=middles[filled],
        y=measured.images[filled],
        width=width * 0.94,
        marker={"color": GRAY},
        hovertemplate="%{y:,} images<extra></extra>",
        showlegend=False,
        row=2,
        col=1,
    )
    figure.update_layout(
        template="none",
        height=460,
        margin={"l": 64, "r": 10, "t": 10, "b": 50},
        legend=_LEGEND_ABOVE,
        bargap=0,
    )
    figure.update_xaxes(range=[0, 1], tickformat=".0%")
    figure.update_xaxes(title={"text": "confidence: the probability of the answer"}, row=2, col=1)
    figure.update_yaxes(range=[0, 1.02], tickformat=".0%", title={"text": "right"}, row=1, col=1)
    figure.update_yaxes(title={"text": "images"}, rangemode="tozero", nticks=4, row=2, col=1)
    return figure


_LEGEND_ABOVE = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}


def curves_chart(
    curves: Sequence[Curve], title: str, epoch: float | None, shares: bool
) -> go.Figure:
    """Draws curves of training over epochs.

    Args:
      curves: to draw, at most two.
      title: of the vertical axis.
      epoch: that the evaluated checkpoint is of, which is marked.
      shares: whether the values are shares, to be written as percent.
    """
    form = ".1%" if shares else ".4f"
    figure = go.Figure()
    for curve, color in zip(curves, (BLUE, ORANGE), strict=False):
        figure.add_scatter(
            x=curve.epochs,
            y=curve.values,
            mode="lines+markers" if len(curve.epochs) <= 30 else "lines",
            line={"color": color, "width": 2},
            name=curve.name,
            hovertemplate=f"epoch %{{x:.2f}}: %{{y:{form}}}<extra>{curve.name}</extra>",
        )
    if epoch is not None:
        figure.add_vline(
            x=epoch,
            line={"dash": "dot", "color": GRAY},
            annotation={"text": "evaluated", "font": {"color": GRAY}, "xanchor": "right"},
            annotation_position="bottom left",
        )
    figure.update_layout(
        template="none",
        height=340,
        margin={"l": 64, "r": 10, "t": 10, "b": 50},
        legend=_LEGEND_ABOVE,
    )
    figure.update_xaxes(title={"text": "epoch"}, rangemode="tozero")
    figure.update_yaxes(
        title={"text": title}, tickformat=".0%" if shares else "", rangemode="tozero"
    )
    return figure


def _classes_to_show(counts: ConfusionCounts) -> np.ndarray:
    if counts.num_classes <= MOST_CLASSES:
        return np.arange(counts.num_classes)
    wrong = counts.true != counts.given
    in_mistakes = sum(
        np.bincount(labels[wrong], counts.images[wrong], minlength=counts.num_classes)
        for labels in (counts.true, counts.given)
    )
    return np.sort(np.argsort(-in_mistakes, kind="stable")[:MOST_CLASSES])


def _axis_labels(names: Sequence[str]) -> list[str]:
    """Names that are short enough to stand beside an axis, escaped, and each another."""
    labels: dict[str, None] = {}
    for name in names:
        short = name
        if len(name) > _LONGEST_LABEL:  # kinds of one thing differ in their first or last words
            half = _LONGEST_LABEL // 2
            short = f"{name[:half]}…{name[-half:]}"
        escaped = html.escape(short, quote=False)
        label, number = escaped, 2
        while label in labels:
            label, number = f"{escaped} ({number})", number + 1
        labels[label] = None
    return list(labels)
