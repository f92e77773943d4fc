"""PyTorch's files, by their specification, and where torch is installed as that writes them."""

import os

import numpy as np
import pytest
from weight_file_writers import assert_reads_as, flat, torch_file

from weight_formats import read_weights


def test_a_state_dict_by_its_specification(arrays, tmp_path):
    path = tmp_path / "model.pth"
    torch_file(path, flat(arrays))
    assert_reads_as(path, "torch", flat(arrays))


def test_dictionaries_in_dictionaries_are_said_before_a_name(arrays, tmp_path):
    path = tmp_path / "model.pth"
    kernel, bias = arrays["conv1"]
    optimizer = {"state": {0: {"momentum_buffer": kernel}}, "lr": 3}
    torch_file(
        path,
        {
            "epoch": 3,
            "state_dict": {"weight": kernel},
            "ema": {"module": {"weight": kernel + 1}, "decay": bias},
            "optimizer": optimizer,
        },
    )
    expected = {
        "state_dict > weight": kernel,
        "ema > module > weight": kernel + 1,
        "ema > decay": bias,
    }
    assert_reads_as(path, "torch", expected)


def test_a_dictionary_that_is_in_itself_is_read_once(arrays, tmp_path):
    path = tmp_path / "model.pth"
    kernel, _ = arrays["conv1"]
    # Memoized, and put into itself.
    itself = b"}q\x01(X\x06\x00\x00\x00itselfh\x01u"
    torch_file(path, {"kernel": kernel, "state": itself})
    assert_reads_as(path, "torch", {"kernel": kernel})


@pytest.mark.parametrize(
    "opcodes",
    [
        b"cargparse\nNamespace\n)\x81}(X\x02\x00\x00\x00lrK\x01ub",
        b"cpathlib\nPosixPath\n(X\x03\x00\x00\x00runtR",
        b"ctorch\nSize\n(K\x01K\x02ttR".replace(b"(K", b"((K"),
    ],
)
def test_what_scripts_keep_beside_weights_is_left_out(opcodes, arrays, tmp_path):
    path = tmp_path / "model.pth"
    torch_file(path, {"args": opcodes, "state_dict": {"bias": arrays["conv1"][1]}})
    assert_reads_as(path, "torch", {"state_dict > bias": arrays["conv1"][1]})


def test_a_call_beside_weights_is_refused_and_not_made(arrays, tmp_path):
    evidence = tmp_path / "evidence"
    command = f"touch {evidence}".encode()
    call = b"cposix\nsystem\n(X" + len(command).to_bytes(4, "little") + command + b"tR"
    state = b"cargparse\nNamespace\n)\x81}(X\x01\x00\x00\x00a" + call + b"ub"
    path = torch_file(tmp_path / "model.pth", {"args": state, **flat(arrays)})
    with pytest.raises(ValueError, match=r"asks for 'posix\.system', which is no array"):
        read_weights(path)
    assert not evidence.exists()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_zip_file_that_was_cut_is_refused(share, arrays, tmp_path):
    path = tmp_path / "model.pth"
    torch_file(path, flat(arrays))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ValueError, match=r"model\.pth cannot be read as a PyTorch file"):
        read_weights(str(path))


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def state(torch):
    torch.manual_seed(0)
    return {
        "features.0.weight": torch.randn(4, 3, 5, 5),
        "features.0.bias": torch.randn(4),
        "classifier.1.weight": torch.randn(8, 6).t(),  # a view with strides of its own
        "half": torch.randn(3).half(),
        "brain": torch.randn(3).bfloat16(),
        "part": torch.randn(10)[3:7],
    }


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize("nested", [False, True])
def test_a_state_dict_in_both_formats(torch, new_format, nested, state, tmp_path):
    path = str(tmp_path / "model.pth")
    saved = {"epoch": 3, "state_dict": state} if nested else state
    torch.save(saved, path, _use_new_zipfile_serialization=new_format)
    weights = read_weights(path)
    assert weights.format == "torch"
    place = "state_dict > " if nested else ""
    assert set(weights.tensors) == {place + name for name in state}
    for name, tensor in state.items():
        array = weights.tensors[place + name]
        assert array.shape == tuple(tensor.shape)
        np.testing.assert_array_equal(array.astype(np.float32), tensor.float().numpy())


def test_parameters_and_modules_state_dicts_load(torch, tmp_path):
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(4, 2))
    path = str(tmp_path / "model.pt")
    torch.save(dict(module.named_parameters()), path)
    assert set(read_weights(path).tensors) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    torch.save(module.state_dict(), path)
    np.testing.assert_array_equal(
        read_weights(path).tensors["1.weight"], module[1].weight.detach().numpy()
    )


@pytest.mark.parametrize("new_format", [True, False])
def test_a_pickle_that_would_run_a_command_is_refused_and_does_not(
    torch, new_format, state, tmp_path
):
    evidence = tmp_path / "evidence"

    class Payload:
        def __reduce__(self):
            return os.system, (f"touch {evidence}",)

    path = str(tmp_path / "model.pth")
    torch.save({**state, "extra": Payload()}, path, _use_new_zipfile_serialization=new_format)
    with pytest.raises(ValueError, match=r"asks for '(posix|nt|os)\.system', which is no array"):
        read_weights(path)
    assert not evidence.exists()


def test_a_tensor_that_repeats_its_numbers_is_refused(torch, tmp_path):
    """A stride of 0 makes gigabytes of a few bytes."""
    path = str(tmp_path / "model.pth")
    torch.save({"weight": torch.zeros(1).expand(1 << 28)}, path)
    with pytest.raises(ValueError, match=r"weight of shape \[268435456\] has 1 numbers"):
        read_weights(path)


def test_a_whole_model_is_refused_and_a_state_dict_asked_for(torch, tmp_path):
    path = str(tmp_path / "model.pth")
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(ValueError, match=r"torch\.nn\.modules\.linear\.Linear.*a state dict"):
        read_weights(path)


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
def test_a_truncated_file_is_refused(torch, new_format, share, state, tmp_path):
    path = tmp_path / "model.pth"
    torch.save(state, path, _use_new_zipfile_serialization=new_format)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"model\.pth cannot be read as a PyTorch file"):
        read_weights(str(path))
