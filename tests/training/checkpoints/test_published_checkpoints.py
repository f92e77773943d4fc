"""Checkpoints of TF-Slim's, trained on ImageNet, give the numbers that they gave under TF-Slim.

They lie beside the repository or nowhere. The numbers, of their README, were measured with the
original networks and preprocessing: the logits of a photo of a cat, and how many of the daisies
of `tf_flowers` are named right, and are among the five likeliest.
"""

import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from published_files import archive_of

from image_datasets.wordnet_names import imagenet_names
from slimzoo.commands.eval_image_classifier import EvaluationConfig, evaluate
from slimzoo.commands.export_saved_model import ExportConfig, export
from training.checkpoints.trained_model import load_trained_model
from training.zoo.table import published_checkpoints

SHARED = pathlib.Path(__file__).resolve().parents[4] / "shared" / "data"
# name: file, image size, right daisies, those in the top five, the cat's likeliest classes.
CHECKPOINTS = {
    "mobilenet_v1_050": (
        *("mobilenet_v1_0.5_160.ckpt", 160, 494, 557),
        {279: 17.8813, 278: 17.175, 357: 15.3877, 275: 15.171, 281: 14.0062},
    ),
    "mobilenet_v2": (
        *("mobilenet_v2_1.0_224.ckpt", 224, 519, 581),
        {282: 12.1186, 283: 11.3268, 286: 10.8201, 288: 8.4518, 279: 6.7658},
    ),
}


@pytest.fixture(scope="module")
def daisies(real_data_dir, tmp_path_factory):
    """The daisies as a folder that is called by their class' id."""
    (daisy,) = (class_id for class_id, name in imagenet_names().items() if name == "daisy")
    root = tmp_path_factory.mktemp("daisies")
    (root / daisy).mkdir()
    builder = tfds.builder("tf_flowers", data_dir=real_data_dir)
    label = builder.info.features["label"].str2int("daisy")
    decoders = {"image": tfds.decode.SkipDecoding()}
    for number, example in enumerate(builder.as_dataset(split="train", decoders=decoders)):
        if example["label"] == label:
            (root / daisy / f"{number}.jpg").write_bytes(example["image"].numpy())
    return root


def checkpoint(name):
    path = SHARED / "tf_slim_checkpoints" / CHECKPOINTS[name][0]
    if not path.with_name(f"{path.name}.index").exists():
        pytest.skip(f"there is no checkpoint {path}")
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_evaluation_names_as_many_daisies_right(name, daisies, tmp_path, capsys):
    _, size, right, in_top_5, _ = CHECKPOINTS[name]
    result = evaluate(
        EvaluationConfig(
            checkpoint_path=checkpoint(name),
            model_name=[name],
            eval_image_size=size,
            dataset_name="folder",
            dataset_dir=str(daisies),
            dataset_split_name="all",
            eval_dir=str(tmp_path / "evaluation"),
            report=False,
        )
    )
    assert "1,001 outputs: they are taken for ImageNet's classes" in capsys.readouterr().out
    assert result.num_examples == 633
    assert round(result.top_1 * 633) == right
    assert round(result.top_k * 633) == in_top_5


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_an_export_gives_the_logits_of_the_cat(name, tmp_path):
    _, size, *_, expected = CHECKPOINTS[name]
    folder = export(
        ExportConfig(
            checkpoint_path=checkpoint(name),
            model_name=name,
            export_image_size=size,
            export_dir=str(tmp_path / "saved_model"),
        )
    )
    photo = (SHARED / "sample_images" / "cat.jpg").read_bytes()
    signature = tf.saved_model.load(folder).signatures["serving_bytes"]
    (logits,) = signature(image_bytes=tf.constant([photo]))["logits"].numpy()
    assert np.argsort(-logits)[:5].tolist() == list(expected)
    np.testing.assert_allclose(logits[list(expected)], list(expected.values()), atol=1e-3)
    card = pathlib.Path(folder, "README.md").read_text()
    assert "MobileNet v" in card.splitlines()[2]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v1_0.5_160", "mobilenet_v2_1.0_224"])
def test_by_its_name_alone_one_gives_the_logits_of_the_cat(name, publish):
    """As an archive from a server, with what the table says of it."""
    row = published_checkpoints[name]
    publish(
        name,
        archive_of(checkpoint(row.network)),
        row.file_name,
        network=row.network,
        image_size=row.image_size,
        checkpoint=row.checkpoint,
    )
    model = load_trained_model(f"zoo:{name}")
    size = model.description.image_size
    photo = (SHARED / "sample_images" / "cat.jpg").read_bytes()
    (logits,) = model.network_fn(model.preprocessing(photo, size, size)[None])[0].numpy()
    expected = CHECKPOINTS[row.network][-1]
    assert np.argsort(-logits)[:5].tolist() == list(expected)
    np.testing.assert_allclose(logits[list(expected)], list(expected.values()), atol=1e-3)
    assert model.description.class_names[986] == "n11939491"  # a daisy, behind the background
