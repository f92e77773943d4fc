"""PyTorch's files, where torch is installed to write them."""

import os

import numpy as np
import pytest

from weight_formats import read_weights

torch = pytest.importorskip("torch")


@pytest.fixture
def state():
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
def test_a_state_dict_in_both_formats(new_format, nested, state, tmp_path):
    path = str(tmp_path / "model.pth")
    saved = {"epoch": 3, "state_dict": state} if nested else state
    torch.save(saved, path, _use_new_zipfile_serialization=new_format)
    weights = read_weights(path)
    assert weights.format == "torch"
    assert set(weights.tensors) == set(state)
    for name, tensor in state.items():
        array = weights.tensors[name]
        assert array.shape == tuple(tensor.shape)
        np.testing.assert_array_equal(array.astype(np.float32), tensor.float().numpy())


def test_parameters_and_modules_state_dicts_load(tmp_path):
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(4, 2))
    path = str(tmp_path / "model.pt")
    torch.save(dict(module.named_parameters()), path)
    assert set(read_weights(path).tensors) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    torch.save(module.state_dict(), path)
    np.testing.assert_array_equal(
        read_weights(path).tensors["1.weight"], module[1].weight.detach().numpy()
    )


@pytest.mark.parametrize("new_format", [True, False])
def test_a_pickle_that_would_run_a_command_is_refused_and_does_not(new_format, state, tmp_path):
    evidence = tmp_path / "evidence"

    class Payload:
        def __reduce__(self):
            return os.system, (f"touch {evidence}",)

    path = str(tmp_path / "model.pth")
    torch.save({**state, "extra": Payload()}, path, _use_new_zipfile_serialization=new_format)
    with pytest.raises(ValueError, match=r"asks for '(posix|nt|os)\.system', which is no array"):
        read_weights(path)
    assert not evidence.exists()


def test_a_tensor_that_repeats_its_numbers_is_refused(tmp_path):
    """A stride of 0 makes gigabytes of a few bytes."""
    path = str(tmp_path / "model.pth")
    torch.save({"weight": torch.zeros(1).expand(1 << 28)}, path)
    with pytest.raises(ValueError, match=r"weight of shape \[268435456\] has 1 numbers"):
        read_weights(path)


def test_a_whole_model_is_refused_and_a_state_dict_asked_for(tmp_path):
    path = str(tmp_path / "model.pth")
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(ValueError, match=r"torch\.nn\.modules\.linear\.Linear.*a state dict"):
        read_weights(path)


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
def test_a_truncated_file_is_refused(new_format, share, state, tmp_path):
    path = tmp_path / "model.pth"
    torch.save(state, path, _use_new_zipfile_serialization=new_format)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"model\.pth cannot be read as a PyTorch file"):
        read_weights(str(path))
