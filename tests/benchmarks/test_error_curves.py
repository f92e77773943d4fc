"""What is made of the curves; training them takes an hour."""

import pytest

from error_curves import Curve, best_rate, epochs_to, plot


def curve(*errors):
    return [(float(epoch), error) for epoch, error in enumerate(errors, 1)]


def test_the_first_epoch_at_the_goal_counts():
    assert epochs_to(0.25, curve(0.4, 0.25, 0.3, 0.2)) == 2
    assert epochs_to(0.25, curve(0.4, 0.26)) is None


def test_the_best_rate_is_the_one_that_is_first_there_or_lowest():
    found = {0.1: curve(0.5, 0.3, 0.2), 0.2: curve(0.4, 0.25, 0.24), 0.4: curve(0.9, 0.9, 0.9)}
    assert best_rate(found, goal=0.25) == 0.2
    assert best_rate(found, goal=0.1) == 0.1
    with pytest.raises(ValueError, match="diverged at every rate"):
        best_rate({}, goal=0.25)


def test_runs_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "curves.png"
    curves = [
        Curve(variant, 0.1, seed, curve(0.5, 0.3 + 0.1 * seed))
        for variant in ("ReLU", "tanh")
        for seed in range(2)
    ]
    plot(curves, 0.25, "train", "a network", str(path))
    assert path.read_bytes().startswith(b"\x89PNG")
