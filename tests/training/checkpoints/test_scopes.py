import pytest

from training.checkpoints.scopes import select_scopes

VARIABLES = dict.fromkeys(
    f"net/{layer}/{kind}" for layer in ("fc1", "fc10", "fc2") for kind in ("weights", "biases")
)


@pytest.mark.parametrize("scope", ["net/fc1", "net/fc1/"])
def test_a_scope_is_a_whole_name_between_slashes(scope):
    selected = select_scopes("trainable_scopes", VARIABLES, [scope])
    assert selected == ["net/fc1/weights", "net/fc1/biases"]  # and none of fc10


def test_a_variable_and_a_network_are_scopes_too():
    assert select_scopes("x", VARIABLES, ["net/fc2/biases"]) == ["net/fc2/biases"]
    assert select_scopes("x", VARIABLES, ["net"]) == list(VARIABLES)
    assert select_scopes("x", VARIABLES, []) == []


def test_the_beginning_of_a_name_is_taken_where_no_scope_is_called_so():
    """As in TF-Slim, whose `net/fc1` would be fc1 and fc10 too."""
    assert select_scopes("x", VARIABLES, ["net/f"]) == list(VARIABLES)
    selected = select_scopes(
        "x", {f"cells/mixed_{c}/weights": 1 for c in ["5a", "5b", "6a"]}, ["cells/mixed_5"]
    )
    assert selected == ["cells/mixed_5a/weights", "cells/mixed_5b/weights"]
    with pytest.raises(ValueError, match="Unknown scope ''"):
        select_scopes("x", VARIABLES, [""])


def test_a_scope_without_a_variable_is_named_with_the_nearest():
    with pytest.raises(ValueError, match=r"^x: Unknown scope 'net/fc3'. Did you mean 'net/fc"):
        select_scopes("x", VARIABLES, ["net/fc2", "net/fc3"])


def test_of_many_scopes_the_first_and_their_number_are_listed():
    many = [f"net/cell_{number:03}/weights" for number in range(100)]
    with pytest.raises(ValueError, match=r"net/cell_005, and 94 more\.$"):
        select_scopes("x", dict.fromkeys(many), ["other"])


def test_an_asterisk_stands_for_any_text_of_a_whole_name():
    weights = [name for name in VARIABLES if name.endswith("weights")]
    assert select_scopes("x", VARIABLES, ["*/weights"]) == weights
    assert select_scopes("x", VARIABLES, ["net/fc1/*"]) == ["net/fc1/weights", "net/fc1/biases"]
    with pytest.raises(ValueError, match=r"Unknown scope '\*/gamma'"):
        select_scopes("x", VARIABLES, ["*/gamma"])
