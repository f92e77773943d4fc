"""Networks: one file a family, `nets_factory` to get one by name."""
