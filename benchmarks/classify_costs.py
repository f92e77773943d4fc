"""What classify_images takes for a folder of photos, from its start to its end: seconds and memory.

    python benchmarks/classify_costs.py --num_photos=1000 --networks=alexnet_v2,cifarnet_18pct

Beside it stands what one would write for the same network with Keras alone:
`keras.utils.image_dataset_from_directory` and `Model.predict`. Each run is a process of its own,
and they take turns. The weights are new; the photos are noise that decodes like photos, 500x375
pixels.
"""

from __future__ import annotations

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any, NamedTuple

from absl import flags

from slimzoo import environment

environment.set_up()  # before TensorFlow is imported

# isort: split
from nets import nets_factory
from photos import write_photos
from reports import finish, format_table, run

_NUM_PHOTOS = flags.DEFINE_integer("num_photos", 1000, "Photos.", lower_bound=1)
_NETWORKS = flags.DEFINE_list("networks", ["alexnet_v2", "cifarnet_18pct"], "Names.")
_RUNS = flags.DEFINE_integer("runs", 5, "Runs of each.", lower_bound=1)

_ROOT = pathlib.Path(__file__).parents[1]

_KERAS = """
import csv, sys
sys.path.insert(0, {root!r})
import keras, nets
import numpy as np
photos = keras.utils.image_dataset_from_directory(
    {photos!r}, labels=None, shuffle=False, image_size=({size}, {size}), batch_size=64,
    crop_to_aspect_ratio=True, verbose=False,
)
model = keras.saving.load_model({model!r})
means = np.float32([123.68, 116.779, 103.939])
logits = model.predict(photos.map(lambda batch: batch - means).prefetch(1), verbose=0)
probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
with open({output!r}, "w", newline="") as file:
    writer = csv.writer(file)
    for path, row in zip(photos.file_paths, probabilities):
        best = np.argsort(-row)[:5]
        writer.writerow([path, *(cell for label in best for cell in (label, row[label]))])
"""


# A small process in between: what is started by this one begins with a peak as large as its own.
_WATCH = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


class _Cost(NamedTuple):
    seconds: float
    peak_mib: float


def main(arguments: list[str]) -> None:
    """Measures and prints."""
    del arguments
    figures: dict[str, dict[str, Any]] = {}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        write_photos(folder, _NUM_PHOTOS.value)
        for name in _NETWORKS.value:
            commands = _commands(name, folder)
            costs: dict[str, list[_Cost]] = {contender: [] for contender in commands}
            for number in range(_RUNS.value + 1):
                for contender, command in commands.items():
                    cost = _cost(command, os.path.join(folder, "answers.csv"))
                    if number:  # the first brings files into memory
                        costs[contender].append(cost)
            ours, keras = costs.values()
            ratio = statistics.median(
                b.seconds / a.seconds for a, b in zip(ours, keras, strict=True)
            )
            figures[name] = {"ratio_of_seconds_keras": round(ratio, 2)}
            for contender, measured in costs.items():
                seconds = statistics.median(cost.seconds for cost in measured)
                peak = max(cost.peak_mib for cost in measured)
                figures[name][contender] = {
                    "seconds": round(seconds, 2),
                    "all_seconds": [round(cost.seconds, 2) for cost in measured],
                    "peak_memory_mib": round(peak),
                }
                rows.append((name, contender, f"{seconds:.1f}", f"{peak:,.0f}"))
            rows.append((name, "keras : ours", f"{ratio:.2f}", ""))
    content = {"num_photos": _NUM_PHOTOS.value, "networks": figures}
    finish(content, [format_table(["network", "with", "seconds", "MiB"], rows)])


def _commands(name: str, folder: str) -> dict[str, list[str]]:
    """The command lines of the contenders; each writes `answers.csv` into the folder."""
    network_fn = nets_factory.get_network_fn(name, num_classes=1000)
    weights = os.path.join(folder, f"{name}.weights.h5")
    model = os.path.join(folder, f"{name}.keras")
    network_fn.model.save_weights(weights)
    network_fn.model.save(model)
    photos, output = os.path.join(folder, "train"), os.path.join(folder, "answers.csv")
    size = nets_factory.networks[name].default_image_size
    code = _KERAS.format(root=str(_ROOT), photos=photos, size=size, model=model, output=output)
    ours = [
        *(str(_ROOT / "classify_images.py"), f"--checkpoint_path={weights}"),
        *(f"--model_name={name}", f"--output={output}", photos),
    ]
    return {"ours": [sys.executable, *ours], "keras": [sys.executable, "-c", code]}


def _cost(command: list[str], output: str) -> _Cost:
    pathlib.Path(output).unlink(missing_ok=True)
    start = time.perf_counter()
    finished = subprocess.run(
        [sys.executable, "-c", _WATCH, *command], capture_output=True, text=True
    )
    seconds = time.perf_counter() - start
    if finished.returncode or not os.path.exists(output):
        raise ValueError(f"{command[1]} failed: {finished.stderr[-2000:]}")
    return _Cost(seconds, int(finished.stdout.split()[-1]) / 1024)


if __name__ == "__main__":
    run(main)
