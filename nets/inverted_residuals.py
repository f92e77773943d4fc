"""The numbered layers of MobileNet v2, v3 and EdgeTPU: inverted residuals between convolutions."""

from __future__ import annotations

from typing import Any

import keras

from nets.mobilenet_parts import NormalizedStack, add_logits, divisible
from nets.registry import EndPoints
from nets.scopes import layer_name

_OUTPUT_STRIDES = (2, 4, 8, 16, 32)


class InvertedResidualStack(NormalizedStack):
    """Applies layers that have numbers as end points, with a decay of .997 in normalisation.

    Convolutions have the scopes `Conv`, `Conv_1` ...; inverted residuals have `expanded_conv`,
    `expanded_conv_1` ...; all of them together are the end points `layer_1`, `layer_2` ... What is
    inside the residuals comes after all layers: `layer_2/expansion_output`,
    `layer_2/depthwise_output` and `layer_2/output`.

    Args:
      images: a Keras symbolic tensor.
      output_stride: pixels of the images to a position of the last map, at least; strides beyond
        it become dilations of the layers that follow. None is all strides, 32 pixels.

    Raises:
      ValueError: if `output_stride` is no power of two from 2 to 32.
    """

    def __init__(self, images: Any, output_stride: int | None = None):
        super().__init__(images, momentum=0.997)
        if output_stride is not None and output_stride not in _OUTPUT_STRIDES:
            raise ValueError(f"output_stride is {output_stride}; it must be 2, 4, 8, 16 or 32.")
        self._inner: EndPoints = {}
        self._output_stride = output_stride
        self._stride = 1
        self._dilation = 1
        self._layers = 0
        self._convolutions = 0
        self._residuals = 0

    def add_convolution(
        self,
        filters: int,
        kernel_size: int,
        stride: int = 1,
        activation: str = "relu6",
        normalized: bool = True,
    ) -> None:
        """A convolution; it has biases if it is not normalised."""
        scope = f"Conv_{self._convolutions}" if self._convolutions else "Conv"
        stride, dilation = self._stride_and_dilation(stride)
        self.convolve(
            scope,
            filters,
            kernel_size,
            stride,
            dilation=1 if kernel_size == 1 else dilation,
            activation=activation,
            normalized=normalized,
        )
        self._convolutions += 1
        self._mark_layer()

    def add_inverted_residual(
        self,
        expansion: float,
        filters: int,
        kernel_size: int,
        stride: int,
        activation: str = "relu6",
        *,
        squeezes: bool = False,
        residual: bool = True,
    ) -> None:
        """Widens, convolves each channel, narrows, and adds where the shape stays.

        Args:
          expansion: how much wider it is inside; 1 leaves out the convolution that widens.
          filters: of the output, which has no activation.
          kernel_size: of the depthwise convolution.
          stride: of the depthwise convolution.
          activation: inside.
          squeezes: whether there is squeeze-and-excite before it narrows.
          residual: False never adds.
        """
        inputs, scope = self.net, self._next_residual()
        stride, dilation = self._stride_and_dilation(stride)
        self._expand(scope, expansion, 1, 1, activation)
        self.convolve_depthwise(
            f"{scope}/depthwise", kernel_size, stride, dilation=dilation, activation=activation
        )
        self._mark_inside("depthwise_output")
        if squeezes:
            self.squeeze_and_excite(f"{scope}/squeeze_excite")
        self._project(scope, filters, inputs if residual and stride == 1 else None)

    def add_fused_residual(
        self, expansion: float, filters: int, kernel_size: int, stride: int, activation: str
    ) -> None:
        """An inverted residual that widens and convolves at once, each channel with all others.

        As in TF-Slim, an expansion of 1 leaves out this convolution, and nothing is dilated.

        Raises:
          ValueError: if its stride is beyond `output_stride`.
        """
        inputs, scope = self.net, self._next_residual()
        if self._stride_and_dilation(stride)[0] != stride:
            raise ValueError(
                f"output_stride is {self._output_stride}; here, it must be 8, 16 or 32."
            )
        self._expand(scope, expansion, kernel_size, stride, activation)
        self._project(scope, filters, inputs if stride == 1 else None)

    def add_pool(self) -> None:
        """Averages over all positions."""
        self.apply(keras.layers.GlobalAveragePooling2D(keepdims=True, name="pool"))
        self._mark_layer()

    def add_logits(
        self, num_classes: int | None, dropout_keep_prob: float, spatial_squeeze: bool
    ) -> None:
        """The end points inside residuals, the mean over positions, and what follows it."""
        self.end_points |= self._inner
        self.apply(keras.layers.GlobalAveragePooling2D(keepdims=True, name="global_pool"))
        self.mark("global_pool")
        add_logits(self, num_classes, dropout_keep_prob, spatial_squeeze)

    def _stride_and_dilation(self, stride: int) -> tuple[int, int]:
        """What a layer has whose stride would be this one, and what it means for those after it."""
        if self._stride == self._output_stride:
            dilation = self._dilation
            self._dilation *= stride
            return 1, dilation
        self._stride *= stride
        return stride, 1

    def _next_residual(self) -> str:
        """Its scope."""
        scope = f"expanded_conv_{self._residuals}" if self._residuals else "expanded_conv"
        self._residuals += 1
        return scope

    def _mark_layer(self) -> None:
        """Makes the last output the end point of the next number."""
        self._layers += 1
        self.mark(f"layer_{self._layers}")

    def _mark_inside(self, name: str) -> None:
        self._inner[f"layer_{self._layers + 1}/{name}"] = self.net

    def _expand(
        self, scope: str, expansion: float, kernel_size: int, stride: int, activation: str
    ) -> None:
        filters = divisible(self.depth * expansion)
        if filters > self.depth:
            self.convolve(f"{scope}/expand", filters, kernel_size, stride, activation=activation)
            self._mark_inside("expansion_output")

    def _project(self, scope: str, filters: int, inputs: Any) -> None:
        """Narrows, and adds `inputs`, where there are any and they are as deep."""
        self.convolve(f"{scope}/project", filters, 1, activation=None)
        if inputs is not None and inputs.shape[-1] == filters:
            self.net = keras.layers.Add(name=layer_name(f"{scope}/add"))([inputs, self.net])
        self._mark_inside("output")
        self._mark_layer()
