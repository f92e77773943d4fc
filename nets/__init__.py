"""Networks: one file a family, `nets_factory` to get one by name.

`import nets` is all that Keras needs to load a `.keras` file with layers of these networks.
"""

from typing import TYPE_CHECKING, Any

from nets.keras_settings import require_tensorflow

require_tensorflow()

# After Keras' backend has been looked at. They register their layers with Keras.
from nets import (  # noqa: E402, F401
    batch_normalization,
    drop_path,
    layers,
    mobilenet_parts,
    pooling,
    response_normalization,
    separable,
    tf_slim_names,
)

if not TYPE_CHECKING:  # which would take every name for one that exists

    def __getattr__(name: str) -> Any:
        """Raises; for a module of TF-Slim, with what takes its place."""
        raise tf_slim_names.not_in_the_package(name)
