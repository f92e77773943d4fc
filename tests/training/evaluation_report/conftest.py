"""What was evaluated, told rather than measured."""

import dataclasses

import pytest
from told_answers import ROWS, collected, write_photos

from training.evaluation_report.page import Evaluation
from training.evaluation_report.run_record import RunRecord


@pytest.fixture
def answers():
    return collected(ROWS)


@pytest.fixture
def evaluation(tmp_path):
    """`evaluation(class_names)`: of three photos of each class."""

    def make(class_names=("ant", "bee", "cat"), **values):
        dataset = write_photos(tmp_path / "photos", class_names[:3], 3)
        describe = dataset.describe
        return dataclasses.replace(
            Evaluation(
                model_name="tiny",
                dataset=dataclasses.replace(
                    dataset, describe=lambda index: describe(index % dataset.num_examples)
                ),
                class_names=list(class_names),
                runs=[RunRecord("run/model.ckpt-6", remarks=["No curves."])],
                loss=1.25,
                remarks=["Ten crops."],
                command="eval_image_classifier --checkpoint_path=run",
                versions={"slimzoo": "1.2.3"},
            ),
            **values,
        )

    return make
