"""TFLite's metadata of an image classifier, as a flatbuffer.

Source: `metadata_schema.fbs` of tensorflow/tflite-support, version 1.1.0. The package that writes
such metadata has no wheels for the Pythons that are supported here.
"""

from __future__ import annotations

from collections.abc import Sequence

import flatbuffers

METADATA_NAME = "TFLITE_METADATA"
_FILE_IDENTIFIER = b"M001"
_PARSER_VERSION = "1.0.0"

# Numbers of the schema's enumerations.
_IMAGE_PROPERTIES = 2
_COLOR_SPACES = {3: 1, 1: 2}  # RGB, grayscale
_TENSOR_AXIS_LABELS = 2


class _Writer:
    """Writes tables, each after those that it refers to."""

    def __init__(self) -> None:
        self.builder = flatbuffers.Builder(1024)

    def table(self, num_fields: int, **fields: tuple[int, int]) -> int:
        """A table of references: `name=(its number in the schema, reference)`."""
        self.builder.StartObject(num_fields)
        for number, reference in fields.values():
            self.builder.PrependUOffsetTRelativeSlot(number, reference, 0)
        return self.builder.EndObject()

    def text(self, text: str) -> int:
        return self.builder.CreateString(text)

    def vector(self, references: Sequence[int]) -> int:
        self.builder.StartVector(4, len(references), 4)
        for reference in reversed(references):
            self.builder.PrependUOffsetTRelative(reference)
        return self.builder.EndVector()

    def image(self, size: int, channels: int) -> int:
        """The content of a tensor: RGB or grey images."""
        self.builder.StartObject(2)  # ImageSize
        self.builder.PrependUint32Slot(0, size, 0)
        self.builder.PrependUint32Slot(1, size, 0)
        image_size = self.builder.EndObject()
        self.builder.StartObject(2)  # ImageProperties
        self.builder.PrependInt8Slot(0, _COLOR_SPACES[channels], 0)
        self.builder.PrependUOffsetTRelativeSlot(1, image_size, 0)
        properties = self.builder.EndObject()
        self.builder.StartObject(3)  # Content
        self.builder.PrependUint8Slot(0, _IMAGE_PROPERTIES, 0)
        self.builder.PrependUOffsetTRelativeSlot(1, properties, 0)
        return self.builder.EndObject()

    def labels(self, name: str) -> int:
        """The associated file that names what each number of an output is of."""
        reference = self.text(name)
        said = self.text("The names of the classes, one a line, in the order of the outputs.")
        self.builder.StartObject(4)  # AssociatedFile
        self.builder.PrependUOffsetTRelativeSlot(0, reference, 0)
        self.builder.PrependUOffsetTRelativeSlot(1, said, 0)
        self.builder.PrependInt8Slot(2, _TENSOR_AXIS_LABELS, 0)
        return self.builder.EndObject()


def model_metadata(
    name: str,
    description: str,
    preparation: str,
    image_size: int,
    channels: int,
    outputs: Sequence[str],
    labels_name: str,
) -> bytes:
    """Returns the flatbuffer.

    Args:
      name: of the network.
      description: what it is.
      preparation: how to make its input from a photo, in words; the description of the input.
      image_size: height and width of the input, in pixels.
      channels: of the input: 3, RGB, or 1, grey.
      outputs: names, each of float32 [batch, classes].
      labels_name: of the file in the archive after the model.
    """
    write = _Writer()
    image = write.table(
        7,
        name=(0, write.text("images")),
        description=(1, write.text(preparation)),
        content=(3, write.image(image_size, channels)),
    )
    answers = [
        write.table(
            7,
            name=(0, write.text(output)),
            description=(1, write.text(f"{output} of the classes in {labels_name}")),
            associated_files=(6, write.vector([write.labels(labels_name)])),
        )
        for output in outputs
    ]
    graph = write.table(
        7,
        input_tensor_metadata=(2, write.vector([image])),
        output_tensor_metadata=(3, write.vector(answers)),
    )
    model = write.table(
        8,
        name=(0, write.text(name)),
        description=(1, write.text(description)),
        subgraph_metadata=(3, write.vector([graph])),
        min_parser_version=(7, write.text(_PARSER_VERSION)),
    )
    write.builder.Finish(model, file_identifier=_FILE_IDENTIFIER)
    return bytes(write.builder.Output())
