"""Table 1 of "One weird trick", and what our count of bytes says of its times.

    python benchmarks/one_weird_trick_table.py

The paper gives the hours that 90 epochs took on up to eight GPUs in scheme b. They make the time of
a step, and how much longer it is than one GPU's step of as many images. Beside it is what the links
need for the bytes that `hybrid_traffic.py` counts, at the rate that the paper gives, if nothing
hides behind computing: in b, and in a and c and under `mirrored`, which the paper has not measured.
Nothing is measured here either.
"""

from __future__ import annotations

from typing import Any

from slimzoo import environment

environment.set_up()  # before TensorFlow is imported

# isort: split
from device_traffic import hybrid_traffic, mirrored_traffic
from nets import nets_factory
from network_costs import NetworkCosts, count_costs
from published_rates import ONE_WEIRD_TRICK, ONE_WEIRD_TRICK_SOURCE
from reports import finish, format_table, run

# The author's own file for one GPU; the paper's count of parameters fits it.
_MODEL = "alexnet_owt"
# Section 5 of the paper, which rounds ILSVRC-2012's images to 1.2 million.
_NUM_IMAGES = 90 * 1_281_167
_LINK_BYTES_PER_SECOND = 6e9
_FLOAT32_BYTES = 4


def main(arguments: list[str]) -> None:
    """Counts and prints."""
    del arguments
    network_fn = nets_factory.get_network_fn(_MODEL)
    assert network_fn.convolutions_end
    steps = step_times(count_costs(network_fn), network_fn.convolutions_end)
    rows = [{**row._asdict(), **step} for row, step in zip(ONE_WEIRD_TRICK, steps, strict=True)]
    content = {
        "model": _MODEL,
        "source": ONE_WEIRD_TRICK_SOURCE,
        "link_bytes_per_second": _LINK_BYTES_PER_SECOND,
        "training_images": _NUM_IMAGES,
        "rows": rows,
    }
    finish(content, [_table(rows)])


def step_times(costs: NetworkCosts, convolutions_end: str) -> list[dict[str, float]]:
    """Milliseconds of a step, for each row of the paper's table.

    Args:
      costs: of the network, for one image.
      convolutions_end: the last layer of the convolutional stage.

    Returns:
      Of each row: `step`, by the hours of training; `above_one_gpu`, how much longer that is than
      the step of one GPU; and what the links need if all that is sent is waited for: `b_sends`,
      `a_and_c_send`, `mirrored_sends`.
    """
    rate = _LINK_BYTES_PER_SECOND
    steps = []
    for row in ONE_WEIRD_TRICK:
        batch_size = row.convolutions_batch_size
        hybrid = hybrid_traffic(costs, convolutions_end, row.gpus, batch_size, _FLOAT32_BYTES)
        seconds = {
            "step": 3600 * row.hours * batch_size / _NUM_IMAGES,
            "b_sends": hybrid.sent_in_turns / rate,
            "a_and_c_send": hybrid.sent_by_each / rate,
            "mirrored_sends": mirrored_traffic(costs, row.gpus).sent_by_each / rate,
        }
        steps.append({name: 1000 * value for name, value in seconds.items()})
    return [{**one, "above_one_gpu": one["step"] - steps[0]["step"]} for one in steps]


def _table(rows: list[dict[str, Any]]) -> str:
    columns = {
        "GPUs": "{gpus}",
        "batches": "{convolutions_batch_size}, {fc_batch_size}",
        "cross-entropy": "{cross_entropy:.3f}",
        "top-1 error": "{top_1_error:.2f}%",
        "hours": "{hours:.2f}",
        "speedup": "{speedup:.2f}",
        "ms a step": "{step:.1f}",
        "above 1 GPU": "{above_one_gpu:.1f}",
        "b sends": "{b_sends:.1f}",
        "a, c": "{a_and_c_send:.1f}",
        "mirrored": "{mirrored_sends:.1f}",
    }
    cells = [[form.format(**row) for form in columns.values()] for row in rows]
    return format_table(list(columns), cells)


if __name__ == "__main__":
    run(main)
