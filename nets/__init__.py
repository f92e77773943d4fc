"""Networks: one file a family, `nets_factory` to get one by name."""

from nets.keras_settings import require_tensorflow

require_tensorflow()
