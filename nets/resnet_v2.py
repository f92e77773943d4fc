"""TF-Slim's ResNets v2, of full pre-activation: 50, 101, 152 and 200 layers.

Sources: He and others, "Identity Mappings in Deep Residual Networks"
(https://arxiv.org/abs/1603.05027), figure 1b and the appendix; "Deep Residual Learning for Image
Recognition" (https://arxiv.org/abs/1512.03385), table 1; TF-Slim, `nets/resnet_v2.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from nets.registry import EndPoints, on_symbolic_images, register_network
from nets.resnet_parts import BASE_DEPTHS, HYPERPARAMETERS, ResidualNetwork, blocks

# Units in each of the four blocks; each has three convolutions.
CONFIGURATIONS = {
    "resnet_v2_50": (3, 4, 6, 3),  # 25,570,409 parameters for 1,001 classes
    "resnet_v2_101": (3, 4, 23, 3),  # 44,579,945
    "resnet_v2_152": (3, 8, 36, 3),  # 60,238,953
    "resnet_v2_200": (3, 24, 36, 3),  # 64,728,169
}


@on_symbolic_images
def resnet_v2(
    name: str,
    units: Sequence[int],
    images: Any,
    num_classes: int | None = 1001,
    global_pool: bool = True,
    output_stride: int | None = None,
    spatial_squeeze: bool = True,
) -> tuple[Any, EndPoints]:
    """ResNet v2 as TF-Slim has it: batch normalisation and ReLU before convolutions.

    A unit ends with the sum, so that shortcuts are identities wherever the depth stays; `postnorm`
    and a ReLU follow the last unit. conv1, the shortcuts' convolutions and the last one of each
    unit have biases instead of a normalisation. Strides, batch normalisation and initial values
    are as in `resnet_v1`. End points are TF-Slim's in name, order and value.

    Args:
      name: of the network; its scope.
      units: how many each of the four blocks has.
      images: float [batch, height, width, 3], 32 pixels or more a side. The published checkpoints
        take 299 pixels a side, from -1 to 1.
      num_classes: None returns the last map, normalised, or its mean, [batch, 1, 1, 2048]. The
        published checkpoints have 1,001, the first of which is the background.
      global_pool: averages over positions before the logits. False gives logits for each, with
        `spatial_squeeze=False`.
      output_stride: 4, 8, 16 or 32 (None): how many times smaller than the image the last map is.
        Convolutions are dilated instead; the weights are the same.
      spatial_squeeze: gives [batch, num_classes].

    Returns:
      Logits and end points `resnet_v2_50/conv1`, `resnet_v2_50/block1/unit_1/bottleneck_v2/conv1`
      ... `resnet_v2_50/block4`, `global_pool`, `resnet_v2_50/logits`,
      `resnet_v2_50/spatial_squeeze`, `predictions`.

    Raises:
      ValueError: if `output_stride` is none of these.
    """
    network = ResidualNetwork(name)
    # The first unit normalises what conv1 gives.
    net = network.convolve(images, "conv1", 64, 7, stride=2, normalized=False, relu=False)
    net = network.pool(net)
    for block in blocks(units, BASE_DEPTHS, output_stride):
        net = network.stack(net, block, _bottleneck)
    net = network.relu(network.normalize(net, "postnorm"), "postnorm")
    net = network.classify(net, num_classes, global_pool, spatial_squeeze)
    return net, network.end_points


def _bottleneck(
    network: ResidualNetwork, inputs: Any, scope: str, base_depth: int, stride: int, rate: int
) -> Any:
    """1x1, 3x3, 1x1 on normalised inputs, added to the inputs as they came.

    Where the depth changes, a convolution of the normalised inputs is added instead.
    """
    scope = f"{scope}/bottleneck_v2"
    depth = 4 * base_depth
    plain = functools.partial(network.convolve, normalized=False, relu=False)
    preact = network.relu(network.normalize(inputs, f"{scope}/preact"), f"{scope}/preact")
    if inputs.shape[-1] == depth:
        shortcut = network.subsample(inputs, f"{scope}/shortcut", stride)
    else:
        shortcut = plain(preact, f"{scope}/shortcut", depth, 1, stride)
    residual = network.convolve(preact, f"{scope}/conv1", base_depth, 1)
    residual = network.convolve(residual, f"{scope}/conv2", base_depth, 3, stride, rate)
    residual = plain(residual, f"{scope}/conv3", depth, 1)
    return network.mark(scope, network.add(shortcut, residual, scope))


for _name, _units in CONFIGURATIONS.items():
    register_network(
        name=_name,
        first_layer="conv1",
        head="logits",
        default_image_size=224,
        minimum_image_size=32,
        preprocessing="vgg",
        hyperparameters=HYPERPARAMETERS,
    )(functools.partial(resnet_v2, _name, _units))
