"""The tests of this folder train a network of their own."""

from tiny_network import config, replaced, run, tiny_is_registered  # noqa: F401
