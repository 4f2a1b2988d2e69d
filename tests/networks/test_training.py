import json
import zipfile
from dataclasses import replace

import h5py
import keras
import numpy as np
import pytest

from cnninte_utils import artifacts, datasets
from cnninte_utils.artifacts import cache_dir
from cnninte_utils.methods.group_norms.activations import ActivationRegularizer
from cnninte_utils.networks import builders, training
from cnninte_utils.networks.training import Recipe, augmented, fit_or_load
from cnninte_utils.networks.weights import Weights

PRECISIONS = ("float32", "mixed_bfloat16")
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
    return keras.Model(image, keras.layers.Dense(10, activation="softmax", name="fc")(x))


def network_with_states():
    """A network that also has to remember running averages and where two kinds of random numbers are."""
    image = keras.Input((28, 28, 1))
    x = keras.layers.Conv2D(4, 3, strides=3)(keras.layers.AveragePooling2D(2)(image))
    x = keras.layers.Flatten()(ActivationRegularizer(group=1.0, n_groups=1, name="terms")(x))
    x = keras.layers.BatchNormalization()(keras.layers.Dense(12, activation="relu")(x))
    x = keras.layers.Dropout(0.5)(x)
    return keras.Model(image, keras.layers.Dense(10, activation="softmax")(x))


@pytest.fixture(autouse=True)
def _small_networks(monkeypatch):
    monkeypatch.setitem(builders.BUILDERS, "small", small_network)
    monkeypatch.setitem(builders.BUILDERS, "states", network_with_states)


def fitted_weights(dataset, recipe, initial=None):
    training_run = training._Training("small", {}, dataset, recipe, initial)
    return training_run.run(None).model.get_weights()


def test_second_time_it_is_loaded_and_the_same(digits):
    first = fit_or_load("small", digits, SHORT)
    second = fit_or_load("small", digits, SHORT)
    assert (first.was_cached, second.was_cached) == (False, True)
    assert second.history == first.history
    images = digits.test.images
    assert np.array_equal(first.model.predict(images, verbose=0), second.model.predict(images, verbose=0))


def test_what_trained_a_network_is_neither_kept_nor_stored_with_it(digits):
    trained, loaded = (fit_or_load("small", digits, SHORT).model for _ in range(2))
    assert not trained.compiled
    assert not loaded.compiled
    (stored,) = (cache_dir() / "artifacts").rglob("*.keras")
    with zipfile.ZipFile(stored) as archive, h5py.File(archive.open("model.weights.h5")) as weights:
        assert "layers" in weights
        assert "optimizer" not in weights


def test_reports_that_follow_soon_write_no_checkpoint(digits, monkeypatch):
    written = []
    monkeypatch.setattr(
        training._Checkpoint, "save", lambda self, model, curves: written.append(len(curves["loss"]))
    )
    fit_or_load("small", digits, SHORT)
    assert written == []
    monkeypatch.setattr(training, "_SECONDS_APART", 0)
    fit_or_load("small", digits, replace(SHORT, seed=1))
    assert written == [1, 2]


def test_same_seed_same_network_other_seed_another(digits):
    a, b = (fitted_weights(digits, SHORT) for _ in range(2))
    c = fitted_weights(digits, Recipe(4, 8, report_every=2, seed=1))
    assert np.array_equal(a[0], b[0])
    assert not np.array_equal(a[0], c[0])


def test_training_lowers_the_loss_and_curves_have_a_point_per_report(digits):
    history = fit_or_load("small", digits, Recipe(100, 8, learning_rate=0.05, report_every=20)).history
    assert history["step"] == [20, 40, 60, 80, 100]
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert set(history) == {"step", "loss", "accuracy", "val_loss", "val_accuracy"}


def test_every_image_comes_once_before_any_comes_again(digits):
    batches = training._MiniBatches(digits.train, Recipe(steps=10, batch_size=8, report_every=5), 28, 0)
    images = np.concatenate([batches[step][0] for step in range(10)]).reshape(80, -1)
    assert len(batches) == 10
    for half in (images[:40], images[40:]):
        assert len(np.unique(half, axis=0)) == 40


class Unseen:
    """A split that nobody may look into."""

    def __len__(self):
        return 0

    def __getattr__(self, name):
        pytest.fail(f"{name} of the test split was asked for")


def test_test_images_are_never_seen(digits):
    poisoned = datasets.ImageDataset(
        "p", digits.train, digits.validation, Unseen(), digits.class_names, "no test split"
    )
    fitted_weights(poisoned, SHORT)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"batch_size": 2.5}, "batch_size must be at least 1"),
        ({"steps": 10, "report_every": 4}, r"steps \(10\) must be a multiple of report_every \(4\)"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"is_augmented": "no"}, "unknown is_augmented 'no'"),
    ],
)
def test_impossible_recipe_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
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


# going on after a training was killed

LONGER = Recipe(8, 8, learning_rate=0.01, report_every=2, schedule="cosine", is_augmented=True)


def kill_at(monkeypatch, owner, name, call, *, is_done):
    """Let the process die at one call of a function, before or after the function did its work."""
    function, calls = getattr(owner, name), []

    def dying(*args, **options):
        calls.append(None)
        if len(calls) != call:
            return function(*args, **options)
        if is_done:
            function(*args, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(owner, name, dying)


@pytest.fixture(scope="module")
def uninterrupted(digits, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(builders.BUILDERS, "states", network_with_states)
        patch.setenv("CNNINTE_CACHE", str(tmp_path_factory.mktemp("another")))
        return fit_or_load("states", digits, LONGER)


@pytest.mark.parametrize(
    ("place", "name", "call", "is_done", "reports_kept"),
    [
        (training._Checkpoint, "save", 2, True, 2),
        (training, "write_json", 2, False, 1),  # the second model is written, its curves are not
        (artifacts, "write_json", 1, False, 4),  # the model is stored, its manifest is not
        (training._Checkpoint, "remove", 1, False, 4),  # all is done but the clearing away
    ],
)
def test_killed_training_goes_on_and_ends_where_it_would_have(
    digits, uninterrupted, place, name, call, is_done, reports_kept
):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_SECONDS_APART", 0)
        kill_at(patch, place, name, call, is_done=is_done)
        with pytest.raises(KeyboardInterrupt):
            fit_or_load("states", digits, LONGER)
    starts = []
    with pytest.MonkeyPatch.context() as patch:
        batches = training._MiniBatches
        patch.setattr(training, "_MiniBatches", lambda *args: starts.append(args[-1]) or batches(*args))
        resumed = fit_or_load("states", digits, LONGER)
    assert starts == ([reports_kept] if reports_kept < 4 else [])
    assert resumed.history == uninterrupted.history
    for ours, theirs in zip(resumed.model.get_weights(), uninterrupted.model.get_weights(), strict=True):
        assert np.array_equal(ours, theirs)
    assert not list((cache_dir() / "artifacts").glob("*.training*"))
    assert fit_or_load("states", digits, LONGER).was_cached


# what a recipe can ask for


def test_augmented_is_a_mirrored_and_shifted_reflection():
    """All 2 × 3 × 3 images that 8×8 pixels allow, by index: −1 is 1, and 8 is 6."""
    image = np.arange(64, dtype=np.float32).reshape(8, 8)

    def reflected(i):
        return {-1: 1, 8: 6}.get(i, i)

    possible = [
        [[source[reflected(y + dy), reflected(x + dx)] for x in range(8)] for y in range(8)]
        for source in (image, image[:, ::-1])
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
    ]
    many = augmented(np.repeat(image[None, :, :, None], 400, axis=0), np.random.default_rng(0))
    assert many.shape == (400, 8, 8, 1)
    which = [np.flatnonzero([np.array_equal(found, p) for p in possible]) for found in many[..., 0]]
    assert [len(w) for w in which] == [1] * 400
    counts = np.bincount(np.concatenate(which), minlength=18)
    assert counts.min() > 8  # of 22 on average


def test_augmentation_reaches_the_batches_and_is_the_same_every_time(digits):
    plain = training._MiniBatches(digits.train, Recipe(4, 8, report_every=2), 28, 0)
    a, b = (
        training._MiniBatches(digits.train, Recipe(4, 8, report_every=2, is_augmented=True), 28, n_done)
        for n_done in (0, 1)
    )
    assert np.array_equal(a[2][0], b[0][0])
    assert np.array_equal(a[2][1], plain[2][1])
    assert not np.array_equal(a[2][0], plain[2][0])


def test_initial_weights_are_used_and_part_of_the_key(digits):
    still = Recipe(2, 8, learning_rate=0.0, report_every=2)
    ones = Weights("small", {}, {"fc": [np.full((49, 10), 0.5, np.float32), np.ones(10, np.float32)]})
    plain = fit_or_load("small", digits, still)
    started = fit_or_load("small", digits, still, weights=ones)
    assert not started.was_cached
    assert np.all(started.model.get_layer("fc").get_weights()[0] == 0.5)
    assert not np.any(plain.model.get_layer("fc").get_weights()[0] == 0.5)
    assert fit_or_load("small", digits, still, weights=ones).was_cached
    twos = Weights("small", {}, {"fc": [2 * array for array in ones.arrays["fc"]]})
    assert not fit_or_load("small", digits, still, weights=twos).was_cached


def test_weights_that_do_not_fit_are_refused(digits):
    other = Weights("small", {}, {"fc": [np.zeros((48, 10), np.float32), np.zeros(10, np.float32)]})
    with pytest.raises(ValueError, match="the weights of fc have shapes"):
        fit_or_load("small", digits, SHORT, weights=other)


@pytest.mark.parametrize(("step", "expected"), [(0, 0), (1, 0.1), (2, 0.2), (21, 0.1), (40, 0)])
def test_cosine_schedule_by_hand(step, expected):
    """Of 40 steps two lead up to 0.2, 38 down; after half of these it is 0.1."""
    optimizer = Recipe(40, 8, learning_rate=0.2, report_every=4, schedule="cosine").optimizer()
    optimizer.iterations.assign(step)
    assert np.isclose(float(optimizer.learning_rate), expected, atol=1e-7)


def test_short_cosine_schedule_has_no_warmup_and_no_nan():
    optimizer = Recipe(10, 8, learning_rate=0.2, report_every=5, schedule="cosine").optimizer()
    assert np.isclose(float(optimizer.learning_rate), 0.2)


def test_weight_decay_shrinks_by_hand():
    """Without a gradient AdamW leaves w · (1 − rate · decay)."""
    weight = keras.Variable([3.0])
    Recipe(learning_rate=0.1, weight_decay=0.5).optimizer().apply([keras.ops.zeros(1)], [weight])
    assert np.isclose(float(weight[0]), 3 * 0.95)


def test_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match="unknown schedule 'linear': choose one of constant, cosine"):
        Recipe(schedule="linear")


def test_recipe_of_epochs_rounds_up_to_whole_batches():
    recipe = Recipe.of_epochs(3, 10, 4, seed=7)
    assert (recipe.steps, recipe.batch_size, recipe.report_every, recipe.seed) == (9, 4, 3, 7)


def test_images_of_bytes_are_scaled_and_resized_to_what_the_network_takes():
    images = np.repeat(np.array([[0, 255], [255, 0]], np.uint8)[None, :, :, None], 8, axis=0)
    split = datasets.Split(images, np.zeros(8, np.int64))
    batch, _ = training._MiniBatches(split, Recipe(1, 8, report_every=1), 1, 0)[0]
    assert batch.dtype == np.float32
    assert np.allclose(batch, np.full((8, 1, 1, 1), 0.5))


def test_a_network_that_comes_with_the_package_is_taken_for_its_determinants_only(
    digits, tmp_path, monkeypatch
):
    made = training.fit_for_package(tmp_path, "digits", "small", digits, SHORT, options={})
    monkeypatch.setattr(training, "_PACKAGED", tmp_path)
    monkeypatch.setattr(training, "_run_or_load", lambda _: "trained")
    taken = fit_or_load("small", digits, SHORT)
    assert taken.was_cached
    assert taken.history == made.history
    images = digits.test.images
    expected = made.model.predict(images, verbose=0)
    np.testing.assert_allclose(taken.model.predict(images, verbose=0), expected, atol=2e-3)  # float16
    assert fit_or_load("small", digits, replace(SHORT, seed=1)) == "trained"


def checkpoint(digits):
    """Return where the curves and the model of one report of SHORT's two are kept; with a model there."""
    job = training._Training("small", {}, digits, SHORT, None)
    artifact = artifacts.Artifact("small", ".keras", job.determinants())
    artifact.path.parent.mkdir(parents=True, exist_ok=True)
    model = artifact.path.with_suffix(".training1.keras")
    small_network().save(model)
    return artifact.path.with_suffix(".training.json"), model


CURVES = {"loss": [1.0], "accuracy": [0.1], "val_loss": [1.0], "val_accuracy": [0.1], "random_states": []}


@pytest.mark.parametrize(
    "curves",
    [
        "[]",
        "null",
        "{}",
        "{",
        '{"loss": 3}',
        json.dumps(CURVES | {"random_states": "a"}),
        json.dumps(CURVES | {"random_states": 5}),
        json.dumps(CURVES | {"random_states": [[1, 2]]}),
        json.dumps(CURVES | {"accuracy": 5}),
        json.dumps(CURVES | {"accuracy": [0.1, 0.2]}),
    ],
)
def test_a_checkpoint_of_another_form_begins_anew(digits, curves):
    whole = fit_or_load("small", digits, SHORT).history
    artifacts.clear_cache()
    checkpoint(digits)[0].write_text(curves)
    assert fit_or_load("small", digits, SHORT).history == whole


def test_a_checkpoint_of_more_reports_than_wanted_or_cut_short_begins_anew(digits):
    whole = fit_or_load("small", digits, SHORT).history
    artifacts.clear_cache()
    curves, model = checkpoint(digits)
    curves.write_text(json.dumps(CURVES))
    model.write_bytes(model.read_bytes()[:200])
    assert fit_or_load("small", digits, SHORT).history == whole
    artifacts.clear_cache()
    curves, model = checkpoint(digits)
    longer = {name: values * 3 for name, values in CURVES.items()}
    curves.write_text(json.dumps(longer))
    model.rename(model.with_name(model.name.replace("training1", "training3")))
    assert fit_or_load("small", digits, SHORT).history == whole


def test_a_network_that_cannot_be_read_is_trained_again(digits):
    whole = fit_or_load("small", digits, SHORT)
    (path,) = (cache_dir() / "artifacts").glob("small-*.keras")
    path.write_bytes(b"garbage")
    manifest = path.with_suffix(".keras.json")
    signed = artifacts.read_json(manifest) | {"sha256": artifacts.file_digest(path)}
    artifacts.write_json(manifest, signed)
    with pytest.warns(UserWarning, match="cannot be read .*, and is made again"):
        again = fit_or_load("small", digits, SHORT)
    assert again.history == whole.history
    assert fit_or_load("small", digits, SHORT).was_cached


@pytest.mark.parametrize(
    "bad",
    [{"learning_rate": -1.0}, {"learning_rate": np.nan}, {"weight_decay": -0.1}],
)
def test_rates_that_cannot_be_are_refused_by_name(bad):
    (name,) = bad
    with pytest.raises(ValueError, match=name):
        Recipe(**bad)


def test_bfloat16_trains_nearly_the_same_network_and_leaves_float32(digits):
    recipe = Recipe(steps=20, batch_size=8, report_every=10, learning_rate=1e-3)
    full, half = (fit_or_load("small", digits, replace(recipe, precision=p)) for p in PRECISIONS)
    images = digits.test.floats()
    difference = np.abs(full.model.predict(images, verbose=0) - half.model.predict(images, verbose=0)).max()
    assert 0 < difference < 0.01
    assert {layer.compute_dtype for layer in half.model.layers} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"
    assert fit_or_load("small", digits, replace(recipe, precision="mixed_bfloat16")).was_cached


def test_precision_is_part_of_the_key_only_where_it_is_not_the_former_one():
    assert "precision" not in SHORT.determinants()
    assert replace(SHORT, precision="mixed_bfloat16").determinants()["precision"] == "mixed_bfloat16"
    with pytest.raises(ValueError, match="unknown precision 'float64': choose one of float32, mixed"):
        replace(SHORT, precision="float64")
