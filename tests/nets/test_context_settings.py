import contextvars
import threading

import pytest

from nets.context_settings import holding

SETTING = contextvars.ContextVar("setting", default="outside")


def test_a_value_holds_inside_and_the_outer_one_afterwards():
    with holding(SETTING, "outer"):
        with holding(SETTING, "inner"):
            assert SETTING.get() == "inner"
        assert SETTING.get() == "outer"
    assert SETTING.get() == "outside"


def test_it_ends_with_an_error_too():
    with pytest.raises(KeyError), holding(SETTING, "inner"):
        raise KeyError
    assert SETTING.get() == "outside"


def test_another_thread_has_the_default():
    seen = []
    with holding(SETTING, "inner"):
        thread = threading.Thread(target=lambda: seen.append(SETTING.get()))
        thread.start()
        thread.join()
    assert seen == ["outside"]
