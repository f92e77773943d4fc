"""The loop by itself: images are random here, and what a validation finds is made up."""

import pathlib
import time

import numpy as np
import pytest
import tensorflow as tf
from tiny_network import assert_equal_values, metrics, saved_values

from nets import nets_factory
from preprocessing.preprocessing_factory import get_preprocessing
from training import devices
from training.checkpoints.finding import latest_checkpoint
from training.checkpoints.saving import RunCheckpoints
from training.evaluation import EvaluationResult
from training.learning_rates import LearningRate, LearningRateSettings, LearningRateState
from training.optimizers import OptimizerSettings
from training.progress import Progress
from training.reporting import Reporter
from training.several_steps import SeveralSteps
from training.train_step import TrainStep
from training.training_loop import LoopSettings, TrainingLoop
from training.training_state import make_training_state

BATCH_SIZE, STEPS_PER_EPOCH = 4, 3.0


def random_batches(first_step):
    """From a step on those that a run that never stopped would have."""
    step = first_step
    while True:
        generator = np.random.default_rng(step)
        yield {
            "image": tf.constant(generator.integers(0, 256, (BATCH_SIZE, 32, 32, 3)), tf.uint8),
            "label": tf.constant(generator.integers(0, 3, BATCH_SIZE), tf.int64),
            "weight": tf.ones([BATCH_SIZE]),
        }
        step += 1


def found(top_1):
    return EvaluationResult(num_examples=21, num_skipped=0, loss=1.0, top_1=top_1, top_k=1.0, k=3)


def run(
    folder,
    num_steps=6,
    stop_requested=lambda state: False,
    validate=lambda state: found(0.5),
    batches=lambda batches: batches,
    decay_type="cosine",
    learning_rate=0.05,
    averages_decay=0.0,
    steps_per_call=1,
    rate_factors=(),
    **settings,
):
    """Trains `tiny` in a folder, or goes on there, and returns its state and the loop."""
    tf.keras.utils.set_random_seed(0)
    strategy = devices.make_strategy()
    state = make_training_state(
        lambda: nets_factory.get_network_fn("tiny", num_classes=3, is_training=True),
        OptimizerSettings(learning_rate_factors=rate_factors),
        strategy,
        keep_averages=bool(averages_decay),
    )
    progress = Progress(num_examples=round(BATCH_SIZE * STEPS_PER_EPOCH))
    rate_state = LearningRateState()
    checkpoints = RunCheckpoints(
        str(folder),
        **state.variables_to_save(),
        learning_rate=rate_state.plateau,
        added={
            "progress": progress.variable,
            "validated": progress.validated,
            "divergences": rate_state.divergences,
        },
        keep=20,
    )
    checkpoints.resume()
    first_step = int(state.step)
    rate = LearningRate(
        LearningRateSettings(
            learning_rate=learning_rate, learning_rate_decay_type=decay_type, plateau_patience=1
        ),
        STEPS_PER_EPOCH,
        progress.num_taken / BATCH_SIZE + num_steps - first_step,
        rate_state,
    )
    step = TrainStep(
        state,
        get_preprocessing("cuda_convnet"),
        strategy,
        batch_size=BATCH_SIZE,
        moving_average_decay=averages_decay,
    )
    loop = TrainingLoop(
        state,
        step,
        rate,
        progress,
        checkpoints,
        LoopSettings(
            batch_size=BATCH_SIZE,
            steps_per_epoch=STEPS_PER_EPOCH,
            num_steps=num_steps,
            **{"log_every_n_steps": 1, **settings},
        ),
        validate=validate and (lambda: validate(state)),
        several_steps=SeveralSteps(step, strategy, steps_per_call) if steps_per_call > 1 else None,
    )
    pathlib.Path(folder).mkdir(exist_ok=True)
    with Reporter(str(folder), first_step, num_steps, BATCH_SIZE) as reporter:
        loop.run(
            lambda: batches(random_batches(int(state.step))),
            reporter,
            stop_requested=lambda: stop_requested(state),
        )
    return state, loop


def steps_of(folder, kind="train"):
    return [line["step"] for line in metrics(folder, kind)]


@pytest.mark.parametrize("decay_type", ["plateau", "cosine"])
def test_stopped_and_resumed_it_ends_as_a_run_never_stopped(tmp_path, decay_type):
    options = {"num_steps": 8, "decay_type": decay_type, "averages_decay": 0.9}
    run(tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt, match="Interrupted and saved at step 5"):
        # The fifth step, in the middle of the second epoch.
        run(tmp_path / "parts", **options, stop_requested=lambda state: int(state.step) == 5)
    assert latest_checkpoint(str(tmp_path / "parts")).endswith("model.ckpt-5")
    run(tmp_path / "parts", **options)
    assert_equal_values(
        saved_values(latest_checkpoint(tmp_path / "whole")),
        saved_values(latest_checkpoint(tmp_path / "parts")),
    )
    assert steps_of(tmp_path / "parts") == list(range(1, 9))


@pytest.fixture
def calls(monkeypatch):
    """The steps before each call of `SeveralSteps`."""
    steps = []

    class NotedSteps(SeveralSteps):
        def __call__(self, batches, rates, step):
            steps.append(int(step))
            assert len(batches) == len(rates) == self.count
            return super().__call__(batches, rates, step)

    monkeypatch.setitem(globals(), "SeveralSteps", NotedSteps)
    return steps


def assert_same_run(one, other):
    ends = [saved_values(latest_checkpoint(folder)) for folder in (one, other)]
    assert ends[0].keys() == ends[1].keys()
    for name, value in ends[0].items():
        np.testing.assert_allclose(ends[1][name], value, rtol=1e-5, atol=1e-7, err_msg=name)
    assert steps_of(one, "validation") == steps_of(other, "validation")
    for line, expected in zip(metrics(one), metrics(other), strict=True):
        for key in ("step", "loss", "top_1", "learning_rate", "epoch"):
            assert line[key] == pytest.approx(expected[key], rel=1e-5)


@pytest.mark.parametrize(
    ("options", "together"),
    [
        # It validates at 3, 6, 9 and 11, logs there and at 5 and 10, and ends at 11.
        ({"log_every_n_steps": 5}, [0, 3, 6]),
        ({"log_every_n_steps": 5, "validate": None}, [0, 2, 5, 7]),
        ({"log_every_n_steps": 1}, []),
        # Factors change before the second step and before the eighth; it logs at 4 and 8.
        (
            {
                "log_every_n_steps": 4,
                "validate": None,
                "rate_factors": ["*/conv1/*@0.3=3", "*@2.2=0.5"],
            },
            [1, 4, 8],
        ),
    ],
    ids=["validated", "logged", "each logged", "factors that change"],
)
def test_steps_are_taken_together_where_nothing_is_due_and_change_nothing(
    tmp_path, calls, options, together
):
    options = {"num_steps": 11, "averages_decay": 0.9, **options}
    run(tmp_path / "singly", **options)
    assert not calls
    run(tmp_path / "together", **options, steps_per_call=2)
    assert calls == together
    assert_same_run(tmp_path / "together", tmp_path / "singly")


def test_interrupted_between_steps_it_takes_those_of_the_call_and_goes_on_from_there(
    tmp_path, calls
):
    options = {"num_steps": 8, "validate": None, "log_every_n_steps": 8}
    run(tmp_path / "singly", **options)
    with pytest.raises(KeyboardInterrupt, match="Interrupted and saved at step 6"):
        run(
            tmp_path / "together",
            **options,
            steps_per_call=3,
            stop_requested=lambda state: int(state.step) >= 4,
        )
    assert calls == [0, 3]
    run(tmp_path / "together", **options)
    ends = [saved_values(latest_checkpoint(tmp_path / name)) for name in ("singly", "together")]
    for name, value in ends[0].items():
        np.testing.assert_allclose(ends[1][name], value, rtol=1e-5, atol=1e-7, err_msg=name)


def test_an_input_that_fails_within_a_call_loses_no_step_before_it(tmp_path, calls):
    def failing(batches):
        for number, batch in enumerate(batches, 1):
            if number == 6:
                raise tf.errors.DataLossError(None, None, "torn")
            yield batch

    with pytest.raises(tf.errors.DataLossError):
        run(tmp_path, batches=failing, validate=None, log_every_n_steps=9, steps_per_call=2)
    assert calls == [0, 2]
    assert checkpoints_in(tmp_path) == [4]


def test_of_steps_taken_together_the_one_that_diverges_is_named(tmp_path, calls):
    def poisoned(batches):
        for number, batch in enumerate(batches, 1):
            yield {**batch, "weight": batch["weight"] * (np.nan if number == 5 else 1)}

    with pytest.raises(ValueError, match=r"At step 5 the loss is not a number any more"):
        run(tmp_path, batches=poisoned, validate=None, log_every_n_steps=6, steps_per_call=3)
    assert calls == [0, 3]
    assert checkpoints_in(tmp_path) == []


@pytest.mark.parametrize("interrupted_at", [3, 6])  # both are steps with a validation
def test_interrupted_while_validating_it_loses_neither_validation_nor_step(
    tmp_path, interrupted_at
):
    interrupted = []

    def validate(state):
        if int(state.step) == interrupted_at:
            interrupted.append(True)
        return found(0.5)

    def first_part():
        run(tmp_path, validate=validate, stop_requested=lambda state: bool(interrupted))

    if interrupted_at < 6:
        with pytest.raises(KeyboardInterrupt):
            first_part()
    else:  # the last step ends the run anyway
        first_part()
    run(tmp_path)
    assert steps_of(tmp_path, "validation") == [3, 6]


@pytest.mark.parametrize(
    ("num_steps", "expected"),
    [
        (6, [3, 6]),
        (7, [3, 7]),  # one at 6 would be followed by the last at once
        (8, [3, 6, 8]),
        (2, [2]),
    ],
)
def test_it_validates_at_each_interval_and_at_the_end(tmp_path, num_steps, expected):
    run(tmp_path, num_steps=num_steps)
    assert steps_of(tmp_path, "validation") == expected
    assert latest_checkpoint(str(tmp_path)).endswith(f"-{num_steps}")


def test_averages_are_validated_and_the_weights_are_trained_on(tmp_path):
    seen = []

    def validate(state):
        for name, average in state.averages.items():
            np.testing.assert_array_equal(state.network_fn.variables[name].numpy(), average.numpy())
        seen.append(int(state.step))
        return found(0.5)

    state, _ = run(tmp_path, averages_decay=0.9, validate=validate)
    assert seen == [3, 6]
    weights = state.network_fn.variables["tiny/fc3/weights"].numpy()
    assert (weights != state.averages["tiny/fc3/weights"].numpy()).any()


def test_the_best_is_kept_and_a_plateau_lowers_the_rate(tmp_path, capsys):
    top_1 = {3: 0.5, 6: 0.7, 9: 0.7, 12: 0.6}
    run(
        tmp_path,
        num_steps=12,
        decay_type="plateau",
        validate=lambda state: found(top_1[int(state.step)]),
    )
    assert latest_checkpoint(str(tmp_path / "best")).endswith("model.ckpt-6")
    printed = capsys.readouterr()
    assert "step 9: no better for a while, the learning rate is lowered." in (
        printed.out + printed.err
    )
    rates = {line["step"]: line["learning_rate"] for line in metrics(tmp_path)}
    assert (rates[9], rates[10]) == pytest.approx((0.05, 0.005))


def test_it_saves_when_so_much_time_has_passed(tmp_path):
    run(tmp_path, num_steps=4, validate=None, save_interval_secs=0.0)
    names = sorted(path.name for path in tmp_path.glob("model.ckpt-*.index"))
    assert names == [f"model.ckpt-{step}.index" for step in (1, 2, 3, 4)]
    assert not (tmp_path / "best").exists()


def test_it_says_when_it_waits_for_its_input(tmp_path, capsys):
    def slowly(batches):
        for batch in batches:
            time.sleep(0.1)
            yield batch

    run(tmp_path / "fast", validate=None)
    shares = [line["share_waiting_for_input"] for line in metrics(tmp_path / "fast")]
    assert all(0 <= share < 1 for share in shares)
    run(tmp_path / "slow", validate=None, batches=slowly)
    shares = [line["share_waiting_for_input"] for line in metrics(tmp_path / "slow")]
    assert np.median(shares[1:]) > 0.5
    assert "waits for input " in capsys.readouterr().err


def test_an_input_that_fails_loses_no_step(tmp_path):
    def failing(batches):
        for number, batch in enumerate(batches, 1):
            if number == 5:
                raise tf.errors.DataLossError(None, None, "torn")
            yield batch

    with pytest.raises(tf.errors.DataLossError):
        run(tmp_path, batches=failing)
    assert latest_checkpoint(str(tmp_path)).endswith("model.ckpt-4")


def test_examples_without_weight_are_counted_as_left_out(tmp_path):
    def some_without(batches):
        for batch in batches:
            yield {**batch, "weight": tf.constant([1.0, 0.0, 1.0, 1.0])}

    _, loop = run(tmp_path, num_steps=5, batches=some_without, log_every_n_steps=2, validate=None)
    assert loop.left_out == 5


def checkpoints_in(folder):
    return [int(path.stem.rpartition("-")[2]) for path in sorted(folder.glob("*.index"))]


def test_a_loss_that_is_no_number_ends_it_and_nothing_is_saved(tmp_path):
    with pytest.raises(ValueError, match=r"not a number any more.*no checkpoint to go back"):
        run(tmp_path, learning_rate=1e30)
    assert latest_checkpoint(str(tmp_path)) is None


@pytest.mark.parametrize("learning_rate", [1e3, 1e6, 1e30])
def test_a_checkpoint_is_good_when_a_good_loss_was_seen_on_its_weights(tmp_path, learning_rate):
    """The step that ruins the weights still has a good loss, and leaves finite numbers."""
    run(tmp_path, num_steps=3)
    good = saved_values(tmp_path / "model.ckpt-3")
    with pytest.raises(ValueError, match=r"diverged at the learning rate") as raised:
        run(tmp_path, learning_rate=learning_rate, decay_type="fixed", save_interval_secs=0.0)
    message = str(raised.value)
    assert f"The last good checkpoint is {tmp_path}/model.ckpt-3, from which the same" in message
    assert f"The best is {tmp_path}/best/model.ckpt-3." in message
    assert checkpoints_in(tmp_path) == [3]
    if aside := checkpoints_in(tmp_path / "set_aside"):
        assert aside[0] == 4
        assert f"{tmp_path}/set_aside/model.ckpt-4" in message
    assert_equal_values(good, saved_values(tmp_path / "model.ckpt-3"))
    # And the same command with a lower rate goes on as if nothing had been.
    run(tmp_path, learning_rate=0.01, save_interval_secs=0.0)
    assert checkpoints_in(tmp_path) == [3, 4, 5, 6]


def test_a_validation_on_ruined_weights_is_not_the_best(tmp_path):
    """Its accuracy may be the highest so far, by chance."""

    def ruined(state):
        state.network_fn.variables["tiny/fc3/biases"].assign([np.inf, 0, 0])
        return found(0.9)

    with pytest.raises(ValueError, match="At step 4 weights are not finite numbers"):
        run(tmp_path, validate=ruined)
    assert latest_checkpoint(str(tmp_path / "best")) is None


def test_it_goes_back_with_half_the_rate_as_often_as_it_may(tmp_path, capsys):
    run(tmp_path, num_steps=3)
    options = {"learning_rate": 1e4, "decay_type": "fixed", "validate": None}
    with pytest.raises(ValueError, match=r"diverged at the learning rate 2\.5e"):
        run(tmp_path, **options, max_nan_restarts=2)
    printed = "".join(capsys.readouterr())
    assert f"goes back to step 3 ({tmp_path}/model.ckpt-3)" in printed
    assert "all rates are multiplied by 0.5 from now on (1 of --max_nan_restarts=2)" in printed
    assert "all rates are multiplied by 0.25 from now on (2 of" in printed
    capsys.readouterr()

    run(tmp_path, **options, num_steps=20, max_nan_restarts=40)
    assert steps_of(tmp_path) == list(range(1, 21))  # none twice
    times = "".join(capsys.readouterr()).count("goes back to step")
    assert metrics(tmp_path)[-1]["learning_rate"] == pytest.approx(1e4 * 0.5**times)
    # A run that is stopped and taken up keeps to it.
    run(tmp_path, **options, num_steps=21)
    assert metrics(tmp_path)[-1]["learning_rate"] == pytest.approx(1e4 * 0.5**times)


def test_from_the_beginning_it_goes_back_to_the_beginning(tmp_path, capsys):
    state, _ = run(
        tmp_path, learning_rate=1e4, decay_type="fixed", validate=None, max_nan_restarts=40
    )
    assert int(state.step) == 6
    assert f"goes back to step 0 ({tmp_path}/model.ckpt-0)" in "".join(capsys.readouterr())


def test_from_where_it_diverges_twice_it_goes_back_further(tmp_path, capsys):
    """Momentum can be ruined where weights are not."""
    run(tmp_path, num_steps=4, learning_rate=0.01, save_interval_secs=0.0)

    def poisoned(batches):
        for number, batch in enumerate(batches, 1):
            bad = len(attempts) < 2 and number == 1
            if bad:
                attempts.append(number)
            yield {**batch, "weight": batch["weight"] * (np.nan if bad else 1)}

    attempts = []
    run(tmp_path, batches=poisoned, learning_rate=0.01, validate=None, max_nan_restarts=2)
    printed = "".join(capsys.readouterr())
    assert f"goes back to step 3 ({tmp_path}/model.ckpt-3)" in printed
    assert f"goes back to step 2 ({tmp_path}/model.ckpt-2)" in printed


def test_a_validation_that_fails_loses_no_step_and_is_made_up_for(tmp_path):
    def failing(state):
        raise OSError("a photo is gone")

    for num_steps in (6, 3):  # in the middle, and at the last step
        folder = tmp_path / str(num_steps)
        with pytest.raises(OSError, match="a photo is gone"):
            run(folder, num_steps=num_steps, validate=failing)
        assert checkpoints_in(folder) == [3]
        _, loop = run(folder, num_steps=num_steps)
        assert steps_of(folder, "validation") == [3, 6][: num_steps // 3]
        assert loop.is_finished()


@pytest.mark.parametrize(
    "error",
    [OSError("gone"), RuntimeError("gone"), tf.errors.NotFoundError(None, None, "gone")],
    ids=lambda error: type(error).__name__,
)
def test_whatever_ends_the_input_loses_no_step(tmp_path, error):
    def failing(batches):
        for number, batch in enumerate(batches, 1):
            if number == 3:
                raise error
            yield batch

    with pytest.raises(type(error)):
        run(tmp_path, batches=failing, validate=None)
    assert checkpoints_in(tmp_path) == [2]


def test_it_goes_on_where_it_was_in_the_data_with_another_batch_size(tmp_path, monkeypatch):
    """Six steps of 4 are two epochs of 12 images; with 2 images, four epochs have 12 steps more."""
    run(tmp_path, num_steps=6, decay_type="polynomial", learning_rate=0.01)
    places = []
    monkeypatch.setitem(globals(), "BATCH_SIZE", 2)
    monkeypatch.setitem(globals(), "STEPS_PER_EPOCH", 6.0)

    def noted(batches):
        for batch in batches:
            places.append(None)
            yield batch

    state, _ = run(
        tmp_path, num_steps=18, batches=noted, decay_type="polynomial", learning_rate=0.01
    )
    assert (int(state.step), len(places)) == (18, 12)
    lines = metrics(tmp_path)
    assert [line["epoch"] for line in lines[5:8]] == pytest.approx([2, 2.1667, 2.3333], abs=1e-4)
    assert steps_of(tmp_path, "validation") == [3, 6, 12, 18]
    # Half of 24 steps of today's size have been taken: the rate goes on at half of its way.
    assert [line["learning_rate"] for line in lines[6:8]] == pytest.approx(
        [0.01 * 12 / 24, 0.01 * 11 / 24]
    )
