"""Converts weights of TF-Slim, Caffe, PyTorch and Keras. `--help` lists the flags."""

from training import command_line
from training.conversion import convert
from training.tool_configuration import ConversionConfig


def main() -> None:
    """Runs the driver."""
    command_line.run(ConversionConfig, convert)


if __name__ == "__main__":
    main()
