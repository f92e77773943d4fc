import numpy as np
import pytest
from weight_file_writers import assert_reads_as, caffe_blob, caffemodel, flat

from weight_formats import read_weights
from weight_formats.caffemodel import read_caffemodel


@pytest.mark.parametrize("old", [False, True])
def test_a_caffemodel(old, arrays, write_caffemodel, tmp_path):
    path = tmp_path / "net.caffemodel"
    path.write_bytes(write_caffemodel(arrays, old))
    assert_reads_as(path, "caffemodel", flat(arrays))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x0a\x03net", "no layers with weights"),
        (b"\x0b\x03net", "wire type 3"),
        (b"\xff" * 30, "more than ten bytes"),
    ],
)
def test_what_is_no_caffemodel_says_why(content, message, tmp_path):
    path = tmp_path / "net.caffemodel"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"Caffe.*{message}"):
        read_weights(str(path))


def test_one_blob_is_weights_and_further_ones_are_numbered(tmp_path):
    """Batch normalization has three, of which ours know none."""
    blobs = [np.full(2, number, np.float32) for number in range(3)]
    path = tmp_path / "net.caffemodel"
    path.write_bytes(caffemodel({"scale": blobs[:1], "bn": blobs}))
    tensors = read_caffemodel(str(path))
    assert list(tensors) == ["scale/weights", "bn/weights", "bn/biases", "bn/blob2"]
    np.testing.assert_array_equal(tensors["bn/blob2"], blobs[2])


def test_old_blobs_of_four_dimensions_are_the_vectors_and_matrices_that_they_were(tmp_path):
    path = tmp_path / "net.caffemodel"
    path.write_bytes(caffemodel({"fc": [np.ones((3, 5)), np.ones(3)]}, old=True))
    tensors = read_caffemodel(str(path))
    assert [tensor.shape for tensor in tensors.values()] == [(3, 5), (3,)]


def test_a_blob_with_fewer_numbers_than_its_shape_is_refused(tmp_path):
    path = tmp_path / "net.caffemodel"
    good, other = caffe_blob(np.ones((2, 3))), caffe_blob(np.ones((2, 5)))
    content = caffemodel({"fc": [np.ones((2, 3))]})
    shape_of_other = other[-6:]
    assert good[-6:] in content
    path.write_bytes(content.replace(good[-6:], shape_of_other))
    with pytest.raises(ValueError, match=r"a blob of shape \[2, 5\] has 6 numbers"):
        read_caffemodel(str(path))
