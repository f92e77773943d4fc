"""Writes records as TF-Slim's scripts do (`research/slim/datasets`), a few of them."""

import pathlib

import tensorflow as tf
from tiny_network import CLASSES, encode_photo


def feature(value):
    values = value if isinstance(value, list) else [value]
    if values and isinstance(values[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    if values and isinstance(values[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def record(encoded, label, image_format=b"jpg", height=0, width=0, **others):
    """A record of dataset_utils.image_to_tfexample; None leaves out, `class_text` is class/text."""
    values = {
        "image/encoded": encoded,
        "image/format": image_format,
        "image/class/label": label,
        "image/height": height,
        "image/width": width,
        **{f"image/{name.replace('_', '/', 1)}": value for name, value in others.items()},
    }
    features = {key: feature(value) for key, value in values.items() if value is not None}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def imagenet_record(encoded, label, synset, **others):
    """A record of build_imagenet_data.py, with a box around an object."""
    return record(
        encoded,
        label,
        b"JPEG",
        colorspace=b"RGB",
        channels=3,
        class_synset=synset.encode(),
        class_text=b"something, to be read",
        filename=b"1.JPEG",
        **{f"object/bbox/{side}": [0.25] for side in ("xmin", "xmax", "ymin", "ymax")},
        **{"object/bbox/label": [label]},
        **others,
    )


def write_records(path, records, compression=""):
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for one in records:
            writer.write(one)


def write_labels(folder, names, first=0):
    lines = (f"{label}:{name}\n" for label, name in enumerate(names, first))
    pathlib.Path(folder, "labels.txt").write_text("".join(lines))


def photo_records(per_class, offset=0, first_label=0):
    """Those of the photos of `tiny_network`, of the classes by turns."""
    return [
        record(encode_photo(label, number + offset), label + first_label)
        for number in range(per_class)
        for label in range(len(CLASSES))
    ]


def write_flowers(folder, num_train=30, num_validation=21, num_shards=3):
    """What download_and_convert_flowers.py writes, of three colors instead of five flowers."""
    for split, count, offset in (("train", num_train, 0), ("validation", num_validation, 1000)):
        records = photo_records(count // len(CLASSES), offset)
        per_shard = -(-count // num_shards)
        for shard in range(num_shards):
            name = f"flowers_{split}_{shard:05}-of-{num_shards:05}.tfrecord"
            write_records(
                pathlib.Path(folder, name), records[shard * per_shard : (shard + 1) * per_shard]
            )
    write_labels(folder, CLASSES)
    return str(folder)
