"""Calls of TF-Slim's modules, and what they are answered."""

import inspect
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import nets
from nets import mobilenet_v1, mobilenet_v3, nasnet, registry, resnet_v1, vgg
from nets.nets_factory import networks


@pytest.mark.parametrize(
    ("module", "name", "instead"),
    [
        (resnet_v1, "resnet_v1_50", r"nets_factory\.get_network_fn\('resnet_v1_50', num_classes, "),
        (resnet_v1, "resnet_arg_scope", "no argument scopes; get_network_fn"),
        (vgg, "vgg_16", r"get_network_fn\('vgg_16', "),
        (mobilenet_v1, "mobilenet_v1_base", r"get_network_fn\('mobilenet_v1', "),
        (mobilenet_v3, "large", r"get_network_fn\('mobilenet_v3_"),
        (nasnet, "build_nasnet_mobile", r"get_network_fn\('nasnet_mobile', "),
    ],
)
def test_a_name_that_tf_slims_module_had_is_told_what_takes_its_place(module, name, instead):
    with pytest.raises(AttributeError, match=f"'{name}' of TF-Slim: .*{instead}"):
        getattr(module, name)
    assert not hasattr(module, name)
    with pytest.raises(AttributeError, match=r"has no attribute '__path__'\.$"):
        module.__path__  # noqa: B018


@pytest.mark.parametrize("name", ["inception", "mobilenet", "resnet_utils"])
def test_a_module_that_tf_slim_had_is_told_what_takes_its_place(name):
    with pytest.raises(ImportError, match=rf"name '{name}' of TF-Slim.*nets_factory\.get_network_"):
        exec(f"from nets import {name}")
    with pytest.raises(ImportError, match=r"cannot import name 'incepton' from 'nets'"):
        exec("from nets import incepton")
    assert not hasattr(nets, "incepton")


@pytest.mark.parametrize("name", networks)
def test_no_function_makes_weights_that_nobody_can_reach(name):
    function = getattr(networks[name].build, "func", networks[name].build)
    assert getattr(sys.modules[function.__module__], function.__name__) is function
    size = networks[name].default_image_size
    others = dict.fromkeys(inspect.signature(function).parameters)
    for images in (tf.zeros([1, size, size, 3]), np.zeros([1, size, size, 3], np.float32)):
        with pytest.raises(TypeError, match=r"new weights at each call\. nets_factory\.get_netw"):
            function(**{**others, "images": images})
        # As it was called there.
        with pytest.raises(TypeError, match=r"get_network_fn\('"):
            function(images, 5, is_training=False)


def test_a_network_of_ones_own_is_protected_too_and_its_module_left_alone():
    def own(images, num_classes=10):
        return keras.layers.Conv2D(num_classes, 1, name="fc")(images), {}

    with networks.restored():
        registered = registry.register_network(
            first_layer="fc",
            head="fc",
            default_image_size=8,
            minimum_image_size=1,
            preprocessing="inception",
        )(own)
        with pytest.raises(TypeError, match=r"get_network_fn\('own'"):
            registered(tf.zeros([1, 8, 8, 3]))
        assert networks["own"].num_classes == 10
        assert registered(keras.Input([8, 8, 3]), num_classes=4)[0].shape == (None, 8, 8, 4)
    assert "__getattr__" not in globals()
