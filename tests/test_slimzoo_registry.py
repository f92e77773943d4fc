import sys

import pytest

from slimzoo_registry import Registry, import_modules, unknown_name_message


@pytest.fixture
def fruits():
    registry = Registry("fruit")
    registry.register("pear")(1)
    registry.register("apple")(2)
    return registry


def test_it_is_a_mapping_in_alphabetical_order(fruits):
    assert list(fruits.items()) == [("apple", 2), ("pear", 1)]
    assert len(fruits) == 2
    assert "apple" in fruits
    assert "plum" not in fruits


def test_registering_returns_the_entry_unchanged(fruits):
    def plum():
        return "plum"

    assert fruits.register("plum")(plum) is plum
    assert fruits["plum"] is plum


def test_a_duplicate_name_raises_and_replaces_nothing(fruits):
    with pytest.raises(ValueError, match="A fruit called 'apple' is registered already"):
        fruits.register("apple")(3)
    assert fruits["apple"] == 2


def test_an_unknown_name_is_a_value_error_with_the_nearest_and_all_that_exist(fruits):
    with pytest.raises(ValueError, match="Unknown fruit 'aple'") as error:
        fruits["aple"]
    assert str(error.value) == ("Unknown fruit 'aple'. Did you mean 'apple'? Known: apple, pear.")


def test_nothing_is_suggested_where_nothing_is_near():
    message = unknown_name_message("fruit", "xyz", ["pear", "apple"])
    assert message == "Unknown fruit 'xyz'. Known: apple, pear."


def test_what_is_registered_inside_is_forgotten_at_the_end(fruits):
    with fruits.restored():
        fruits.register("plum")(3)
        assert list(fruits) == ["apple", "pear", "plum"]
    assert list(fruits) == ["apple", "pear"]


@pytest.mark.parametrize(
    ("code", "why"),
    [("def", "SyntaxError"), ("1 / 0", "ZeroDivisionError: division by zero"), (None, "No module")],
)
def test_a_module_with_a_mistake_in_it_is_named(code, why, tmp_path, monkeypatch):
    if code is not None:
        (tmp_path / "with_a_mistake.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=f"with_a_mistake cannot be imported: .*{why}"):
        import_modules(["with_a_mistake"])


def test_a_module_is_found_where_the_command_was_started(tmp_path, monkeypatch):
    """As a script's folder is; and the folder hides no package."""
    (tmp_path / "of_my_own_here.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    import_modules(["of_my_own_here"])
    assert sys.modules.pop("of_my_own_here").__file__ == str(tmp_path / "of_my_own_here.py")
    assert sys.path[-1] == str(tmp_path)
