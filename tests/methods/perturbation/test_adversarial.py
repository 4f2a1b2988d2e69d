"""Ways out of a class: the distance to a plane by hand, then networks that are taken out of theirs."""

import keras
import numpy as np
import pytest
from keras import layers
from toy_networks import linear_network, pictures, with_noise

from cnninte_utils.methods import perturbation
from cnninte_utils.networks import builders, targets
from cnninte_utils.networks.activations import predict


def test_distance_to_a_plane_by_hand():
    # f = 2 x1 - x2 + x3 / 2 + 1/4 at (1, 2, -2) is -3/4; pixels are (x + 2) / 4, so 2 - 2 + 1 + 1/4 is lost
    model = linear_network(4 * np.array([2, -1, 0.5]), 0.25 - 2 * 1.5)
    x = (np.float32([1, 2, -2]).reshape(1, 1, 3, 1) + 2) / 4
    np.testing.assert_allclose(targets.scores(model, x, [0]), -0.75, atol=1e-6)
    r = perturbation.deepfool(model, x, [1], overshoot=0.0)
    np.testing.assert_allclose(4 * r.ravel(), [0.2857, -0.1429, 0.0714], atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(4 * r), 0.3273, atol=1e-4)
    more = perturbation.deepfool(model, x, [1])
    np.testing.assert_allclose(more, 1.02 * r, rtol=1e-3)


def test_the_nearest_of_several_boundaries():
    # logits 0, x1 - ½, x2 - ¾ at (¼, ¼): class 1 is ¼ away, class 2 is ½
    image = keras.Input((1, 2, 1))
    out = layers.Dense(3)
    model = keras.Model(image, out(layers.Flatten()(image)))
    out.set_weights([np.array([[0.0, 1, 0], [0, 0, 1]]), np.array([0, -0.5, -0.75])])
    r = perturbation.deepfool(model, np.full((1, 1, 2, 1), 0.25, np.float32), [0], overshoot=0.0)
    np.testing.assert_allclose(r.ravel(), [0.25, 0], atol=1e-4)


@pytest.fixture(scope="module")
def network():
    return with_noise(builders.resnet(depth=8, input_size=16, mean=[0.5] * 3, std=[0.25] * 3), seed=3)


def test_every_image_is_taken_out_by_little(network):
    images = pictures((16, 16, 3), 5)
    classes = predict(network, images).argmax(axis=1)
    r = perturbation.deepfool(network, images, classes)
    logits = targets.logits(network)
    after = np.asarray(logits(images + r, training=False)).argmax(axis=1)
    assert (after != classes).all()
    assert (
        np.linalg.norm(r.reshape(5, -1), axis=1) < 0.2 * np.linalg.norm(images.reshape(5, -1), axis=1)
    ).all()
    # hardly any of it can be spared: with a tenth less the class is back
    before = np.asarray(logits(images + 0.9 * r, training=False)).argmax(axis=1)
    assert (before == classes).mean() >= 0.6
    alone = perturbation.deepfool(network, images[2:3], classes[2:3])
    np.testing.assert_allclose(alone, r[2:3], atol=1e-3 * np.abs(r).max())


def test_an_image_that_is_in_another_class_gets_no_change(network):
    images = pictures((16, 16, 3), 2)
    classes = predict(network, images).argmax(axis=1)
    assert not perturbation.deepfool(network, images, (classes + 1) % 10).any()


def test_bad_requests_are_refused(network):
    images = pictures((16, 16, 3), 1)
    with pytest.raises(ValueError, match="targets must be whole numbers, the classes to leave"):
        perturbation.deepfool(network, images, np.ones((1, 10)))
    with pytest.raises(ValueError, match="classes from 0 to 9"):
        perturbation.deepfool(network, images, [10])
    with pytest.raises(ValueError, match="overshoot must be finite and not negative"):
        perturbation.deepfool(network, images, [0], overshoot=-0.1)
    with pytest.raises(ValueError, match="targets must be whole numbers, the classes to leave"):
        perturbation.minimal_perturbation(network, images, np.ones((1, 10)))
    with pytest.raises(ValueError, match="targets must be whole numbers, the classes to reach"):
        perturbation.minimal_perturbation(network, images, [0], toward=np.ones((1, 10)))
    with pytest.raises(ValueError, match="whole number searches must be at least 1"):
        perturbation.minimal_perturbation(network, images, [0], searches=0)


def test_the_minimum_to_a_plane_is_the_distance_by_hand():
    # as above, shifted into the image: pixels 0.4 to 0.6, the plane a tenth of that way off
    model = linear_network(4 * np.array([2, -1, 0.5]), -0.75 + 4 * 0.5 * -1.5)
    x = np.full((1, 1, 3, 1), 0.5, np.float32)
    np.testing.assert_allclose(targets.scores(model, x, [0]), -0.75, atol=1e-6)
    r = perturbation.minimal_perturbation(model, x, [1], searches=20, iterations=100)
    assert np.asarray(model(x + r)).argmax() == 0
    np.testing.assert_allclose(4 * r.ravel(), [0.2857, -0.1429, 0.0714], atol=2e-3)


def test_the_minimum_is_an_image_in_the_class_and_no_longer_than_deepfools(network):
    images = pictures((16, 16, 3), 3)
    values = np.asarray(targets.logits(network)(images))
    classes, second = values.argsort(axis=1)[:, -1], values.argsort(axis=1)[:, -2]
    r = perturbation.minimal_perturbation(network, images, classes)
    assert (images + r).min() >= -1e-6
    assert (images + r).max() <= 1 + 1e-6
    assert (predict(network, np.clip(images + r, 0, 1)).argmax(axis=1) == second).all()
    lengths = [
        np.linalg.norm(x.reshape(3, -1), axis=1) for x in (r, perturbation.deepfool(network, images, classes))
    ]
    assert np.mean(lengths[0]) < 1.3 * np.mean(lengths[1])
    assert not perturbation.minimal_perturbation(network, images, second, searches=1).any()
