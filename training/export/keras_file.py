"""A network as a `.keras` file."""

from __future__ import annotations

from nets.nets_factory import NetworkFn

IMPORT = "import nets"
"""What registers the layers of these networks with Keras, in a process that loads such a file."""


def write_keras_file(network_fn: NetworkFn, path: str) -> None:
    """Writes the Keras model from preprocessed images to logits.

    A new process loads it with `keras.saving.load_model(path)` after `import nets`.

    Args:
      network_fn: the network, with its weights.
      path: of the file, which is not there yet.
    """
    network_fn.model.save(path)
