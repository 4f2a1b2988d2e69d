import zipfile

import keras
import numpy as np
import pytest

from cnninte_utils.artifacts import DataError
from cnninte_utils.networks import builders, weights
from cnninte_utils.networks.weights import Weights, fold_batch_norm

SMALL = {
    "alexnet": {"input_size": 67, "width": 1 / 32, "head": "fc"},
    "vgg19": {"input_size": 32, "width": 1 / 32, "head": "pooling"},
}


def network(architecture="alexnet", seed=0, **options):
    keras.utils.set_random_seed(seed)
    return builders.build(architecture, **SMALL[architecture] | options)


def images_for(model, n=3):
    return np.random.default_rng(1).random((n, *model.input_shape[1:]), np.float32)


def scores(model):
    """Return the outputs before the softmax."""
    return keras.Model(model.input, model.get_layer("fc8").output).predict(images_for(model), verbose=0)


def disturb_batch_norms(model):
    rng = np.random.default_rng(2)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights([rng.uniform(0.5, 1.5, v.shape) for v in (gamma, beta, mean, variance)])


@pytest.mark.parametrize("architecture", SMALL)
def test_folding_leaves_the_function_as_it_is(architecture):
    normalized = network(architecture, batch_norm=True)
    before = scores(normalized)
    disturb_batch_norms(normalized)
    expected = scores(normalized)
    assert not np.allclose(before, expected, rtol=1e-2)
    folded = network(architecture, seed=1)
    assert fold_batch_norm(normalized, SMALL[architecture]).put_into(folded) == []
    assert np.allclose(scores(folded), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_folding_by_hand():
    """1×1 convolution of weight 3, γ 2, β 5, mean 4, variance 8, ε 1: 2·(3x − 4)/3 + 5 = 2x + 7/3."""
    image = keras.Input((1, 1, 1))
    x = keras.layers.Conv2D(1, 1, use_bias=False, name="conv")(image)
    x = keras.layers.BatchNormalization(epsilon=1.0, name="bn_conv")(x)
    model = keras.Model(image, x)
    model.get_layer("conv").set_weights([np.full((1, 1, 1, 1), 3.0)])
    model.get_layer("bn_conv").set_weights([np.array([v]) for v in (2, 5, 4, 8)])
    folded = fold_batch_norm(model, {}).arrays
    assert list(folded) == ["conv"]
    assert np.allclose([v.item() for v in folded["conv"]], [2, 7 / 3], rtol=1e-6)


def test_weights_go_from_one_network_to_another():
    a, b = network(), network(seed=1)
    assert not np.allclose(scores(a), scores(b))
    assert Weights.of(a).put_into(b) == []
    assert np.array_equal(scores(a), scores(b))


def test_layers_left_out_stay_as_they_were_and_are_named():
    source, model = network(n_classes=7), network(seed=1)
    head = model.get_layer("fc8").get_weights()
    assert Weights.of(source).without("fc8", "fc7").put_into(model) == ["fc7", "fc8"]
    assert np.array_equal(model.get_layer("fc8").get_weights()[0], head[0])
    assert np.array_equal(
        model.get_layer("conv5").get_weights()[0], source.get_layer("conv5").get_weights()[0]
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_classes": 7}, r"weights of fc8 have shapes .*7\).*alexnet has .*10\)"),
        ({"width": 1 / 16}, "weights of conv1 have shapes"),
        ({"head": "flat"}, "weights of fc8"),
        ({"batch_norm": True}, "weights of conv1 have shapes"),
    ],
)
def test_wrong_shapes_are_refused_and_the_model_is_as_it_was(options, message):
    model = network()
    before = [w.copy() for w in model.get_weights()]
    with pytest.raises(ValueError, match=message):
        Weights.of(network(seed=1, **options)).put_into(model)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_layer_that_the_model_lacks_is_refused():
    with pytest.raises(ValueError, match=r"weights of fc6 have shapes .*, alexnet has no such layer"):
        Weights.of(network()).put_into(network(head="pooling"))


def test_random_numbers_and_mean_pixels_are_not_taken_along():
    taken = Weights.of(network(mean=[0.5] * 3, std=[0.2] * 3)).arrays
    assert list(taken) == ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]
    assert [len(arrays) for arrays in taken.values()] == [2] * 8


def test_file_holds_half_precision_and_no_pickle(tmp_path):
    options = {"width": 1 / 32, "mean": [0.1, 0.2, 0.3]}
    saved = Weights.of(network(), options)
    saved.save(tmp_path / "w.npz")
    loaded = Weights.load(tmp_path / "w.npz")
    assert (loaded.architecture, loaded.options, list(loaded.arrays)) == (
        "alexnet",
        options,
        list(saved.arrays),
    )
    for name, arrays in saved.arrays.items():
        for ours, kept in zip(arrays, loaded.arrays[name], strict=True):
            assert kept.dtype == np.float32
            assert np.array_equal(kept, ours.astype(np.float16))
    loaded.save(tmp_path / "again.npz")
    assert Weights.load(tmp_path / "again.npz").fingerprint == loaded.fingerprint != saved.fingerprint
    with zipfile.ZipFile(tmp_path / "w.npz") as archive:
        headers = [archive.read(name)[:200] for name in archive.namelist()]
    assert not [h for h in headers if b"|O" in h]


def test_fingerprint_sees_names_and_values():
    one = {"conv1": [np.zeros(3, np.float32)]}
    prints = [
        Weights("alexnet", {}, arrays).fingerprint
        for arrays in (one, {"conv2": one["conv1"]}, {"conv1": [np.ones(3, np.float32)]}, dict(one))
    ]
    assert len(set(prints)) == 3
    assert prints[0] == prints[3]


def test_damaged_and_foreign_files_are_one_clear_error(tmp_path):
    path = tmp_path / "w.npz"
    Weights.of(network()).save(path)
    path.write_bytes(path.read_bytes()[:-500])
    for wrong in (path, tmp_path / "none.npz", tmp_path / "other.npz", tmp_path / "pickle.npz"):
        np.savez(tmp_path / "other.npz", x=np.zeros(3))
        np.savez(tmp_path / "pickle.npz", header=np.array([print], object))
        with pytest.raises(DataError, match=f"{wrong.name} does not hold weights"):
            Weights.load(wrong)


@pytest.mark.parametrize("architecture", SMALL)
def test_bundled_weights_fit_the_network_that_their_options_build(architecture):
    bundled = weights.bundled(architecture)
    model = builders.build(architecture, **bundled.options, n_classes=10)
    assert bundled.architecture == architecture
    assert bundled.put_into(model) == ["fc8"]
    assert all(np.all(np.isfinite(array)) for arrays in bundled.arrays.values() for array in arrays)


def test_no_bundled_weights_for_other_networks():
    with pytest.raises(ValueError, match="no bundled weights for 'mnist_cnn': choose alexnet or vgg19"):
        weights.bundled("mnist_cnn")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_weights_that_are_not_finite_are_neither_written_nor_read_nor_put_in(tmp_path, value):
    model = network()
    bad = Weights.of(model)
    bad.arrays["conv1"][1] = np.full_like(bad.arrays["conv1"][1], value)
    with pytest.raises(ValueError, match="conv1/1 must be finite"):  # a million is too much for float16
        bad.save(tmp_path / "w.npz")
    assert not list(tmp_path.iterdir())
    if value != 1e6:
        with pytest.raises(ValueError, match="conv1/1 must be finite"):
            bad.put_into(model)
        flat = {f"conv1/{i}": array for i, array in enumerate(bad.arrays["conv1"])}
        header = np.array('{"architecture": "alexnet", "options": {}}')
        np.savez(tmp_path / "read.npz", header=header, **flat)
        with pytest.raises(DataError, match="npz does not hold weights, or is damaged"):
            Weights.load(tmp_path / "read.npz")


@pytest.mark.parametrize(
    "header", ['{"architecture": 5, "options": {}}', '{"architecture": "a", "options": [1]}']
)
def test_a_header_of_another_form_is_refused(tmp_path, header):
    np.savez(tmp_path / "w.npz", header=np.array(header), **{"conv1/0": np.zeros(3, np.float32)})
    with pytest.raises(DataError, match="its header is"):
        Weights.load(tmp_path / "w.npz")
