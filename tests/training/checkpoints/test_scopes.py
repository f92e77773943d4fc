import pytest

from training.checkpoints.scopes import select_scopes

NAMES = dict.fromkeys(["net/fc1/weights", "net/fc1/biases", "net/fc10/weights"])


def test_a_scope_ends_at_a_slash():
    assert select_scopes("x", NAMES, ["net/fc1"]) == ["net/fc1/weights", "net/fc1/biases"]
    assert select_scopes("x", NAMES, ["net/fc1/", "net/fc10/weights"]) == list(NAMES)
    assert select_scopes("x", NAMES, []) == []


def test_a_scope_that_holds_nothing_is_an_error_that_names_the_nearest():
    with pytest.raises(ValueError, match=r"--x: Unknown scope 'net/fc2'\. Did you mean 'net/fc1"):
        select_scopes("x", NAMES, ["net/fc2"])
