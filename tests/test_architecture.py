"""The rooms of docs/architecture.md: which may import which, and that nothing goes in circles."""

import ast
import graphlib
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]

LIBRARIES = ("nets", "preprocessing", "image_datasets", "weight_formats")
# Each room, and the rooms that its modules may import besides their own. From the ground up.
ROOMS = {
    "slimzoo_registry": set(),
    **{library: {"slimzoo_registry"} for library in LIBRARIES},
    "training.storage": set(),
    "training.hosts": set(),
    "training.zoo": {"slimzoo_registry", "training.storage"},
    "training.checkpoints": {
        *(*LIBRARIES, "slimzoo_registry", "training.storage", "training.zoo"),
    },
    "training.dataset_preparation": {
        *("image_datasets", "preprocessing", "slimzoo_registry", "training.storage"),
    },
    "training.evaluation_report": {
        *("image_datasets", "preprocessing", "training.storage", "training.checkpoints"),
    },
    "training.export": {
        *("image_datasets", "nets", "preprocessing", "slimzoo_registry"),
        *("training.storage", "training.checkpoints", "training.evaluation_report"),
    },
    "training": {
        *(*LIBRARIES, "slimzoo_registry", "training.storage", "training.checkpoints"),
        "training.hosts",
    },
    "slimzoo": {
        *LIBRARIES,
        *("slimzoo_registry", "training", "training.storage", "training.checkpoints"),
        *("training.dataset_preparation", "training.evaluation_report", "training.export"),
        *("training.hosts", "training.zoo"),
    },
}
ROOMS["slimzoo.classify"] = {"image_datasets", "preprocessing", "training.storage", "slimzoo"}
ROOMS["slimzoo.commands"] = {*ROOMS["slimzoo"], "slimzoo", "slimzoo.classify"}


def modules():
    """The path of every module that is installed, by its name."""
    packages = sorted({room.partition(".")[0] for room in ROOMS} - {"slimzoo_registry"})
    paths = [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]
    names = {
        path: ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in [*paths, ROOT / "slimzoo_registry.py"]
    }
    return {name: path for path, name in names.items()}


def room_of(module):
    return max((room for room in ROOMS if f"{module}.".startswith(f"{room}.")), key=len)


def imports_of(path, known):
    """The modules of this project that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where a name comes from"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in known else node.module for name in names]
        else:
            continue
        found.update(name for name in names if name in known)
    return found


MODULES = modules()
IMPORTS = {name: imports_of(path, MODULES) for name, path in MODULES.items()}


def test_the_modules_are_found():
    assert len(MODULES) > 60
    assert {room_of(module) for module in MODULES} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_what_it_may(room):
    wrong = [
        f"{module} imports {imported}"
        for module, all_imported in IMPORTS.items()
        for imported in all_imported
        if room_of(module) == room and room_of(imported) not in {room, *ROOMS[room]}
    ]
    assert not wrong


def test_no_module_imports_itself_in_a_circle():
    # A package that says what is in it imports its modules, which is no circle.
    graph = {
        module: {one for one in imported if not module.startswith(f"{one}.")}
        for module, imported in IMPORTS.items()
    }
    in_order = graphlib.TopologicalSorter(graph).static_order()  # or it raises CycleError
    assert set(in_order) == set(MODULES)


def test_the_document_says_the_same():
    """The table of docs/architecture.md: a room, and the rooms that it may import."""
    rows = {}
    for line in (ROOT / "docs" / "architecture.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        room = cells[0].strip("`").rstrip("/").replace("/", ".")
        if cells[0].startswith("`") and room in ROOMS:
            rows[room] = {
                name.strip(" `").rstrip("/").replace("/", ".")
                for name in cells[2].split(",")
                if name.strip(" `") not in ("", "nothing")
            }
    expanded = {
        room: {one for name in named for one in (LIBRARIES if name == "the four" else {name})}
        for room, named in rows.items()
    }
    assert expanded == ROOMS


@pytest.mark.parametrize("module", [name for name in MODULES if not name.endswith("__init__")])
def test_a_module_fits_a_head(module):
    assert len(MODULES[module].read_text().splitlines()) <= 500


# The networks of these are tested by tables, where each has a row.
FAMILIES = {
    name
    for name, path in MODULES.items()
    if re.search(r"^from nets\.registry import .*\bregister_network$", path.read_text(), re.M)
    and name != "nets.nets_factory"
}
# Modules whose tests are elsewhere, and where.
TESTED_IN = {
    "nets.alexnet_parts": "nets/test_alexnet_family.py",
    "nets.inception_parts": "nets/test_inception.py",
    "nets.mobilenet_parts": "nets/test_tf_slim_zoo.py",
    "nets.resnet_parts": "nets/test_resnet.py",
    "nets.nasnet_parts": "nets/test_nasnet.py",
    "nets.scopes": "nets/test_tf_slim_zoo.py",
    "nets.separable": "nets/test_serialization.py",
    "nets.stacking": "nets/test_contributing.py",
    "slimzoo.hybrid_flags": "slimzoo/commands/test_hybrid.py",
    "slimzoo.run_agreement": "slimzoo/commands/test_multi_worker.py",
    "training.export.keras_file": "training/export/test_model_card.py",
    "training.export.onnx_model": "training/export/test_formats.py",
    "training.export.prepared_images": "training/export/test_formats.py",
    "training.export.tflite_metadata": "training/export/test_formats.py",
    "training.export.tflite_model": "training/export/test_formats.py",
    "preprocessing.caffe_preprocessing": "preprocessing/test_other_pipelines.py",
    "preprocessing.cuda_convnet_preprocessing": "preprocessing/test_other_pipelines.py",
    "preprocessing.mean_images": "preprocessing/test_other_pipelines.py",
    "preprocessing.torchvision_preprocessing": "preprocessing/test_other_pipelines.py",
}


@pytest.mark.parametrize(
    "module", [name for name, path in MODULES.items() if path.name != "__init__.py"]
)
def test_a_reader_finds_the_tests_of_a_module_by_its_name(module):
    folder, _, name = module.replace(".", "/").rpartition("/")
    mirrored = ROOT / "tests" / folder / f"test_{name}.py"
    if module in TESTED_IN:
        assert not mirrored.exists()
        assert (ROOT / "tests" / TESTED_IN[module]).exists()
    elif module not in FAMILIES:
        assert mirrored.exists()
