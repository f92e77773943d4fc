"""Images/s of a network's forward pass in evaluation mode on synthetic images.

    python benchmarks/inference_throughput.py --precisions=float32,bfloat16,bfloat16_weights

Prints what `train_throughput.py` prints. Every contender is given preprocessed floats and gives
logits; nothing is fused that its library would not fuse by itself. In bfloat16, weights stay
float32 and are cast at each pass, as in training; in bfloat16_weights they were cast beforehand.
"""

from __future__ import annotations

from absl import flags

from reports import run
from throughput import accept_precisions, measure_networks

_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Images a pass.", lower_bound=1)
accept_precisions("bfloat16_weights")


def main(arguments: list[str]) -> None:
    """Measures and prints."""
    del arguments
    measure_networks("forward_pass", _BATCH_SIZE.value)


if __name__ == "__main__":
    run(main)
