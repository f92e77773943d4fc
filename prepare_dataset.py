"""Writes a dataset once, small, to be trained on fast. `--help` lists the flags."""

from slimzoo.drivers import prepare_dataset as main

if __name__ == "__main__":
    main()
