"""Exports a trained image classifier: SavedModel, TFLite, ONNX, Keras. `--help` lists the flags."""

from slimzoo.drivers import export_saved_model as main

if __name__ == "__main__":
    main()
