"""The model card: `README.md` of an export, for whoever is handed it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import jinja2

from image_datasets.dataset_factory import short_name
from image_datasets.wordnet_names import description
from preprocessing.preparation import Preparation
from training.evaluation_report.measures import wilson_interval
from training.export.export_record import ExportRecord, MeasuredAccuracy

_SHOWN_CLASSES = 20


@dataclasses.dataclass(frozen=True)
class CardFacts:
    """What a card tells besides the record of the export.

    Attributes:
      parameters: their number.
      image_size: height and width of the network's input, in pixels.
      channels: of the network's input: 3, RGB, or 1, grey.
      summary: of the network, a line.
      dataset_name: trained on, for people; empty if unknown.
      dataset_split_name: of the images trained on; None if unknown.
      num_training_images: likewise.
      class_names: of the outputs.
      preprocessing_name: in the registry.
      preprocessing_options: those that differ from the defaults.
      preparation: how to make the input.
      accuracy: of this checkpoint; None if it was not evaluated.
      max_image_pixels: of images that a SavedModel decodes; 0 sets no limit.
      import_modules: modules of the user's own that register the network.
    """

    parameters: int
    image_size: int
    channels: int
    summary: str
    dataset_name: str
    dataset_split_name: str | None
    num_training_images: int | None
    class_names: list[str]
    preprocessing_name: str
    preprocessing_options: Mapping[str, Any]
    preparation: Preparation
    accuracy: MeasuredAccuracy | None
    max_image_pixels: int
    import_modules: list[str]


def card(record: ExportRecord, facts: CardFacts) -> str:
    """Returns the card as Markdown."""
    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False
    )
    environment.filters |= {
        "line": _line,
        "code": _code,
        "cell": lambda text: _code(text).replace("|", r"\|"),
        "percent": "{:.2%}".format,
        "grouped": "{:,}".format,
    }
    accuracy, shown = facts.accuracy, facts.class_names[:_SHOWN_CLASSES]
    return environment.from_string(_CARD).render(
        record=record,
        facts=facts,
        shown=shown,
        in_words=[description(name) for name in shown],
        more=len(facts.class_names) - len(shown),
        interval=_interval(accuracy) if accuracy else None,
        evaluated_on=short_name(accuracy.dataset_name, accuracy.dataset_dir) if accuracy else None,
        call=environment.from_string(_CALLS[record.format]).render(record=record, facts=facts),
    )


def _line(text: str) -> str:
    return " ".join(str(text).split())


def _code(text: str) -> str:
    """A name, whatever is in it, as Markdown shows it unchanged: between backticks enough."""
    line = _line(text)
    fence = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    space = " " if line.startswith("`") or line.endswith("`") or not line else ""
    return f"{fence}{space}{line}{space}{fence}"


def _interval(accuracy: MeasuredAccuracy) -> tuple[float, float]:
    """The 95% interval of top-1."""
    return wilson_interval(round(accuracy.top_1 * accuracy.num_examples), accuracy.num_examples)


_CARD = """\
# {{ record.model_name }}, {{ record.format }}{{ "" if record.precision == "float32" \
else ", " + record.precision }}

{{ facts.summary | line }}

| | |
|---|---|
| network | `{{ record.model_name }}`, {{ facts.parameters | grouped }} parameters |
| input | {{ facts.image_size }}x{{ facts.image_size }} pixels\
{{ ", grey" if facts.channels == 1 }} |
| trained on | {% if facts.dataset_name %}{{ facts.dataset_name | cell }}\
{% if facts.dataset_split_name %}, split {{ facts.dataset_split_name | cell }}, \
{{ facts.num_training_images | grouped }} images{% endif %}{% else %}not known{% endif %} |
| classes | {{ facts.class_names | length }} |
| checkpoint | {{ record.checkpoint | cell }}, {{ record.is_of }} |
| written | {{ record.written }} by slimzoo {{ record.slimzoo_version }} |

## Accuracy

{% if facts.accuracy %}
Top-1 {{ facts.accuracy.top_1 | percent }} (95% interval {{ interval[0] | percent }} to \
{{ interval[1] | percent }}) on {{ facts.accuracy.num_examples | grouped }} images of
{{ evaluated_on | code }}, split {{ facts.accuracy.dataset_split_name | code }}, \
{% if (facts.accuracy.num_classes_with_images or facts.accuracy.num_classes) \
< facts.accuracy.num_classes %}\
{{ facts.accuracy.num_classes_with_images }} of its {{ facts.accuracy.num_classes }} classes, \
{% endif %}\
{{ facts.accuracy.eval_crops }} crop{{ "" if facts.accuracy.eval_crops == 1 else "s" }}.
{% if record.precision != facts.accuracy.mixed_precision %}
That is of the checkpoint in {{ facts.accuracy.mixed_precision }}; in {{ record.precision }} \
it may differ a little.
{% endif %}
{% else %}
Not evaluated: there was no `evaluation/evaluation.json` of this checkpoint when it was exported.
{% endif %}

## Classes

{% for name in shown %}
{{ name | code }}{% if in_words[loop.index0] != name %} {{ in_words[loop.index0] }}{% endif %}\
{{ "" if loop.last else ", " }}{% endfor %}\
{% if more > 0 %}, and {{ more | grouped }} more{% endif %}


{% if record.format == "saved_model" %}
`class_names` of the loaded model has all, in the order of the outputs.
{% else %}
`labels.txt` has all, one a line, in the order of the outputs.
{% endif %}

## Preprocessing

`{{ facts.preprocessing_name }}`{% if facts.preprocessing_options %}, with \
{% for name, value in facts.preprocessing_options.items() %}`{{ name }}={{ value }}`\
{{ "" if loop.last else ", " }}{% endfor %}{% endif %}.
{% if record.format == "saved_model" %}
It is inside: give it image files as they are. What it does: {{ facts.preparation.words }}
{% elif record.format == "keras" %}
It is not inside: the model takes float images from which mean and scale have been taken. \
{{ facts.preparation.words }}
{% else %}
Mean and scale are inside; the size is not. The input is uint8 \
`[batch, {{ facts.image_size }}, {{ facts.image_size }}, \
{{ facts.channels }}]`, {{ "grey" if facts.channels == 1 else "RGB" }}, 0 to 255. \
{{ facts.preparation.words }}
{% endif %}

## Limits

- It knows the classes above, and answers with one of them whatever it is shown.
- It was trained on images like those of \
{{ facts.dataset_name | code if facts.dataset_name else "its dataset" }}; on others its
  accuracy is not known.
{% if not facts.preprocessing_options.respect_exif %}
- An EXIF orientation is not obeyed: turn photos upright first.
{% endif %}
{% if record.format == "saved_model" and facts.max_image_pixels %}
- Images of more than {{ facts.max_image_pixels | grouped }} pixels are not decoded; \
`valid` is false for them.
{% endif %}

{{ call }}
"""

_PREPARE_AND = """\
{% if facts.preparation.python %}
```python
{{ facts.preparation.python }}

images = prepare("a.jpg")[np.newaxis]
@CALL@```
{% else %}
The input is made by a preprocessing of the user's own, so that there is no code for it here. \
`images` below is what it makes.

```python
@CALL@```
{% endif %}
"""

_TFLITE = """\
import zipfile

from ai_edge_litert.interpreter import Interpreter

classify = Interpreter("model.tflite").get_signature_runner()
labels = zipfile.ZipFile("model.tflite").read("labels.txt").decode().split("\\n")
answers = classify(images=images)
best = answers["probabilities"].argmax(axis=1)
print([labels[number] for number in best], answers["probabilities"].max(axis=1))
"""

_ONNX = """\
import json

import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
labels = json.loads(session.get_modelmeta().custom_metadata_map["labels"])
(probabilities,) = session.run(["probabilities"], {"images": images})
best = probabilities.argmax(axis=1)
print([labels[number] for number in best], probabilities.max(axis=1))
"""

_CALLS = {
    "tflite": "## In Python\n\n`pip install ai-edge-litert pillow`\n\n"
    + _PREPARE_AND.replace("@CALL@", _TFLITE)
    + """
`labels.txt` is inside the file, as TFLite's metadata have it: a ZIP archive after the model.
Libraries for Android and iOS find it there.
""",
    "onnx": "## In Python\n\n`pip install onnxruntime pillow`\n\n"
    + _PREPARE_AND.replace("@CALL@", _ONNX)
    + """
The metadata of the file have `labels`, a JSON list, and `preparation`, which says how its input is
made.
""",
    "keras": """\
## In Python

Loading needs slimzoo: `import nets` registers its layers with Keras. Without that import Keras \
says that a class is not known.

```python
import pathlib

import keras
import nets{% for module in facts.import_modules %}, {{ module }}{% endfor %}

from preprocessing import preprocessing_factory

model = keras.saving.load_model("model.keras")
labels = pathlib.Path("labels.txt").read_text(encoding="utf-8").split("\\n")
preprocess = preprocessing_factory.get_preprocessing(
    "{{ facts.preprocessing_name }}"{% for name, value in facts.preprocessing_options.items() %}, \
{{ name }}={{ value.__repr__() }}{% endfor %}

)
image = preprocess(pathlib.Path("a.jpg").read_bytes(), {{ facts.image_size }}, \
{{ facts.image_size }})
probabilities = keras.ops.softmax(model(image[None], training=False))
print(labels[int(keras.ops.argmax(probabilities[0]))])
```
""",
    "saved_model": """\
## In Python

`pip install tensorflow`

```python
import pathlib

import tensorflow as tf

model = tf.saved_model.load(".")
photos = [pathlib.Path(name).read_bytes() for name in ["a.jpg"]]
answers = model.signatures["serving_bytes"](image_bytes=tf.constant(photos))
print(answers["top_classes"].numpy(), answers["top_probabilities"].numpy())
```

## With TensorFlow Serving

It wants a folder for each version below that of the model, here 1. The command follows its \
documentation; it was not run when this card was written.

```bash
docker run -p 8500:8500 -p 8501:8501 -e MODEL_NAME={{ record.model_name }} \\
    -v "$PWD:/models/{{ record.model_name }}/1" tensorflow/serving
```

Over REST, a file is sent in Base64:

```bash
photo=$(base64 < a.jpg | tr -d '\\n')
echo '{"signature_name": "serving_bytes", "instances": [{"b64": "'"$photo"'"}]}' |
    curl -d @- http://localhost:8501/v1/models/{{ record.model_name }}:predict
```

The answer has `predictions`, an object for each image with `top_classes`, `top_names`,
`top_probabilities`, `probabilities`, `logits`, `features`, `top_indices` and `valid`.
Over gRPC (port 8500, `tensorflow-serving-api`) it is a `PredictRequest` with \
`model_spec.signature_name` `serving_bytes` and the input `image_bytes`, a string tensor of files.
""",
}
