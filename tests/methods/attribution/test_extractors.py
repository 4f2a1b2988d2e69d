"""Classifier-agnostic masks: the object that classifiers need is masked, the rest is left."""

import keras
import numpy as np
import pytest

from cnninte_utils.methods.attribution import extractors
from cnninte_utils.networks import builders

SIZE = 12


def spots(n, seed):
    """Grey pictures with one 4×4 spot, black or white, which is the class; where it stands is by chance."""
    rng = np.random.default_rng(seed)
    labels, corners = rng.integers(2, size=n), rng.integers(SIZE - 3, size=(n, 2))
    images = np.full((n, SIZE, SIZE, 1), 0.5, np.float32)
    masks = np.zeros((n, SIZE, SIZE), bool)
    for image, mask, label, (row, column) in zip(images, masks, labels, corners, strict=True):
        mask[row : row + 4, column : column + 4] = True
        image[mask] = label
    return images, labels, masks


def sums(name, prejudice=0.0):
    """A network by hand that knows the class: more than ½, or less; of grey it says 1 or 0."""
    image = keras.Input((SIZE, SIZE, 1))
    x = keras.layers.Rescaling(2.0, offset=-1.0)(image)
    x = keras.layers.Conv2D(2, 3, padding="same", activation="relu", name="conv")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, keras.layers.Dense(2, activation="softmax", name="fc")(x), name=name)
    kernel = np.zeros((3, 3, 1, 2), np.float32)
    kernel[1, 1, 0] = -1, 1
    model.get_layer("conv").set_weights([kernel, np.zeros(2)])
    model.get_layer("fc").set_weights([60 * np.eye(2), np.array([0, prejudice])])
    return model


@pytest.fixture(scope="module")
def fitted():
    images, labels, _ = spots(600, 0)
    return extractors.fit(
        [sums("one", 0.7), sums("two", -0.7)], images, labels, epochs=12, n_filters=8, learning_rate=1e-2
    )


def test_the_spot_is_masked_and_nothing_else_and_no_classifier_knows_what_was_there(fitted):
    images, labels, spot = spots(300, 1)
    masks = fitted.masks(images)
    assert masks.shape == (300, SIZE, SIZE, 1)
    assert masks[..., 0][spot].mean() > 0.8
    assert masks[..., 0][~spot].mean() < 0.1
    third = sums("unseen")
    assert (third.predict(images, verbose=0).argmax(axis=1) == labels).all()
    left = images * (1 - masks) + masks * 0.5
    probability = third.predict(left, verbose=0)[np.arange(300), labels]
    assert probability.mean() < 0.7
    assert fitted.losses[-1] < fitted.losses[0]


def test_a_mask_heeds_neither_class_nor_network(fitted):
    images = spots(5, 2)[0]
    found = extractors.agnostic_mask(sums("a"), images, np.zeros(5, int), extractor=fitted)
    again = extractors.agnostic_mask(sums("b"), images, np.ones(5, int), extractor=fitted)
    assert np.array_equal(found, again)
    with pytest.raises(ValueError, match="targets must be classes from 0 to 1"):
        extractors.agnostic_mask(sums("a"), images, np.full(5, 2), extractor=fitted)


def test_the_loss_is_that_of_the_formula():
    """Right before: log q and area by hand. Sure and right: entropy 0, no price; fooled: the area counts."""
    log_q = np.log([[0.5, 0.5], [0.25, 0.75], [0.25, 0.75]])
    outputs = np.column_stack([log_q, [0.25, 0.25, 0.25], [1.0, 1.0, 0.0]])
    answers = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    found = np.asarray(extractors._loss(10.0)(answers, outputs.astype(np.float32)))
    surprise = 0.25 * np.log(0.25) + 0.75 * np.log(0.75)
    np.testing.assert_allclose(found, [np.log(0.5), surprise - 10 * (1 - 0.25), 0.0], rtol=1e-5)


def test_one_seed_one_extractor_and_networks_stay_as_they_are():
    model, (images, labels, _) = sums("model"), spots(40, 3)
    before = [w.copy() for w in model.get_weights()]
    one, again, other = (
        extractors.fit(model, images, labels, epochs=1, random_state=seed).masks(images) for seed in (0, 0, 1)
    )
    np.testing.assert_allclose(one, again, atol=1e-5)
    assert np.abs(one - other).max() > 1e-3
    assert model.trainable
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_of_each_size_of_map_the_last_is_read():
    model = builders.resnet(depth=8, input_size=16, width=0.5)
    network = extractors._extractor(extractors._frozen(model, "copy"), 4)
    read = {
        layer.input.shape[1:]
        for layer in network.layers
        if isinstance(layer, keras.layers.Conv2D) and layer.kernel_size == (1, 1) and layer.filters == 4
    }
    assert {shape[:2] for shape in read} == {(16, 16), (8, 8), (4, 4)}
    assert network.output_shape == (None, 16, 16, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": []}, "models must be at least 1"),
        ({"area_weight": 0.0}, "area_weight is 0.0; allowed: above 0"),
        ({"learning_rate": 1.0}, "learning_rate is 1.0; allowed: between 0 and 1"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"labels": np.full(40, 2)}, "targets must be classes from 0 to 1"),
        ({"labels": np.zeros(3, int)}, "targets must be 40 whole numbers"),
        ({"images": np.full((40, SIZE, SIZE, 1), 255, np.uint8)}, r"floats in \[0, 1\], got uint8"),
        ({"models": [sums("a"), builders.mnist_cnn((SIZE, SIZE, 1))]}, "must agree in images and classes"),
    ],
)
def test_bad_input_is_refused(change, message):
    images, labels, _ = spots(40, 3)
    given = {"models": sums("model"), "images": images, "labels": labels} | change
    with pytest.raises(ValueError, match=message):
        extractors.fit(given.pop("models"), given.pop("images"), given.pop("labels"), **given)


def test_a_network_without_feature_maps_is_refused():
    image = keras.Input((4, 4, 1))
    flat = keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(image)), name="flat")
    with pytest.raises(ValueError, match="the first classifier has no convolution"):
        extractors.fit(flat, np.zeros((2, 4, 4, 1), np.float32), np.array([0, 1]))
