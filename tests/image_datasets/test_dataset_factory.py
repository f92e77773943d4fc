import subprocess
import sys

from image_datasets.dataset_factory import get_dataset


def test_names_and_splits_may_have_spaces_around_them(shapes_dir):
    dataset = get_dataset(" shapes ", " train[:5] + validation[:5] ", shapes_dir)
    assert dataset.name == "shapes"
    assert dataset.num_examples == 10


def test_getting_a_dataset_leaves_tensorflow_unstarted(tmp_path, write_images):
    # Virtual devices and multi-worker strategies can only be set up before its runtime starts,
    # and a driver may want to look at the dataset first.
    root = write_images("train/a/1.png", "train/b/1.png")
    program = f"""
import tensorflow as tf
from image_datasets import shapes
from image_datasets.dataset_factory import class_names, get_dataset, split_sizes
shapes.NUM_TRAIN_EXAMPLES = shapes.NUM_VALIDATION_EXAMPLES = 10
cpu = tf.config.list_physical_devices("CPU")[0]
for number, (name, folder) in enumerate([("folder", {str(root)!r}), ("shapes", {str(tmp_path)!r})]):
    get_dataset(name, "train", folder), class_names(name, folder), split_sizes(name, folder)
    # Refused once the runtime has started.
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * (number + 2)
    )
    print("not started by", name)
print(len(tf.config.list_logical_devices("CPU")))
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert result.stdout == "not started by folder\nnot started by shapes\n3\n", result.stderr
