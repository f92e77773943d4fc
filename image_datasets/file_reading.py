"""Reads files inside a graph; one that cannot be read is marked rather than an error.

A graph cannot catch an error, but a dataset can leave out the elements that raise one. To make a
dataset for each file would take longer than to read a small one. So the files of a chunk are read
as if nothing could go wrong, and again one by one, with care, where something did.
"""

from __future__ import annotations

import tensorflow as tf

# In the place of the contents of a file that cannot be read. No image begins like this.
UNREADABLE = b"This file cannot be read."

_ATTEMPTS = 3  # after the first, which was the chunk's: a network disk may be back soon
_SECONDS_BETWEEN = 0.2

# AutoGraph rewrites code that needs no rewriting, and buries a user's mistake in its own report.
_read = tf.autograph.experimental.do_not_convert(lambda path: tf.io.read_file(path))


def read_files(paths: tf.Tensor) -> tf.Tensor:
    """Reads files, trying again those that cannot be read.

    Args:
      paths: string [n], n at least 1.

    Returns:
      string [n], the contents; `UNREADABLE` for a file that is missing, is a folder, may not be
      read, or whose disk fails.
    """
    count = tf.size(paths, tf.int64)
    files = tf.data.Dataset.from_tensor_slices(paths)
    # An incomplete chunk is what is left after an error.
    at_once = files.map(_read).batch(count, drop_remainder=True).ignore_errors()
    one_by_one = files.map(_read_with_care).batch(count, drop_remainder=True)
    return at_once.concatenate(one_by_one).take(1).get_single_element()


def unreadable_message(path: str) -> str:
    """Says that the image in a file cannot be read, and why.

    Args:
      path: of the file, which is tried once more for the reason.
    """
    try:
        if "://" in path:
            tf.io.read_file(path)
        else:  # TensorFlow's errors cannot name a path that is not UTF-8
            with open(path, "rb") as file:
                file.read(1)
    except OSError as error:
        return f"This image cannot be read: {path}: {error.strerror}."
    except tf.errors.OpError as error:
        return f"This image cannot be read: {path}: {type(error).__name__}."
    return f"This image could not be read, though it can be now: {path}."


@tf.autograph.experimental.do_not_convert
def _read_with_care(path: tf.Tensor) -> tf.Tensor:
    attempt = tf.data.Dataset.from_tensors(path)
    attempts = attempt.concatenate(_slowed(attempt.repeat(_ATTEMPTS - 1)))
    marked = tf.data.Dataset.from_tensors(UNREADABLE)
    return attempts.map(_read).ignore_errors().concatenate(marked).take(1).get_single_element()


def _slowed(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Waits before each element; tf.data has this without a name in its interface."""
    slowed = tf.raw_ops.SleepDataset(
        input_dataset=tf.data.experimental.to_variant(dataset),
        sleep_microseconds=tf.constant(int(_SECONDS_BETWEEN * 1e6), tf.int64),
        output_types=[tf.string],
        output_shapes=[[]],
    )
    return tf.data.experimental.from_variant(slowed, dataset.element_spec)
