"""Converts weights of TF-Slim, Caffe, PyTorch and Keras. `--help` lists the flags."""

from slimzoo import program
from slimzoo.commands.convert_weights import convert
from slimzoo.tool_configuration import ConversionConfig


def main() -> None:
    """Runs the driver."""
    program.run(ConversionConfig, convert)


if __name__ == "__main__":
    main()
