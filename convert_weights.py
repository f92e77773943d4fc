"""Converts weights of TF-Slim, Caffe, PyTorch and Keras. `--help` lists the flags."""

from slimzoo.drivers import convert_weights as main

if __name__ == "__main__":
    main()
