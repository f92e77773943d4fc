import pathlib
import re

import pytest
import tensorflow as tf

from nets.nets_factory import get_network_fn

CONTRIBUTING = pathlib.Path(__file__).parents[2] / "CONTRIBUTING.md"


@pytest.mark.usefixtures("registries_restored")
def test_the_network_in_contributing_works_as_written():
    (source,) = re.findall(
        r"```python\n(# nets/my_net\.py\n.*?)```", CONTRIBUTING.read_text(), re.DOTALL
    )
    exec(compile(source, str(CONTRIBUTING), "exec"), {})
    network_fn = get_network_fn("my_net", num_classes=7)
    logits, end_points = network_fn(tf.zeros([2, 64, 64, 3]))
    assert logits.shape == (2, 7)
    assert list(end_points) == ["my_net/conv1", "my_net/pool1", "my_net/fc2", "my_net/fc3"]
    assert network_fn(tf.zeros([1, 61, 61, 3]))[0].shape == (1, 7)
    with pytest.raises(ValueError, match="61x61 or more"):
        network_fn(tf.zeros([1, 60, 60, 3]))
    with pytest.raises(ValueError, match="zero or negative"):
        network_fn.model.compute_output_shape([1, 60, 60, 3])
    assert (network_fn.first_layer, network_fn.heads) == ("my_net/conv1", ("my_net/fc3",))
    assert get_network_fn("my_net").num_classes == 1000
    pooled = get_network_fn("my_net", num_classes=7, global_pool=True, dropout_keep_prob=1)
    assert pooled(tf.zeros([1, 100, 90, 3]))[0].shape == (1, 7)
    features, _ = get_network_fn("my_net", num_classes=None)(tf.zeros([1, 64, 64, 3]))
    assert features.shape == (1, 1, 1, 64)
