import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from nets import nets_factory
from slimzoo.commands.train_image_classifier import train
from slimzoo.configuration import TrainingConfig
from training.checkpoints.finding import latest_checkpoint
from training.optimizers import OptimizerSettings, make_optimizer
from training.variable_factors import VariableFactors

NAMES = ["net/conv1/weights", "net/conv1/biases", "net/fc2/weights", "net/fc2/biases"]


def test_factors_of_patterns_are_multiplied_and_change_at_their_epochs():
    entries = ["*/biases=2", "net/conv1/*@67=0.1", "net/conv1/*@72=0", "*/biases@70=4"]
    factors = VariableFactors("learning_rate_factors", entries, NAMES)
    assert factors.at(0) == [1, 2, 1, 2]
    assert factors.at(66.99) == [1, 2, 1, 2]
    np.testing.assert_allclose(factors.at(67), [0.1, 0.2, 1, 2])
    np.testing.assert_allclose(factors.at(70), [0.1, 0.4, 1, 4])
    assert factors.at(90) == [0, 0, 1, 4]
    assert not VariableFactors("learning_rate_factors", [], NAMES)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("*/biases", r"has '\*/biases'; it takes PATTERN=FACTOR"),
        ("*/biases=two", "has .*two"),
        ("=2", "has '=2'"),
        ("*/biases@-1=2", "numbers of 0 or more"),
        ("*/biases=-1", "numbers of 0 or more"),
        ("*/biases=nan", "numbers of 0 or more"),
        ("*/bias=2", r"'\*/bias' matches no variable.*net/conv1/weights"),
    ],
)
def test_a_bad_entry_is_named(entry, message):
    with pytest.raises(ValueError, match=f"--learning_rate_factors.*{message}"):
        VariableFactors("learning_rate_factors", [entry], NAMES)


def test_a_network_can_name_variables_that_are_not_trained():
    factors = VariableFactors("weight_decay_factors", ["*/conv1/*=0"], NAMES[2:], NAMES)
    assert factors.at(0) == [1, 1]


def test_weight_decay_takes_no_epochs():
    with pytest.raises(ValueError, match="it takes no epochs"):
        VariableFactors("weight_decay_factors", ["*@3=2"], NAMES, takes_epochs=False)


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

    kernel, bias = updated(0.01, 0.1, [0.5, 3.0], [7.0, 1.0])
    np.testing.assert_allclose(kernel, updated(0.005, 0.7)[0], rtol=1e-5)
    np.testing.assert_allclose(bias, updated(0.03, 0.1)[1], rtol=1e-5)


def test_a_factor_of_zero_freezes_from_its_epoch_on_and_a_network_brings_its_own(config):
    # 30 images, batches of 10: epoch 1 begins at step 3.
    entries = ["tiny/conv1/*@1=0"]
    values = {}
    for steps in (3, 6):
        run = dataclasses.replace(
            config,
            learning_rate_factors=entries,
            max_number_of_steps=steps,
            momentum=0.0,
            learning_rate_decay_type="fixed",
        )
        train(run)
        reader = tf.train.load_checkpoint(latest_checkpoint(config.train_dir))
        values[steps] = {
            layer: reader.get_tensor(f"network/tiny.S{layer}.Sweights/.ATTRIBUTES/VARIABLE_VALUE")
            for layer in ("conv1", "fc2")
        }
    np.testing.assert_array_equal(values[3]["conv1"], values[6]["conv1"])
    assert np.abs(values[3]["fc2"] - values[6]["fc2"]).max() > 0


def test_defaults_are_the_networks_where_nothing_is_given():
    own = nets_factory.networks["cifarnet_18pct"].hyperparameters
    config = TrainingConfig(model_name="cifarnet_18pct", weight_decay=0.0).with_defaults(own)
    assert (config.learning_rate, config.weight_decay) == (0.001, 0.0)
    assert config.learning_rate_factors == ["*/biases=2"]
    others = TrainingConfig(learning_rate_factors=[]).with_defaults(own)
    assert (others.learning_rate_factors, others.weight_decay) == ([], 0.004)
    plain = TrainingConfig().with_defaults({})
    assert (plain.learning_rate, plain.weight_decay) == (0.01, 5e-4)
    with pytest.raises(ValueError, match="Unknown hyperparameter 'rate'"):
        TrainingConfig().with_defaults({"rate": 1})


@pytest.mark.parametrize("name", nets_factory.networks)
def test_what_a_network_was_trained_with_fits_its_variables(name, request):
    network = nets_factory.networks[name]
    config = TrainingConfig(model_name=name).with_defaults(network.hyperparameters)
    if not (config.learning_rate_factors or config.weight_decay_factors):
        return
    names = list(nets_factory.get_network_fn(name, 10).variables)
    rates = VariableFactors("learning_rate_factors", config.learning_rate_factors, names).at(0)
    assert set(zip([n.endswith("/biases") for n in names], rates, strict=True)) == {
        (True, 2.0),
        (False, 1.0),
    }
    decays = VariableFactors(
        "weight_decay_factors", config.weight_decay_factors, names, None, False
    )
    expected = {
        "alexnet_torchvision": [1e-4] * 8,
        "cifarnet_18pct": [0.004, 0.004, 0.004, 1.0],
        "cifarnet_13pct": [0, 0, 0.004, 0.004, 0.004],
        "cifarnet_11pct": [0, 0, 0.004, 0.004, 0.01],
    }.get(name, [5e-4] * (len(names) // 2))
    of_weights = [
        factor * config.weight_decay
        for n, factor in zip(names, decays.at(0), strict=True)
        if n.endswith("/weights")
    ]
    np.testing.assert_allclose(of_weights, expected)


@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param({"mixed_precision": "float16"}, marks=pytest.mark.slow),
        pytest.param({"optimizer": "adam"}, marks=pytest.mark.slow),
    ],
)
def test_two_replicas_take_the_factors_of_one(config, options, tmp_path):
    values = []
    for replicas in (1, 2):
        run = dataclasses.replace(
            config,
            train_dir=str(tmp_path / f"{replicas}"),
            num_replicas=replicas,
            augment=False,
            network_options=["dropout_keep_prob=1.0"],
            learning_rate_factors=["*/biases=2", "tiny/conv1/*@1=0"],
            weight_decay_factors=["*/fc3/*=50"],
            **options,
        )
        train(run)
        reader = tf.train.load_checkpoint(latest_checkpoint(run.train_dir))
        values.append(
            {
                key: reader.get_tensor(key)
                for key in reader.get_variable_to_shape_map()
                if key.startswith("network/")
            }
        )
    tolerance = 1e-2 if options.get("mixed_precision") else 1e-5
    for key, value in values[0].items():
        np.testing.assert_allclose(values[1][key], value, rtol=tolerance, atol=tolerance)


def test_a_decay_of_biases_is_refused(config):
    """They have none that could be multiplied."""
    with pytest.raises(ValueError, match="'\\*/biases' matches no variable"):
        train(dataclasses.replace(config, weight_decay_factors=["*/biases=2"]))


def test_a_resumed_run_has_the_factors_of_its_epoch(config, tmp_path):
    """Six steps at once, and three and three, of which the second half is frozen."""
    weights = []
    for name, stops in (("whole", [6]), ("halves", [3, 6])):
        for steps in stops:
            run = dataclasses.replace(
                config,
                train_dir=str(tmp_path / name),
                max_number_of_steps=steps,
                learning_rate_decay_type="fixed",
                learning_rate_factors=["*/biases=2", "tiny/conv1/*@1=0.5", "*/fc2/*@1.5=0"],
            )
            train(run)
        reader = tf.train.load_checkpoint(latest_checkpoint(run.train_dir))
        weights.append(reader.get_tensor("network/tiny.Sconv1.Sweights/.ATTRIBUTES/VARIABLE_VALUE"))
    np.testing.assert_allclose(*weights, rtol=1e-5, atol=1e-7)
