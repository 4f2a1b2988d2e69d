"""Penalties on feature maps: by hand, against loops, and in networks."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from cnninte_utils.methods.group_norms import activations as terms
from cnninte_utils.methods.group_norms.activations import ActivationRegularizer, observed
from cnninte_utils.methods.group_norms.weights import group_slices
from cnninte_utils.networks import builders
from cnninte_utils.networks.activations import activations
from cnninte_utils.networks.gradients import vjp
from cnninte_utils.networks.weights import Weights

MAPS = np.array([[[1.0, 0.5], [0.5, 0.0]], [[0.2, 0.8], [0.9, 1.0]], [[0.0, 0.0], [0.0, 1.0]]])


def maps(*shape, seed=0):
    return np.random.default_rng(seed).normal(0.5, 2, shape).astype(np.float32)


def masks(*units):
    """Return one image of 2×2 maps, one for each unit."""
    return np.moveaxis(np.array([units], np.float32), 1, -1)


def gradient(function, x):
    x = ops.convert_to_tensor(x)
    return ops.convert_to_numpy(vjp(function, x, ops.ones((), x.dtype))[1])


def plain_jaccard(a, b):
    return 1 - np.minimum(a, b).sum() / np.maximum(a, b).sum()


def plain_spatial_loss(mask):
    """Compute the spatial loss as a loop over images and units."""
    positions = np.stack(np.mgrid[: mask.shape[1], : mask.shape[2]], axis=-1)
    losses = []
    for image in mask:
        for psi in np.moveaxis(image, -1, 0):
            centroid = np.average(positions.reshape(-1, 2), axis=0, weights=psi.ravel())
            distance = np.linalg.norm(positions - centroid, axis=-1)
            losses.append((psi * distance).sum() / (psi.sum() + 1e-4))
    return np.mean(losses)


def test_mask_by_hand():
    """Of 3, 1, 3, 1 the standard deviation is 1; a unit of zeros gives a half."""
    x = masks([[3, 1], [3, 1]], [[0, 0], [0, 0]])
    found = ops.convert_to_numpy(terms.soft_mask(x))
    expected = 1 / (1 + np.exp(-np.array([[3, 1], [3, 1]]) / 1.005))
    np.testing.assert_allclose(found[0, ..., 0], expected, rtol=1e-6)
    np.testing.assert_array_equal(found[0, ..., 1], 0.5)


def test_mask_takes_each_units_deviation_over_batch_and_positions():
    x = maps(3, 4, 5, 2) * [1, 10]
    found = terms.soft_mask(x)
    for unit in range(2):
        expected = 1 / (1 + np.exp(-x[..., unit] / (x[..., unit].std() + 0.005)))
        np.testing.assert_allclose(found[..., unit], expected, rtol=1e-5)


def test_group_loss_by_hand():
    """min (0.5, 0.5) and max (1, 1): 1 − 1 / 2; with two units, every pair is that one."""
    pair = masks([[1, 0.5], [0, 0]], [[0.5, 1], [0, 0]])
    assert float(terms.group_loss(pair, 1)) == pytest.approx(0.5)
    assert float(terms.group_loss(np.concatenate([pair, pair], -1), 2)) == pytest.approx(1)


def test_group_loss_of_the_same_maps_is_0_and_of_disjoint_ones_1_a_group():
    same = np.repeat(masks([[0.3, 0.1], [0.9, 0.2]]), 6, axis=-1)
    assert float(terms.group_loss(same, 2)) == 0
    disjoint = np.eye(4, dtype=np.float32).reshape(1, 2, 2, 4)
    assert float(terms.group_loss(disjoint, 2)) == pytest.approx(2)
    assert float(terms.group_loss(disjoint, 1)) == pytest.approx(1)


def test_groups_of_one_unit_and_maps_of_nothing_contribute_0():
    assert float(terms.group_loss(masks(*MAPS), 3)) == 0
    two_and_one = float(terms.group_loss(masks(*MAPS), 2))
    assert two_and_one == pytest.approx(plain_jaccard(MAPS[0], MAPS[1]), rel=1e-6)
    nothing = np.zeros((1, 2, 2, 4), np.float32)
    assert float(terms.group_loss(nothing, 2)) == 0
    assert float(terms.spatial_loss(nothing)) == 0


@given(st.integers(0, 99))
def test_a_pairs_term_is_one_minus_minima_over_maxima(seed):
    a, b = np.random.default_rng(seed).random((2, 3, 3))
    assert float(terms.group_loss(masks(a, b), 1)) == pytest.approx(plain_jaccard(a, b), rel=1e-5)


def test_group_loss_is_a_loop_over_the_same_pairs(monkeypatch):
    drawn = []
    draw = terms._pairs

    def recorded(*arguments):
        drawn.append([ops.convert_to_numpy(units) for units in draw(*arguments)])
        return drawn[-1]

    monkeypatch.setattr(terms, "_pairs", recorded)
    mask = np.random.default_rng(0).random((2, 3, 4, 17)).astype(np.float32)
    found = float(terms.group_loss(mask, 5, seed=3))
    expected = 0
    first_of_all, second_of_all = (units.reshape(5, 9) for units in drawn[0])  # 9 = 3 · ⌊17 / 5⌋
    for first, second, group in zip(first_of_all, second_of_all, group_slices(17, 5), strict=True):
        assert (first != second).all()
        assert {*first, *second} <= set(range(group.start, group.stop))
        pairs = zip(first, second, strict=True)
        expected += np.mean([plain_jaccard(image[..., a], image[..., b]) for a, b in pairs for image in mask])
    assert found == pytest.approx(expected, rel=1e-5)
    assert len({tuple(first - first.min()) for first in first_of_all}) == 5


def test_pairs_reach_every_unit():
    seed = keras.random.SeedGenerator(0)
    first, second = terms._pairs([slice(4, 9)], 600, seed)
    counts = np.zeros((9, 9), int)
    np.add.at(counts, (np.asarray(first), np.asarray(second)), 1)
    assert (counts[4:, 4:] > 0).tolist() == (~np.eye(5, dtype=bool)).tolist()
    assert counts.sum() == counts[4:, 4:].sum() == 600


def test_a_generator_draws_other_pairs_each_time_and_a_number_the_same():
    mask = np.random.default_rng(0).random((1, 3, 3, 20)).astype(np.float32)
    generator = keras.random.SeedGenerator(0)
    assert len({float(terms.group_loss(mask, 2, generator)) for _ in range(3)}) == 3
    assert len({float(terms.group_loss(mask, 2, 0)) for _ in range(3)}) == 1


def test_spatial_loss_by_hand():
    """Corners all alike: each is √½ from the middle; one corner: 0; two corners: ½ from between them."""
    for unit, expected in (
        ([[1, 1], [1, 1]], 4 * 0.5**0.5 / 4.0001),
        ([[1, 0], [0, 0]], 0.0),
        ([[1, 1], [0, 0]], 1 / 2.0001),
    ):
        loss = float(terms.spatial_loss(masks(unit)))
        assert loss == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (1, 1, 1, 2), (2, 7, 7, 1)])
def test_spatial_loss_is_a_loop_over_images_and_units(shape):
    mask = np.random.default_rng(0).random(shape).astype(np.float32)
    assert float(terms.spatial_loss(mask)) == pytest.approx(plain_spatial_loss(mask), rel=1e-5, abs=1e-7)


def test_a_concentrated_map_has_a_lower_spatial_loss():
    distance = np.hypot(*(np.mgrid[:9, :9] - 4.0))
    losses = [
        float(terms.spatial_loss(masks(np.exp(-((distance / width) ** 2))))) for width in (1, 2, 4, 100)
    ]
    assert losses == sorted(losses)
    assert losses[0] < 1 < 3 < losses[-1]


@pytest.mark.parametrize(
    "x",
    [
        np.ones((1, 3, 3, 4), np.float32),  # the centroid falls on the middle pixel, and nothing varies
        np.zeros((2, 3, 3, 4), np.float32),
        maps(2, 3, 3, 4) - 1e5,  # masks of nothing
        maps(2, 3, 3, 4),
    ],
)
def test_gradients_are_finite(x):
    def loss(x):
        mask = terms.soft_mask(x)
        return terms.spatial_loss(mask) + terms.group_loss(mask, 2, 0)

    assert np.isfinite(gradient(loss, x)).all()


def test_gradients_are_those_of_finite_differences():
    mask = np.random.default_rng(0).random((1, 2, 3, 4))

    def loss(mask):
        spatial = terms.spatial_loss(mask)
        return spatial + terms.group_loss(mask, 2, seed=0)

    is_torch = keras.backend.backend() == "torch"  # where Keras multiplies matrices in float32
    step, tolerance = (1e-3, 2e-4) if is_torch else (1e-6, 1e-7)
    slope = gradient(loss, mask)
    for position in np.ndindex(mask.shape):
        nudge = np.zeros_like(mask)
        nudge[position] = step
        difference = float(loss(mask + nudge) - loss(mask - nudge)) / (2 * step)
        assert slope[position] == pytest.approx(difference, abs=tolerance)


def test_layer_adds_both_losses_in_training_only():
    layer = ActivationRegularizer(group=0.5, spatial=0.25, n_groups=1, n_layers=2, name="spread")
    x = masks([[3, 1], [3, 1]], [[0, 1], [0, 2]])
    np.testing.assert_array_equal(layer(x, training=False), x)
    assert layer.losses == []
    np.testing.assert_array_equal(layer(x, training=True), x)
    mask = terms.soft_mask(x)
    group, spatial = terms.group_loss(mask, 1), terms.spatial_loss(mask)
    np.testing.assert_allclose(layer.losses, [0.25 * group, 0.125 * spatial], rtol=1e-6)
    logged = {metric.name: float(metric.result()) for metric in layer.metrics}
    assert logged == pytest.approx({"spread_group_loss": float(group), "spread_spatial_loss": float(spatial)})
    assert layer.weights == []


def test_on_jax_where_no_layer_can_update_a_metric_there_are_the_losses_alone(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    layer = ActivationRegularizer(group=0.5, spatial=0.25, n_groups=1)
    x = masks([[3, 1], [3, 1]], [[0, 1], [0, 2]])
    layer(x, training=True)
    mask = terms.soft_mask(x)
    np.testing.assert_allclose(
        layer.losses, [0.5 * terms.group_loss(mask, 1), 0.25 * terms.spatial_loss(mask)]
    )
    assert layer.metrics == []


@pytest.mark.parametrize(
    "options", [{"group": -1}, {"spatial": -0.1}, {"spatial": float("nan")}, {"group": float("inf")}]
)
def test_wrong_factors_are_refused(options):
    with pytest.raises(ValueError, match="must be finite and not negative"):
        ActivationRegularizer(**options)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((6, 6, 3), "the 3 filters there are, got 5"),
        ((6,), "takes feature maps"),
        ((None, 6, 8), "feature maps"),
    ],
)
def test_layer_refuses_what_it_cannot_group(shape, message):
    with pytest.raises(ValueError, match=message):
        ActivationRegularizer(name="spread")(keras.Input(shape))


def alexnet(batch_norm=False):
    return builders.alexnet(
        input_size=64, width=0.1, variant="one_tower", batch_norm=batch_norm, head="pooling"
    )


def residual_network():
    """Two residual blocks, the second with a convolution in its shortcut; weights of the same shapes."""
    layers = keras.layers
    image = x = keras.Input((8, 8, 6), name="image")
    for block in ("a", "b"):
        shortcut = layers.Conv2D(6, 3, padding="same", name="b_short")(x) if block == "b" else x
        for step in (1, 2):
            x = layers.Conv2D(6, 3, padding="same", name=f"{block}_conv{step}")(x)
            x = layers.BatchNormalization(name=f"{block}_bn{step}")(x)
            x = layers.ReLU(name=f"{block}_relu1")(x) if step == 1 else x
        x = layers.Activation("relu", name=f"{block}_relu2")(layers.Add(name=f"{block}_add")([x, shortcut]))
    x = layers.Dropout(0.5, name="dropout")(layers.GlobalAveragePooling2D(name="pooling")(x))
    return keras.Model(image, layers.Dense(3, name="dense")(x), name="residual")


def shaken(model):
    """Give every weight, those of batch normalisation too, a value of its own."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        layer.set_weights([array + rng.uniform(0, 0.1, array.shape) for array in layer.get_weights()])
    return model


def images_for(model, n=4):
    return np.random.default_rng(1).random((n, *model.input_shape[1:]), np.float32)


NETWORKS = [alexnet, lambda: alexnet(batch_norm=True), residual_network]


@pytest.mark.parametrize("build", NETWORKS)
def test_observed_copy_gives_the_same_and_the_model_stays(build):
    model = shaken(build())
    config, before = model.get_config(), model.get_weights()
    copy = observed(model, group=0.1, spatial=0.1)
    images = images_for(model)
    np.testing.assert_allclose(
        copy.predict(images, verbose=0), model.predict(images, verbose=0), rtol=1e-5, atol=1e-6
    )
    n_convolutions = sum(isinstance(layer, keras.layers.Conv2D) for layer in model.layers)
    inserted = [layer for layer in copy.layers if isinstance(layer, ActivationRegularizer)]
    assert [layer.n_layers for layer in inserted] == [n_convolutions] * n_convolutions
    assert len({layer.seed for layer in inserted}) == n_convolutions
    for layer in copy.layers:
        layer.set_weights([array * 0 for array in layer.get_weights()])
    assert model.get_config() == config
    assert all(np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize("build", NETWORKS)
def test_weights_trained_under_observation_go_back(build):
    model = build()
    copy = shaken(observed(model))
    assert Weights.of(copy).put_into(model) == []
    images = images_for(model)
    np.testing.assert_allclose(
        model.predict(images, verbose=0), copy.predict(images, verbose=0), rtol=1e-5, atol=1e-6
    )


def test_weights_find_their_layers_where_the_order_of_layers_changes():
    model = shaken(residual_network())
    copy = observed(model, layers=["b_short"])
    order = [[layer.name for layer in network.layers if layer.weights] for network in (model, copy)]
    assert order[0] != order[1]
    assert sorted(order[0]) == sorted(order[1])
    for name in order[0]:
        pairs = zip(copy.get_layer(name).weights, model.get_layer(name).weights, strict=True)
        assert all(np.array_equal(ours, theirs) for ours, theirs in pairs)


def test_in_a_chain_keras_own_way_of_weights_goes_too():
    model = shaken(alexnet(batch_norm=True))
    copy = observed(model)
    assert all(
        np.array_equal(ours, theirs)
        for ours, theirs in zip(copy.get_weights(), model.get_weights(), strict=True)
    )


def test_layers_look_at_what_goes_into_the_activation():
    plain, normalized, residual = (observed(build()) for build in NETWORKS)
    for model, layer, before, after in (
        (plain, "regularizer_conv2", "conv2", "relu_conv2"),
        (normalized, "regularizer_conv2", "bn_conv2", "relu_conv2"),
        (residual, "regularizer_a_conv1", "a_bn1", "a_relu1"),
        (residual, "regularizer_b_conv2", "b_bn2", "b_add"),
        (residual, "regularizer_b_short", "b_short", "b_add"),
    ):
        assert model.get_layer(layer).input is model.get_layer(before).output
        inputs = model.get_layer(after).input
        assert any(x is model.get_layer(layer).output for x in (inputs if type(inputs) is list else [inputs]))
    outputs = activations(plain, ["conv2", "relu_conv2"], images_for(plain))
    assert outputs["conv2"].min() < 0
    np.testing.assert_array_equal(np.maximum(outputs["conv2"], 0), outputs["relu_conv2"])


def test_only_the_convolutions_asked_for():
    copy = observed(alexnet(), layers=["conv3"])
    assert [layer.name for layer in copy.layers if layer.name.startswith("regularizer")] == [
        "regularizer_conv3"
    ]
    assert copy.get_layer("conv2").activation is keras.activations.relu


def test_inputs_without_a_name_activations_without_a_name_and_networks_of_keras():
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, keras.layers.Conv2D(6, 3, activation=lambda x: x / 2, name="conv")(image))
    copy = observed(model, group=0.1)
    copy.compile("sgd", "mse")
    copy.fit(images_for(model), np.zeros((4, 6, 6, 6)), verbose=0)
    network = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(32, 32, 3))
    images = images_for(network)
    np.testing.assert_allclose(
        observed(network).predict(images, verbose=0), network.predict(images, verbose=0), rtol=1e-3, atol=1e-4
    )


def test_observation_counts_in_the_precision_of_the_network():
    model = alexnet()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        copy = observed(model)
    finally:
        keras.config.set_dtype_policy("float32")
    inserted = {f"{kind}_conv{i}" for kind in ("regularizer", "relu") for i in range(1, 6)}
    assert {copy.get_layer(name).compute_dtype for name in inserted} == {"float32"}


def test_networks_that_cannot_be_observed_are_refused():
    stacked = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(6, 3)])
    with pytest.raises(ValueError, match="expected a functional model, got the Sequential"):
        observed(stacked)
    with pytest.raises(ValueError, match="no layer 'conv9' in alexnet: it has image, conv1"):
        observed(alexnet(), layers=["conv9"])
    with pytest.raises(ValueError, match="only feature maps of convolutions are observed, fc8 is none"):
        observed(alexnet(), layers=["conv1", "fc8"])
    with pytest.raises(ValueError, match="the 6 filters there are, got 7"):
        observed(residual_network(), n_groups=7)
    dense = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)], name="dense")
    with pytest.raises(ValueError, match="dense has no convolutions to observe"):
        observed(dense)


def fitted(group=0.0, spatial=0.0, epochs=1):
    keras.utils.set_random_seed(0)
    model = observed(residual_network(), group=group, spatial=spatial, n_groups=2)
    model.compile(keras.optimizers.SGD(0.05), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images = images_for(model, 16)
    return model, model.fit(images, np.arange(16) % 3, epochs=epochs, verbose=0).history


def mean_logged(history, loss):
    return np.mean([values for name, values in history.items() if name.endswith(loss)], axis=0)


def test_training_logs_both_losses_and_their_sum_is_in_the_loss():
    _, plain = fitted()
    _, both = fitted(group=0.5, spatial=0.25)
    assert len(both) == 1 + 2 * 5
    assert 0 < both["regularizer_b_short_group_loss"][0] < 2
    group, spatial = mean_logged(both, "_group_loss"), mean_logged(both, "_spatial_loss")
    np.testing.assert_allclose(both["loss"], plain["loss"] + 0.5 * group + 0.25 * spatial, rtol=1e-4)


@pytest.mark.parametrize("loss", ["group", "spatial"])
def test_training_lowers_the_loss_that_it_is_told_to(loss):
    _, history = fitted(epochs=30, **{loss: 20.0})
    values = mean_logged(history, f"_{loss}_loss")
    assert values[-1] < 0.9 * values[0]


def test_observed_model_survives_saving_in_safe_mode(tmp_path):
    model, _ = fitted(group=0.5, spatial=0.25)
    model.save(tmp_path / "network.keras")
    again = keras.models.load_model(tmp_path / "network.keras", safe_mode=True)
    images = images_for(model)
    np.testing.assert_array_equal(again.predict(images, verbose=0), model.predict(images, verbose=0))
    ours, theirs = (network.get_layer("regularizer_b_short") for network in (again, model))
    assert ours.get_config() == theirs.get_config()
    assert "regularizer_b_short_group_loss" in again.fit(images, np.zeros(4), verbose=0).history
