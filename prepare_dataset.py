"""Writes a dataset once, small, to be trained on fast. `--help` lists the flags."""

from training import command_line
from training.preparation import prepare
from training.tool_configuration import PreparationConfig


def main() -> None:
    """Runs the driver."""
    command_line.run(PreparationConfig, prepare)


if __name__ == "__main__":
    main()
