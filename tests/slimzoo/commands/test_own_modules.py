"""A network, a source of images and an optimizer from a package of the user's own."""

import contextlib
import json
import shutil
import sys

import pytest
import tensorflow as tf
from tiny_network import CLASSES

from image_datasets.registry import sources
from nets.registry import networks
from slimzoo.commands.eval_image_classifier import EvaluationConfig, evaluate
from slimzoo.commands.export_saved_model import ExportConfig, export
from slimzoo.commands.prepare_dataset import PreparationConfig, prepare
from slimzoo.commands.train_image_classifier import train
from slimzoo.configuration import TrainingConfig
from training.optimizers import optimizers

MODULE = """
import keras

from image_datasets.dataset_factory import DatasetSource, register_source
from image_datasets.folder_source import FolderSource
from nets import layers
from nets.registry import register_network
from training.optimizers import PerVariable, optimizers


@register_network(
    first_layer="conv1", head="conv1", default_image_size=32, minimum_image_size=32,
    preprocessing="alexnet",
)
def own_net(images, num_classes=3):
    net = layers.Conv2D(num_classes, 8, 8, name="conv1")(images / 64)
    net = keras.layers.GlobalAveragePooling2D(name="pool1")(net)
    return net, {"own_net/conv1": net}


@register_source("own_images")
class OwnImages(FolderSource):
    is_named_by_folder = True


class Lamb(PerVariable, keras.optimizers.Lamb):
    pass


@optimizers.register("own_optimizer")
def own_optimizer(settings, **options):
    return Lamb(**options)
"""


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    (tmp_path / "own_module.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "own_module"


@contextlib.contextmanager
def as_in_a_new_process(module):
    """The module is not imported yet; at the end it is forgotten, with what it registers."""
    with networks.restored(), sources.restored(), optimizers.restored():
        yield
    sys.modules.pop(module, None)


@pytest.mark.slow
def test_every_command_knows_what_a_module_of_the_users_own_registers(
    own_module, photos, tmp_path, capsys
):
    train_dir = str(tmp_path / "run")
    with as_in_a_new_process(own_module):
        train(
            TrainingConfig(
                import_modules=[own_module],
                model_name="own_net",
                dataset_name="own_images",
                dataset_dir=photos,
                optimizer="own_optimizer",
                train_dir=train_dir,
                batch_size=10,
                max_number_of_steps=2,
            )
        )
    # The run remembers which modules it needs, and what comes next names them.
    flag = f"--checkpoint_path={train_dir}/best --import_modules={own_module}\n"
    assert capsys.readouterr().out.count(flag) == 2
    with as_in_a_new_process(own_module):
        result = evaluate(EvaluationConfig(checkpoint_path=train_dir, import_modules=[own_module]))
    assert result.num_examples == 21
    with as_in_a_new_process(own_module):
        folder = export(ExportConfig(checkpoint_path=train_dir, import_modules=[own_module]))
    exported = tf.saved_model.load(folder)
    assert [name.decode() for name in exported.class_names.numpy()] == list(CLASSES)
    with as_in_a_new_process(own_module):
        prepare(
            PreparationConfig(
                import_modules=[own_module],
                dataset_name="own_images",
                dataset_dir=photos,
                output_dir=str(tmp_path / "prepared"),
                prepared_name="own_prepared",
                image_size=36,
            )
        )
    assert (tmp_path / "prepared" / "own_prepared" / "1.0.0").is_dir()


@pytest.fixture
def foreign_run(trained, tmp_path, monkeypatch):
    """A run that somebody gave us, with a module beside it that leaves evidence if it is run."""
    run = shutil.copytree(trained, tmp_path / "run")
    (run / "own_module.py").write_text(f"open({str(tmp_path / 'evidence')!r}, 'w')\n" + MODULE)
    monkeypatch.chdir(run)
    monkeypatch.syspath_prepend(str(run))

    def describe(**values):
        described = json.loads((trained / "model.json").read_text())
        described |= {"network_module": ["own_module"], **values}
        (run / "model.json").write_text(json.dumps(described))
        return str(run)

    yield describe
    assert not (tmp_path / "evidence").exists()


def commands_on(run, photos):
    """What loads a run, without a flag that names its modules."""
    return {
        "evaluate": lambda: evaluate(EvaluationConfig(checkpoint_path=run)),
        "export": lambda: export(ExportConfig(checkpoint_path=run)),
        "train": lambda: train(
            TrainingConfig(
                checkpoint_path=run,
                model_name="tiny",
                dataset_name="folder",
                dataset_dir=photos,
                train_dir=f"{run}/new",
                max_number_of_steps=1,
                batch_size=4,
            )
        ),
    }


@pytest.mark.parametrize(
    ("command", "values", "what"),
    [
        ("evaluate", {"model_name": "own_net"}, "network 'own_net'"),
        ("evaluate", {"dataset_name": "own_images"}, "dataset 'own_images'"),
        ("evaluate", {"dataset_name": "cifar10"}, "dataset 'cifar10'"),
        ("evaluate", {"preprocessing_name": "own"}, "preprocessing 'own'"),
        ("export", {"model_name": "own_net"}, "network 'own_net'"),
        ("export", {"preprocessing_name": "own"}, "preprocessing 'own'"),
        ("train", {"preprocessing_name": "own"}, "preprocessing 'own'"),
    ],
)
def test_a_run_has_no_module_imported_and_says_which_flag_would(
    foreign_run, photos, command, values, what
):
    run = foreign_run(**values)
    with pytest.raises(ValueError, match=f"may hold the {what}.*--import_modules=own_module"):
        commands_on(run, photos)[command]()


@pytest.mark.parametrize("command", ["evaluate", "export", "train"])
def test_a_run_that_can_be_used_without_its_modules_is(foreign_run, photos, command):
    """Such as one whose module holds an optimizer."""
    assert commands_on(foreign_run(), photos)[command]()


@pytest.mark.parametrize("values", [{"model_name": "own_net"}, {"dataset_name": "own_images"}])
def test_names_that_nobody_registers_are_unknown(foreign_run, photos, values):
    run = foreign_run(network_module=[], **values)
    with pytest.raises(ValueError, match=r"Unknown (network|dataset) 'own"):
        commands_on(run, photos)["evaluate"]()
