"""Networks beside modules of PyTorch with the same weights, where torch is installed.

The modules are written from the tables of their sources; what is compared went through a file.
"""

import numpy as np
import pytest

from nets.nets_factory import get_network_fn
from training.checkpoints.restoring import restore_network

torch = pytest.importorskip("torch")
nn = torch.nn


def torchvision_alexnet():
    return nn.ModuleDict(
        {
            "features": nn.Sequential(
                *(nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2)),
                *(nn.Conv2d(64, 192, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(3, 2)),
                *(nn.Conv2d(192, 384, 3, 1, 1), nn.ReLU()),
                *(nn.Conv2d(384, 256, 3, 1, 1), nn.ReLU()),
                *(nn.Conv2d(256, 256, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(3, 2)),
            ),
            "avgpool": nn.AdaptiveAvgPool2d(6),
            "classifier": nn.Sequential(
                *(nn.Dropout(), nn.Linear(9216, 4096), nn.ReLU()),
                *(nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU()),
                nn.Linear(4096, 1000),
            ),
        }
    )


def caffe_alexnet(pool_first):
    def norm_and_pool():
        norm = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
        pool = nn.MaxPool2d(3, 2)
        return (pool, norm) if pool_first else (norm, pool)

    return nn.ModuleDict(
        {
            "features": nn.Sequential(
                *(nn.Conv2d(3, 96, 11, 4), nn.ReLU(), *norm_and_pool()),
                *(nn.Conv2d(96, 256, 5, 1, 2, groups=2), nn.ReLU(), *norm_and_pool()),
                *(nn.Conv2d(256, 384, 3, 1, 1), nn.ReLU()),
                *(nn.Conv2d(384, 384, 3, 1, 1, groups=2), nn.ReLU()),
                *(nn.Conv2d(384, 256, 3, 1, 1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
            ),
            "classifier": nn.Sequential(
                *(nn.Linear(9216, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU()),
                nn.Linear(4096, 1000),
            ),
        }
    )


def logits_of(module, images):
    module.eval()
    with torch.no_grad():
        net = module["features"](torch.from_numpy(images).permute(0, 3, 1, 2))
        if "avgpool" in module:
            net = module["avgpool"](net)
        return module["classifier"](net.flatten(1)).numpy()


def lively(module):
    """Weights that keep logits of the size of 1, where the default ones make them vanish."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        inputs = parameter[0].numel()
        deviation = (2 / inputs) ** 0.5 if parameter.dim() > 1 else 0.1
        nn.init.normal_(parameter, std=deviation)
    return module


@pytest.mark.parametrize("size", [224, 230])
def test_torchvisions_state_dict_gives_its_logits(size, noise, tmp_path):
    module = lively(torchvision_alexnet())
    path = str(tmp_path / "alexnet.pth")
    torch.save(module.state_dict(), path)
    network_fn = get_network_fn("alexnet_torchvision")
    report = restore_network(network_fn, path)
    assert len(report.restored) == 16
    assert not report.skipped
    assert not report.unexpected
    images = noise(2, size).numpy() / 64
    expected = logits_of(module, images)
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(network_fn(images)[0], expected, atol=1e-4)


@pytest.mark.parametrize("name", ["bvlc_alexnet", "caffenet"])
@pytest.mark.parametrize("file_format", ["caffemodel", "old caffemodel", "npy"])
def test_caffes_weights_give_the_logits_of_the_same_module(
    name, file_format, noise, tmp_path, write_caffemodel
):
    module = lively(caffe_alexnet(pool_first=name == "caffenet"))
    values = [parameter.detach().numpy() for parameter in module.parameters()]
    names = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
    layers = dict(zip(names, zip(*[iter(values)] * 2, strict=True), strict=True))
    path = tmp_path / ("weights.npy" if file_format == "npy" else "weights.caffemodel")
    if file_format == "npy":
        # As bvlc_alexnet.npy: [height, width, in, out], fc6 flattened position by position.
        transposed = {
            layer: [
                kernel.transpose(2, 3, 1, 0)
                if kernel.ndim == 4
                else kernel.reshape(4096, 256, 6, 6).transpose(2, 3, 1, 0).reshape(9216, 4096)
                if layer == "fc6"
                else kernel.T,
                bias,
            ]
            for layer, (kernel, bias) in layers.items()
        }
        np.save(path, np.array(transposed, dtype=object), allow_pickle=True)
    else:
        path.write_bytes(write_caffemodel(layers, old=file_format.startswith("old")))
    network_fn = get_network_fn(name)
    report = restore_network(network_fn, str(path))
    assert len(report.restored) == 16
    assert not report.skipped
    assert not report.unexpected
    images = noise(2, 227).numpy() / 64
    expected = logits_of(module, images)
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(network_fn(images)[0], expected, atol=1e-4)
    restore_network(network_fn, str(path), bgr_to_rgb=True)
    np.testing.assert_allclose(network_fn(images[..., ::-1])[0], expected, atol=1e-4)
