import tensorflow as tf

from image_datasets.image_dataset import ImageDataset


def test_examples_are_made_anew_by_each_call_and_within_flat_map():
    dataset = ImageDataset(
        name="numbers",
        split="train",
        num_examples=3,
        class_names=("even", "odd"),
        make_examples=lambda: tf.data.Dataset.range(3).map(lambda i: {"label": i % 2, "index": i}),
        describe=lambda index: f"number {index}",
    )
    assert dataset.num_classes == 2
    epochs = tf.data.Dataset.range(2).flat_map(lambda _: dataset.examples())
    assert [int(row["index"]) for row in epochs] == [0, 1, 2, 0, 1, 2]
    assert [int(row["index"]) for row in dataset.stored_examples(1)] == [1, 2]
