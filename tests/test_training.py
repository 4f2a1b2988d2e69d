import keras
import numpy as np
import pytest

from cnninte_utils import datasets, models, training
from cnninte_utils.training import Recipe, fit_or_load

SHORT = Recipe(steps=4, batch_size=8, report_every=2)


@pytest.fixture(scope="module")
def digits():
    data = datasets.load("digits")
    return datasets.ImageDataset(
        "few",
        *(s.take(slice(40)) for s in (data.train, data.validation, data.test)),
        data.class_names,
        "a few",
    )


def small_network():
    image = keras.Input((28, 28, 1))
    x = keras.layers.Flatten()(keras.layers.AveragePooling2D(4)(image))
    return keras.Model(image, keras.layers.Dense(10, activation="softmax")(x))


@pytest.fixture(autouse=True)
def _small_network(monkeypatch):
    monkeypatch.setitem(models.BUILDERS, "small", small_network)


def test_second_time_it_is_loaded_and_the_same(digits):
    first = fit_or_load("small", digits, SHORT)
    second = fit_or_load("small", digits, SHORT)
    assert (first.was_cached, second.was_cached) == (False, True)
    assert second.history == first.history
    images = digits.test.images
    assert np.array_equal(first.model.predict(images, verbose=0), second.model.predict(images, verbose=0))


def test_same_seed_same_network_other_seed_another(digits):
    a, b = (training._fit("small", {}, digits, SHORT, None).model.get_weights() for _ in range(2))
    c = training._fit("small", {}, digits, Recipe(4, 8, report_every=2, seed=1), None).model.get_weights()
    assert np.array_equal(a[0], b[0])
    assert not np.array_equal(a[0], c[0])


def test_training_lowers_the_loss_and_curves_have_a_point_per_report(digits):
    history = fit_or_load("small", digits, Recipe(100, 8, learning_rate=0.05, report_every=20)).history
    assert history["step"] == [20, 40, 60, 80, 100]
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert set(history) == {"step", "loss", "accuracy", "val_loss", "val_accuracy"}


def test_every_image_comes_once_before_any_comes_again(digits):
    batches = training._MiniBatches(digits.train, Recipe(steps=10, batch_size=8, report_every=5))
    images = np.concatenate([batches[step][0] for step in range(10)]).reshape(80, -1)
    assert len(batches) == 10
    for half in (images[:40], images[40:]):
        assert len(np.unique(half, axis=0)) == 40


def test_test_images_are_never_seen(digits, monkeypatch):
    poisoned = datasets.ImageDataset(
        "p", digits.train, digits.validation, None, digits.class_names, "no test split"
    )
    training._fit("small", {}, poisoned, SHORT, None)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"batch_size": 0}, {"steps": 10, "report_every": 4}])
def test_impossible_recipe_is_refused(wrong):
    with pytest.raises(ValueError, match="must be positive, and steps a multiple"):
        Recipe(**wrong)


def test_tensorboard_logs_on_request(digits, tmp_path):
    if training.find_spec("tensorboard") is None:
        with pytest.raises(ImportError, match=r"cnninte-utils\[tensorboard\]"):
            fit_or_load("small", digits, SHORT, tensorboard_dir=tmp_path / "logs")
        return
    fit_or_load("small", digits, SHORT, tensorboard_dir=tmp_path / "logs")
    assert list((tmp_path / "logs").rglob("events.out.tfevents.*"))


def test_no_bar_without_an_audience(digits, capsys, monkeypatch):
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    fit_or_load("small", digits, SHORT)
    assert "training" not in "".join(capsys.readouterr())
    monkeypatch.setenv("JPY_SESSION_NAME", "a notebook")
    fit_or_load("small", digits, Recipe(2, 8, report_every=2))
    assert "training: 100%" in "".join(capsys.readouterr())
