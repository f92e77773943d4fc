"""The command: its answers are those of evaluation and export, and nothing is lost on the way."""

import csv
import dataclasses
import io
import json
import pathlib
import re
import shutil
import types

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tiny_network import CLASSES, NUM_VALIDATION, encode_photo

from slimzoo.classify import given_images
from slimzoo.commands.classify_images import ClassificationConfig, classify
from slimzoo.commands.eval_image_classifier import EvaluationConfig, evaluate
from slimzoo.commands.export_saved_model import ExportConfig, export
from training.classification import Answer, NetworkClassifier
from training.export.export_record import make_record


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "saved_model"
    return export(ExportConfig(checkpoint_path=str(trained), export_dir=str(folder), top_k=1))


@pytest.fixture
def config(trained, photos, tmp_path):
    """Classifies what the run was validated on, and writes it."""
    return ClassificationConfig(
        checkpoint_path=str(trained),
        images=[f"{photos}/validation"],
        output=str(tmp_path / "answers.csv"),
        top_k=3,
    )


@pytest.fixture
def new_photos(tmp_path):
    """A folder with photos at several depths, and files that are none."""
    root = tmp_path / "new"
    for number, name in enumerate(("1.jpg", "a/1.jpg", "a/b/c/1.JPG", "a/2.jpeg")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(encode_photo(number % 3, 500 + number))
    (root / "a" / "torn.jpg").write_bytes(encode_photo(0, 0)[:300])
    (root / "b.jpg").write_bytes(b"text")
    return root


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def probabilities_of(rows):
    """By file and class, of a CSV file with all classes."""
    return {
        row["file"]: {row[f"class_{k}"]: float(row[f"probability_{k}"]) for k in (1, 2, 3)}
        for row in rows
    }


def assert_equal_to(evaluated, answered, tolerance):
    assert len(evaluated) == NUM_VALIDATION
    assert answered.keys() == {row["example"] for row in evaluated}
    for row in evaluated:
        ours = [answered[row["example"]][name] for name in CLASSES]
        theirs = [float(row[f"probability:{name}"]) for name in CLASSES]
        np.testing.assert_allclose(ours, theirs, atol=tolerance)


@pytest.mark.parametrize("crops", [1, 10])
def test_probabilities_are_those_of_evaluation(config, trained, tmp_path, crops):
    eval_dir = str(tmp_path / "evaluation")
    evaluate(
        EvaluationConfig(
            checkpoint_path=str(trained), eval_dir=eval_dir, batch_size=8, eval_crops=crops
        )
    )
    classify(dataclasses.replace(config, crops=crops, batch_size=50))
    answered = probabilities_of(read_csv(config.output))
    spread = [abs(one["red"] - 1 / 3) for one in answered.values()]
    assert max(spread) > 0.001
    assert_equal_to(read_csv(f"{eval_dir}/predictions.csv"), answered, 1e-6)


def test_probabilities_of_an_export_are_those_of_its_checkpoint(config, exported, tmp_path):
    classify(config)
    of_checkpoint = read_csv(config.output)
    for path in (exported, f"{exported}/saved_model.pb"):
        other = dataclasses.replace(config, checkpoint_path=path, batch_size=4, overwrite=True)
        classify(other)
        of_export = read_csv(config.output)
        assert [row["file"] for row in of_export] == [row["file"] for row in of_checkpoint]
        ours, theirs = probabilities_of(of_export), probabilities_of(of_checkpoint)
        for name in theirs:
            assert ours[name] == pytest.approx(theirs[name], abs=1e-5)


def test_photos_at_any_depth_are_answered_beside_bad_ones(config, new_photos, capsys):
    output = config.output.replace(".csv", ".jsonl")
    images = [str(new_photos), f"{new_photos}/gone.jpg"]
    result = classify(dataclasses.replace(config, images=images, output=output))
    records = [json.loads(line) for line in pathlib.Path(output).read_text().splitlines()]
    valid = {record["file"]: record["valid"] for record in records}
    assert valid == {
        **{f"{new_photos}/{name}": True for name in ("1.jpg", "a/1.jpg", "a/2.jpeg")},
        f"{new_photos}/a/b/c/1.JPG": True,
        **{f"{new_photos}/{name}": False for name in ("a/torn.jpg", "b.jpg", "gone.jpg")},
    }
    assert len(result.rows) == 4
    assert len(result.problems) == 3
    for record in records:
        assert len(record["classes"]) == (3 if record["valid"] else 0)
        assert bool(record["error"]) == (not record["valid"])
    printed = capsys.readouterr().out
    assert "3 could not be classified:" in printed
    assert f"{new_photos}/b.jpg is no image" in printed
    assert "4 images classified: " in printed
    assert f"Written: {output}" in printed


def test_a_pattern_and_standard_input_are_taken(config, new_photos, monkeypatch):
    def named(*images, stdin=b""):
        buffer = io.BytesIO(stdin)
        monkeypatch.setattr(given_images.sys, "stdin", types.SimpleNamespace(buffer=buffer))
        result = classify(dataclasses.replace(config, images=list(images), output=None))
        return [row.name for row in result.rows], [row.likeliest[0] for row in result.rows]

    paths = [f"{new_photos}/1.jpg", f"{new_photos}/a/1.jpg"]
    names, likeliest = named(f"{new_photos}/**/1.jpg")
    assert names == paths
    assert named("-", stdin="\n".join(paths).encode()) == (names, likeliest)
    contents = pathlib.Path(paths[1]).read_bytes()
    names, piped = named("-", stdin=contents)
    assert names == ["-"]
    assert piped[0][0] == likeliest[1][0]
    assert piped[0][1] == pytest.approx(likeliest[1][1], abs=1e-6)


def test_photos_are_sorted_by_their_likeliest_class(config, new_photos, tmp_path, capsys):
    folder = tmp_path / "sorted"
    copying = dataclasses.replace(
        config, images=[str(new_photos)], output=None, copy_to=str(folder)
    )
    expected: dict[str, list[bytes]] = {}
    for row in classify(copying).rows:
        expected.setdefault(row.likeliest[0][0], []).append(pathlib.Path(row.name).read_bytes())
    there = {
        one.name: sorted(path.read_bytes() for path in one.iterdir()) for one in folder.iterdir()
    }
    assert there == {name: sorted(contents) for name, contents in expected.items()}
    assert f"Copied: 4 images, to a folder for each class in {folder}" in capsys.readouterr().out
    classify(copying)
    assert sum(path.is_file() for path in folder.rglob("*")) == 4
    links = tmp_path / "links"
    classify(dataclasses.replace(copying, copy_to=None, link_to=str(links)))
    assert sum(path.is_symlink() and path.exists() for path in links.rglob("*.*")) == 4


def test_of_many_images_with_an_output_sums_are_shown(config, photos, capsys):
    many = dataclasses.replace(config, images=[photos], top_k=2)  # 51
    result = classify(many)
    printed = capsys.readouterr().out
    assert "mean probability" in printed
    assert "0.jpg" not in printed
    assert {len(row.likeliest) for row in result.rows} == {1}
    assert len(read_csv(config.output)) == 51
    classify(dataclasses.replace(many, output=None))
    assert "0.jpg" in capsys.readouterr().out


def test_with_every_image_bad_nothing_is_written(config, new_photos, tmp_path):
    bad = dataclasses.replace(config, images=[f"{new_photos}/b.jpg", f"{new_photos}/a/torn.jpg"])
    with pytest.raises(ValueError, match=r"No image could be classified: .*b\.jpg is no image"):
        classify(bad)
    assert not list(tmp_path.glob("answers*"))


def test_an_interruption_leaves_what_was_there(config, tmp_path, monkeypatch):
    pathlib.Path(config.output).write_text("earlier")

    def interrupted(self, paths):
        yield Answer(paths[0], np.float32([0.5, 0.25, 0.25]))
        raise KeyboardInterrupt

    monkeypatch.setattr(NetworkClassifier, "answers", interrupted)
    folder = tmp_path / "sorted"
    with pytest.raises(KeyboardInterrupt) as raised:
        classify(dataclasses.replace(config, overwrite=True, copy_to=str(folder)))
    assert [path.read_text() for path in tmp_path.glob("answers*")] == ["earlier"]
    assert str(raised.value) == (
        f"Interrupted. 1 image is copied to {folder}. {config.output} is not written. "
        "The same command begins again."
    )


def test_images_that_are_in_another_class_as_well_are_told(
    config, new_photos, tmp_path, monkeypatch, capsys
):
    answers = [[0.6, 0.2, 0.2], [0.2, 0.6, 0.2]]
    monkeypatch.setattr(
        NetworkClassifier,
        "answers",
        lambda self, paths: (Answer(path, np.float32(answers[0])) for path in paths),
    )
    sort = dataclasses.replace(config, output=None, copy_to=str(tmp_path / "sorted"))
    classify(sort)
    assert "NOTE" not in capsys.readouterr().out
    del answers[0]
    classify(sort)
    assert re.search(
        r"NOTE: \d+ images had another class before, and are in the folder of that as well: "
        r"\S*/green/\S* is also \S*/blue/\S*\.",
        capsys.readouterr().out,
    )


def test_weights_of_other_frameworks_are_taken_with_their_classes(
    cifarnet_file, new_photos, config
):
    bare = dataclasses.replace(
        config, checkpoint_path=cifarnet_file, images=[str(new_photos)], top_k=99
    )
    with pytest.raises(ValueError, match="does not say of what network: give --model_name"):
        classify(bare)
    named = dataclasses.replace(bare, model_name="cifarnet_18pct", dataset_name="shapes")
    rows = classify(named).rows
    assert {len(row.likeliest) for row in rows} == {10}
    assert "circle" in dict(rows[0].likeliest)


@pytest.mark.slow
def test_photos_are_turned_as_in_training_and_for_other_weights_upright(
    trained, cifarnet_file, config, tmp_path
):
    photo, turned = (str(tmp_path / name) for name in ("upright.jpg", "turned.jpg"))
    pixels = np.arange(40 * 40 * 3, dtype=np.uint8).reshape(40, 40, 3)
    Image.fromarray(pixels).save(photo, quality=100, subsampling=0)
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(photo) as image:
        image.rotate(90).save(turned, quality=100, subsampling=0, exif=exif)

    def difference(**values):
        classify(dataclasses.replace(config, images=[photo, turned], overwrite=True, **values))
        upright, of_turned = probabilities_of(read_csv(config.output)).values()
        assert upright.keys() == of_turned.keys()
        return max(abs(upright[name] - of_turned[name]) for name in upright)

    weights = {"checkpoint_path": cifarnet_file, "model_name": "cifarnet_18pct"}
    for values in ({}, weights | {"dataset_name": "shapes"}):
        small, large = (difference(respect_exif=turn, **values) for turn in (True, False))
        assert small < large / 10
        assert difference(**values) == small


def test_a_class_list_that_does_not_fit_is_refused(config, exported, cifarnet_file, tmp_path):
    fits_not = "answers with 3 classes .blue, green, red., but shapes has 10 classes"
    for path in (config.checkpoint_path, exported):
        wrong = dataclasses.replace(config, checkpoint_path=path, dataset_name="shapes")
        with pytest.raises(ValueError, match=fits_not):
            classify(wrong)
    with pytest.raises(ValueError, match="shape"):
        classify(
            dataclasses.replace(
                config,
                checkpoint_path=cifarnet_file,
                model_name="cifarnet_18pct",
                dataset_name="folder",
                dataset_dir=config.images[0],
            )
        )
    assert not list(tmp_path.glob("answers*"))


@pytest.mark.parametrize("format", ["tflite", "onnx", "keras"])
def test_of_exports_a_saved_model_alone_is_taken(trained, config, tmp_path, format):
    file = tmp_path / f"model.{format}"
    file.write_bytes(b"x")
    says = f"is an export as {format}; of exports a SavedModel is taken. Give the checkpoint"
    with pytest.raises(ValueError, match=says):
        classify(dataclasses.replace(config, checkpoint_path=str(file)))
    folder = tmp_path / "export"
    folder.mkdir()
    make_record(
        "ckpt", format=format, precision="float32", model_name="x", version="1", files=[]
    ).save(str(folder))
    with pytest.raises(ValueError, match=says):
        classify(dataclasses.replace(config, checkpoint_path=str(folder)))
    with pytest.raises(
        ValueError, match=r"does not exist.*folder of a SavedModel is taken as well"
    ):
        classify(dataclasses.replace(config, checkpoint_path=str(tmp_path / "none")))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"images": []}, "No image is given. Name files, folders or patterns after the flags"),
        ({"images": ["/nowhere"]}, "no image to classify: /nowhere cannot be read: No such file"),
        ({"top_k": 0}, "--top_k is 0"),
        ({"crops": 3}, "--crops is 3; it must be 1 or 10"),
        ({"output": "answers.txt"}, "--output is answers.txt; its ending"),
        ({"copy_to": "a", "link_to": "b"}, "--copy_to and --link_to are both given"),
        ({"checkpoint_path": "/nowhere"}, "/nowhere does not exist"),
        ({"checkpoint_path": None}, "--checkpoint_path is not given"),
        ({"model_name": "alexnet_v2"}, "holds a run of tiny"),
    ],
)
def test_a_mistake_is_one_message(config, tmp_path, values, message):
    with pytest.raises(ValueError, match=message):
        classify(dataclasses.replace(config, **values))
    assert not list(tmp_path.glob("answers*"))


def test_an_output_that_exists_is_kept(config):
    pathlib.Path(config.output).write_text("kept")
    with pytest.raises(ValueError, match=r"exists already\. Give another name, or --overwrite"):
        classify(config)
    assert pathlib.Path(config.output).read_text() == "kept"


def test_an_empty_folder_is_named(config, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty is a folder without an image \(\.jpg"):
        classify(dataclasses.replace(config, images=[str(tmp_path / "empty")]))


@pytest.mark.parametrize(
    "values", [{"crops": 10}, {"image_size": 64}, {"max_image_pixels": 100, "respect_exif": True}]
)
def test_what_an_export_has_fixed_cannot_be_changed(config, exported, values):
    with pytest.raises(ValueError, match="is for checkpoints and weights") as error:
        classify(dataclasses.replace(config, checkpoint_path=exported, **values))
    for name, value in values.items():
        assert f"--{name}={value}" in str(error.value)


def test_images_are_not_sorted_into_the_folder_that_they_come_from(config, new_photos):
    for folder in (new_photos, new_photos / "a" / "sorted"):
        sorting = dataclasses.replace(config, images=[str(new_photos)], copy_to=str(folder))
        with pytest.raises(ValueError, match="would take what it has sorted too"):
            classify(sorting)
    assert not (new_photos / "a" / "sorted").exists()


@pytest.mark.parametrize("flag", ["copy_to", "link_to"])
def test_images_are_not_sorted_into_what_a_pattern_finds_again(config, new_photos, flag):
    where = {flag: f"{new_photos}/sorted"}
    sorting = dataclasses.replace(config, images=[f"{new_photos}/**/*.jpg"], output=None, **where)
    classify(sorting)
    before = sorted(new_photos.rglob("*"))
    with pytest.raises(ValueError, match=rf"is in --{flag} .*, where images are sorted to"):
        classify(sorting)
    assert sorted(new_photos.rglob("*")) == before


def test_a_piped_image_can_be_copied_and_not_linked(config, tmp_path, monkeypatch):
    contents = encode_photo(1, 7)

    def piped(**values):
        stdin = types.SimpleNamespace(buffer=io.BytesIO(contents))
        monkeypatch.setattr(given_images.sys, "stdin", stdin)
        return classify(dataclasses.replace(config, images=["-"], output=None, **values))

    piped(copy_to=str(tmp_path / "sorted"))
    (path,) = (tmp_path / "sorted").rglob("*.jpg")
    assert path.name == "standard_input.jpg"
    assert path.read_bytes() == contents
    with pytest.raises(ValueError, match="no file that --link_to could link to"):
        piped(link_to=str(tmp_path / "links"))


def test_a_limit_of_pixels_and_a_narrow_number_type_are_heeded(config, new_photos):
    one = dataclasses.replace(config, images=[str(new_photos / "1.jpg")], output=None)
    with pytest.raises(ValueError, match=r"1\.jpg is too large: it has .* pixels, more than"):
        classify(dataclasses.replace(one, max_image_pixels=100))
    ((name, probability), *_) = classify(one).rows[0].likeliest
    narrow = dict(classify(dataclasses.replace(one, mixed_precision="bfloat16")).rows[0].likeliest)
    assert narrow[name] != probability
    assert narrow[name] == pytest.approx(probability, rel=0.05)


def test_a_run_elsewhere_has_all_that_is_needed(trained, config, tmp_path):
    """No dataset is looked for: new photos need none."""
    moved = shutil.copytree(trained, tmp_path / "moved")
    description = json.loads((moved / "model.json").read_text())
    (moved / "model.json").write_text(json.dumps({**description, "dataset_dir": "/nowhere"}))
    assert len(classify(dataclasses.replace(config, checkpoint_path=str(moved))).rows) == 21
    assert tf.io.gfile.exists(config.output)
