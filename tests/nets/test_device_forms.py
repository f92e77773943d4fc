"""Every layer that has two forms, one against the other, and how one of them is chosen."""

import contextlib
import dataclasses
import importlib
import inspect
import operator
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pytest
import tensorflow as tf

import nets
from nets import device_forms, layers
from nets.activations import Activation
from nets.batch_normalization import BatchNormalization, folded_into_convolutions
from nets.device_forms import traced_for, traced_for_gpu
from nets.response_normalization import LocalResponseNormalization
from nets.separable import DepthwiseConv2D

# How far results may differ, relative to the largest: sums in another order, then rounding.
TOLERANCES = {"float32": 1e-5, "bfloat16": 2e-2, "float16": 2e-3}

ENTRY = re.compile(r"^(\w+): (.+)\n    CPU: `([\w.]+)`\.(?:.|\n)*?\n    GPU: `([\w.]+)`", re.M)
# (module, layer) -> the names of its form for a CPU and of that for a GPU.
LISTED = {
    (module, layer): names for module, layer, *names in ENTRY.findall(device_forms.__doc__ or "")
}


@dataclasses.dataclass(frozen=True)
class Example:
    """A layer that has two forms.

    Attributes:
      make: the layer, given a dtype policy.
      shape: of its inputs.
      dtypes: in which its forms differ.
      call_options: how it is called.
    """

    make: Callable
    shape: tuple[int, ...]
    dtypes: tuple[str, ...]
    call_options: Mapping[str, bool] = dataclasses.field(default_factory=dict)


def grouped(dtype):
    return layers.Conv2D(
        16, 3, padding="same", groups=2, activation="relu", bias_initializer="normal", dtype=dtype
    )


def normalized(dtype):
    """A convolution and its normalisation as one layer, as networks call them in evaluation."""
    convolution = layers.Conv2D(8, 3, use_bias=False, dtype=dtype)
    normalization = BatchNormalization(
        epsilon=0.1,
        beta_initializer="normal",
        moving_mean_initializer="normal",
        gamma_initializer="uniform",
        dtype=dtype,
    )

    class Normalized(tf.keras.layers.Layer):
        def build(self, shape):
            convolution.build(shape)
            normalization.build((None, None, None, 8))

        def call(self, inputs):
            with folded_into_convolutions():
                return normalization(convolution(inputs), training=False)

    layer = Normalized(dtype=dtype)
    layer.parts = [convolution, normalization]
    return layer


ALL_DTYPES = ("float32", "bfloat16", "float16")
TRAINING = {"training": True}
EXAMPLES = {
    ("layers", "grouped convolution"): Example(grouped, (2, 9, 7, 8), ALL_DTYPES),
    (
        "layers",
        "a convolution in strides over few channels of bfloat16, as AlexNet's first",
    ): Example(lambda dtype: layers.Conv2D(8, 11, 4, dtype=dtype), (2, 27, 23, 3), ("bfloat16",)),
    ("activations", "ReLU of bfloat16"): Example(
        lambda dtype: Activation("relu", dtype=dtype), (4, 5, 5, 3), ("bfloat16",), TRAINING
    ),
    ("activations", "ReLU6 of bfloat16"): Example(
        lambda dtype: Activation("relu6", dtype=dtype), (4, 5, 5, 3), ("bfloat16",), TRAINING
    ),
    ("response_normalization", "response normalisation across channels"): Example(
        lambda dtype: LocalResponseNormalization(2, 2.0, 0.3, dtype=dtype),
        (2, 3, 4, 24),
        ALL_DTYPES,
    ),
    ("separable", "depthwise convolution of bfloat16"): Example(
        lambda dtype: DepthwiseConv2D(3, 2, "same", use_bias=False, dtype=dtype),
        (2, 9, 8, 6),
        ("bfloat16",),
    ),
    ("batch_normalization", "normalisation in evaluation, float32"): Example(
        normalized, (2, 6, 7, 4), ("float32",)
    ),
}
CASES = [
    pytest.param(listed, dtype, id=f"{listed[0]}: {listed[1]}, {dtype}")
    for listed, example in EXAMPLES.items()
    for dtype in example.dtypes
]


def traced(function, kind, *specs):
    """The function as the graph for a kind of device."""
    with traced_for(kind):
        return tf.function(function, autograph=False).get_concrete_function(*specs)


def operations(graph):
    """The types of the operations of a graph; what XLA compiles is a call."""
    return sorted(operation.type for operation in graph.get_operations())


@contextlib.contextmanager
def skipped_where_groups_have_no_kernel() -> Iterator[None]:
    """On a CPU, oneDNN has the kernels of grouped convolution, and not for every dtype."""
    try:
        yield
    except (tf.errors.UnimplementedError, tf.errors.InvalidArgumentError) as error:
        if not re.search("grouped convolution|filter_size does not have enough", error.message):
            raise
        pytest.skip("This CPU has no kernel of grouped convolution for this dtype.")


def test_every_entry_has_an_example_and_code_for_both_forms():
    assert set(LISTED) == set(EXAMPLES)
    for (module, _), names in LISTED.items():
        for name in names:
            if name.startswith("tf."):
                operator.attrgetter(name.removeprefix("tf."))(tf)
            else:
                operator.attrgetter(name)(importlib.import_module(f"nets.{module}"))


def test_every_module_whose_layers_ask_is_listed():
    asking = {
        path.stem
        for path in pathlib.Path(inspect.getfile(nets)).parent.glob("*.py")
        if "traced_for_gpu()" in path.read_text() and path.stem != "device_forms"
    }
    assert asking == {module for module, _ in LISTED}


@pytest.mark.parametrize(("listed", "dtype"), CASES)
def test_a_form_equals_the_other_in_value_and_gradients(listed, dtype):
    example = EXAMPLES[listed]
    layer = example.make("float32" if dtype == "float32" else f"mixed_{dtype}")
    layer.build(example.shape)
    generator = np.random.default_rng(0)
    inputs = tf.cast(generator.normal(0, 3, example.shape), dtype)
    weights = [variable.value for variable in layer.trainable_variables]

    def outputs_and_gradients(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, **example.call_options)
        shape = outputs.shape
        upstream = tf.cast(np.random.default_rng(1).normal(size=shape), outputs.dtype)
        return outputs, *tape.gradient(outputs, [inputs, *weights], upstream)

    graphs = [traced(outputs_and_gradients, kind, inputs) for kind in device_forms.KINDS]
    assert operations(graphs[0].graph) != operations(graphs[1].graph)
    with skipped_where_groups_have_no_kernel():
        for_cpu, for_gpu = (graph(inputs) for graph in graphs)
    for one, other in zip(for_cpu, for_gpu, strict=True):
        assert one.dtype == other.dtype
        one, other = (tf.cast(values, tf.float32) for values in (one, other))
        scale = np.abs(one).max()
        assert scale > 0
        np.testing.assert_allclose(other, one, rtol=0, atol=TOLERANCES[dtype] * scale)


def test_response_normalisation_for_a_gpu_is_one_kernel_forward_and_one_backward():
    def called(kind):
        def outputs_and_gradient(inputs):
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                outputs = LocalResponseNormalization()(inputs)
            return outputs, tape.gradient(outputs, inputs)

        graph = traced(outputs_and_gradient, kind, tf.TensorSpec([2, 3, 3, 8])).graph
        return [one for one in graph.get_operations() if one.type.endswith("PartitionedCall")]

    assert len(called("GPU")) == 2
    assert len(called("CPU")) == 5
    assert all(call.get_attr("_XlaMustCompile") for call in called("GPU"))


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("name", ["alexnet", "alexnet_v2", "alexnet_cifar"])
def test_a_network_that_is_traced_for_either_gives_equal_logits(name, policy, narrow, noise):
    network_fn = narrow(name, dtype_policy=policy)
    images = tf.cast(noise(2, network_fn.default_image_size), network_fn.model.input.dtype)
    for training in (False, True):

        def logits(images, training=training):
            return network_fn(images, is_training=training, seed=tf.constant([1, 2]))[0]

        with skipped_where_groups_have_no_kernel():
            for_cpu, for_gpu = (traced(logits, kind, images)(images) for kind in device_forms.KINDS)
        scale = np.abs(for_cpu).max()
        tolerance = TOLERANCES["float32" if policy == "float32" else "bfloat16"]
        np.testing.assert_allclose(for_gpu, for_cpu, rtol=0, atol=tolerance * scale)


def test_a_network_that_is_built_for_either_has_the_same_variables(outlined):
    for name in ("alexnet", "mobilenet_v2_035"):
        shapes = []
        for kind in device_forms.KINDS:
            with traced_for(kind):
                network_fn = outlined(name, weight_decay=0.1 * (1 + len(shapes)))
            shapes.append({key: value.shape for key, value in network_fn.variables.items()})
        assert shapes[0] == shapes[1]


# How a form is chosen


def test_without_a_gpu_everything_is_for_the_cpu():
    if tf.config.list_logical_devices("GPU"):
        pytest.skip("TensorFlow sees a GPU.")
    answers = [traced_for_gpu()]
    tf.function(lambda: answers.append(traced_for_gpu()))()
    with tf.device("GPU:0"):  # TensorFlow puts on the CPU what is for a device that is not there
        answers.append(traced_for_gpu())
    assert answers == [False] * 3


@pytest.mark.parametrize(
    "make_strategy",
    [
        lambda: tf.distribute.OneDeviceStrategy("CPU:1"),
        lambda: tf.distribute.MirroredStrategy(
            ["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.ReductionToOneDevice()
        ),
    ],
)
def test_a_function_within_a_replica_is_for_the_device_of_the_replica(make_strategy):
    strategy = make_strategy()
    answers = []

    @tf.function(autograph=False)
    def inner():
        answers.append(traced_for_gpu())
        return tf.zeros([])

    tf.function(lambda: strategy.run(lambda: inner()), autograph=False)()
    assert answers
    assert not any(answers)
    answers.clear()
    inner = tf.function(inner.python_function, autograph=False)
    with traced_for("GPU"):  # replicas are traced in threads of their own
        tf.function(lambda: strategy.run(lambda: inner()), autograph=False)()
    assert answers
    assert all(answers)


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("/job:worker/replica:0/task:1/device:GPU:3", True),
        ("/job:worker/replica:0/task:1/device:CPU:0", False),
        ("GPU:0", True),
        ("CPU:1", False),
    ],
)
def test_the_scope_of_a_device_decides(device, expected):
    # In a graph of TensorFlow 1 scopes can name what is not there.
    with tf.Graph().as_default(), tf.device(device):
        assert traced_for_gpu() is expected


@pytest.mark.parametrize("device", ["", "/job:localhost/replica:0/task:0/device:CUSTOM:0"])
def test_where_no_kind_is_named_it_is_a_gpu_if_there_is_one(device, monkeypatch):
    for gpus in ([], ["GPU:0"]):
        monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind, gpus=gpus: gpus)
        with tf.Graph().as_default(), tf.device(device):
            assert traced_for_gpu() is bool(gpus)


def test_a_form_that_is_set_by_hand_ends_with_its_block():
    before = traced_for_gpu()
    with traced_for("GPU"):
        with traced_for("CPU"), tf.device("GPU:0"):
            assert not traced_for_gpu()
        with tf.device("CPU:0"):
            assert traced_for_gpu()
    assert traced_for_gpu() is before


def test_a_kind_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"'TPU'.*CPU and GPU"), traced_for("TPU"):
        pass
