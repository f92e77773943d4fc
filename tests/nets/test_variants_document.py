"""docs/alexnet_variants.md: each cell of its table against the networks themselves."""

import pathlib

import keras
import numpy as np
import pytest
from network_names import ALEXNETS

from nets import layers
from nets.nets_factory import networks
from nets.response_normalization import LocalResponseNormalization, SpatialResponseNormalization

DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "alexnet_variants.md"
COLUMNS = (
    *("network", "image", "preprocessing", "convolutions", "groups of 2", "maps", "in this order"),
    *("response normalisation", "dropout", "parameters", "multiply-adds"),
)


def cells(network_fn, traced_shapes):
    """The row of a network, as the table has it."""
    name = network_fn.name
    network = networks[name]
    size = network.default_image_size
    _, end_points = traced_shapes(network_fn, size)
    convolutions = [
        layer
        for layer in network_fn.model.layers
        if isinstance(layer, layers.Conv2D | layers.LocallyConnected2D)
        and not layer.name.startswith("fc")
    ]
    pools = [key for key in end_points if "/pool" in key]
    return (
        f"`{name}`",
        f"{size}",
        f"`{network.preprocessing_name}`",
        ", ".join(_convolution(layer) for layer in convolutions),
        ", ".join(layer.name for layer in convolutions if getattr(layer, "groups", 1) == 2)
        or "none",
        ", ".join(str(end_points[key][1]) for key in [f"{name}/conv1", *pools]),
        _order(network_fn.model),
        _norms(network_fn.model),
        _dropout(network_fn.model),
        f"{network_fn.model.count_params():,}",
        f"{_multiply_adds(network_fn, end_points):,}",
    )


def _convolution(layer):
    if isinstance(layer, layers.LocallyConnected2D):
        return f"{layer.filters} {layer.kernel_size}x{layer.kernel_size} unshared"
    kernel, stride = layer.kernel_size[0], layer.strides[0]
    return f"{layer.filters} {kernel}x{kernel}" + (f"/{stride}" if stride > 1 else "")


def _order(model):
    """What follows conv1 and conv2, up to the pool."""
    stages = []
    for stage in ("1", "2"):
        steps = []
        for layer in model.layers:
            if not layer.name.endswith(stage):
                continue
            if layer.name.startswith("conv") and layer.activation is keras.activations.relu:
                steps.append("ReLU")
            for start, step in (("norm", "norm"), ("spatial", "norm"), ("relu", "ReLU")):
                if layer.name.startswith(start):
                    steps.append(step)
            if layer.name.startswith("pool"):
                kind = "average " if isinstance(layer, keras.layers.AveragePooling2D) else ""
                steps.append(f"{kind}pool {layer.pool_size[0]}/{layer.strides[0]}")
        stages.append(" ".join(steps))
    return stages[0] if stages[0] == stages[1] else "; ".join(stages)


def _norms(model):
    found = {}
    for layer in model.layers:
        if isinstance(layer, LocalResponseNormalization):
            towers = " in each tower" if layer.groups > 1 else ""
            channels = 2 * layer.depth_radius + 1
            kind = f"{channels} channels{towers}, k {layer.bias:g}, alpha {layer.alpha:.3g}"
        elif isinstance(layer, SpatialResponseNormalization):
            window = f"{layer.window}x{layer.window}"
            kind = f"{window} positions, k {layer.bias:g}, alpha {layer.alpha:.3g}"
        else:
            continue
        found[kind] = found.get(kind, 0) + 1
    return "; ".join(f"{kind} ({count})" for kind, count in found.items()) or "none"


def _dropout(model):
    found = [layer for layer in model.layers if isinstance(layer, layers.Dropout)]
    if not found:
        return "none"
    (kind,) = {(layer.keep_prob, layer.rescale_in_training) for layer in found}
    rule = "divides in training" if kind[1] else "multiplies at test time"
    after = " and ".join(layer.name.removeprefix("dropout") for layer in found)
    return f"keeps {kind[0]:g}, {rule} ({after})"


def _multiply_adds(network_fn, end_points):
    total = 0
    for key, variable in network_fn.variables.items():
        layer, _, kind = key.rpartition("/")
        if kind == "weights":
            local = "/local" in layer  # its weights have the positions among their dimensions
            positions = 1 if local else np.prod(end_points[layer][1:-1], initial=1)
            total += int(np.prod(variable.shape) * positions)
    return total


def table():
    lines = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("|")]
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
    assert rows[0] == COLUMNS
    return {row[0]: row for row in rows[2:] if len(row) == len(COLUMNS)}


def test_the_table_has_each_network():
    assert set(table()) == {f"`{name}`" for name in ALEXNETS}


@pytest.mark.parametrize("name", ALEXNETS)
def test_each_cell_is_true_of_the_code(name, outlined, traced_shapes):
    assert table()[f"`{name}`"] == cells(outlined(name), traced_shapes)
