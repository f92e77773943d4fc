"""The loop by itself: interrupted, starved of input, and its moving averages."""

import json
import pathlib
import time

import numpy as np
import pytest
import tensorflow as tf

from image_datasets.dataset_factory import get_dataset
from nets import nets_factory
from preprocessing.preprocessing_factory import get_preprocessing
from training import devices
from training.checkpoints.finding import latest_checkpoint
from training.checkpoints.saving import RunCheckpoints
from training.evaluation import Evaluator
from training.input_pipeline import training_batches
from training.learning_rates import LearningRate, LearningRateSettings
from training.optimizers import OptimizerSettings
from training.reporting import Reporter
from training.train_step import TrainStep
from training.training_loop import LoopSettings, TrainingLoop
from training.training_state import make_training_state

BATCH_SIZE, STEPS_PER_EPOCH = 10, 3.0


def checkpoint_values(folder):
    """What the last checkpoint holds, counters and optimizer included."""
    reader = tf.train.load_checkpoint(latest_checkpoint(str(folder)))
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if not name.startswith(("save_counter", "_CHECKPOINTABLE"))
    }


def metrics(folder, kind):
    lines = pathlib.Path(folder, "metrics.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if line["kind"] == kind]


@pytest.fixture
def run(photos):
    """`run(folder)` trains `tiny` there, or goes on, and returns its state."""

    def train(
        folder,
        num_steps=6,
        stop_requested=None,
        validate=None,
        batches=lambda batches: batches,
        decay_type="cosine",
        averages_decay=0.0,
        step=lambda step, state: step,
    ):
        tf.keras.utils.set_random_seed(0)
        strategy = devices.make_strategy()
        state = make_training_state(
            lambda: nets_factory.get_network_fn("tiny", num_classes=3, is_training=True),
            OptimizerSettings(),
            strategy,
            keep_averages=bool(averages_decay),
        )
        rate = LearningRate(
            LearningRateSettings(
                learning_rate=0.05, learning_rate_decay_type=decay_type, plateau_patience=1
            ),
            STEPS_PER_EPOCH,
            num_steps,
        )
        checkpoints = RunCheckpoints(
            str(folder),
            **state.variables_to_save(),
            learning_rate=rate.state,
        )
        checkpoints.resume()
        first_step = int(state.step)
        preprocessing = get_preprocessing("alexnet", is_training=True)
        evaluator = Evaluator(
            state.network_fn,
            get_preprocessing("alexnet"),
            get_dataset("folder", "validation", photos),
            strategy,
            batch_size=BATCH_SIZE,
            image_size=32,
        )
        take_step = TrainStep(
            state,
            preprocessing,
            strategy,
            batch_size=BATCH_SIZE,
            moving_average_decay=averages_decay,
        )
        loop = TrainingLoop(
            state,
            step(take_step, state),
            rate,
            checkpoints,
            LoopSettings(
                batch_size=BATCH_SIZE,
                steps_per_epoch=STEPS_PER_EPOCH,
                num_steps=num_steps,
                log_every_n_steps=1,
            ),
            validate=validate(evaluator.run, state) if validate else evaluator.run,
        )
        data = training_batches(
            get_dataset("folder", "train", photos),
            preprocessing,
            batch_size=BATCH_SIZE,
            image_size=32,
            start_step=first_step,
        )
        pathlib.Path(folder).mkdir(exist_ok=True)
        with Reporter(str(folder), first_step, num_steps, STEPS_PER_EPOCH, BATCH_SIZE) as reporter:
            loop.run(
                batches(iter(strategy.experimental_distribute_dataset(data))),
                reporter,
                stop_requested=(lambda: stop_requested(state)) if stop_requested else lambda: False,
            )
        return state

    return train


@pytest.mark.parametrize("decay_type", ["plateau", "cosine"])
def test_stopped_and_resumed_it_ends_as_a_run_never_stopped(run, tmp_path, decay_type):
    options = {"num_steps": 8, "decay_type": decay_type, "averages_decay": 0.9}
    run(tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt, match="Interrupted and saved at step 5"):
        # The fifth step, in the middle of the second epoch.
        run(tmp_path / "parts", **options, stop_requested=lambda state: int(state.step) == 5)
    assert latest_checkpoint(str(tmp_path / "parts")).endswith("model.ckpt-5")
    run(tmp_path / "parts", **options)
    whole, parts = checkpoint_values(tmp_path / "whole"), checkpoint_values(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    for name in whole:
        np.testing.assert_array_equal(whole[name], parts[name], err_msg=name)
    assert [line["step"] for line in metrics(tmp_path / "parts", "train")] == list(range(1, 9))


@pytest.mark.parametrize("interrupted_at", [3, 6])  # both are steps with a validation
def test_interrupted_while_validating_it_loses_neither_validation_nor_step(
    run, tmp_path, interrupted_at
):
    interrupted = []

    def validate(evaluate, state):
        def interrupted_validation():
            if int(state.step) == interrupted_at:
                interrupted.append(True)
            return evaluate()

        return interrupted_validation

    def first_part():
        run(tmp_path, validate=validate, stop_requested=lambda state: bool(interrupted))

    if interrupted_at < 6:
        with pytest.raises(KeyboardInterrupt):
            first_part()
    else:  # the last step ends the run anyway
        first_part()
    run(tmp_path)
    assert [line["step"] for line in metrics(tmp_path, "validation")] == [3, 6]


def test_it_says_when_it_waits_for_its_input(run, tmp_path, capsys):
    def slowly(batches):
        for batch in batches:
            time.sleep(0.15)
            yield batch

    run(tmp_path / "fast")
    shares = [line["share_waiting_for_input"] for line in metrics(tmp_path / "fast", "train")]
    assert all(0 <= share < 1 for share in shares)
    run(tmp_path / "slow", batches=slowly)
    shares = [line["share_waiting_for_input"] for line in metrics(tmp_path / "slow", "train")]
    assert min(shares[1:]) > 0.5
    assert "waits for input " in capsys.readouterr().err


def test_an_input_that_fails_loses_no_step(run, tmp_path):
    def failing(batches):
        for number, batch in enumerate(batches, 1):
            if number == 5:
                raise tf.errors.DataLossError(None, None, "torn")
            yield batch

    with pytest.raises(tf.errors.DataLossError):
        run(tmp_path, batches=failing)
    assert latest_checkpoint(str(tmp_path)).endswith("model.ckpt-4")


def test_moving_averages_follow_their_recurrence(run, tmp_path):
    trajectory = []

    def values(state):
        return {name: variable.numpy() for name, variable in state.network_fn.variables.items()}

    def noting(step, state):
        def take(*arguments):
            if not trajectory:
                trajectory.append(values(state))
            outcome = step(*arguments)
            trajectory.append(values(state))
            return outcome

        return take

    state = run(tmp_path, num_steps=5, averages_decay=0.3, step=noting)
    for name, average in state.averages.items():
        expected = trajectory[0][name].astype(np.float64)
        for number, weights in enumerate(trajectory[1:]):
            decay = min(0.3, (1 + number) / (10 + number))
            expected = decay * expected + (1 - decay) * weights[name]
        np.testing.assert_allclose(average.numpy(), expected, rtol=1e-4, atol=1e-6)
