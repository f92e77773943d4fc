"""Several updates of the fully connected layers in a step, and one of all their gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hybrid_runs import WITHOUT_DROPOUT, Run, difference, make_batch

from preprocessing.preprocessing_factory import get_preprocessing
from training.hybrid.schemes import HybridSettings


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "reference"),
    [("sgd", keras.optimizers.SGD), ("adam", keras.optimizers.Adam)],
    ids=["sgd", "adam"],
)
def test_variable_batch_updates_the_fully_connected_layers_after_each_part(optimizer, reference):
    """By hand: in a step two updates of the layers after pool2, and one of the convolutions.

    Adam corrects its moments by the number of updates, which is another for each of the two.
    """
    rate, steps = 0.01, 2
    options = {
        "network_options": WITHOUT_DROPOUT,
        "settings": {"optimizer": optimizer, "weight_decay": 0.0, "opt_epsilon": 1e-3},
    }
    hybrid = HybridSettings(hybrid_scheme="b", fc_updates_per_step=2)
    run = Run(2, hybrid, **options).take(steps, rate=rate)

    network_fn = Run(**options).state.network_fn
    variables = network_fn.variables
    convolutions = [name for name in variables if "/conv" in name]
    ends = [name for name in variables if name not in convolutions]
    epsilon = {"epsilon": 1e-3} if optimizer == "adam" else {}
    of_convolutions = reference(2 * rate, **epsilon)
    of_ends = reference(rate, **epsilon)
    for number in range(steps):
        batch = make_batch(number)
        images = get_preprocessing("cifarnet").device(batch)
        sums = [0.0] * len(convolutions)
        for part in (slice(0, 8), slice(8, 16)):
            with tf.GradientTape() as tape:
                logits, _ = network_fn(images[part], is_training=True)
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                    batch["label"][part], logits
                )
                loss = tf.reduce_sum(losses * batch["weight"][part]) / 8
            gradients = tape.gradient(loss, {name: one.value for name, one in variables.items()})
            of_ends.apply([gradients[name] for name in ends], [variables[name] for name in ends])
            for index, name in enumerate(convolutions):
                sums[index] += gradients[name] / 2
        of_convolutions.apply(sums, [variables[name] for name in convolutions])
    expected = {name: one.numpy() for name, one in variables.items()}
    assert difference(run.values(), expected) < 1e-5


@pytest.mark.slow
def test_with_all_updates_deferred_it_is_data_parallelism():
    options = {"network_options": WITHOUT_DROPOUT}
    expected = Run(2, **options).take(5)
    found = Run(2, HybridSettings(hybrid_scheme="b"), **options).take(5)
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-6)
    assert difference(found.values(), expected.values()) < 1e-6
