"""TF-Slim's ResNets v1 with bottlenecks: 50, 101, 152 and 200 layers.

Sources: He and others, "Deep Residual Learning for Image Recognition"
(https://arxiv.org/abs/1512.03385), table 1; for 200 layers "Identity Mappings in Deep Residual
Networks" (https://arxiv.org/abs/1603.05027); TF-Slim, `nets/resnet_v1.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from nets.registry import EndPoints, on_symbolic_images, register_network
from nets.resnet_parts import BASE_DEPTHS, HYPERPARAMETERS, ResidualNetwork, blocks

# Units in each of the four blocks; each has three convolutions.
CONFIGURATIONS = {
    "resnet_v1_50": (3, 4, 6, 3),  # 25,557,032 parameters for 1,000 classes
    "resnet_v1_101": (3, 4, 23, 3),  # 44,549,160
    "resnet_v1_152": (3, 8, 36, 3),  # 60,192,808
    "resnet_v1_200": (3, 24, 36, 3),  # 64,673,832
}


@on_symbolic_images
def resnet_v1(
    name: str,
    units: Sequence[int],
    images: Any,
    num_classes: int | None = 1000,
    global_pool: bool = True,
    output_stride: int | None = None,
    spatial_squeeze: bool = True,
    store_non_strided_activations: bool = False,
    min_base_depth: int = 8,
    depth_multiplier: float = 1,
) -> tuple[Any, EndPoints]:
    """ResNet v1 as TF-Slim has it: batch normalisation after each convolution, ReLU after a sum.

    A block's stride is in the 3x3 convolution of its last unit, where the paper has it in the
    first layer of the next block. Batch normalisation with a decay of .997, He's initial values.
    End points are TF-Slim's in name, order and value.

    Args:
      name: of the network; its scope.
      units: how many each of the four blocks has.
      images: float [batch, height, width, 3], mean subtracted, 32 pixels or more a side.
      num_classes: None returns the last map or its mean, [batch, 1, 1, 2048].
      global_pool: averages over positions before the logits. False gives logits for each, with
        `spatial_squeeze=False`.
      output_stride: 4, 8, 16 or 32 (None): how many times smaller than the image the last map is.
        Convolutions are dilated instead; the weights are the same.
      spatial_squeeze: gives [batch, num_classes].
      store_non_strided_activations: halves maps after blocks rather than in their last units, whose
        end points are then as large as the others'. Evaluated, what follows is the same.
      min_base_depth: the least number of filters of 3x3 convolutions.
      depth_multiplier: of the filters of all layers but conv1.

    Returns:
      Logits and end points `resnet_v1_50/conv1`, `resnet_v1_50/block1/unit_1/bottleneck_v1/conv1`
      ... `resnet_v1_50/block4`, `global_pool`, `resnet_v1_50/logits`,
      `resnet_v1_50/spatial_squeeze`, `predictions`.

    Raises:
      ValueError: if `output_stride` is none of these.
    """
    base_depths = [max(int(depth * depth_multiplier), min_base_depth) for depth in BASE_DEPTHS]
    network = ResidualNetwork(name)
    net = network.convolve(images, "conv1", 64, 7, stride=2)
    net = network.pool(net)
    for block in blocks(units, base_depths, output_stride):
        net = network.stack(net, block, _bottleneck, not store_non_strided_activations)
    net = network.classify(net, num_classes, global_pool, spatial_squeeze)
    return net, network.end_points


def _bottleneck(
    network: ResidualNetwork, inputs: Any, scope: str, base_depth: int, stride: int, rate: int
) -> Any:
    """1x1, 3x3, 1x1, added to the inputs, which are convolved only where the depth changes."""
    scope = f"{scope}/bottleneck_v1"
    depth = 4 * base_depth
    if inputs.shape[-1] == depth:
        shortcut = network.subsample(inputs, f"{scope}/shortcut", stride)
    else:
        shortcut = network.convolve(inputs, f"{scope}/shortcut", depth, 1, stride, relu=False)
    residual = network.convolve(inputs, f"{scope}/conv1", base_depth, 1)
    residual = network.convolve(residual, f"{scope}/conv2", base_depth, 3, stride, rate)
    residual = network.convolve(residual, f"{scope}/conv3", depth, 1, relu=False)
    return network.mark(scope, network.relu(network.add(shortcut, residual, scope), scope))


for _name, _units in CONFIGURATIONS.items():
    register_network(
        name=_name,
        first_layer="conv1",
        head="logits",
        default_image_size=224,
        minimum_image_size=32,
        preprocessing="vgg",
        hyperparameters=HYPERPARAMETERS,
    )(functools.partial(resnet_v1, _name, _units))
