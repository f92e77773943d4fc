import os

import numpy as np

from image_datasets.dataset_factory import get_dataset
from training.dataset_preparation import counting

SIZE = 16


def test_a_killed_pass_has_saved_its_sums(photos, tmp_path):
    """Every 10 images: of a process that is killed at the 23rd, 20 are kept."""
    dataset = get_dataset("folder", "train", photos)
    plan = {"split": "train", "image_size": SIZE}
    saved = []

    def note_what_is_saved():
        if os.path.exists(tmp_path / "sums.npz"):
            with np.load(tmp_path / "sums.npz") as arrays:
                saved.append(int(arrays["position"]))
        return False

    counting.compute_statistics(
        dataset, str(tmp_path), plan, stop_requested=note_what_is_saved, save_every=10
    )
    assert saved == [10] * 10 + [20] * 10 + [30]
