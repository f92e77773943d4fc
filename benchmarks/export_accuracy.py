"""Accuracy of exported TFLite and ONNX files, on the split that their run was validated on.

    python benchmarks/export_accuracy.py runs/flowers/best/tflite runs/flowers/best/onnx

Needs the extras tflite and onnx. Each argument is a folder that export_saved_model wrote, with the
checkpoint that its export.json names still there.
"""

from __future__ import annotations

from slimzoo import environment

environment.set_up()  # as the commands do

import pathlib
import sys
from collections.abc import Callable

import numpy as np

from image_datasets.dataset_factory import get_dataset
from training import input_pipeline
from training.checkpoints.trained_model import load_trained_model
from training.export.export_record import read_record


def main() -> None:
    """Prints a line for each export."""
    folders = [one for one in sys.argv[1:] if not one.startswith("-")]
    if not folders:
        print(__doc__)
        return
    for folder in folders:
        record = read_record(folder)
        if record is None or record.format not in ("tflite", "onnx"):
            raise SystemExit(f"{folder} holds no export as TFLite or ONNX.")
        answer = (tflite if record.format == "tflite" else onnx)(folder)
        model = load_trained_model(record.checkpoint)
        description = model.description
        dataset = get_dataset(
            description.dataset_name,
            description.validation_split_name or "validation",
            description.dataset_dir,
        )
        right = same = total = 0
        for batch in input_pipeline.evaluation_batches(
            dataset, model.preprocessing, batch_size=32, image_size=description.image_size
        ):
            counted = batch["weight"].numpy() > 0
            inputs = model.preprocessing.device(batch)
            expected = model.network_fn(inputs, is_training=False)[0].numpy().argmax(axis=1)
            found = answer(batch["image"].numpy()).argmax(axis=1)
            right += int((found == batch["label"].numpy())[counted].sum())
            same += int((found == expected)[counted].sum())
            total += int(counted.sum())
        print(
            f"{record.model_name} {record.format} {record.precision}: top-1 {right / total:.2%}, "
            f"the checkpoint's class for {same / total:.2%} of {total:,} images of {dataset.name}",
            flush=True,
        )


def tflite(folder: str) -> Callable[[np.ndarray], np.ndarray]:
    """Runs `model.tflite`: uint8 images to probabilities."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(pathlib.Path(folder, "model.tflite"))).get_signature_runner()
    return lambda images: runner(images=images)["probabilities"]


def onnx(folder: str) -> Callable[[np.ndarray], np.ndarray]:
    """Runs `model.onnx`: uint8 images to probabilities."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(pathlib.Path(folder, "model.onnx")))
    return lambda images: session.run(["probabilities"], {"images": images})[0]


if __name__ == "__main__":
    main()
