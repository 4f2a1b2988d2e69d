import os
import subprocess
import sys
from importlib.util import find_spec

import keras
import numpy as np
import pytest

from cnninte_utils.datasets import Split
from cnninte_utils.networks import builders
from cnninte_utils.networks.activations import activations, predict
from cnninte_utils.networks.gradients import vector_jacobian_product


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return builders.mnist_cnn()


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((7, 28, 28, 1), np.float32)


def by_hand(network, images, last):
    """Call layer after layer."""
    x = images
    for layer in network.layers[1:]:
        x = layer(x, training=False)
        if layer.name == last:
            return keras.ops.convert_to_numpy(x)
    raise AssertionError(last)


@pytest.mark.parametrize("name", ["conv1", "pool2", "fc1", "softmax"])
def test_equal_to_calling_layer_after_layer(network, images, name):
    assert np.allclose(activations(network, name, images), by_hand(network, images, name), atol=1e-4)


@pytest.mark.parametrize("kind", ["array", "split"])
def test_few_at_once_and_many_in_batches_are_the_same(network, images, kind):
    if kind == "split":
        images = Split(images, np.zeros(7, np.int64))
    whole, parts = (activations(network, ["conv2", "fc1"], images, batch_size=n) for n in (7, 3))
    for name in ("conv2", "fc1"):
        assert np.allclose(whole[name], parts[name], atol=1e-4)
        assert whole[name].flags.writeable
        assert parts[name].flags.writeable


@pytest.mark.parametrize("summary", ["max", "mean"])
def test_summary_is_over_positions(network, images, summary):
    maps = by_hand(network, images, "conv2")
    got = activations(network, "conv2", images, summary=summary)
    assert np.allclose(got, getattr(maps, summary)(axis=(1, 2)), atol=1e-4)


def test_several_layers_at_once(network, images):
    both = activations(network, ["conv2", "fc1"], images, summary="max")
    assert list(both) == ["conv2", "fc1"]
    assert both["conv2"].shape == (7, 64)
    assert np.allclose(both["fc1"], activations(network, "fc1", images), atol=1e-4)


def test_model_is_not_altered(network, images):
    before = [w.copy() for w in network.get_weights()]
    activations(network, "conv2", images, summary="mean")
    assert [layer.name for layer in network.layers][-1] == "softmax"
    assert all(np.array_equal(a, b) for a, b in zip(before, network.get_weights(), strict=True))


def test_errors_name_what_is_allowed(network, images):
    with pytest.raises(ValueError, match=r"no layer 'fc9' in mnist_cnn: it has image, conv1"):
        activations(network, "fc9", images)
    with pytest.raises(ValueError, match="unknown summary 'median': choose one of max, mean"):
        activations(network, "fc1", images, summary="median")
    with pytest.raises(ValueError, match=r"takes images of shape \(28, 28, 1\), got \(28, 28\)"):
        activations(network, "fc1", images[..., 0])


def test_predict_is_the_model_itself(network, images):
    assert np.allclose(predict(network, images, batch_size=2), by_hand(network, images, "softmax"), atol=1e-5)


def linear_model():
    image = keras.Input((2, 1, 1))
    return keras.Model(image, keras.layers.Dense(2, use_bias=False)(keras.layers.Flatten()(image)))


def test_gradient_by_hand():
    model = linear_model()
    model.set_weights([np.array([[1.0, 2.0], [3.0, 4.0]])])
    image = np.array([0.5, 0.25], np.float32).reshape(1, 2, 1, 1)
    outputs, gradients = vector_jacobian_product(model, image, np.array([[10.0, 1.0]], np.float32))
    assert outputs.tolist() == [[1.25, 2.0]]
    assert gradients.ravel().tolist() == [12.0, 34.0]


def test_gradient_is_a_difference_quotient(network, images):
    image, target = 0.1 + 0.8 * images[:1], np.eye(10, dtype=np.float32)[[3]]
    _, gradient = vector_jacobian_product(network, image, target)
    direction = gradient / np.linalg.norm(gradient)
    step = 1e-2
    ahead, behind = (predict(network, image + sign * step * direction)[0, 3] for sign in (1, -1))
    assert (ahead - behind) / (2 * step) == pytest.approx(np.linalg.norm(gradient), rel=0.05)


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_gradient_on_another_backend(backend):
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    tests = f"{__file__}::test_gradient_by_hand"
    environment = os.environ | {"KERAS_BACKEND": backend}
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", tests], env=environment, capture_output=True)
    assert done.returncode == 0, done.stdout
