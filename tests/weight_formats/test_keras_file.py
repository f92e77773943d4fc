import h5py
import keras
import numpy as np
import pytest
from weight_file_writers import assert_reads_as

from weight_formats.keras_file import read_keras


def test_the_weights_of_a_keras_model(tmp_path):
    keras.utils.clear_session()
    model = keras.Sequential(
        [
            keras.Input([8, 8, 3]),
            keras.layers.Conv2D(4, 3),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(5, 3),
            keras.layers.Flatten(),
            keras.layers.Dense(6),
        ]
    )
    path = tmp_path / "model.weights.h5"
    model.save_weights(path)
    layers = [layer for layer in model.layers if layer.weights]
    expected = {
        f"{name}/{number}": value
        for name, layer in zip(("conv2d", "conv2d_1", "dense"), layers, strict=True)
        for number, value in enumerate(layer.get_weights())
    }
    assert_reads_as(path, "keras", expected)


def test_a_file_without_layers_says_what_is_expected(tmp_path):
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["model_weights/conv2d/kernel"] = np.zeros(3)  # as Keras 2 writes it
    with pytest.raises(ValueError, match=r"no layers as Keras 3 writes them .*save_weights"):
        read_keras(str(path))


def test_numbers_that_lie_in_another_file_are_not_fetched(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(12))
    path = tmp_path / "external.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("layers/conv2d/vars")
        place = [(str(tmp_path / "secret"), 0, 12)]
        group.create_dataset("0", (3,), "<f4", external=place)
    with pytest.raises(ValueError, match="conv2d/vars/0 lies in another file"):
        read_keras(str(path))


def test_a_few_bytes_do_not_become_gigabytes(tmp_path):
    path = tmp_path / "sparse.h5"
    with h5py.File(path, "w") as file:
        file.create_group("layers/conv2d/vars").create_dataset("0", (1 << 30,), "<f4")
    with pytest.raises(ValueError, match="should have 4,294,967,296 bytes; the file is smaller"):
        read_keras(str(path))
