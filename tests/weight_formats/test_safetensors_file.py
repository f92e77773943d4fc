import json
import struct

import ml_dtypes
import numpy as np
import pytest
from weight_file_writers import assert_reads_as, flat

from weight_formats.safetensors_file import read_safetensors


def test_safetensors(arrays, write_safetensors, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(write_safetensors(flat(arrays)))
    assert_reads_as(path, "safetensors", flat(arrays))


def written(path, header, data=b""):
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + data)
    return str(path)


@pytest.mark.parametrize(
    ("name", "dtype"), [("F16", np.float16), ("BF16", ml_dtypes.bfloat16), ("I64", np.int64)]
)
def test_numbers_of_other_widths(name, dtype, tmp_path):
    values = np.array([[1, -2, 3]], dtype)
    entry = {"dtype": name, "shape": [1, 3], "data_offsets": [0, values.nbytes]}
    tensors = read_safetensors(written(tmp_path / "a", {"x": entry}, values.tobytes()))
    assert tensors["x"].dtype == dtype
    np.testing.assert_array_equal(tensors["x"], values)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": "F8_E4M3"}, "x is of type F8_E4M3; known are F64, F32"),
        ({"shape": [3]}, r"x of shape \[3\] has 8 bytes"),
        ({"data_offsets": [0, 80]}, "x would end at byte"),
        ({"data_offsets": [-8, 0]}, "x would end at byte"),
        ({"data_offsets": None}, "its header is no safetensors header"),
    ],
)
def test_an_entry_that_does_not_fit_is_named(changes, message, tmp_path):
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}
    path = written(tmp_path / "a", {"x": entry}, bytes(8))
    with pytest.raises(ValueError, match=message):
        read_safetensors(path)


@pytest.mark.parametrize("header", [b"{", b"[1]", b"\xff\xfe"])
def test_a_header_that_is_none_is_said(header, tmp_path):
    with pytest.raises(ValueError, match="its header is no safetensors header"):
        read_safetensors(written(tmp_path / "a", header))
