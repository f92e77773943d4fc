"""Writes a dataset once, small, to be trained on fast. `--help` lists the flags."""

from slimzoo import program
from slimzoo.commands.prepare_dataset import prepare
from slimzoo.tool_configuration import PreparationConfig


def main() -> None:
    """Runs the driver."""
    program.run(PreparationConfig, prepare)


if __name__ == "__main__":
    main()
