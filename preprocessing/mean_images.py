"""Mean images: files that are read, checked and cut where a pipeline is traced."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def center_of_mean_image(path: str, side: int, height: int, width: int) -> npt.NDArray[np.float32]:
    """Reads a mean image and cuts out its centre.

    Args:
      path: a NumPy file, float [side, side, 3], RGB, 0 to 255.
      side: of the square that images are cropped from, in pixels.
      height: of what is cut out.
      width: of what is cut out.

    Returns:
      float32 [height, width, 3].

    Raises:
      ValueError: if the file does not exist, or holds anything else.
    """
    if not isinstance(path, str):
        raise ValueError(f"mean_image is {path!r}; it takes the path of a NumPy file.")
    try:
        image = np.load(path, allow_pickle=False)  # a pickle could run code
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"mean_image {path} cannot be read as a NumPy file: {error}") from error
    if not isinstance(image, np.ndarray):
        raise ValueError(f"mean_image {path} holds several arrays; it takes a file of one, .npy.")
    if image.shape != (side, side, 3) or image.dtype.kind not in "fiu":
        raise ValueError(
            f"mean_image {path} holds {image.dtype} {list(image.shape)}; images are cropped from "
            f"{side}x{side} pixels, so it must hold numbers [{side}, {side}, 3]. "
            f"compute_dataset_statistics --image_size={side} makes it."
        )
    if not np.isfinite(image).all():
        raise ValueError(f"mean_image {path} holds NaNs or infinities.")
    top, left = (side - height) // 2, (side - width) // 2
    return image[top : top + height, left : left + width].astype(np.float32)
