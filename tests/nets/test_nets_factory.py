"""What holds for every AlexNet and its kin."""

import importlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from network_names import ALEXNETS

from nets import nets_factory
from nets.nets_factory import get_network_fn, networks
from preprocessing.preprocessing_factory import PREPROCESSINGS

every_network = pytest.mark.parametrize("name", ALEXNETS)
every_network_of_any_size = pytest.mark.parametrize(
    "name", [name for name in ALEXNETS if not networks[name].takes_one_size]
)


def test_the_built_in_networks_are_registered():
    assert {"alexnet", "alexnet_v2", "cifarnet_18pct"} <= set(networks)


@every_network
def test_forward_gives_float32_logits_that_are_the_last_end_point(name, built, noise):
    network_fn = built(name)
    logits, end_points = network_fn(noise(2, network_fn.default_image_size))
    assert logits.dtype == tf.float32
    assert logits.shape == (2, network_fn.num_classes)
    assert np.isfinite(logits).all()
    assert np.ptp(logits) > 0
    assert len(end_points) > 1
    assert all(end_point.startswith(f"{name}/") for end_point in end_points)
    np.testing.assert_array_equal(list(end_points.values())[-1], logits)


@every_network
def test_without_classes_it_gives_the_features_that_the_last_layer_would_see(name, narrow, noise):
    network_fn = narrow(name, None, global_pool=True)
    more = 0 if networks[name].takes_one_size else 40
    features, end_points = network_fn(noise(2, network_fn.default_image_size + more))
    *_, before, (last, pooled) = end_points.items()
    assert network_fn.num_classes is None
    assert last == "global_pool"
    assert features.shape == (2, 1, 1, before[1].shape[-1])
    np.testing.assert_array_equal(features, pooled)
    mean = np.mean(before[1], axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(features, mean, rtol=1e-4, atol=1e-6)


@every_network
def test_every_variable_has_a_finite_gradient_that_is_not_zero(name, narrow, noise):
    network_fn = narrow(name)
    images = noise(2, network_fn.default_image_size)
    with tf.GradientTape() as tape:
        logits, _ = network_fn(images, is_training=True, seed=tf.constant([1, 2]))
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits([3, 4], logits)
        loss = tf.reduce_mean(losses) + network_fn.regularization_loss()
    variables = network_fn.variables
    gradients = tape.gradient(loss, [variable.value for variable in variables.values()])
    assert len(variables) == len(network_fn.model.trainable_variables)
    for variable_name, gradient in zip(variables, gradients, strict=True):
        assert np.isfinite(gradient).all(), variable_name
        assert np.any(gradient), variable_name


@every_network
def test_calling_again_uses_the_same_variables(name, narrow, noise):
    network_fn = narrow(name)
    images = noise(1, network_fn.default_image_size)
    before = [id(weight) for weight in network_fn.model.weights]
    first, _ = network_fn(images)
    again, _ = network_fn(images)
    np.testing.assert_array_equal(first, again)
    assert [id(weight) for weight in network_fn.model.weights] == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spatial_squeeze": False}, r"get_network_fn\('alexnet_v2', ..., spatial_squeeze=False\)"),
        ({"reuse": True}, "Every call of a network uses the same variables: leave out reuse."),
        (
            {"spatial_sqeeze": False},
            "'spatial_sqeeze'. Did you mean 'spatial_squeeze'",
        ),
    ],
)
def test_a_call_with_options_as_in_tf_slim_is_told_where_they_go(options, message, outlined, noise):
    with pytest.raises(TypeError, match=message):
        outlined("alexnet_v2")(noise(1, 224), **options)


@pytest.mark.parametrize("name", ["networks_map", "arg_scopes_map"])
def test_what_tf_slims_module_had_is_told_what_takes_its_place(name):
    with pytest.raises(AttributeError, match=rf"'{name}' of TF-Slim: .*get_network_fn\(name, num_"):
        getattr(nets_factory, name)
    assert not hasattr(nets_factory, name)
    with pytest.raises(AttributeError, match=r"has no attribute 'network_map'\.$"):
        nets_factory.network_map  # noqa: B018


@every_network_of_any_size
def test_unknown_spatial_dimensions_give_what_known_ones_give(name, narrow, noise):
    network_fn = narrow(name, None, global_pool=True)
    size = network_fn.default_image_size
    dynamic = tf.function(network_fn, input_signature=[tf.TensorSpec([None, None, None, 3])])
    for images in (noise(2, size), noise(1, size + 3, size + 20)):
        expected, _ = network_fn(images)
        np.testing.assert_allclose(dynamic(images)[0], expected, rtol=1e-3, atol=1e-4)


@every_network
def test_a_squeezed_network_takes_its_own_size_with_unknown_dimensions(name, narrow, noise):
    network_fn = narrow(name)
    images = noise(1, network_fn.default_image_size)
    dynamic = tf.function(network_fn, input_signature=[tf.TensorSpec([None, None, None, 3])])
    np.testing.assert_allclose(dynamic(images)[0], network_fn(images)[0], rtol=1e-3, atol=1e-4)


@every_network
def test_a_call_overrides_the_mode(name, narrow, noise):
    network_fn = narrow(name)
    images = noise(1, network_fn.default_image_size)
    by_default, _ = network_fn(images)
    evaluating, _ = network_fn(images, is_training=False)
    training, _ = network_fn(images, is_training=True)
    np.testing.assert_array_equal(by_default, evaluating)
    has_dropout = "dropout_keep_prob" in networks[name].options
    assert np.allclose(training, evaluating) != has_dropout


@pytest.mark.parametrize(
    "name", [name for name in ALEXNETS if "dropout_keep_prob" in networks[name].options]
)
def test_a_seed_repeats_a_training_step_and_another_changes_it(name, narrow, noise):
    network_fn = narrow(name)
    images = noise(1, network_fn.default_image_size)
    first, again, other = (
        network_fn(images, is_training=True, seed=tf.constant(seed))[0]
        for seed in ([1, 2], [1, 2], [1, 3])
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0


@every_network
def test_the_regularization_loss_is_half_the_decay_times_the_squares_of_the_kernels(name, narrow):
    network_fn = narrow(name, weight_decay=5e-4)
    kernels = [v.numpy() for key, v in network_fn.variables.items() if key.endswith("/weights")]
    squares = sum(np.sum(np.square(kernel), dtype=np.float64) for kernel in kernels)
    loss = network_fn.regularization_loss()
    assert loss.shape == ()
    np.testing.assert_allclose(loss, 5e-4 / 2 * squares, rtol=1e-4)


@every_network
def test_its_gradient_is_the_decay_times_the_weights_and_nothing_for_biases(name, narrow):
    network_fn = narrow(name, weight_decay=5e-4)
    variables = network_fn.variables
    with tf.GradientTape() as tape:
        loss = network_fn.regularization_loss()
    gradients = tape.gradient(loss, [variable.value for variable in variables.values()])
    for (variable_name, variable), gradient in zip(variables.items(), gradients, strict=True):
        if variable_name.endswith("/biases"):
            assert gradient is None
        else:
            np.testing.assert_allclose(gradient, 5e-4 * variable.numpy(), rtol=1e-5)


@every_network
def test_variables_have_the_names_of_tf_slim(name, outlined):
    network_fn = outlined(name)
    layers = nets_factory.parameter_counts(network_fn)
    expected = [f"{name}/{layer}/{kind}" for layer in layers for kind in ("weights", "biases")]
    assert list(network_fn.variables) == expected
    sizes = [int(np.prod(variable.shape)) for variable in network_fn.variables.values()]
    assert sum(sizes) == sum(layers.values()) == network_fn.model.count_params()


@every_network
def test_what_its_users_must_know_is_true(name, outlined):
    network_fn = outlined(name)
    network = networks[name]
    assert network_fn.name == network_fn.model.name == network.name == name
    assert network_fn.default_image_size == network.default_image_size
    assert network.minimum_image_size <= network.default_image_size
    assert network_fn.preprocessing_name in PREPROCESSINGS
    assert network_fn.num_classes == network.num_classes
    lines = []
    network_fn.model.summary(print_fn=lambda line, **_: lines.append(line))
    assert all(layer in "".join(lines) for layer in nets_factory.parameter_counts(network_fn))


@every_network_of_any_size
def test_the_minimum_size_is_the_least_that_works(name, outlined):
    network_fn = outlined(name)
    minimum = networks[name].minimum_image_size
    with pytest.raises(ValueError, match=rf"{minimum - 1}x{minimum} pixels.*{minimum}x{minimum}"):
        network_fn(tf.zeros([1, minimum - 1, minimum, 3]))
    # The layers themselves agree.
    shape = network_fn.model.compute_output_shape([1, minimum, minimum, 3])
    assert shape == (1, network_fn.num_classes)
    with pytest.raises(ValueError, match="zero or negative"):
        network_fn.model.compute_output_shape([1, minimum - 1, minimum - 1, 3])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            np.zeros((1, 32, 32, 3), np.uint8),
            r"given uint8 images.*float.*preprocessing 'cuda_convnet'",
        ),
        (np.zeros((1, 32, 32, 3), np.int32), "given int32 images"),
        (np.zeros((32, 32, 3), np.float32), r"\(32, 32, 3\).*takes \[batch, height, width, 3\]"),
        (np.zeros((1, 32, 32, 1), np.float32), r"\(1, 32, 32, 1\).*takes \[batch"),
        (np.zeros((1, 3, 32, 32), np.float32), r"\(1, 3, 32, 32\).*takes \[batch"),
        (np.zeros((1, 24, 32, 3), np.float32), "24x32 pixels; it takes 25x25 or more"),
        (np.zeros((1, 40, 32, 3), np.float32), r"2x1 positions.*global_pool=True.*squeeze=False"),
    ],
)
def test_images_that_do_not_fit_are_refused_with_what_fits(images, message, outlined):
    with pytest.raises(ValueError, match=message):
        outlined("cifarnet_18pct")(images)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("alexnet_v3", {}, r"network 'alexnet_v3'. Did you mean 'alexnet_v2'\?.*alexnet, alexnet"),
        ("alexnet", {"dropout_keep_prb": 0.5}, "option of alexnet.*mean 'dropout_keep_prob'"),
        ("alexnet_v2", {"initialization": "paper"}, "option of alexnet_v2 'initialization'"),
        ("alexnet", {"initialization": "papr"}, "'papr'. Did you mean 'paper'.*caffe.*released"),
        ("alexnet", {"dropout_keep_prob": 0}, r"dropout_keep_prob is 0; it must be in \(0, 1\]"),
        ("cifarnet_18pct", {"num_classes": -1}, "num_classes is -1; it must be a positive"),
        ("cifarnet_18pct", {"num_classes": 2.5}, "num_classes is 2.5; it must be a positive int"),
        ("cifarnet_18pct", {"num_classes": "10"}, "num_classes is '10'; it must be a positive"),
        ("cifarnet_18pct", {"weight_decay": -0.1}, "weight_decay is -0.1; it must not be negative"),
        ("cifarnet_18pct", {"weight_decay": np.nan}, "weight_decay is nan"),
        ("cifarnet_18pct", {"dtype_policy": "bf16"}, "bf16.*mixed_bfloat16"),
    ],
)
def test_bad_arguments_are_refused_with_what_exists(name, options, message, outlined):
    with pytest.raises(ValueError, match=message):
        outlined(name, **options)


def test_a_duplicate_name_raises():
    register = nets_factory.register_network(
        first_layer="conv1",
        head="fc8",
        default_image_size=8,
        minimum_image_size=8,
        preprocessing="cifar",
        name="alexnet",
    )
    with pytest.raises(ValueError, match="A network called 'alexnet' is registered already"):
        register(lambda images, num_classes=10: (images, {}))


FOREIGN_NETWORK = """
import keras

from nets.nets_factory import register_network


@register_network(
    first_layer="logits",
    head="logits",
    default_image_size=8,
    minimum_image_size=1,
    preprocessing="cifar",
)
def linear_classifier(images, num_classes=1000, dropout_keep_prob=0.5):
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(images)
    dropped = keras.layers.Dropout(1 - dropout_keep_prob, name="dropout")(pooled)
    logits = keras.layers.Dense(num_classes, name="logits")(dropped)
    return logits, {"linear_classifier/logits": logits}
"""


@pytest.mark.usefixtures("registries_restored")
def test_another_package_can_add_a_network(tmp_path, monkeypatch, noise):
    (tmp_path / "a_package_of_somebody.py").write_text(FOREIGN_NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("a_package_of_somebody")
    assert networks["linear_classifier"].options == {"dropout_keep_prob": 0.5}
    network_fn = get_network_fn("linear_classifier", 4, weight_decay=1.0, is_training=True)
    logits, end_points = network_fn(noise(2, 8))
    assert logits.shape == (2, 4)
    assert list(end_points) == ["linear_classifier/logits"]
    assert list(network_fn.variables) == [
        "linear_classifier/logits/weights",
        "linear_classifier/logits/biases",
    ]
    assert network_fn.regularization_loss() > 0
    evaluated = [network_fn(noise(2, 8), is_training=False)[0].numpy() for _ in range(2)]
    trained = [network_fn(noise(2, 8))[0].numpy() for _ in range(8)]
    np.testing.assert_array_equal(*evaluated)
    assert len({logits.tobytes() for logits in trained}) > 1, "is_training=True did not drop"


def test_no_decay_is_no_loss():
    assert get_network_fn("cifarnet_18pct", 2).regularization_loss() == 0


def test_no_classes_can_be_asked_for_as_none_and_as_zero(noise):
    shapes = {
        get_network_fn("cifarnet_18pct", num_classes)(noise(1, 32))[0].shape
        for num_classes in (None, 0)
    }
    assert shapes == {(1, 4, 4, 64)}


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_a_mixed_policy_computes_in_half_and_keeps_variables_and_logits_in_float32(policy, noise):
    half = get_network_fn("cifarnet_18pct", 10, dtype_policy=policy)
    full = get_network_fn("cifarnet_18pct", 10)
    assert keras.config.dtype_policy().name == "float32"
    full.model.set_weights(half.model.get_weights())
    logits, end_points = half(noise(4, 32))
    expected, _ = full(noise(4, 32))
    assert logits.dtype == tf.float32
    assert end_points["cifarnet_18pct/conv1"].dtype == policy.removeprefix("mixed_")
    assert {variable.dtype for variable in half.variables.values()} == {"float32"}
    np.testing.assert_allclose(logits, expected, atol=0.02 * np.abs(expected).max())


def test_a_failing_build_leaves_the_policy_as_it_was(outlined):
    with pytest.raises(ValueError, match="dropout_keep_prob"):
        outlined("alexnet", dropout_keep_prob=2.0, dtype_policy="mixed_bfloat16")
    assert keras.config.dtype_policy().name == "float32"
