"""The tables of networks, in README.md and docs/networks.md, against the networks themselves."""

import functools
import json
import pathlib
import re

import pytest
from network_names import ALEXNETS, TF_SLIM_FACTS

from nets.nets_factory import networks
from training.zoo.table import published_checkpoints

ROOT = pathlib.Path(__file__).parents[2]
COLUMNS = ("network", "image", "preprocessing", "classes", "parameters", "top-1 / top-5")


def table(document, columns):
    """The rows of the one table of these columns, by their first cell."""
    lines = (ROOT / document).read_text().splitlines()
    rows = [tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in lines]
    start = rows.index(columns)
    end = next(i for i in range(start, len(lines)) if not lines[i].startswith("|"))
    return {row[0]: row for row in rows[start + 2 : end]}


def cells(name):
    network = networks[name]
    # What test_tf_slim_zoo.py holds each network to.
    parameters = json.loads(TF_SLIM_FACTS[name].read_text())["trainable_parameters"]
    return (
        f"`{name}`",
        f"{network.default_image_size}",
        f"`{network.preprocessing_name}`",
        f"{network.num_classes:,}",
        f"{parameters:,}",
        published_accuracy(name),
    )


def published_accuracy(name):
    """Of the weights for the largest images; those of another width are of another size."""
    sources = published_checkpoints.values()
    fitting = [one for one in sources if one.network == name and not one.network_options]
    if not fitting:
        return ""
    largest = max(fitting, key=lambda one: one.image_size)
    return " / ".join(f"{one:.1f}" for one in (largest.top_1, largest.top_5) if one is not None)


def test_each_network_is_in_one_of_two_documents():
    """Those of the AlexNets' kin are in alexnet_variants.md; see test_variants_document.py."""
    assert set(table("docs/networks.md", COLUMNS)) == {f"`{name}`" for name in TF_SLIM_FACTS}


@pytest.mark.parametrize("name", TF_SLIM_FACTS)
def test_each_cell_is_true_of_the_code(name):
    row = table("docs/networks.md", COLUMNS)[f"`{name}`"]
    assert row == cells(name)


@functools.cache
def rows_of_readme():
    """(names, cell of parameters) of each row; `_13pct` stands for the first name's beginning."""
    rows = []
    for first, parameters, _ in table(
        "README.md", ("network", "parameters", "what it is")
    ).values():
        names = re.findall("`([^`]+)`", first)
        stem = names[0].rpartition("_")[0]
        rows.append(([stem + n if n.startswith("_") else n for n in names], parameters))
    return rows


def test_each_network_is_in_the_readme():
    named = [name for names, _ in rows_of_readme() for name in names]
    assert sorted(named) == sorted([*ALEXNETS, *TF_SLIM_FACTS])


@pytest.mark.parametrize(("names", "parameters"), rows_of_readme())
def test_the_readme_has_the_parameters_of_the_smallest_and_the_largest(names, parameters, outlined):
    def count(name):
        if name in TF_SLIM_FACTS:
            return json.loads(TF_SLIM_FACTS[name].read_text())["trainable_parameters"]
        return outlined(name).model.count_params()

    counts = sorted({count(name) for name in names})
    expected = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    assert parameters == expected
