"""Optimizers of one's own over several devices: each updates as on one, or is refused."""

import keras
import pytest
import tensorflow as tf
from hybrid_runs import WITHOUT_DROPOUT, Run, assert_close, make_batch, weights_after_steps

from training.hybrid.schemes import HybridSettings
from training.optimizers import PerVariable, optimizers


class Lion(PerVariable, keras.optimizers.Lion):
    is_elementwise = True


class Lamb(PerVariable, keras.optimizers.Lamb):
    """Its rate depends on the norm of a whole variable."""


class Nadam(PerVariable, keras.optimizers.Nadam):
    """Elementwise, but for a product that it updates once for all variables."""

    is_elementwise = True


class Applying(PerVariable, keras.optimizers.SGD):
    is_elementwise = True

    def apply(self, grads, trainable_variables=None):
        super().apply([tf.sign(one) for one in grads], trainable_variables)


class Scaled(PerVariable, keras.optimizers.SGD):
    is_elementwise = True

    def __init__(self, **options):
        super().__init__(loss_scale_factor=128.0, **options)


def take_steps(optimizer, hybrid=None):
    with optimizers.restored():
        optimizers.register("own")(lambda settings, **options: optimizer(**options))
        return weights_after_steps(
            "tiny", hybrid, settings={"optimizer": "own"}, network_options=WITHOUT_DROPOUT
        )


def test_an_elementwise_optimizer_takes_the_steps_of_one_device():
    assert_close(take_steps(Lion, HybridSettings()), take_steps(Lion))


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (Lamb, "optimizer Lamb does not say that it is elementwise.* is_elementwise = True"),
        (Nadam, "optimizer Nadam has a method _backend_update_step of its own"),
        (Applying, "optimizer Applying has a method apply of its own"),
        (Scaled, "optimizer Scaled was made with loss_scale_factor, which .*hybrid cannot do"),
    ],
)
def test_what_would_train_otherwise_is_refused(optimizer, message):
    with pytest.raises(ValueError, match=f"{message}.*--distribution_strategy=mirrored"):
        take_steps(optimizer, HybridSettings())


def test_with_no_convolution_trained_the_scale_of_the_loss_grows_as_keras_has_it():
    """Then the optimizer counts itself, because Keras counts where it has gradients."""
    counted = []
    for hybrid in (None, HybridSettings()):
        run = Run(
            2 if hybrid else 1,
            hybrid,
            model="tiny",
            dtype_policy="mixed_float16",
            trainable_scopes=["tiny/fc3"],
        )
        scaling = getattr(run.state.optimizer, "_of_whole", run.state.optimizer)
        scaling.dynamic_growth_steps = 2
        scaling.dynamic_scale.assign(8.0)
        seen = []
        for number in range(5):
            run.take_one(make_batch(0), number, rate=0.001)
            values = (scaling.dynamic_scale, scaling.step_counter, scaling.iterations)
            seen.append([float(one.numpy()) for one in values])
        counted.append(seen)
    assert counted[0] == counted[1]
    assert counted[0][-1] == [32.0, 1.0, 5.0]
