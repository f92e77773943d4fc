import numpy as np
import pytest
import tensorflow as tf

from nets.nets_factory import get_network_fn
from preprocessing.preprocessing_factory import get_preprocessing
from training.ensemble import Ensemble, Member, images_in_a_batch


def test_crops_and_members_are_averaged_as_probabilities():
    pipelines = [get_preprocessing("cuda_convnet", image_side=side) for side in (36, 40)]
    members = []
    for seed, pipeline in enumerate(pipelines):
        network_fn = get_network_fn("tiny", 3)
        generator = np.random.default_rng(seed)
        for variable in network_fn.variables.values():
            variable.assign(generator.normal(scale=0.3, size=variable.shape))
        members.append(Member(network_fn, pipeline, 32))
    ensemble = Ensemble(members)
    assert ensemble.num_classes == 3
    pixels = np.random.default_rng(5).integers(0, 256, [50, 60, 3]).astype(np.uint8)
    example = ensemble.views.host(pixels, 32, 32, num_crops=10)
    batch = {key: value[tf.newaxis] for key, value in example.items()}
    answered = np.exp(ensemble.log_probabilities(batch))
    alone = []
    for network_fn, pipeline, size in members:
        crops = pipeline.host(pixels, size, size, num_crops=10)
        alone.append(tf.nn.softmax(network_fn(pipeline.device(crops))[0]).numpy())
    assert np.ptp(alone, axis=(0, 1)).max() > 0.01
    np.testing.assert_allclose(answered, [np.mean(alone, axis=(0, 1))], rtol=1e-5)


@pytest.mark.parametrize(
    ("batch_size", "num_crops", "num_replicas", "images"),
    [(128, 1, 1, 128), (128, 10, 1, 12), (128, 10, 2, 12), (5, 10, 1, 1), (5, 10, 3, 3)],
)
def test_crops_fill_a_batch_as_images_do(batch_size, num_crops, num_replicas, images):
    assert images_in_a_batch(batch_size, num_crops, num_replicas) == images
