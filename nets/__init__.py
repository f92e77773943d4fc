"""Networks: one file a family, `nets_factory` to get one by name.

`import nets` is all that Keras needs to load a `.keras` file with layers of these networks.
"""

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
)
