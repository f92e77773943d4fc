"""What GPUs can do by their makers' data sheets: dense rates, without structured sparsity."""

from __future__ import annotations

import dataclasses

_TERA, _GIGA = 1e12, 1e9


@dataclasses.dataclass(frozen=True)
class Gpu:
    """A GPU.

    Attributes:
      float32: operations/s of matrix products of float32 numbers: in TF32 where the GPU has it,
        as TensorFlow uses it by default.
      bfloat16: operations/s in bfloat16, or in float16 where it has no bfloat16.
      memory: bytes/s read or written.
      link: bytes/s to other GPUs, in one direction.
      host: bytes/s from the host, in one direction.
      has_bfloat16: whether it multiplies bfloat16 numbers.
    """

    float32: float
    bfloat16: float
    memory: float
    link: float
    host: float
    has_bfloat16: bool = True

    def operations(self, precision: str) -> float:
        """Operations/s in float32, bfloat16 or float16.

        Raises:
          ValueError: for bfloat16 if the GPU has none.
        """
        if precision == "bfloat16" and not self.has_bfloat16:
            raise ValueError("This GPU has no bfloat16: give --precision=float16 or float32.")
        return self.float32 if precision == "float32" else self.bfloat16


def _gpu(
    float32: float, half: float, memory: float, link: float, host: float, has_bfloat16: bool = True
) -> Gpu:
    rates = (float32 * _TERA, half * _TERA, memory * _GIGA, link * _GIGA, host * _GIGA)
    return Gpu(*rates, has_bfloat16=has_bfloat16)


# NVIDIA prints rates with sparsity for Ampere and later; half of them are meant here. NVLink is
# printed for both directions together; half of it is meant here, as with PCIe.
GPUS = {
    #            TFLOP/s       GB/s
    #         float32  bf16 memory link host
    # NVIDIA H200 Tensor Core GPU datasheet (SXM): 989 and 1,979 TFLOP/s with sparsity, NVLink 900
    "h200": _gpu(494.5, 989.5, 4800, 450, 64),
    # NVIDIA H100 Tensor Core GPU datasheet (SXM5 and PCIe)
    "h100": _gpu(494.5, 989.5, 3350, 450, 64),
    "h100_pcie": _gpu(378, 756.5, 2000, 300, 64),
    # NVIDIA A100 Tensor Core GPU datasheet (SXM4, 80 and 40 GB); NVLink 600
    "a100": _gpu(156, 312, 2039, 300, 32),
    "a100_40gb": _gpu(156, 312, 1555, 300, 32),
    # NVIDIA V100 Tensor Core GPU datasheet (SXM2): neither TF32 nor bfloat16; float16 has 125
    "v100": _gpu(15.7, 125, 900, 150, 16, has_bfloat16=False),
    # NVIDIA L4 Tensor Core GPU datasheet: 120 and 242 TFLOP/s with sparsity; no NVLink
    "l4": _gpu(60, 121, 300, 32, 32),
    # NVIDIA T4 datasheet: neither TF32 nor bfloat16; float16 has 65; no NVLink
    "t4": _gpu(8.1, 65, 320, 16, 16, has_bfloat16=False),
    # NVIDIA Ada GPU architecture white paper, appendix A: with float32 accumulation; no NVLink
    "rtx_4090": _gpu(82.6, 165.2, 1008, 32, 32),
}
