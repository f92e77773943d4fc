"""The tests of this folder train a network of their own."""

import pytest
from tiny_network import config, replaced, run, tiny_is_registered  # noqa: F401

from image_datasets import dataset_factory


@pytest.fixture
def deleted_after_the_scan(monkeypatch):
    """`deleted_after_the_scan(path)`: from then on it is gone whenever its folder was looked at."""

    def delete(path):
        scan = dataset_factory.get_dataset

        def scan_and_delete(*arguments):
            dataset = scan(*arguments)
            path.unlink(missing_ok=True)
            return dataset

        monkeypatch.setattr(dataset_factory, "get_dataset", scan_and_delete)

    return delete
