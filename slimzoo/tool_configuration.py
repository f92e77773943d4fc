"""What a user can ask of the drivers that prepare data and weights: see `configuration`."""

from __future__ import annotations

import dataclasses

from slimzoo.configuration import ModulesConfig, PreprocessingConfig, check_positive, flag
from slimzoo_registry import unknown_name_message

ENCODINGS = ("jpeg", "raw")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreparationConfig:
    """What `prepare_dataset` does."""

    dataset_name: str | None = flag(
        None,
        "The dataset to prepare: a TFDS name (imagenet2012, imagenette/320px-v2), or `folder` for "
        "a folder of images per class. Required.",
    )
    dataset_dir: str | None = flag(
        None,
        "The folder of images for `folder`; otherwise TFDS's data_dir. Default: TFDS's own, "
        "~/tensorflow_datasets.",
    )
    dataset_split_names: list[str] = flag(
        [], "Names of the splits to prepare, for example train,validation. Default: all."
    )
    output_dir: str | None = flag(
        None,
        "Where the prepared dataset goes, in a folder of its name; it is then the --dataset_dir "
        "of the other drivers. Required.",
    )
    prepared_name: str | None = flag(
        None,
        "What the prepared dataset is called. Default: the name of the dataset or of its folder, "
        "the image size, and the encoding if it is raw: tf_flowers_256, tf_flowers_256_raw.",
    )
    image_size: int = flag(
        256, "Height and width, in pixels: the short side's, and the central square's cut from it."
    )
    encoding: str = flag(
        "jpeg",
        "How images are kept: `jpeg` (small; must be decoded in every epoch) or `raw` (the pixels, "
        "192 KiB for 256x256, in the shuffle buffer too: 10,000 of them take 2 GB).",
        ENCODINGS,
    )
    jpeg_quality: int = flag(
        95,
        "Of `jpeg`, 1 to 100. 95 changed the values of 3,670 flower photos by 1.9 of 255 levels on "
        "average, at 29 kB an image.",
    )
    examples_per_shard: int = flag(
        1024,
        "Images in a file. An interrupted run goes on after the last complete file, and several "
        "files are read at the same time.",
    )
    skip_corrupt_images: bool = flag(
        False, "Leave out, name and count images that cannot be decoded, instead of stopping."
    )

    def __post_init__(self) -> None:
        """Checks ranges."""
        check_positive(image_size=self.image_size, examples_per_shard=self.examples_per_shard)
        if not 1 <= self.jpeg_quality <= 100:
            raise ValueError(f"--jpeg_quality is {self.jpeg_quality}; it must be 1 to 100.")
        if self.encoding not in ENCODINGS:
            raise ValueError(unknown_name_message("encoding", self.encoding, ENCODINGS))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConversionConfig(ModulesConfig, PreprocessingConfig):
    """What `convert_weights` does."""

    checkpoint_path: str | None = flag(
        None,
        "The weights: a .caffemodel, bvlc_alexnet.npy, a PyTorch state dict (.pth), .safetensors, "
        "Keras' .weights.h5, or a checkpoint of TF-Slim. Required.",
    )
    model_name: str | None = flag(None, "The network that is to have them. Required.")
    network_options: list[str] = flag(
        [], "Options of the network as name=value, for example towers=1."
    )
    source_model_name: str | None = flag(
        None,
        "The network that the weights were trained as, if it is another one: what that changes is "
        "then measured and printed. Default: model_name.",
    )
    bgr_to_rgb: bool = flag(
        False,
        "Reverse the input channels of the first layer, so that weights trained on BGR (Caffe's) "
        "take RGB; the network is fed RGB from then on.",
    )
    output_dir: str | None = flag(
        None,
        "Where checkpoint and model.json go; it is then the --checkpoint_path of the other "
        "drivers. A folder that does not exist, or is empty. Required.",
    )
    dataset_name: str | None = flag(
        None,
        "The dataset whose classes the outputs are. Default: imagenet2012 for 1,000 outputs.",
    )
    dataset_dir: str | None = flag(
        None, "The folder of images for `folder`; otherwise TFDS's data_dir."
    )
    checkpoint_exclude_scopes: list[str] = flag(
        [], "Scopes that keep their initial values, for example alexnet_v2/fc8."
    )
    ignore_missing_vars: bool = flag(
        False, "Convert even if the file lacks some of the network's variables."
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class StatisticsConfig:
    """What `compute_dataset_statistics` does."""

    dataset_name: str | None = flag(
        None,
        "The dataset: a TFDS name, or `folder` for a folder of images per class. Required.",
    )
    dataset_dir: str | None = flag(
        None,
        "The folder of images for `folder`; otherwise TFDS's data_dir. Default: TFDS's own, "
        "~/tensorflow_datasets.",
    )
    dataset_split_name: str = flag(
        "train", "The split to count, in TFDS syntax: train, train[:80%]."
    )
    output_dir: str | None = flag(
        None,
        "The folder for dataset_statistics.json and mean_image.npy; it is then the "
        "--dataset_statistics of train_image_classifier. Required.",
    )
    image_size: int = flag(
        256,
        "Height and width, in pixels: the short side's, and the central square's that is counted. "
        "32 for CIFAR.",
    )
    skip_corrupt_images: bool = flag(
        False, "Leave out, name and count images that cannot be decoded, instead of stopping."
    )

    def __post_init__(self) -> None:
        """Checks ranges."""
        check_positive(image_size=self.image_size)
