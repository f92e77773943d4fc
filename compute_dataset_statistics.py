"""Computes a dataset's mean, mean image and principal components. `--help` lists the flags."""

from slimzoo.drivers import compute_dataset_statistics as main

if __name__ == "__main__":
    main()
