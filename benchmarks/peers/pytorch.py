"""The two AlexNets in PyTorch, as fast as its users can have them: autocast, fused SGD, compiled.

Freed memory is kept where `contenders` says so.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from workloads import LeftOutError, Repetition, Workload


class PaperDropout(nn.Dropout):
    """Zeroes activations in training and halves them at test time, section 4.2 of the paper."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """PyTorch doubles in training instead; half of that is the paper's."""
        return (1 - self.p) * super().forward(inputs)


def alexnet() -> nn.Sequential:
    """The network of the 2012 paper: 60,965,224 parameters.

    [batch, 3, 224, 224] to logits [batch, 1000]. PyTorch divides LRN's alpha by its size.
    """
    normalization = functools.partial(nn.LocalResponseNorm, 5, alpha=5e-4, beta=0.75, k=2.0)
    return nn.Sequential(
        nn.ZeroPad2d((0, 3, 0, 3)),
        *(nn.Conv2d(3, 96, 11, stride=4), nn.ReLU(inplace=True)),
        *(normalization(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(inplace=True)),
        *(normalization(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(inplace=True)),
        *(nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU(inplace=True)),
        *(nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(inplace=True)),
        *(nn.MaxPool2d(3, 2), nn.Flatten()),
        *(nn.Linear(6 * 6 * 256, 4096), nn.ReLU(inplace=True), PaperDropout(0.5)),
        *(nn.Linear(4096, 4096), nn.ReLU(inplace=True), PaperDropout(0.5)),
        nn.Linear(4096, 1000),
    )


def alexnet_v2() -> nn.Sequential:
    """TF-Slim's network: 50,303,912 parameters. [batch, 3, 224, 224] to logits [batch, 1000]."""
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 11, stride=4), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(inplace=True)),
        *(nn.Conv2d(384, 384, 3, padding=1), nn.ReLU(inplace=True)),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(inplace=True)),
        *(nn.MaxPool2d(3, 2), nn.Flatten()),
        *(nn.Linear(5 * 5 * 256, 4096), nn.ReLU(inplace=True), nn.Dropout(0.5)),
        *(nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Dropout(0.5)),
        nn.Linear(4096, 1000),
    )


_IMAGE_SIZES = {"inception_v3": 299}

# What torch.compile is told in these modes; in the others that begin so, nothing.
_COMPILED = {"compiled_cuda_graphs": "reduce-overhead", "compiled_max_autotune": "max-autotune"}

# What autocast computes in; in float32 it has no part.
_AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}

# Weights that never change, which the compiler lays out as its matrix products want them.
_FROZEN = "compiled_frozen"

NETWORKS: dict[str, Callable[[], nn.Module]] = {"alexnet": alexnet, "alexnet_v2": alexnet_v2}


def training_step(
    model: str,
    precision: str,
    mode: str,
    batch_size: int,
    steps: int,
    networks: Mapping[str, Callable[[], nn.Module]] = NETWORKS,
) -> Workload:
    """Forward, backward, SGD with momentum .9 and weight decay 5e-4; in float16 a scaled loss.

    Auxiliary logits, where `networks` give such, have the weight .4 in the loss.
    """
    network, images, facts = _prepare(networks[model], mode, batch_size, _IMAGE_SIZES.get(model))
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=1e-4,
        momentum=0.9,
        weight_decay=5e-4,
        fused=True,
    )
    scaler = torch.amp.GradScaler(images.device.type, enabled=precision == "float16")
    labels = torch.randint(0, 1000, (batch_size,), device=images.device)
    in_training = _in_mode(network.train(), mode)

    def take_steps() -> float:
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            with _autocast(images.device, precision):
                logits, auxiliary_logits = _both(in_training(images))
                loss = nn.functional.cross_entropy(logits, labels)
                if auxiliary_logits is not None:
                    loss += 0.4 * nn.functional.cross_entropy(auxiliary_logits, labels)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        return loss.item()  # waits for a GPU

    return _repetition(take_steps, steps * batch_size, mode, facts)


def forward_pass(
    model: str,
    precision: str,
    mode: str,
    batch_size: int,
    steps: int,
    networks: Mapping[str, Callable[[], nn.Module]] = NETWORKS,
) -> Workload:
    """The network in evaluation mode on floats that are preprocessed already."""
    network, images, facts = _prepare(networks[model], mode, batch_size, _IMAGE_SIZES.get(model))
    network.eval()
    if precision == "bfloat16_weights":
        network, images = network.bfloat16(), images.bfloat16()
    in_evaluation = _in_mode(network, mode)

    def run() -> float:
        for _ in range(steps):
            # Autocast casts the weights once for all that is inside.
            with torch.inference_mode(), _autocast(images.device, precision):
                logits = in_evaluation(images)
        return logits[0, 0].item()

    return _repetition(run, steps * batch_size, mode, facts)


def _both(outputs: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The logits, and the auxiliary ones or None."""
    return (outputs, None) if isinstance(outputs, torch.Tensor) else tuple(outputs)


def _prepare(
    make_network: Callable[[], nn.Module], mode: str, batch_size: int, image_size: int | None
) -> tuple[nn.Module, torch.Tensor, dict[str, Any]]:
    torch.set_float32_matmul_precision("high")  # TF32 on a GPU, as TensorFlow does by itself
    torch.backends.cudnn.benchmark = True
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = make_network().to(device)
    size = image_size or 224
    images = 60.0 * torch.randn(batch_size, 3, size, size, device=device)
    if mode.endswith("channels_last") or mode in _COMPILED or mode == _FROZEN:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = images.to(memory_format=torch.channels_last)
    facts = {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "threads": torch.get_num_threads(),
    }
    return network, images, facts


def _in_mode(network: nn.Module, mode: str) -> Callable[[torch.Tensor], torch.Tensor]:
    if not mode.startswith("compiled"):
        return network
    options = {"freezing": True} if mode == _FROZEN else None
    return torch.compile(network, mode=_COMPILED.get(mode), options=options)


def _autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    if precision not in _AUTOCAST:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=_AUTOCAST[precision])


def _repetition(
    function: Callable[[], float], amount: float, mode: str, facts: dict[str, Any]
) -> Workload:
    if mode.startswith("compiled"):
        try:
            function()
        except Exception as error:  # whatever the compiler's absence or failure raises
            reason = str(error).strip().splitlines() or [""]
            raise LeftOutError(
                f"torch.compile does not work here: {type(error).__name__}: {reason[0]}"
            ) from error
    return Repetition(function, amount, facts)
