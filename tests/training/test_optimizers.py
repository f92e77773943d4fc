import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from training.optimizers import OptimizerSettings, make_optimizer, optimizers

WEIGHTS = np.array([[1.0, -2.0], [0.5, 3.0]], np.float32)
BIASES = np.array([0.3, -0.4], np.float32)


# FTRL computes weights from its accumulators, which know nothing of their initial values.
INCREMENTAL = sorted(set(optimizers) - {"ftrl"})


def make(scale_loss=False, **options):
    variables = [keras.Variable(WEIGHTS, name="kernel"), keras.Variable(BIASES, name="bias")]
    optimizer = make_optimizer(OptimizerSettings(**options), scale_loss=scale_loss)
    optimizer.build(variables)
    return optimizer, variables


@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_momentum_is_the_rule_of_the_2012_paper(momentum):
    decay = 0.01
    optimizer, (kernel, bias) = make(weight_decay=decay, momentum=momentum)
    w, b = WEIGHTS.astype(np.float64), BIASES.astype(np.float64)
    v_w, v_b = np.zeros_like(w), np.zeros_like(b)
    generator = np.random.default_rng(0)
    for rate in (0.1, 0.1, 0.01):  # a change of rate leaves the velocity alone
        g_w, g_b = generator.normal(size=w.shape), generator.normal(size=b.shape)
        v_w = momentum * v_w - decay * rate * w - rate * g_w
        v_b = momentum * v_b - rate * g_b
        w, b = w + v_w, b + v_b
        optimizer.learning_rate.assign(rate)
        optimizer.apply([tf.constant(g_w, tf.float32), tf.constant(g_b, tf.float32)])
    np.testing.assert_allclose(kernel.numpy(), w, rtol=1e-5)
    np.testing.assert_allclose(bias.numpy(), b, rtol=1e-5)


def test_adam_is_that_of_its_paper_with_decay_in_the_gradient():
    decay, beta_1, beta_2, epsilon = 0.1, 0.8, 0.95, 1e-3
    optimizer, (kernel, bias) = make(
        optimizer="adam",
        weight_decay=decay,
        adam_beta1=beta_1,
        adam_beta2=beta_2,
        opt_epsilon=epsilon,
    )
    values = [WEIGHTS.astype(np.float64), BIASES.astype(np.float64)]
    moments = [(np.zeros_like(value), np.zeros_like(value)) for value in values]
    generator = np.random.default_rng(0)
    for step, rate in enumerate((0.1, 0.1, 0.01), start=1):
        gradients = [generator.normal(size=value.shape) for value in values]
        optimizer.learning_rate.assign(rate)
        optimizer.apply([tf.constant(gradient, tf.float32) for gradient in gradients])
        for i, factor in enumerate((decay, 0)):
            gradient = gradients[i] + factor * values[i]
            m = beta_1 * moments[i][0] + (1 - beta_1) * gradient
            v = beta_2 * moments[i][1] + (1 - beta_2) * gradient**2
            corrected = rate * np.sqrt(1 - beta_2**step) / (1 - beta_1**step)
            values[i] = values[i] - corrected * m / (np.sqrt(v) + epsilon)
            moments[i] = m, v
    np.testing.assert_allclose(kernel.numpy(), values[0], rtol=1e-5)
    np.testing.assert_allclose(bias.numpy(), values[1], rtol=1e-5)


def test_momentum_reads_the_gradient_that_mixed_precision_casts():
    optimizer, (kernel, bias) = make(weight_decay=0.1, learning_rate=1.0, momentum=0.5)
    inputs = tf.constant([[1.0, 0.3], [2.0, -0.7]], tf.bfloat16)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            outputs = tf.matmul(inputs, tf.cast(kernel.value, tf.bfloat16))
            loss = tf.reduce_sum(tf.cast(tf.square(outputs), tf.float32))
        gradient = tape.gradient(loss, kernel.value)
        optimizer.apply([gradient, tf.zeros_like(bias.value)])
        return gradient

    gradient = step()
    np.testing.assert_allclose(kernel.numpy(), 0.9 * WEIGHTS - gradient, rtol=1e-6)
    operations = step.get_concrete_function().graph.get_operations()
    [update] = [one for one in operations if one.type == "StatefulPartitionedCall"]
    assert tf.bfloat16 in [tensor.dtype for tensor in update.inputs]


@pytest.mark.parametrize("name", INCREMENTAL)
def test_every_optimizer_decays_weights_and_leaves_biases(name):
    optimizer, (kernel, bias) = make(optimizer=name, weight_decay=0.1, learning_rate=0.01)
    optimizer.apply([tf.zeros_like(WEIGHTS), tf.zeros_like(BIASES)])
    assert (np.abs(kernel.numpy()) < np.abs(WEIGHTS)).all()
    np.testing.assert_array_equal(bias.numpy(), BIASES)


@pytest.mark.parametrize("name", INCREMENTAL)
def test_every_optimizer_goes_against_the_gradient(name):
    optimizer, (kernel, bias) = make(optimizer=name, weight_decay=0.0)
    optimizer.apply([tf.ones_like(WEIGHTS), -tf.ones_like(BIASES)])
    assert (kernel.numpy() < WEIGHTS).all()
    assert (bias.numpy() > BIASES).all()


@pytest.mark.parametrize("name", ["momentum", "adam", "rmsprop", "sgd"])
def test_an_optimizer_multiplies_rates_and_decays_of_each_variable(name):
    def updated(rate, decay, factors=None, decay_factors=None):
        variables = [
            tf.keras.Variable([[1.0, -2.0], [0.5, 3.0]], name="kernel"),
            tf.keras.Variable([0.3, -0.4], name="bias"),
        ]
        settings = OptimizerSettings(optimizer=name, learning_rate=rate, weight_decay=decay)
        rate_factors = None if factors is None else tf.Variable(factors)
        optimizer = make_optimizer(settings, decay_factors=decay_factors, rate_factors=rate_factors)
        optimizer.build(variables)
        for _ in range(3):
            optimizer.apply([tf.constant([[0.1, 0.2], [0.3, 0.4]]), tf.constant([0.5, 0.6])])
        return [variable.numpy() for variable in variables]

    kernel, bias = updated(0.01, 0.1, [0.5, 3.0], [7.0, None])
    np.testing.assert_allclose(kernel, updated(0.005, 0.7)[0], rtol=1e-5)
    np.testing.assert_allclose(bias, updated(0.03, 0.1)[1], rtol=1e-5)
    # As of a network whose biases decay, and of a kernel that does not.
    kernel, bias = updated(0.01, 0.1, None, [None, 2.0])
    np.testing.assert_allclose(kernel, updated(0.01, 0.0)[0], rtol=1e-5)
    assert (bias != updated(0.01, 0.0)[1]).all()


def test_float16_scales_the_loss_and_undoes_it():
    optimizer, (kernel, _) = make(scale_loss=True, weight_decay=0.0, learning_rate=0.1)
    scale = float(optimizer.scale_loss(tf.constant(1.0)))
    assert scale > 1
    optimizer.apply([tf.ones_like(WEIGHTS) * scale, tf.zeros_like(BIASES)])
    np.testing.assert_allclose(kernel.numpy(), WEIGHTS - 0.1, rtol=1e-5)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"Unknown optimizer .* Did you mean 'momentum'"):
        make_optimizer(OptimizerSettings(optimizer="momentun"))


@pytest.mark.parametrize("name", optimizers)
def test_what_is_relied_on_of_keras(name):
    """A newer Keras that breaks one of these would train differently, or not at all."""
    optimizer, variables = make(optimizer=name)
    # One place each, and the slots of the variable at that place.
    assert [optimizer._get_variable_index(variable) for variable in variables] == [0, 1]
    assert [optimizer._get_variable_index(variable.value) for variable in variables] == [0, 1]
    slots = [one for one in optimizer.variables if one.path.count("kernel")]
    per_variable = {"momentum": 1, "sgd": 0, "rmsprop": 2, "adam": 2, "adagrad": 1}
    per_variable |= {"adadelta": 2, "ftrl": 2}
    assert len(slots) == per_variable[name]
    # Checkpoints know them by these paths, and each is kept once.
    paths = [one.path for one in optimizer.variables]
    assert len(set(paths)) == len(paths)
    assert all(path.startswith("optimizer/") for path in paths)
    assert {"optimizer/iteration", "optimizer/learning_rate"} <= set(paths)


@pytest.mark.parametrize("name", optimizers)
def test_parts_of_a_variable_are_updated_as_the_whole(name):
    """What `is_elementwise` says, by which devices may share a variable."""
    options = {"optimizer": name, "weight_decay": 0.1}
    whole, (kernel, _) = make(**options)
    halves = [keras.Variable(half, name="kernel") for half in np.split(WEIGHTS, 2, axis=1)]
    of_halves = make_optimizer(OptimizerSettings(**options))
    of_halves.build(halves)
    for seed in range(3):
        gradient = np.random.default_rng(seed).normal(size=WEIGHTS.shape).astype(np.float32)
        whole.apply([tf.constant(gradient), tf.zeros_like(BIASES)])
        of_halves.apply([tf.constant(half) for half in np.split(gradient, 2, axis=1)])
    assert whole.is_elementwise
    found = np.concatenate([half.numpy() for half in halves], axis=1)
    np.testing.assert_allclose(found, kernel.numpy(), rtol=1e-6)
    assert not np.allclose(found, WEIGHTS)


@pytest.mark.parametrize("name", optimizers)
def test_a_copy_by_its_configuration_decays_as_much(name):
    optimizer = make_optimizer(
        OptimizerSettings(optimizer=name, weight_decay=0.25, clip_global_norm=3.0),
        decay_factors=[2.0, None],
    )
    copy = type(optimizer).from_config(optimizer.get_config())
    assert (copy.decay, copy.decay_factors, copy.clip_global_norm) == (0.25, [2.0, None], 3.0)


def test_an_optimizer_that_does_not_clip_says_so(registries_restored):
    def adamw(settings, decay, decay_factors, rate_factors, **options):
        return keras.optimizers.AdamW(**options)

    optimizers.register("adamw")(adamw)
    assert make_optimizer(OptimizerSettings(optimizer="adamw"))
    with pytest.raises(ValueError, match="AdamW does not take --clip_global_norm"):
        make_optimizer(OptimizerSettings(optimizer="adamw", clip_global_norm=1.0))


def test_the_optimizer_in_contributing_works_as_written(registries_restored):
    contributing = pathlib.Path(__file__).parents[2] / "CONTRIBUTING.md"
    pattern = r"```python\n(# my_optimizer\.py\n.*?)```"
    (source,) = re.findall(pattern, contributing.read_text(), re.DOTALL)
    exec(compile(source, str(contributing), "exec"), {})
    optimizer, (kernel, bias) = make(optimizer="lion", weight_decay=0.1, learning_rate=0.01)
    optimizer.apply([tf.zeros_like(WEIGHTS), tf.ones_like(BIASES)])
    assert (np.abs(kernel.numpy()) < np.abs(WEIGHTS)).all()  # by the decay alone
    assert (bias.numpy() < BIASES).all()


@pytest.mark.parametrize("name", optimizers)
def test_what_an_optimizer_gathered_takes_another_to_the_same_weights(name):
    def steps(optimizer, seeds):
        for seed in seeds:
            gradient = np.random.default_rng(seed).normal(size=WEIGHTS.shape)
            optimizer.apply([tf.constant(gradient, tf.float32), tf.ones_like(BIASES)])

    options = {"optimizer": name, "weight_decay": 0.1, "ftrl_l1": 0.01}
    first, weights = make(**options)
    steps(first, range(2))
    second, resumed = make(**options)
    for one, other in zip([*second.variables, *resumed], [*first.variables, *weights], strict=True):
        one.assign(other)
    steps(first, range(2, 4))
    steps(second, range(2, 4))
    for one, other in zip(resumed, weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    assert int(second.iterations) == 4


v1 = tf.compat.v1.train
# As TF-Slim's train_image_classifier makes them.
TENSORFLOW_1S = {
    "adadelta": lambda rate, epsilon: v1.AdadeltaOptimizer(rate, rho=0.95, epsilon=epsilon),
    "adagrad": lambda rate, epsilon: v1.AdagradOptimizer(rate, initial_accumulator_value=0.2),
    "adam": lambda rate, epsilon: v1.AdamOptimizer(rate, 0.9, 0.999, epsilon=epsilon),
    "ftrl": lambda rate, epsilon: v1.FtrlOptimizer(rate, -0.4, 0.2, 0.1, 0.3),
    "momentum": lambda rate, epsilon: v1.MomentumOptimizer(rate, 0.9),
    "rmsprop": lambda rate, epsilon: v1.RMSPropOptimizer(rate, 0.9, 0.9, epsilon=epsilon),
    "sgd": lambda rate, epsilon: v1.GradientDescentOptimizer(rate),
}


def steps_of_tensorflow_1(make_theirs, rates):
    """The weights after each step."""
    generator, steps = np.random.default_rng(0), []
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        rate = tf.compat.v1.placeholder(tf.float32, [])
        gradient = tf.compat.v1.placeholder(tf.float32, WEIGHTS.shape)
        variable = tf.compat.v1.get_variable("weights", initializer=WEIGHTS)
        update = make_theirs(rate).apply_gradients([(gradient, variable)])
        session.run(tf.compat.v1.global_variables_initializer())
        for now in rates:
            session.run(update, {rate: now, gradient: generator.normal(size=WEIGHTS.shape)})
            steps.append(session.run(variable))
    return steps


def our_steps(rates, **options):
    generator = np.random.default_rng(0)
    optimizer, (kernel, _) = make(weight_decay=0.0, **options)
    for now in rates:
        optimizer.learning_rate.assign(now)
        gradient = tf.constant(generator.normal(size=WEIGHTS.shape), tf.float32)
        optimizer.apply([gradient, tf.zeros_like(BIASES)])
        yield kernel.numpy()


@pytest.mark.parametrize("epsilon", [1.0, 1e-3])
@pytest.mark.parametrize("name", TENSORFLOW_1S)
def test_steps_are_those_of_tensorflow_1(name, epsilon):
    # Of momentum only where the rate stays: see the next test.
    rates = [0.1, 0.1, 0.1, 0.1] if name == "momentum" else [0.1, 0.1, 0.05, 0.02]
    ours = our_steps(
        rates,
        optimizer=name,
        opt_epsilon=epsilon,
        adagrad_initial_accumulator_value=0.2,
        ftrl_learning_rate_power=-0.4,
        ftrl_initial_accumulator_value=0.2,
        ftrl_l1=0.1,
        ftrl_l2=0.3,
    )
    theirs = steps_of_tensorflow_1(lambda rate: TENSORFLOW_1S[name](rate, epsilon), rates)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


def test_where_the_rate_falls_momentum_keeps_what_it_gathered_and_tensorflow_1_scales_it():
    """The 2012 paper has the rate inside the velocity, TensorFlow 1 outside."""
    rates = [0.1, 0.094]
    first, second = our_steps(rates, optimizer="momentum")
    _, theirs = steps_of_tensorflow_1(lambda rate: TENSORFLOW_1S["momentum"](rate, None), rates)
    gathered = 0.9 * (first - WEIGHTS)
    np.testing.assert_allclose(second - theirs, (1 - 0.94) * gathered, rtol=0, atol=1e-6)
