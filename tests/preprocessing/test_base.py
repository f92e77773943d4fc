"""What holds for every registered pipeline."""

import numpy as np
import pytest
import tensorflow as tf

from preprocessing.base import PREPROCESSINGS
from preprocessing.preprocessing_factory import get_options, get_preprocessing

OUTPUT_SIDES = {"cuda_convnet": 24}  # it crops from 32, and leaves what is not smaller as it is
every_pipeline = pytest.mark.parametrize("name", PREPROCESSINGS)
every_random_pipeline = pytest.mark.parametrize(
    "name", [name for name in PREPROCESSINGS if name != "lenet"]
)


def batched(examples):
    return {key: tf.stack([example[key] for example in examples]) for key in examples[0]}


@every_pipeline
@pytest.mark.parametrize("is_training", [False, True])
@pytest.mark.parametrize("shape", [(300, 280), (64, 64), (20, 50)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_any_image_gives_a_float_image_of_the_asked_size(name, is_training, shape, channels):
    image = np.random.default_rng(1).integers(0, 256, (*shape, channels), dtype=np.uint8)
    pipeline = get_preprocessing(name, is_training)
    output = pipeline(image, 64, 48, seed=[1, 2])
    assert output.dtype == tf.float32
    assert output.shape == (64, 48, pipeline.channels)
    assert np.isfinite(output).all()


@every_pipeline
@pytest.mark.parametrize("is_training", [False, True])
def test_the_two_halves_equal_the_one_image_call(name, is_training, texture):
    pipeline = get_preprocessing(name, is_training)
    images = [texture(80, 100), texture(64, 64, 1), texture(256, 300, 2)]
    seeds = [[1, 0], [1, 1], [1, 2]]
    batch = batched([pipeline.host(i, 64, 64, seed=s) for i, s in zip(images, seeds, strict=True)])
    together = pipeline.device(batch)
    for row, image, seed in zip(together, images, seeds, strict=True):
        np.testing.assert_allclose(row, pipeline(image, 64, 64, seed=seed), atol=1e-5)


@every_random_pipeline
def test_the_same_seed_gives_the_same_pixels_and_another_other_ones(name, texture):
    pipeline = get_preprocessing(name, is_training=True)
    image = texture(70, 80)
    side = OUTPUT_SIDES.get(name, 64)
    first, again, other = (
        pipeline(image, side, side, seed=seed) for seed in ([3, 4], [3, 4], [3, 5])
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1


@every_random_pipeline
def test_without_a_seed_each_call_draws_anew_in_a_graph_too(name, texture):
    pipeline = get_preprocessing(name, is_training=True)
    image = texture(70, 80)
    side = OUTPUT_SIDES.get(name, 64)
    dataset = tf.data.Dataset.range(4).map(lambda _: pipeline(image, side, side))
    assert len({output.tobytes() for output in dataset.as_numpy_iterator()}) > 1


@every_pipeline
def test_evaluation_ignores_the_seed(name, texture):
    pipeline = get_preprocessing(name)
    image = texture(70, 80)
    one, two = (pipeline(image, 64, 64, seed=seed) for seed in ([3, 4], [5, 6]))
    np.testing.assert_array_equal(one, two)


@every_pipeline
@pytest.mark.parametrize("is_training", [False, True])
def test_shapes_are_static_inside_tf_data(name, is_training, texture):
    pipeline = get_preprocessing(name, is_training)
    files = [tf.io.encode_jpeg(texture(80, 90)), tf.io.encode_png(texture(64, 70)[..., :1])]
    dataset = tf.data.Dataset.from_tensor_slices(files).enumerate()
    dataset = dataset.map(lambda i, file: pipeline.host(file, 64, 48, seed=tf.stack([i, i])))
    assert dataset.element_spec["image"] == tf.TensorSpec(
        [64, 48, pipeline.channels], pipeline.pixel_dtype
    )
    batch = next(iter(dataset.batch(2)))
    assert pipeline.device(batch).shape == (2, 64, 48, pipeline.channels)


@every_pipeline
@pytest.mark.parametrize("is_training", [False, True])
def test_a_tensor_of_unknown_size_works(name, is_training, texture):
    pipeline = get_preprocessing(name, is_training)

    @tf.function(input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)])
    def call(image):
        return pipeline(image, 64, 64, seed=[1, 2])

    image = texture(70, 80)
    np.testing.assert_allclose(call(image), pipeline(image, 64, 64, seed=[1, 2]), atol=1e-5)


@every_pipeline
def test_evaluation_can_be_exported_and_draws_nothing(name, texture, tmp_path):
    pipeline = get_preprocessing(name)

    class Server(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def images(self, files):
            def host(file):
                return pipeline.host(file, 64, 64)["image"]

            spec = tf.TensorSpec([64, 64, pipeline.channels], pipeline.pixel_dtype)
            return pipeline.device({"image": tf.map_fn(host, files, fn_output_signature=spec)})

    server = Server()
    graph = server.images.get_concrete_function().graph.as_graph_def()
    nodes = [
        *graph.node,
        *(node for function in graph.library.function for node in function.node_def),
    ]
    assert not [node.op for node in nodes if "Random" in node.op]
    tf.saved_model.save(server, str(tmp_path))
    files = [tf.io.encode_jpeg(texture(80, 90)), tf.io.encode_png(texture(64, 70)[..., :1])]
    served = tf.saved_model.load(str(tmp_path)).images(tf.stack(files))
    for image, file in zip(served, files, strict=True):
        np.testing.assert_allclose(image, pipeline(file, 64, 64), atol=1e-5)


@every_pipeline
def test_bfloat16_is_the_rounded_float32(name, texture):
    pipeline = get_preprocessing(name, is_training=True)
    batch = batched([pipeline.host(texture(70, 80), 64, 64, seed=[1, 2])])
    expected = tf.cast(pipeline.device(batch), tf.bfloat16)
    compiled = tf.function(pipeline.device, jit_compile=True)  # as training and evaluation do
    for device in (pipeline.device, compiled):
        rounded = device(batch, tf.bfloat16)
        assert rounded.dtype == tf.bfloat16
        # These sum over an image, in an order that is XLA's own.
        tolerance = 2**-7 if name in ("cifarnet", "inception") else 0
        np.testing.assert_allclose(
            *(tf.cast(one, tf.float32) for one in (rounded, expected)), rtol=tolerance
        )


@every_pipeline
@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((8, 8), np.uint8), r"uint8 \(8, 8\).*uint8 \[height, width, 1, 3 or 4\]"),
        (np.zeros((1, 8, 8, 3), np.uint8), r"uint8 \(1, 8, 8, 3\).*must be"),
        (np.zeros((8, 8, 2), np.uint8), r"uint8 \(8, 8, 2\).*1, 3 or 4"),
        (np.zeros((0, 8, 3), np.uint8), r"uint8 \(0, 8, 3\).*not empty"),
        (np.zeros((8, 8, 3), np.float32), r"float32 \(8, 8, 3\).*0 to 255"),
        ([b"one", b"two"], r"string \(2,\).*scalar string"),
    ],
)
def test_an_image_of_the_wrong_kind_says_what_it_is_and_what_is_accepted(name, image, message):
    with pytest.raises(ValueError, match=message):
        get_preprocessing(name).host(image, 8, 8)


@every_pipeline
@pytest.mark.parametrize("size", [0, -1, 2.5, None, True])
def test_output_sizes_must_be_positive_integers(name, size):
    image = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match=f"output_height is {size}.*positive"):
        get_preprocessing(name)(image, size, 8)
    with pytest.raises(ValueError, match=f"output_width is {size}.*positive"):
        get_preprocessing(name)(image, 8, size)


@every_pipeline
def test_num_crops_is_one_or_ten_and_ten_only_in_evaluation(name):
    image = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match="num_crops is 5; it must be 1 or 10"):
        get_preprocessing(name).host(image, 8, 8, num_crops=5)
    with pytest.raises(ValueError, match="num_crops=10 is for evaluation"):
        get_preprocessing(name, True).host(image, 8, 8, num_crops=10)


@every_pipeline
@pytest.mark.parametrize("seed", [[1, 2, 3], 4, [0.5, 1.0]])
def test_a_seed_is_two_integers(name, seed):
    with pytest.raises(ValueError, match=r"seed is .*must be int32 or int64 \(2,\)"):
        get_preprocessing(name, True).host(np.zeros((8, 8, 3), np.uint8), 8, 8, seed=seed)


@pytest.mark.parametrize(
    "name", [name for name in PREPROCESSINGS if "mean_rgb" in get_options(name)]
)
def test_an_option_replaced_for_one_call_must_exist(name):
    image = np.zeros((8, 8, 3), np.uint8)
    bright = get_preprocessing(name)(image, 8, 8, mean_rgb=(-9, -9, -9))
    assert np.asarray(bright).min() > 0
    with pytest.raises(ValueError, match=r"'mean_rbg'.*Did you mean 'mean_rgb'"):
        get_preprocessing(name)(image, 8, 8, mean_rbg=(0, 0, 0))
