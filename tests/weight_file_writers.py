"""Writers of the formats, each by its specification and none of them by our readers."""

import json
import struct
import zipfile

import numpy as np
import pytest

from weight_formats import is_weight_file, read_weights


def _varint(number):
    encoded = bytearray()
    while True:
        byte, number = number & 127, number >> 7
        encoded.append(byte | (128 if number else 0))
        if not number:
            return bytes(encoded)


def _field(number, payload):
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _integer(number, value):
    return _varint(number << 3) + _varint(value)


def caffe_blob(array, old=False):
    array = np.asarray(array, "<f4")
    data = _field(5, array.tobytes())
    if old:  # num, channels, height, width
        shape = [1] * (4 - array.ndim) + list(array.shape)
        return b"".join(_integer(i + 1, n) for i, n in enumerate(shape)) + data
    return data + _field(7, _field(1, b"".join(_varint(n) for n in array.shape)))


def caffemodel(layers, old=False):
    """`layers`: name -> [weights, biases]. `old`: V1LayerParameter and four-dimensional blobs."""
    name_field, blobs_field, layer_field = (4, 6, 2) if old else (1, 7, 100)
    content = _field(1, b"net")
    content += _field(layer_field, _field(name_field, b"data"))  # a layer without weights
    for name, blobs in layers.items():
        message = _field(name_field, name.encode())
        message += b"".join(_field(blobs_field, caffe_blob(blob, old)) for blob in blobs)
        content += _field(layer_field, message)
    return content


def safetensors(tensors):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, array in tensors.items():
        array = np.asarray(array, "<f4")
        header[name] = {
            "dtype": "F32",
            "shape": list(array.shape),
            "data_offsets": [len(data), len(data) + array.nbytes],
        }
        data += array.tobytes()
    encoded = json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + data


def torch_file(path, saved):
    """Writes what `torch.save` writes for dictionaries of float32 arrays, strings and numbers.

    The pickle is put together by its opcodes, since it names classes of torch's.
    """
    storages = []

    def encoded(value):
        if isinstance(value, dict):
            items = b"".join(encoded(part) for item in value.items() for part in item)
            return b"ccollections\nOrderedDict\n)R(" + items + b"u"
        if isinstance(value, tuple):
            return b"(" + b"".join(map(encoded, value)) + b"t"
        if isinstance(value, str):
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        if isinstance(value, bytes):  # opcodes as they are
            return value
        if isinstance(value, int):
            return b"J" + struct.pack("<i", value)
        storages.append(np.ascontiguousarray(value, "<f4"))
        strides = tuple(stride // 4 for stride in storages[-1].strides)
        kind = b"ctorch\nFloatStorage\n"
        reference = ("storage", kind, str(len(storages) - 1), "cpu", int(storages[-1].size))
        storage = encoded(reference) + b"Q"
        view = (storage, 0, storages[-1].shape, strides, b"\x89", encoded({}))
        return b"ctorch._utils\n_rebuild_tensor_v2\n" + encoded(view) + b"R"

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + encoded(saved) + b".")
        for number, storage in enumerate(storages):
            archive.writestr(f"archive/data/{number}", storage.tobytes())
    return str(path)


def flat(layers):
    """`layers`: name -> [weights, biases], as arrays by "name/weights" and "name/biases"."""
    return {
        f"{name}/{kind}": array
        for name, pair in layers.items()
        for kind, array in zip(("weights", "biases"), pair, strict=True)
    }


def write_pickled(path, contents):
    """Writes an .npy file whose pickle is these bytes."""
    with path.open("wb") as file:
        header = {"descr": "|O", "fortran_order": False, "shape": ()}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(contents)


def assert_reads_as(path, file_format, expected):
    """That a file is known by its contents, and holds these arrays by these names."""
    assert is_weight_file(str(path))
    weights = read_weights(str(path))
    assert weights.format == file_format
    assert set(weights.tensors) == set(expected)
    for name, array in expected.items():
        assert weights.tensors[name].shape == array.shape
        np.testing.assert_array_equal(weights.tensors[name], array)


@pytest.fixture(scope="session")
def write_caffemodel():
    return caffemodel


@pytest.fixture(scope="session")
def write_safetensors():
    return safetensors


@pytest.fixture
def arrays():
    """A convolution [out, in, height, width] and a fully connected layer [out, in]."""
    generator = np.random.default_rng(0)
    shapes = {"conv1": [(4, 3, 5, 5), (4,)], "fc6": [(6, 8), (6,)]}
    return {
        name: [generator.normal(size=shape).astype(np.float32) for shape in pair]
        for name, pair in shapes.items()
    }


@pytest.fixture
def cifarnet_layers():
    """Weights of cifarnet_18pct as Caffe keeps them: [out, in, height, width] and [out, in]."""
    generator = np.random.default_rng(0)
    shapes = {"conv1": (32, 3, 5, 5), "conv2": (32, 32, 5, 5), "conv3": (64, 32, 5, 5)}
    kernels = {
        name: generator.normal(size=shape, scale=(2 / np.prod(shape[1:])) ** 0.5)
        for name, shape in shapes.items()
    }
    kernels["fc10"] = generator.normal(size=(10, 64 * 16), scale=0.05)
    return {
        name: [kernel.astype(np.float32), generator.normal(size=len(kernel)).astype(np.float32)]
        for name, kernel in kernels.items()
    }


@pytest.fixture
def cifarnet_file(cifarnet_layers, tmp_path):
    """The path of a .caffemodel that holds them."""
    path = tmp_path / "cifar.caffemodel"
    path.write_bytes(caffemodel(cifarnet_layers))
    return str(path)
