"""The network and the scenes that the atlas looks at."""

import numpy as np
import pytest

from cnninte_utils import datasets
from cnninte_utils.networks.activations import predict
from cnninte_utils.papers import survey


@pytest.fixture(scope="module")
def network():
    return survey.small_resnet(datasets.load("toyworld"))


def test_the_network_of_seed_0_comes_with_the_package_and_is_as_good_as_its_card_says(network):
    assert network.was_cached
    toyworld = datasets.load("toyworld")
    accuracy = (predict(network.model, toyworld.test).argmax(axis=1) == toyworld.test.labels).mean()
    assert accuracy == pytest.approx(0.901, abs=0.002)


def test_recognized_images_are_those_that_the_network_is_right_on(network):
    test = datasets.load("toyworld").test.take(np.arange(60))
    right = np.flatnonzero(predict(network.model, test).argmax(axis=1) == test.labels)
    images, rows, accuracy = survey.recognized(network.model, test)
    np.testing.assert_array_equal(rows, right)
    assert accuracy == len(right) / 60
    np.testing.assert_allclose(
        predict(network.model, images), predict(network.model, test.take(rows)), atol=1e-5
    )
    few, few_rows, _ = survey.recognized(network.model, test, 7, seed=3)
    assert len(few) == 7
    assert set(few_rows) < set(rows)
    assert (np.diff(few_rows) > 0).all()
    with pytest.raises(ValueError, match="the network finds"):
        survey.recognized(network.model, test, len(right) + 1)


def test_two_objects_are_the_two_best_classes_and_their_masks_are_apart(network):
    scenes = survey.two_objects(network.model, 12)
    assert len(scenes) == 12
    assert scenes.n_drawn >= 12
    best = np.sort(predict(network.model, scenes.images).argsort(axis=1)[:, -2:], axis=1)
    np.testing.assert_array_equal(best, np.sort(scenes.labels, axis=1))
    assert not scenes.masks.all(axis=1).any(), "no pixel belongs to both objects"
    assert scenes.masks.any(axis=(2, 3)).all()
    again = survey.two_objects(network.model, 12)
    np.testing.assert_array_equal(again.images, scenes.images)


def test_scenes_are_asked_for_of_networks_of_toyworlds_classes_only(network):
    with pytest.raises(ValueError, match="n"):
        survey.two_objects(network.model, 0)
    with pytest.raises(ValueError, match="have both objects"):
        survey.two_objects(network.model, 400, most=500)
