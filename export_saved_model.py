"""Exports a trained image classifier as a SavedModel. `--help` lists the flags."""

from training import command_line
from training.configuration import ExportConfig
from training.export import export


def main() -> None:
    """Runs the driver."""
    command_line.run(ExportConfig, export)


if __name__ == "__main__":
    main()
