import pytest

from slimzoo.classify.answer_table import (
    Row,
    class_counts,
    display_width,
    in_short,
    percentage,
    shortened,
    table,
)

FLOWERS = [("roses", 0.9), ("tulips", 0.0955), ("sunflowers", 0.0045)]


def test_each_image_has_a_line():
    rows = [Row("new/a.jpg", FLOWERS), Row("b.jpg", FLOWERS[::-1])]
    assert table(rows, 80).splitlines() == [
        "image      likeliest classes",
        "new/a.jpg   90.0% roses         9.6% tulips        0.4% sunflowers",
        "b.jpg        0.4% sunflowers    9.6% tulips       90.0% roses",
    ]


def test_what_does_not_fit_goes_below():
    lines = table([Row("a.jpg", FLOWERS)], 45).splitlines()
    assert lines[1:] == [
        "a.jpg   90.0% roses         9.6% tulips",
        "         0.4% sunflowers",
    ]


def test_a_folder_that_all_are_in_is_said_once_where_it_takes_too_much_room():
    folder = "/home/somebody/Pictures/2026/holidays by the sea"
    rows = [Row(f"{folder}/{name}", FLOWERS[:1]) for name in ("a/1.jpg", "ab/1.jpg")]
    assert table(rows, 80).splitlines() == [
        f"In {folder}/",
        "image     likeliest classes",
        "a/1.jpg    90.0% roses",
        "ab/1.jpg   90.0% roses",
    ]
    assert folder in table(rows, 200).splitlines()[1]  # which can be copied
    assert folder[-10:] in table([Row(f"{folder[-10:]}/1.jpg", FLOWERS)], 80)


@pytest.mark.parametrize("width", [30, 45, 80, 200])
def test_no_line_is_longer_than_the_terminal_and_nothing_is_left_out(width):
    long_class = "black-footed ferret, ferret, Mustela nigripes, and a few more of its kin"
    rows = [
        Row("a/very/long/path/in/which/nothing/is/told/IMG_20240102_0304.jpg", FLOWERS),
        Row(
            "写真/猫の写真/とても長い名前の写真です/一枚目.jpg",
            [(long_class, 1.0), ("猫", 0.0)] * 3,
        ),
        Row("two\nlines.jpg", FLOWERS[:1]),
    ]
    lines = table(rows, width).splitlines()
    assert max(map(display_width, lines)) <= width
    assert sum(line.count("%") for line in lines) == 3 + 6 + 1
    assert any("4.jpg" in line for line in lines)  # the end is where files differ


@pytest.mark.parametrize(
    ("probability", "text"),
    [(1.0, "100.0%"), (0.99999, ">99.9%"), (0.5, "50.0%"), (0.0001, "<0.1%"), (0.0, "0.0%")],
)
def test_a_probability_is_never_called_certain_that_is_not(probability, text):
    assert percentage(probability) == text


def test_sums_begin_with_the_most():
    rows = [Row("", [("tulips", 0.5)]), Row("", [("roses", 0.9)]), Row("", [("roses", 0.7)])]
    assert class_counts(rows, 80).splitlines() == [
        "images  mean probability  class",
        "     2             80.0%  roses",
        "     1             50.0%  tulips",
    ]
    assert in_short(rows) == "2 roses, 1 tulips"


def test_of_many_classes_the_rest_is_summed_up():
    rows = [Row("", [(f"class {number:02}", 0.5)]) for number in range(30)]
    lines = class_counts([*rows, rows[29]], 80).splitlines()
    assert len(lines) == 1 + 20 + 1
    assert lines[1].endswith("class 29")
    assert lines[-1] == "    10  of 10 other classes"
    assert in_short([*rows, rows[29]], 2) == "2 class 29, 1 class 00, 28 of 28 other classes"


def test_a_name_is_shortened_in_the_middle():
    assert shortened("abcdefghijklmnop.jpg", 12) == "abc...op.jpg"
    assert shortened("short.jpg", 12) == "short.jpg"
    for width in range(1, 20):
        assert display_width(shortened("猫" * 12, width)) <= width


def test_an_id_of_imagenet_has_its_name_beside_it():
    rows = [Row("a.jpg", [("n04208210", 0.9), ("n01440764", 0.1)])]
    assert "90.0% n04208210 shovel" in table(rows, 80)
    assert in_short(rows) == "1 n04208210 shovel"
