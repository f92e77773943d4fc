"""Trains an image classifier. `--help` lists the flags; README.md has examples."""

from slimzoo import program
from slimzoo.configuration import TrainingConfig
from training.training_loop import train


def main() -> None:
    """Runs the driver."""
    program.run(TrainingConfig, train)


if __name__ == "__main__":
    main()
