"""A network, a source of images and an optimizer from a package of the user's own."""

import contextlib
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
    del sys.modules[module]


def test_every_command_knows_what_a_module_of_the_users_own_registers(own_module, photos, tmp_path):
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
    # The run remembers which modules it needs.
    with as_in_a_new_process(own_module):
        result = evaluate(EvaluationConfig(checkpoint_path=train_dir))
    assert result.num_examples == 21
    with as_in_a_new_process(own_module):
        exported = tf.saved_model.load(export(ExportConfig(checkpoint_path=train_dir)))
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
