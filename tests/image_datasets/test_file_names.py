import os
import unicodedata

import pytest

from image_datasets.file_names import check_utf8, listed, printable, same_spelling


def test_both_spellings_of_an_accent_are_one():
    one, two = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    assert one != two
    assert same_spelling(one) == same_spelling(two) == one


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("café 猫 🐕 [x]", "café 猫 🐕 [x]"),
        ("two\nlines\x07", r"two\nlines\x07"),
        ("\u202eleft", r"\u202eleft"),  # which would turn the rest of the line round
        (os.fsdecode(b"caf\xe9"), r"caf\xe9"),
    ],
)
def test_what_is_shown_fits_a_line_and_a_terminal(name, shown):
    assert printable(name) == shown
    shown.encode()


def test_long_lists_are_cut():
    assert listed(["a", "b\n"]) == r"a, b\n"
    assert listed([str(number) for number in range(1005)], 2) == "0, 1 and 1,003 more"


def test_names_that_are_not_utf8_are_named_once_each():
    wrong = os.fsdecode(b"caf\xe9")
    paths = ["cat/1.jpg", "猫/1.jpg", f"train/{wrong}/1.jpg", f"train/{wrong}/2.jpg", f"a/{wrong}"]
    with pytest.raises(ValueError, match=r"2 names are not in UTF-8 in \w+: train/caf\\xe9, a/caf"):
        check_utf8(paths, "photos")
    check_utf8(paths[:2], "photos")
