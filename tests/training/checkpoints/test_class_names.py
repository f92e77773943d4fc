import pytest
import tensorflow as tf

from image_datasets.dataset_factory import class_names
from nets.nets_factory import networks
from training.checkpoints.class_names import names_of_outputs

V1 = networks["mobilenet_v1"]


@pytest.fixture
def checkpoint(tmp_path):
    """`checkpoint(outputs)`: the prefix of one that TF-Slim could have written."""

    def write(outputs, scope="MobilenetV1"):
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            name = f"{scope}/Logits/Conv2d_1c_1x1/biases"
            tf.compat.v1.get_variable(name, initializer=tf.zeros([outputs]))
            session.run(tf.compat.v1.global_variables_initializer())
            return tf.compat.v1.train.Saver().save(session, str(tmp_path / "model.ckpt"))

    return write


@pytest.mark.parametrize(
    ("outputs", "given", "expected", "says"),
    [
        (3, ["a", "b", "c"], ["a", "b", "c"], ""),
        (4, ["a", "b", "c"], ["background", "a", "b", "c"], "one more than there are classes"),
        (3, ["background", "a", "b", "c"], ["a", "b", "c"], "one fewer than there are classes"),
        (7, ["a", "b", "c"], ["a", "b", "c"], ""),  # which does not fit, and is refused elsewhere
        (1000, ["a", "b"], list(class_names("imagenet2012")), "taken for ImageNet's classes."),
        (
            1001,
            ["a", "b"],
            ["background", *class_names("imagenet2012")],
            "ImageNet's classes, the first its background class",
        ),
    ],
)
def test_names_are_worked_out_from_the_number_of_outputs(
    checkpoint, outputs, given, expected, says
):
    for scope in ("MobilenetV1", "model/MobilenetV1"):
        names, remark = names_of_outputs(checkpoint(outputs, scope), V1, given)
        assert names == expected
        assert says in remark
        assert bool(remark) == bool(says)


def test_another_networks_checkpoint_is_left_to_those_who_restore_it(checkpoint):
    prefix = checkpoint(4)
    assert names_of_outputs(prefix, networks["vgg_16"], ["a", "b", "c"]) == (["a", "b", "c"], "")
