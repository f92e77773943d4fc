import pytest

from training.progress_bar import Figure, bar_text

FIGURES = [
    Figure("loss 2.301", 8),
    Figure("top-1 14.6%", 7),
    Figure("val 10.7%", 6),
    Figure("18884 img/s", 5),
    Figure("waits for input 34%", 3),
    Figure("epoch 12.3", 2),
    Figure("rate 0.001", 1),
]
# Steps, of how many, and the seconds that they took: at the start, and after half a day.
PLACES = [(26, 212, 2.0), (120_345, 450_360, 43_200.0)]


def text(columns, n, total, elapsed, figures=FIGURES):
    values = {"n": n, "total": total, "elapsed": elapsed, "ncols": columns, "rate": n / elapsed}
    return bar_text({**values, "unit": "it", "prefix": ""}, figures)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("columns", [20, 40, 60, 80, 100, 120, 200])
def test_it_fits_into_every_terminal(columns, place):
    assert len(text(columns, *place)) < columns


@pytest.mark.parametrize("place", PLACES)
def test_at_80_columns_the_most_important_figures_are_there(place):
    shown = text(80, *place)
    for figure in ("loss 2.301", "top-1 14.6%", "val 10.7%", "18884 img/s", " left, "):
        assert figure in shown


def test_what_fits_no_more_goes_by_importance():
    place = PLACES[0]
    assert text(None, *place) == (
        " 12%|\u258c    | 26/212, 00:14 left, loss 2.301, top-1 14.6%, val 10.7%, 18884 img/s, "
        "waits for input 34%, epoch 12.3, rate 0.001, 00:02 gone"
    )
    assert text(120, *place).endswith("18884 img/s, waits for input 34%, epoch 12.3")
    assert text(60, *place) == " 12%, 00:14 left, loss 2.301, top-1 14.6%, val 10.7%"
    assert text(30, *place) == " 12%, 00:14 left, loss 2.301"
    assert text(5, *place) == " 12%"
