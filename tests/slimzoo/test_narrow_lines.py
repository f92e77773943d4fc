import pytest

from slimzoo.narrow_lines import COLUMNS, in_narrow_lines

SENTENCE = "NOTE: " + "a word " * 20 + "end."
PATH = "/a/long/path-with-hyphens/" + "x" * 80


@pytest.mark.parametrize(
    "text",
    [
        SENTENCE,
        f"ERROR: {PATH} is missing. Give --dataset_dir={PATH} or {'--num_replicas=2 ' * 9}or none.",
        f"{SENTENCE}\n\n{SENTENCE}\n",
    ],
)
def test_words_stay_whole_and_in_order(text):
    narrow = in_narrow_lines(text)
    assert narrow.split() == text.split()
    assert narrow.endswith("\n") == text.endswith("\n")
    assert all(len(line) <= COLUMNS or PATH in line for line in narrow.splitlines())
    assert len(narrow.splitlines()) > len(text.splitlines())


@pytest.mark.parametrize(
    "text",
    [
        "short",
        "  python train_image_classifier.py " + "--flag=value " * 20,  # to be copied
        "photos/daisy.jpg   " + "36.2% daisy   " * 10,  # a row of a table
        "",
    ],
)
def test_what_is_no_sentence_stays_as_it_is(text):
    assert in_narrow_lines(text) == text


def test_what_is_pasted_into_a_shell_is_not_broken():
    quoted = "--dataset_dir='my photos/of the summer'"
    narrow = in_narrow_lines(f"ERROR: the user's folder is 'a b c'. {f'Give {quoted} again. ' * 5}")
    assert " ".join(narrow.split()).count(quoted) == narrow.count(quoted) == 5
