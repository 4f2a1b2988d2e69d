"""What is explained: the logits under a softmax, of a class or a combination of classes."""

import keras
import numpy as np
import pytest
from keras import layers
from scipy.special import softmax

from cnninte_utils.networks import activations, builders, targets

IMAGES = np.random.default_rng(0).random((4, 3, 3, 1), np.float32)


def classifier(end):
    keras.utils.set_random_seed(1)
    image = keras.Input((3, 3, 1))
    x = layers.Flatten()(image)
    if end == "dense":
        return keras.Model(image, layers.Dense(3, activation="softmax", name="fc")(x))
    x = layers.Dense(3, name="fc")(x)
    if end == "none":
        return keras.Model(image, x)
    return keras.Model(image, (layers.Softmax() if end == "layer" else layers.Activation("softmax"))(x))


@pytest.mark.parametrize("end", ["layer", "activation", "dense", "none"])
def test_logits_are_what_the_softmax_takes(end):
    model = classifier(end)
    kernel, bias = model.get_layer("fc").get_weights()
    expected = IMAGES.reshape(4, 9) @ kernel + bias
    np.testing.assert_allclose(activations.predict(targets.logits(model), IMAGES), expected, atol=1e-6)
    outputs = activations.predict(model, IMAGES)
    np.testing.assert_allclose(outputs, expected if end == "none" else softmax(expected, 1), atol=1e-6)


def test_logits_of_a_sequential_model():
    model = keras.Sequential(
        [keras.Input((3, 3, 1)), layers.Flatten(), layers.Dense(3, activation="softmax")]
    )
    logits = activations.predict(targets.logits(model), IMAGES)
    np.testing.assert_allclose(softmax(logits, 1), activations.predict(model, IMAGES), atol=1e-6)


def test_scores_of_networks_and_of_any_function():
    model = classifier("layer")
    probabilities = activations.predict(model, IMAGES)
    classes = np.array([0, 2, 1, 1])
    logits = activations.predict(targets.logits(model), IMAGES)
    np.testing.assert_allclose(targets.scores(model, IMAGES, classes), logits[range(4), classes], atol=1e-6)
    difference = np.tile(np.float32([1, 0, -1]), (4, 1))
    np.testing.assert_allclose(
        targets.scores(model, IMAGES, difference), logits[:, 0] - logits[:, 2], atol=1e-6
    )
    found = targets.scores(model, IMAGES, classes, output="probability")
    np.testing.assert_allclose(found, probabilities[range(4), classes], atol=1e-6)
    as_function = targets.scores(lambda x: activations.predict(model, x), IMAGES, classes)
    np.testing.assert_allclose(as_function, found, atol=1e-6)


@pytest.mark.parametrize("n_bytes", [1, 400, 2**26])
def test_scores_of_variants_are_those_of_each(n_bytes, monkeypatch):
    monkeypatch.setattr(targets, "_BYTES_AT_ONCE", n_bytes)  # 144 bytes for four images of 3 × 3
    model, classes = classifier("layer"), np.array([0, 2, 1, 1])
    variants = [IMAGES * share for share in (1.0, 0.5, 0.25, 0.75, 0.0)]
    variants = [x.astype(np.float32) for x in variants]
    vectors = targets.cotangents(classes, 4, 3)
    found = list(targets.scores_of(targets.predictor(model), iter(variants), vectors))
    expected = [targets.scores(model, x, classes) for x in variants]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.array([0, 1, 2, 3]), "classes from 0 to 2, got"),
        (np.array([0, -1, 2, 1]), "classes from 0 to 2, got"),
        (np.array([0, 1]), "must be 4 whole numbers"),
        (np.array([0.0, 1, 2, 1]), r"got float64 \(4,\)"),
        (np.ones((4, 2)), r"floats of shape \(4, 3\)"),
        (np.full((4, 3), np.nan), "targets must be finite"),
        (np.ones((4, 3), int), r"got int64 \(4, 3\)"),
    ],
)
def test_bad_targets_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        targets.cotangents(wrong, 4, 3)


def test_what_is_not_a_classifier_is_refused():
    image = keras.Input((3, 3, 1))
    with pytest.raises(ValueError, match="must take one array of images and put out"):
        targets.logits(keras.Model(image, layers.Conv2D(2, 1)(image)))
    with pytest.raises(ValueError, match="a row of outputs for each of 4 images"):
        targets.scores(lambda x: np.ones(4), IMAGES, np.zeros(4, int))
    with pytest.raises(ValueError, match="unknown output 'odds': choose one of logit, probability"):
        targets.scores(classifier("none"), IMAGES, np.zeros(4, int), output="odds")


def test_neutral_image_is_what_the_first_layer_takes_to_zero():
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.3, 0.25]
    model = builders.resnet(depth=8, input_size=16, width=0.5, mean=mean, std=std)
    found = targets.neutral(targets.logits(model))
    np.testing.assert_allclose(found, np.broadcast_to(mean, (16, 16, 3)), atol=1e-6)
    assert not targets.neutral(builders.mnist_cnn()).any()
    image = keras.Input((2, 2, 1))
    rescaled = keras.Model(image, layers.Flatten()(layers.Rescaling(2.0, -0.5)(image)))
    np.testing.assert_allclose(targets.neutral(rescaled), 0.25)


def test_baselines_of_every_form():
    model, images = builders.resnet(depth=8, input_size=16), np.zeros((2, 16, 16, 3), np.float32)
    of_own = np.random.default_rng(0).random((2, 16, 16, 3), np.float32)
    forms = {"none": None, "number": 0.25, "color": [0.1, 0.2, 0.3], "image": of_own[0], "own": of_own}
    found = {name: targets.baselines(model, images, form) for name, form in forms.items()}
    assert all(array.shape == images.shape and array.dtype == np.float32 for array in found.values())
    assert not found["none"].any()
    assert found["color"][1, 3, 4].tolist() == np.float32([0.1, 0.2, 0.3]).tolist()
    assert np.array_equal(found["image"][1], of_own[0])
    assert np.array_equal(found["own"], of_own)
    assert not targets.baselines(lambda x: x, images).any()
    for wrong in (2.0, np.nan, -0.1):
        with pytest.raises(ValueError, match=r"baseline is .* allowed: numbers in \[0, 1\]"):
            targets.baselines(model, images, wrong)
    with pytest.raises(ValueError, match=r"a baseline of shape \(5,\) does not fit"):
        targets.baselines(model, images, np.zeros(5))


def test_a_network_for_any_size_has_no_neutral_image():
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.GlobalAveragePooling2D()(image), name="any")
    with pytest.raises(ValueError, match="any takes images of any size: name the baseline"):
        targets.neutral(model)
