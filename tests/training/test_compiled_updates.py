import functools

import numpy as np
import pytest
import tensorflow as tf

from training import compiled_updates
from training.compiled_updates import shares_loops, update_by_adam, update_by_momentum

SHAPE = [7, 300]
LEARNING_RATE, DECAY = 0.1, 5e-3


def momentum(weights, velocity, gradient):
    velocity = 0.9 * velocity - LEARNING_RATE * (gradient + DECAY * weights)
    return weights + velocity, velocity


def adam(weights, first, second, gradient):
    gradient = gradient + DECAY * weights
    first = 0.9 * first + 0.1 * gradient
    second = 0.99 * second + 0.01 * gradient**2
    return weights - LEARNING_RATE * first / (np.sqrt(second) + 1e-3), first, second


RULES = {
    update_by_momentum: (momentum, lambda grad: (LEARNING_RATE, 0.9, grad, DECAY)),
    update_by_adam: (adam, lambda grad: (LEARNING_RATE, 0.9, 0.99, 1e-3, grad, DECAY)),
}


def tensors(arguments):
    return [tf.convert_to_tensor(argument) for argument in arguments]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("in_one_loop", [True, False])
@pytest.mark.parametrize("update", RULES, ids=lambda update: update.rule.__name__)
def test_it_is_the_rule_in_both_forms(monkeypatch, update, in_one_loop, dtype):
    monkeypatch.setattr(compiled_updates, "shares_loops", lambda: in_one_loop)
    in_numpy, arguments = RULES[update]
    random = np.random.default_rng(0)
    count = in_numpy.__code__.co_argcount - 1
    values = [random.uniform(size=SHAPE).astype(np.float32) for _ in range(count)]
    gradient = tf.cast(random.normal(size=SHAPE), dtype)
    variables = [tf.Variable(value) for value in values]
    step = tf.function(functools.partial(update, [v.handle for v in variables], tf.float32))
    expected = values
    for _ in range(3):
        step(*tensors(arguments(gradient)))
        expected = in_numpy(*expected, tf.cast(gradient, tf.float32).numpy())
    for variable, value in zip(variables, expected, strict=True):
        np.testing.assert_allclose(variable, value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("update", RULES, ids=lambda update: update.rule.__name__)
def test_xla_makes_one_loop_of_it_where_it_is_told_to_as_the_commands_tell_it(update):
    """A version of TensorFlow in which it makes several would pass all other tests, slowly."""
    assert shares_loops()
    in_numpy, arguments = RULES[update]
    count = in_numpy.__code__.co_argcount - 1
    rule = update.rule
    own = [tensors(arguments(tf.zeros(SHAPE, tf.bfloat16))) for _ in range(count)]

    @tf.function(jit_compile=True, autograph=False)
    def results(values, own):
        return [rule(values, *arguments)[index] for index, arguments in enumerate(own)]

    values = [tf.zeros(SHAPE) for _ in range(count)]
    compiler = results.experimental_get_compiler_ir(values, own)
    program = compiler(stage="optimized_hlo", platform_name="CPU")
    assert str(program).count(" fusion(") == 1
