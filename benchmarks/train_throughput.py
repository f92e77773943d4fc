"""Images/s of a whole training step (device half, forward, backward, update) on synthetic images.

    python benchmarks/train_throughput.py --models=alexnet,alexnet_v2 --precisions=float32,bfloat16

Prints a table on stderr and JSON on stdout: images/s beside those of PyTorch, TF-Slim and stock
Keras where they are installed, the share of the rate of a square matrix product in the same
rounds, and peaks of memory. Machines drift; ratios and shares carry over where images/s do not.

slimzoo's step begins with uint8 pixels, whose colour noise and mean are part of it; the peers are
given floats.
"""

from __future__ import annotations

from absl import flags

from reports import run
from throughput import accept_precisions, measure_networks

_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Images a step.", lower_bound=1)
accept_precisions()


def main(arguments: list[str]) -> None:
    """Measures and prints."""
    del arguments
    measure_networks("training_step", _BATCH_SIZE.value)


if __name__ == "__main__":
    run(main)
