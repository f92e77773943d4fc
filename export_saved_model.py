"""Exports a trained image classifier as a SavedModel. `--help` lists the flags."""

from slimzoo.drivers import export_saved_model as main

if __name__ == "__main__":
    main()
