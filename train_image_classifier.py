"""Trains an image classifier. `--help` lists the flags; README.md has examples."""

from training import command_line
from training.configuration import TrainingConfig
from training.training_loop import train


def main() -> None:
    """Runs the driver."""
    command_line.run(TrainingConfig, train)


if __name__ == "__main__":
    main()
