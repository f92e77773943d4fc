"""Data parallelism for the convolutions, model parallelism for the fully connected layers.

Source: Krizhevsky, "One weird trick for parallelizing convolutional neural networks"
(https://arxiv.org/abs/1404.5997). docs/one_weird_trick.md says what is done where.
"""
