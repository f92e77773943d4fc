import numpy as np

from image_datasets.dataset_factory import get_dataset
from training.dataset_preparation import records


def test_images_without_a_label_keep_the_label_minus_one(tmp_path):
    folder = tmp_path / "unlabelled" / "1.0.0"
    folder.mkdir(parents=True)
    path = folder / "unlabelled-test.tfrecord-00000-of-00001"
    shard = records.Shard(path, folder / "sums" / "test-00000.npz", 0, 1)
    image = np.zeros((4, 4, 3), np.uint8)
    one = records.PreparedImage(0, image, np.zeros((3, 3), int), image.tobytes(), -1)
    assert list(shard.write([one], 4)) == [one]
    assert shard.is_complete()
    features = records.make_features(4, "raw", ["a", "b"])
    records.write_metadata(folder, features, {"test": [1]}, {"test": [shard]})
    (row,) = get_dataset("unlabelled", "test", str(tmp_path)).examples()
    assert row["label"] == -1
