import math

import pytest

from training.learning_rates import LearningRate, LearningRateSettings


def rates(steps, steps_per_epoch=10.0, num_steps=100, **options):
    settings = LearningRateSettings(learning_rate=0.1, **options)
    rate = LearningRate(settings, steps_per_epoch, num_steps)
    return [rate(step) for step in steps]


def test_each_type_follows_its_formula():
    assert rates([0, 99], learning_rate_decay_type="fixed") == [0.1, 0.1]
    assert rates([19, 20, 40], learning_rate_decay_type="exponential") == pytest.approx(
        [0.1, 0.1 * 0.94, 0.1 * 0.94**2]
    )
    assert rates(
        [0, 50, 100], learning_rate_decay_type="polynomial", end_learning_rate=0.02
    ) == pytest.approx([0.1, 0.06, 0.02])
    assert rates(
        [0, 25, 100], learning_rate_decay_type="cosine", end_learning_rate=0.02
    ) == pytest.approx([0.1, 0.02 + 0.08 * (1 + math.cos(math.pi / 4)) / 2, 0.02])


def test_polynomial_falls_over_the_epochs_that_are_given_and_stays():
    options = {"learning_rate_decay_type": "polynomial", "end_learning_rate": 0.02}
    over_two = rates([0, 10, 20, 99], num_epochs_per_decay=2.0, **options)
    assert over_two == pytest.approx([0.1, 0.06, 0.02, 0.02])


def test_exponential_leaves_out_a_part_of_a_step_as_tf_slim():
    """3,320 images in batches of 32 are 207.5 batches in two epochs."""
    options = {"steps_per_epoch": 3320 / 32, "learning_rate_decay_type": "exponential"}
    assert rates([206, 207], **options) == pytest.approx([0.1, 0.1 * 0.94])
    # 1.1 * 30 is 33.000000000000004, and 2.3 * 10 is 22.999999999999996.
    options["steps_per_epoch"] = 10
    assert rates([22, 23], num_epochs_per_decay=2.3, **options) == pytest.approx([0.1, 0.094])


def test_piecewise_changes_at_the_first_step_of_its_epochs():
    options = {"learning_rate_decay_type": "piecewise", "learning_rate_boundaries": ["3", "6"]}
    assert rates([29, 30, 59, 60], **options) == pytest.approx([0.1, 0.01, 0.01, 0.001])


def test_warmup_rises_in_a_line_and_then_leaves_the_curve_alone():
    warm = rates(range(25), learning_rate_decay_type="fixed", warmup_epochs=2)
    assert warm[:20] == pytest.approx([0.1 * (step + 1) / 21 for step in range(20)])
    assert warm[20:] == pytest.approx([0.1] * 5)


def test_plateau_divides_by_ten_three_times_when_the_error_stops_improving():
    settings = LearningRateSettings(
        learning_rate=0.1, learning_rate_decay_type="plateau", plateau_patience=2
    )
    rate = LearningRate(settings, 10.0, 100)
    errors = [0.9, 0.8, 0.8, 0.85, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7]
    seen = []
    for error in errors:
        rate.observe(error)
        seen.append(rate(50))
    expected = [0.1] * 3 + [0.01] * 3 + [0.001] * 2 + [0.0001] * 4
    assert seen == pytest.approx(expected)


def test_plateau_state_carries_over():
    settings = LearningRateSettings(
        learning_rate=0.1, learning_rate_decay_type="plateau", plateau_patience=1
    )
    first, second = (LearningRate(settings, 10.0, 100) for _ in range(2))
    first.observe(0.5)
    first.observe(0.6)
    second.state.plateau.assign(first.state.plateau)
    assert second(0) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate_decay_type": "cosin"}, "Did you mean 'cosine'"),
        ({"learning_rate_decay_type": "piecewise"}, "learning_rate_boundaries"),
        (
            {"learning_rate_decay_type": "piecewise", "learning_rate_boundaries": ["5", "2"]},
            "rising epochs",
        ),
        (
            {"learning_rate_decay_type": "piecewise", "learning_rate_boundaries": ["5", "inf"]},
            "rising epochs",
        ),
        ({"learning_rate_decay_type": "cosine", "end_learning_rate": 1.0}, "above --learning_rate"),
    ],
)
def test_what_does_not_fit_is_named(options, message):
    settings = LearningRateSettings(**options)
    with pytest.raises(ValueError, match=message):
        LearningRate(settings, 10.0, 100)
