import h5py
import keras
import numpy as np
import pytest
from weight_file_writers import flat

from weight_formats import is_weight_file, read_weights


@pytest.mark.parametrize("kind", ["caffemodel", "safetensors", "npy", "npz"])
def test_damaged_bytes_are_an_error_or_other_numbers_and_never_a_crash(
    kind, arrays, write_caffemodel, write_safetensors, tmp_path
):
    path = tmp_path / f"weights.{kind}"
    if kind == "caffemodel":
        path.write_bytes(write_caffemodel(arrays))
    elif kind == "safetensors":
        path.write_bytes(write_safetensors(flat(arrays)))
    elif kind == "npz":
        np.savez(path, **flat(arrays))
    else:
        np.save(path, np.array(arrays, dtype=object), allow_pickle=True)
    content = np.frombuffer(path.read_bytes(), np.uint8)
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(200):
        damaged = content.copy()
        # Most of a file is numbers; what is before and behind them is more delicate.
        place = generator.integers(min(400, len(content))) * generator.choice([1, -1])
        damaged[place] = generator.integers(256)
        path.write_bytes(damaged.tobytes())
        try:
            read_weights(str(path))
        except ValueError:
            refused += 1
    assert refused > 20


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["caffemodel", "safetensors", "npy", "weights.h5"])
def test_a_truncated_file_is_refused(
    kind, share, arrays, write_caffemodel, write_safetensors, tmp_path
):
    path = tmp_path / f"weights.{kind}"
    if kind == "caffemodel":
        path.write_bytes(write_caffemodel(arrays))
    elif kind == "safetensors":
        path.write_bytes(write_safetensors(flat(arrays)))
    elif kind == "npy":
        np.save(path, np.array(arrays, dtype=object), allow_pickle=True)
    else:
        with h5py.File(path, "w") as file:
            file["layers/conv2d/vars/0"] = arrays["conv1"][0]
            file["layers/conv2d/vars/1"] = arrays["conv1"][1]
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=f"weights.{kind}"):
        read_weights(str(path))


def test_nans_and_unknown_formats_and_missing_files_are_named(arrays, write_safetensors, tmp_path):
    arrays["fc6"][0][2, 3] = np.nan
    path = tmp_path / "model.safetensors"
    path.write_bytes(write_safetensors(flat(arrays)))
    with pytest.raises(ValueError, match="NaNs or infinities in fc6/weights"):
        read_weights(str(path))
    text = tmp_path / "notes.txt"
    text.write_text("these are no weights, whatever one may wish for")
    assert not is_weight_file(str(text))
    with pytest.raises(ValueError, match=r"format of .*notes\.txt is not known.*\.caffemodel"):
        read_weights(str(text))
    text.write_text("")
    with pytest.raises(ValueError, match=r"notes\.txt is empty"):
        read_weights(str(text))
    keras.Sequential([keras.Input([2]), keras.layers.Dense(1)]).save(tmp_path / "whole.keras")
    with pytest.raises(ValueError, match=r"whole model of Keras.*save_weights\("):
        read_weights(str(tmp_path / "whole.keras"))
    with pytest.raises(ValueError, match=r"nowhere\.pth does not exist"):
        read_weights(str(tmp_path / "nowhere.pth"))
