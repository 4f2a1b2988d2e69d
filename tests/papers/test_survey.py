"""The network and the scenes that the atlas looks at."""

import numpy as np
import pytest

from cnninte_utils import datasets
from cnninte_utils.artifacts import DataError
from cnninte_utils.datasets import Split, toyworld
from cnninte_utils.networks.activations import predict
from cnninte_utils.papers import survey


@pytest.fixture(scope="module")
def network():
    return survey.small_resnet(datasets.load("toyworld"))


@pytest.mark.parametrize(("seed", "on_card"), [(0, 0.901), (1, 0.870)])
def test_the_networks_come_with_the_package_and_are_as_good_as_their_card_says(seed, on_card):
    data = datasets.load("toyworld")
    network = survey.small_resnet(data, seed=seed)
    assert network.was_cached
    accuracy = (predict(network.model, data.test).argmax(axis=1) == data.test.labels).mean()
    assert accuracy == pytest.approx(on_card, abs=0.002)


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


def test_a_box_is_the_smallest_around_the_object_and_at_most_half_the_picture(network):
    boxed = survey.boxed("toyworld")
    drawn = toyworld.render(boxed.n_seen, size=32, seed=20)
    images = drawn.images.astype(np.float32) / 255
    rows = [np.flatnonzero((images == image).all(axis=(1, 2, 3)))[0] for image in boxed.images[:20]]
    np.testing.assert_array_equal(drawn.label[rows], boxed.labels[:20])
    for row, label, box in zip(rows, boxed.labels, boxed.masks, strict=False):
        across, down = np.nonzero(drawn.objects[row] == label + 1)
        by_hand = np.zeros((32, 32), bool)
        by_hand[across.min() : across.max() + 1, down.min() : down.max() + 1] = True
        np.testing.assert_array_equal(box, by_hand)
    assert boxed.masks.mean(axis=(1, 2)).max() <= 0.5
    assert (predict(network.model, boxed.images).argmax(axis=1) == boxed.labels).all()
    assert len(boxed) < boxed.accuracy * boxed.n_seen


def test_a_box_grows_with_its_picture(network):
    """Of 64×64 pixels, columns 8 to 23 and rows 4 to 11 are, at 32×32, columns 4 to 11 and rows 2 to 5."""
    test = datasets.load("toyworld").test.take(np.arange(30))
    found = survey._clear(network.model, Split(test.images, test.labels), np.tile([8, 4, 23, 11], (30, 1)))
    by_hand = np.zeros((32, 32), bool)
    by_hand[2:6, 4:12] = True
    assert len(found) > 20
    assert (found.masks == by_hand).all()


def test_photographs_have_boxes_and_a_network_that_knows_them(real_data, monkeypatch):
    monkeypatch.setattr(survey, "_N_CLASSES", 3)
    try:
        boxed = survey.boxed("tiny_imagenet")
    except DataError as error:
        pytest.skip(f"needs real data: {error}")
    assert boxed.n_seen == 30
    assert boxed.accuracy > 0.6
    assert boxed.images.shape[1:] == (224, 224, 3)
    assert 0 < boxed.masks.mean() <= 0.5


def test_other_sources_of_boxes_are_refused():
    with pytest.raises(ValueError, match="unknown source 'cifar10': choose one of toyworld, tiny_imagenet"):
        survey.boxed("cifar10")
