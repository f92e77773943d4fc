"""What a network says of itself, and what is refused when it is not true."""

import functools
import json
import pathlib
import re

import keras
import numpy as np
import pytest
from network_names import ALEXNETS, TF_SLIM_FACTS

from nets import scopes
from nets.nets_factory import get_network_fn, networks, parameter_counts, register_network

README = pathlib.Path(__file__).parents[2] / "README.md"
every_network = pytest.mark.parametrize("name", ALEXNETS)


def rows_of_the_readme():
    """Networks and numbers of parameters, row by row."""
    table = README.read_text().partition("| network |")[2]
    for line in table.splitlines():
        if line.startswith("| `"):
            cells = line.split("|")
            first, *others = re.findall(r"`(\w+)`", cells[1])
            # `cifarnet_18pct`, `_13pct`, `_11pct`
            stem = first.rpartition("_")[0]
            names = [first, *(stem + name if name.startswith("_") else name for name in others)]
            numbers = re.findall(r"\d[\d,]+", cells[2])
            yield names, [int(number.replace(",", "")) for number in numbers]


def test_networks_have_the_parameters_of_the_readme_by_default(outlined):
    def count(name):
        if name in TF_SLIM_FACTS:  # to which the network is held elsewhere
            return json.loads(TF_SLIM_FACTS[name].read_text())["trainable_parameters"]
        return sum(parameter_counts(outlined(name)).values())

    seen = set()
    for names, numbers in rows_of_the_readme():
        counts = set(map(count, names))
        assert [min(counts), max(counts)][: len(numbers)] == numbers, names
        assert len(counts) == 1 or len(numbers) == 2, names
        seen.update(names)
    assert seen == {*ALEXNETS, *TF_SLIM_FACTS}


@every_network
def test_its_first_layer_sees_its_images_and_its_heads_give_classes(name, outlined):
    network_fn = outlined(name)
    assert network_fn.num_classes == networks[name].num_classes
    variables = network_fn.variables
    assert variables[f"{network_fn.first_layer}/weights"].shape[-2] == network_fn.channels
    assert network_fn.heads
    for head in network_fn.heads:
        assert variables[f"{head}/weights"].shape[-1] == network_fn.num_classes
    features = outlined(name, None)
    assert features.first_layer == network_fn.first_layer
    assert features.heads == ()
    gone = {key.rpartition("/")[0] for key in set(variables) - set(features.variables)}
    assert gone == set(network_fn.heads)


# Networks of one test


@pytest.fixture(autouse=True)
def _registries_restored(registries_restored):
    pass


def build(images, num_classes=7, scope="build", auxiliary=False):
    """A linear classifier of mean colours."""
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(images)
    end_points = {f"{scope}/pool": pooled, "global_pool": pooled}
    if num_classes is not None:
        pooled = keras.layers.Dense(4, name="fc1")(pooled)
        logits = keras.layers.Dense(num_classes, name="fc2")(pooled)
        if auxiliary:
            end_points["AuxLogits"] = keras.layers.Dense(num_classes, name="aux")(pooled)
        end_points["Predictions"] = pooled = logits
    return pooled, end_points


def register(function=build, **changes):
    said = {
        "first_layer": "fc1",
        "head": "fc2",
        "default_image_size": 8,
        "minimum_image_size": 1,
        "preprocessing": "cifar",
    }
    register_network(**{**said, **changes})(function)


def test_the_number_of_classes_is_that_of_the_function():
    register()
    assert networks["build"].num_classes == 7
    assert networks["build"].options == {"scope": "build", "auxiliary": False}
    network_fn = get_network_fn("build")
    assert network_fn.num_classes == 7
    assert network_fn.model.output_shape == (None, 7)
    assert get_network_fn("build", num_classes=3).model.output_shape == (None, 3)


def test_a_function_may_give_features_by_default():
    register(functools.partial(build, num_classes=None), name="features", head=())
    assert networks["features"].num_classes is None
    assert networks["features"].options == {"scope": "build", "auxiliary": False}


@pytest.mark.parametrize(
    "function", [lambda images, num_classes: (images, {}), lambda images, n=10: (images, {})]
)
def test_a_function_without_a_number_of_classes_is_refused(function):
    with pytest.raises(ValueError, match="of bare has no default for num_classes; write"):
        register(function, name="bare")
    assert "bare" not in networks


def test_a_name_without_its_own_scope_is_that_of_the_function():
    register(name="another")
    network_fn = get_network_fn("another")
    assert (network_fn.name, network_fn.scope) == ("another", "build")
    assert network_fn.model.name == networks["another"].name == "another"
    assert networks["another"].scope == "build"
    assert [name.split("/")[0] for name in network_fn.variables] == ["build"] * 4
    assert network_fn.first_layer == "build/fc1"
    assert network_fn.heads == ("build/fc2",)


def test_a_scope_need_not_be_the_name():
    register(functools.partial(build, scope="Build"), name="build_v3", scope="Build")
    network_fn = get_network_fn("build_v3")
    assert (network_fn.name, network_fn.scope) == ("build_v3", "Build")
    assert next(iter(network_fn.variables)) == "Build/fc1/weights"
    _, end_points = network_fn(keras.ops.ones([1, 8, 8, 3]))
    assert list(end_points) == ["Build/pool", "global_pool", "Predictions"]


def test_a_partial_has_the_scope_of_its_name():
    register(functools.partial(build, scope="wide"), name="wide")
    assert networks["wide"].scope == "wide"
    assert get_network_fn("wide").first_layer == "wide/fc1"


def test_a_network_may_have_no_scope():
    register(functools.partial(build, scope="elsewhere"), name="bare", scope="")
    network_fn = get_network_fn("bare")
    assert (networks["bare"].scope, network_fn.scope) == ("", "")
    assert list(network_fn.variables) == ["fc1/weights", "fc1/biases", "fc2/weights", "fc2/biases"]
    assert (network_fn.first_layer, network_fn.heads) == ("fc1", ("fc2",))


@pytest.mark.parametrize(
    ("name", "source", "target", "there"),
    [
        ("net/fc8/weights", "net", "other", "other/fc8/weights"),
        ("net/fc8/weights", "net", "", "fc8/weights"),
        ("fc8/weights", "", "net", "net/fc8/weights"),
        ("net", "net", "other", "other"),
    ],
)
def test_names_move_from_scope_to_scope(name, source, target, there):
    assert scopes.moved(name, source, target) == there


def test_a_function_without_a_name_needs_one():
    with pytest.raises(ValueError, match="has no name of its own; give register_network a name"):
        register(functools.partial(build))


def test_end_points_of_another_scope_are_refused_with_both():
    register(functools.partial(build, scope="Build"), name="build_v3")
    message = r"build_v3 has the end point 'Build/pool', and .* the scope 'build_v3'.*scope that"
    with pytest.raises(ValueError, match=message):
        get_network_fn("build_v3")
    register(name="longer")
    with pytest.raises(ValueError, match=r"'building/pool', and .* the scope 'build'"):
        get_network_fn("longer", scope="building")  # begins with it, but not with "build/"


def test_a_network_may_have_several_heads():
    """Auxiliary logits are an end point alone, and their variables count like all others."""
    register(head=("fc2", "aux"))
    network_fn = get_network_fn("build", auxiliary=True, weight_decay=2.0)
    assert networks["build"].heads == ("fc2", "aux")
    assert network_fn.heads == ("build/fc2", "build/aux")
    variables = network_fn.variables
    assert {"build/aux/weights", "build/aux/biases"} <= set(variables)
    assert parameter_counts(network_fn)["aux"] == 4 * 7 + 7
    kernels = [variables[f"build/{layer}/weights"].numpy() for layer in ("fc1", "fc2", "aux")]
    squares = sum(np.square(kernel).sum() for kernel in kernels)
    np.testing.assert_allclose(network_fn.regularization_loss(), squares, rtol=1e-5)


def test_an_auxiliary_head_counts_where_it_is_there():
    register(auxiliary_head="a*x")
    assert get_network_fn("build").heads == ("build/fc2",)
    assert get_network_fn("build", auxiliary=True).heads == ("build/fc2", "build/aux")


def build_for(images, num_classes=7, is_training=False):
    """One that has auxiliary logits in training alone."""
    return build(images, num_classes, "build_for", auxiliary=is_training)


def test_a_network_may_be_built_otherwise_for_training():
    register(build_for, auxiliary_head="aux")
    assert networks["build_for"].options == {}
    assert networks["build_for"].differs_in_training
    images = keras.ops.ones([1, 8, 8, 3])
    for is_training in (False, True):
        network_fn = get_network_fn("build_for", is_training=is_training)
        assert ("build_for/aux" in network_fn.heads) == is_training
        assert ("AuxLogits" in network_fn(images)[1]) == is_training


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"first_layer": "conv1"}, "'build/conv1' as its first_layer.*have: build/fc1, build/fc2"),
        ({"first_layer": "pool"}, "'build/pool' as its first_layer, which has no variables"),
        ({"head": "fc8"}, "'build/fc8' as its head.*These have: build/fc1, build/fc2"),
        ({"head": ("fc2", "aux")}, "'build/aux' as its head"),
        ({"convolutions_end": "pool9"}, "'pool9' as its convolutions_end.* are: .*fc1.*fc2"),
    ],
)
def test_layers_that_do_not_exist_are_refused_with_those_that_do(changes, message):
    register(**changes)
    with pytest.raises(ValueError, match=message):
        get_network_fn("build")


@pytest.mark.parametrize("missing", ["first_layer", "head"])
def test_a_network_must_say_which_its_first_layer_and_its_head_are(missing):
    said = {"first_layer": "fc1", "head": "fc2"}
    del said[missing]
    with pytest.raises(TypeError, match=missing):
        register_network(**said, default_image_size=8, minimum_image_size=1, preprocessing="cifar")
