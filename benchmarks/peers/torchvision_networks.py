"""torchvision's own networks, trained and run as `peers.pytorch` trains and runs the AlexNets."""

from __future__ import annotations

import functools

from torchvision import models

from peers import pytorch

# Those that are TF-Slim's too: there, a strided ResNet block has its stride elsewhere, and there is
# no MobileNet v1.
NETWORKS = {
    "vgg_16": models.vgg16,
    "resnet_v1_50": models.resnet50,
    "inception_v3": functools.partial(models.inception_v3, init_weights=False),
    "mobilenet_v2": models.mobilenet_v2,
}

training_step = functools.partial(pytorch.training_step, networks=NETWORKS)
forward_pass = functools.partial(pytorch.forward_pass, networks=NETWORKS)
