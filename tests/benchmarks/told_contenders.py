"""Contenders that do as they are told; each runs in a process of its own."""

import os
import threading

from workloads import Repetition


def holding(mebibytes):
    """Holds so much memory, and prints where answers are expected."""
    held = b"x" * (mebibytes << 20)
    print("A library may print.")
    return Repetition(lambda: len(held), mebibytes, {"mebibytes": mebibytes})


def giving_up(after):
    """Fails when it has run so often, warming up included."""
    calls = []

    def run():
        calls.append(1)
        if len(calls) > after:
            raise RuntimeError("It has done enough.")

    return Repetition(run, 1)


def dying(seconds):
    """Ends its process after a while, not when it is asked something."""
    threading.Timer(seconds, os._exit, [3]).start()
    return Repetition(lambda: None, 1)


def small_in_pytorch(precision):
    """Two steps of PyTorch's peer, on a single layer: what it scales losses by, and its change.

    In a process of its own, as PyTorch and TensorFlow may not be at peace in one.
    """
    import torch

    from peers import pytorch

    scales, layers = [], []

    class Scaler(torch.amp.GradScaler):
        def scale(self, loss):
            scaled = super().scale(loss)
            scales.append(float(scaled / loss))
            return scaled

    def small():
        torch.manual_seed(0)
        layers.append(torch.nn.Linear(3 * 4 * 4, 1000))
        return torch.nn.Sequential(torch.nn.AvgPool2d(56), torch.nn.Flatten(), layers[0])

    torch.amp.GradScaler = Scaler
    workload = pytorch.training_step(
        "small", precision, "eager", batch_size=16, steps=2, networks={"small": small}
    )
    before = layers[0].bias.detach().clone()
    workload.run(0)
    change = (layers[0].bias.detach() - before).tolist()
    return Repetition(lambda: None, 1, {"scales": scales, "change": change})
