"""Regularisers on kernels: by hand, against plain NumPy, finite differences, and in training."""

from itertools import product

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from scipy.optimize import minimize

from cnninte_utils.methods import group_norms
from cnninte_utils.methods.group_norms.weights import (
    BlockNorm,
    GroupStrengths,
    ProximalStep,
    WeightDecay,
    block_norm,
)
from cnninte_utils.networks import builders
from cnninte_utils.networks.gradients import vjp

INF = float("inf")
CORNERS = list(product((1.0, 2.0, INF), repeat=2))


def weights(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def plain_norms(kernel, n_groups, p):
    """Compute every group's norm as a loop over filters."""
    filters = np.array_split(np.moveaxis(kernel, -1, 0), n_groups)
    return [np.linalg.norm(np.concatenate([f.ravel() for f in group]), p) for group in filters]


def gradient(function, x):
    """Return a scalar function's gradient, as an array."""
    x = ops.convert_to_tensor(x)
    value, slope = vjp(function, x, ops.ones((), x.dtype))
    assert value.shape == ()
    return ops.convert_to_numpy(slope)


def small_network(n_filters=7, regularizer=None, activation="relu"):
    image = keras.Input((6, 6, 2))
    x = keras.layers.Conv2D(n_filters, 3, activation=activation, kernel_regularizer=regularizer, name="conv")(
        image
    )
    x = keras.layers.BatchNormalization(name="bn")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pooling")(x)
    return keras.Model(image, keras.layers.Dense(1, name="dense")(x), name="small")


@given(st.data(), st.integers(1, 70))
def test_groups_are_those_of_array_split(data, n_filters):
    n_groups = data.draw(st.integers(1, n_filters))
    filters = np.arange(n_filters)
    ours = [filters[group].tolist() for group in group_norms.group_slices(n_filters, n_groups)]
    assert ours == [group.tolist() for group in np.array_split(filters, n_groups)]


def test_five_groups_cover_64_filters():
    groups = group_norms.group_slices(64, 5)
    assert [(group.start, group.stop) for group in groups] == [
        (0, 13),
        (13, 26),
        (26, 39),
        (39, 52),
        (52, 64),
    ]


@pytest.mark.parametrize("n_groups", [0, -1, 5])
def test_impossible_groups_are_refused(n_groups):
    with pytest.raises(ValueError, match=f"between 1 and the 4 filters there are, got {n_groups}"):
        group_norms.group_slices(4, n_groups)


def test_value_of_the_authors_code():
    theirs = np.random.default_rng(11).standard_normal((8, 4, 3, 3)).astype(np.float32)
    assert float(block_norm(theirs.transpose(2, 3, 1, 0), 4)) == pytest.approx(31.084911, abs=1e-5)


HAND = np.array([[3.0, -4.0, 12.0, 0.0], [0.0, 0.0, 0.0, -5.0]])
"""Two inputs, four filters; in two groups: (3, −4, 0, 0) and (12, 0, 0, −5)."""


@pytest.mark.parametrize(
    ("p", "strengths"),
    [(1, [7.0, 17.0]), (2, [5.0, 13.0]), (INF, [4.0, 12.0]), (3, [91 ** (1 / 3), 1853 ** (1 / 3)])],
)
def test_strengths_by_hand(p, strengths):
    np.testing.assert_allclose(group_norms.group_strengths(HAND, 2, p), strengths, rtol=1e-6)


@pytest.mark.parametrize(
    ("p", "q", "expected"),
    [
        (1, 1, 24.0), (1, 2, 338**0.5), (1, INF, 17.0),
        (2, 1, 18.0), (2, 2, 194**0.5), (2, INF, 13.0),
        (INF, 1, 16.0), (INF, 2, 160**0.5), (INF, INF, 12.0),
    ],
)  # fmt: skip
def test_block_norm_by_hand(p, q, expected):
    assert float(block_norm(HAND, 2, p, q)) == pytest.approx(expected, rel=1e-6)


EXPONENTS = st.one_of(st.just(INF), st.floats(1, 20))


@given(EXPONENTS, EXPONENTS, st.sampled_from([5, 7, 12, 64]), st.integers(1, 5), st.integers(0, 9))
def test_block_norm_is_the_plain_one_and_a_norm(p, q, n_filters, n_groups, seed):
    first, second = weights(2, 3, 2, n_filters, seed=seed), weights(2, 3, 2, n_filters, seed=seed + 100)

    def norm(kernel):
        return float(block_norm(kernel, n_groups, p, q))

    assert norm(first) == pytest.approx(np.linalg.norm(plain_norms(first, n_groups, p), q), rel=1e-9)
    assert norm(-2.5 * first) == pytest.approx(2.5 * norm(first), rel=1e-9)
    assert norm(first + second) <= (norm(first) + norm(second)) * (1 + 1e-9)


@pytest.mark.parametrize("p", [1.0, 2.0, 7.0, INF])
@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_sizes_whose_powers_float32_cannot_hold(p, size):
    strengths = group_norms.group_strengths((HAND * size).astype(np.float32), 2, p)
    np.testing.assert_allclose(strengths, np.array(plain_norms(HAND, 2, p)) * size, rtol=1e-5)


@pytest.mark.parametrize(("p", "q"), [*CORNERS, (3.0, 1.5)])
def test_gradient_is_that_of_finite_differences(p, q):
    kernel, step = weights(2, 1, 2, 7), 1e-6

    def penalty(kernel):
        return block_norm(kernel, 3, p, q)

    slope = gradient(penalty, kernel)
    for position in np.ndindex(kernel.shape):
        nudge = np.zeros_like(kernel)
        nudge[position] = step
        difference = float(penalty(kernel + nudge) - penalty(kernel - nudge)) / (2 * step)
        assert slope[position] == pytest.approx(difference, abs=1e-7)


@pytest.mark.parametrize(("p", "q"), [*CORNERS, (3.0, 1.5)])
def test_gradient_of_a_zero_group_is_zero(p, q):
    kernel = weights(3, 3, 2, 6, dtype=np.float32)
    kernel[..., 2:4] = 0
    slope = gradient(lambda kernel: block_norm(kernel, 3, p, q), kernel)
    assert np.isfinite(slope).all()
    assert slope.any()
    assert not slope[..., 2:4].any()
    nothing = gradient(lambda kernel: block_norm(kernel, 3, p, q), np.zeros_like(kernel))
    assert not nothing.any()


@pytest.mark.parametrize("p", [1.0, 2.0, INF])
def test_gradient_is_defined_at_ties_and_at_single_zeros(p):
    kernel = np.array([[1.0, -1.0, 0.0, 1.0]])
    slope = gradient(lambda kernel: block_norm(kernel, 2, p, 1.0), kernel)
    assert np.isfinite(slope).all()
    assert slope[0, 2] == 0


def test_weights_that_are_no_numbers_stay_visible():
    kernel = np.array([[np.nan, 1.0, 1.0]], np.float32)
    assert np.isnan(float(block_norm(kernel, 3)))
    assert np.isnan(np.ravel(group_norms.shrunk_groups(kernel, 3, 0.1))).tolist() == [True, False, False]


def test_last_filters_get_a_gradient_too():
    slope = gradient(lambda kernel: block_norm(kernel, 5), weights(3, 3, 2, 64, dtype=np.float32))
    assert np.abs(slope).min(axis=(0, 1, 2)).all()


@pytest.mark.parametrize(("p", "q"), CORNERS)
def test_block_norm_and_gradient_are_torchs(p, q):
    torch = pytest.importorskip("torch", reason="needs torch, which is in no extra")
    kernel = weights(3, 3, 2, 12)
    theirs = torch.tensor(kernel.transpose(3, 2, 0, 1), requires_grad=True)
    norms = [torch.linalg.vector_norm(part, p) for part in torch.tensor_split(theirs, 5)]
    penalty = torch.linalg.vector_norm(torch.stack(norms), q)
    penalty.backward()
    assert float(block_norm(kernel, 5, p, q)) == pytest.approx(penalty.item(), rel=1e-9)
    slope = gradient(lambda kernel: block_norm(kernel, 5, p, q), kernel)
    np.testing.assert_allclose(slope.transpose(3, 2, 0, 1), theirs.grad.numpy(), atol=1e-9)


@pytest.mark.parametrize("value", [0.99, -1.0, float("nan")])
def test_wrong_exponents_are_refused(value):
    kernel = np.ones((1, 4), np.float32)
    with pytest.raises(ValueError, match="p must be between 1 and inf"):
        group_norms.group_strengths(kernel, 2, value)
    with pytest.raises(ValueError, match="q must be between 1 and inf"):
        block_norm(kernel, 2, 2, value)
    with pytest.raises(ValueError, match="q must be between 1 and inf"):
        BlockNorm(q=value)


@pytest.mark.parametrize("make", [WeightDecay, BlockNorm, lambda strength: ProximalStep([], 5, strength)])
@pytest.mark.parametrize("strength", [-0.1, INF, float("nan")])
def test_wrong_strengths_are_refused(make, strength):
    with pytest.raises(ValueError, match="strength must be finite and not negative"):
        make(strength=strength)


def test_no_groups_are_refused():
    with pytest.raises(ValueError, match="n_groups must be at least 1, got 0"):
        BlockNorm(0)


def test_penalties_by_hand():
    assert float(WeightDecay(0.1)(HAND)) == pytest.approx(9.7)  # 0.1 · ½ · 194
    assert float(BlockNorm(2, strength=0.1)(HAND)) == pytest.approx(1.8)


def test_too_few_filters_for_the_groups():
    with pytest.raises(ValueError, match="the 4 filters there are, got 5"):
        BlockNorm()(HAND)


@pytest.mark.parametrize(
    "regularizer", [WeightDecay(0.3), BlockNorm(3, INF, 1.5, 0.2), BlockNorm(3, 1, "inf"), BlockNorm()]
)
def test_regularizers_survive_saving_in_safe_mode(regularizer, tmp_path):
    model = small_network(regularizer=regularizer)
    model.save(tmp_path / "network.keras")
    again = keras.models.load_model(tmp_path / "network.keras", safe_mode=True)
    ours = again.get_layer("conv").kernel_regularizer
    assert type(ours) is type(regularizer)
    assert ours.get_config() == regularizer.get_config()
    assert float(again.losses[0]) == float(model.losses[0]) > 0


def penalized(model):
    return [layer.name for layer in model.layers if getattr(layer, "kernel_regularizer", None)]


def test_regularized_copy_has_the_same_weights_and_its_penalties():
    model = builders.alexnet(input_size=64, width=0.1, head="fc", batch_norm=True)
    for layer in model.layers:
        layer.set_weights([array + 0.1 for array in layer.get_weights()])
    before = model.get_weights()
    copy = group_norms.regularized(model, BlockNorm())
    images = np.random.default_rng(0).random((2, 64, 64, 3), np.float32)
    assert penalized(copy) == ["conv1", "conv2", "conv3", "conv4", "conv5"]
    assert not penalized(model)
    assert len(copy.losses) == 5
    kernels = [copy.get_layer(name).kernel for name in penalized(copy)]
    expected = [0.005 * float(block_norm(kernel, 5)) for kernel in kernels]
    np.testing.assert_allclose([float(loss) for loss in copy.losses], expected, 1e-6)
    assert [type(layer) for layer in copy.layers] == [type(layer) for layer in model.layers]
    np.testing.assert_array_equal(copy.predict(images, verbose=0), model.predict(images, verbose=0))
    copy.set_weights([array * 0 for array in before])
    assert all(np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True))


def test_only_the_layers_asked_for():
    model = small_network()
    assert penalized(group_norms.regularized(model, WeightDecay(), ["dense"])) == ["dense"]
    assert penalized(group_norms.regularized(model, WeightDecay(), [])) == []


def test_both_kernels_of_a_separable_convolution_are_regularized():
    image = keras.Input((8, 8, 2))
    x = keras.layers.SeparableConv2D(3, 3, name="separable")(
        keras.layers.DepthwiseConv2D(3, name="each")(image)
    )
    model = group_norms.regularized(keras.Model(image, x), WeightDecay(2.0), ["each", "separable"])
    each, separable = model.get_layer("each"), model.get_layer("separable")
    kernels = each.kernel, separable.depthwise_kernel, separable.pointwise_kernel
    expected = [float(ops.sum(ops.square(kernel))) for kernel in kernels]
    assert sorted(float(loss) for loss in model.losses) == pytest.approx(sorted(expected), rel=1e-6)


def test_layers_that_cannot_be_regularized_are_refused():
    image = keras.Input((6, 6, 2))
    nested = keras.Model(image, small_network()(image), name="nested")
    with pytest.raises(ValueError, match="nested holds another model, small"):
        group_norms.regularized(nested, BlockNorm())
    dense = keras.Model(image, keras.layers.Dense(3)(image), name="dense_only")
    with pytest.raises(ValueError, match="dense_only has no convolution to regularise"):
        group_norms.regularized(dense, BlockNorm())
    with pytest.raises(ValueError, match=r"no layer 'conv9' in small: it has .*, conv, bn, pooling, dense"):
        group_norms.regularized(small_network(), WeightDecay(), ["conv9"])
    with pytest.raises(ValueError, match="layer 'bn', a BatchNormalization, has no kernel"):
        group_norms.regularized(small_network(), WeightDecay(), ["bn"])


@pytest.mark.parametrize(("name", "n_convolutions"), [("ResNet50", 53), ("DenseNet121", 120)])
def test_networks_with_skip_connections(name, n_convolutions):
    build = getattr(keras.applications, name)
    model = build(weights=None, include_top=False, input_shape=(32, 32, 3))
    copy = group_norms.regularized(model, BlockNorm())
    assert len(penalized(copy)) == n_convolutions
    assert not model.losses
    pairs = zip(copy.weights, model.weights, strict=True)
    assert all(np.array_equal(ours, theirs) for ours, theirs in pairs)


def test_training_lowers_the_norm():
    model = group_norms.regularized(small_network(), BlockNorm(5, strength=1.0))
    images, targets = weights(16, 6, 6, 2, dtype=np.float32), np.zeros((16, 1), np.float32)
    model.compile(keras.optimizers.SGD(0.01), "mse")
    before = float(model.losses[0])
    model.fit(images, targets, epochs=3, verbose=0)
    assert float(model.losses[0]) < before - 0.1


def test_shrinking_by_hand():
    """Of 3, −4 (norm 5) a threshold of 2 leaves three fifths; 12, −5 (norm 13) is not above 13."""
    np.testing.assert_allclose(
        group_norms.shrunk_groups(HAND, 2, 2.0), HAND * [3 / 5, 3 / 5, 11 / 13, 11 / 13], rtol=1e-6
    )
    assert np.array_equal(group_norms.shrunk_groups(HAND, 2, 5.0)[:, :2], np.zeros((2, 2)))
    assert np.array_equal(group_norms.shrunk_groups(HAND, 2, 13.0), np.zeros((2, 4)))
    assert np.array_equal(group_norms.shrunk_groups(HAND, 2, 0.0), HAND)
    assert np.array_equal(group_norms.shrunk_groups(HAND * 0, 2, 0.0), HAND * 0)


@pytest.mark.parametrize("threshold", [0.3, 1.5])
def test_shrinking_minimizes_the_proximal_objective(threshold):
    kernel = weights(1, 1, 2, 4, seed=3)
    kernel[..., 2:] *= 0.3

    def objective(flat):
        v = flat.reshape(kernel.shape)
        return 0.5 * np.sum((v - kernel) ** 2) + threshold * sum(plain_norms(v, 2, 2))

    found = minimize(objective, kernel.ravel(), method="Powell", options={"xtol": 1e-9, "ftol": 1e-14})
    ours = ops.convert_to_numpy(group_norms.shrunk_groups(kernel, 2, threshold))
    np.testing.assert_allclose(ours, found.x.reshape(kernel.shape), atol=1e-4)
    assert objective(ours.ravel()) <= found.fun + 1e-12


def toy_problem():
    """Targets that depend on the first input only, and a linear layer of two groups, one per input."""
    x = weights(64, 4, dtype=np.float32)
    return x, x[:, :1] * [1.0, 1.0, 0.0, 0.0]


def toy_training(regularizer=None, callbacks=(), learning_rate=0.05, momentum=0.0):
    keras.utils.set_random_seed(0)
    start = keras.Input((4,))
    dense = keras.layers.Dense(4, use_bias=False, kernel_regularizer=regularizer, name="dense")
    model = keras.Model(start, dense(start))
    model.compile(keras.optimizers.SGD(learning_rate, momentum), "mse")
    history = model.fit(*toy_problem(), epochs=60, batch_size=16, verbose=0, callbacks=list(callbacks))
    return ops.convert_to_numpy(dense.kernel), history.history


def toy_optimum(strength):
    """The minimum of the same convex loss, by SciPy: its two groups of columns have 8 weights each."""
    x, y = toy_problem()

    def loss(flat):
        kernel = flat.reshape(4, 4)
        return np.mean((x @ kernel - y) ** 2) + strength * sum(plain_norms(kernel, 2, 2))

    start = np.linalg.lstsq(x, y, rcond=None)[0]
    found = [minimize(loss, start.ravel(), method="Powell", options={"xtol": 1e-8, "ftol": 1e-14})]
    found += [minimize(loss, found[0].x, method="Powell", options={"xtol": 1e-8, "ftol": 1e-14})]
    assert found[1].fun <= found[0].fun
    return found[1].x.reshape(4, 4)


def test_proximal_training_zeroes_a_group_and_the_gradient_does_not():
    exact, _ = toy_training(callbacks=[ProximalStep(["dense"], 2, 0.1)])
    nearly, _ = toy_training(BlockNorm(2, strength=0.1))
    assert np.array_equal(exact[:, 2:], np.zeros((4, 2)))
    assert np.linalg.norm(exact[:, :2]) > 0.5
    assert nearly[:, 2:].all()
    assert np.linalg.norm(nearly[:, 2:]) < 0.05
    np.testing.assert_allclose(nearly[:, :2], exact[:, :2], atol=0.05)
    np.testing.assert_allclose(exact, toy_optimum(0.1), atol=0.01)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_proximal_step_shrinks_as_the_package_says(dtype):
    """A rate of 1 and a loss of 0: each batch shortens every group by λ / (1 − momentum) = 0.4 / 0.5."""
    start = keras.Input((3,))
    dense = keras.layers.Dense(7, use_bias=False, name="dense")
    model = keras.Model(start, dense(start))
    kernel = np.random.default_rng(0).standard_normal((3, 7)).astype(dtype)
    kernel[:, 5:] = 0
    dense.set_weights([kernel])
    model.compile(keras.optimizers.SGD(1.0, momentum=0.5), "mse")
    step = ProximalStep(["dense"], 3, 0.4)
    model.fit(np.zeros((1, 3)), np.zeros((1, 7)), epochs=1, batch_size=1, verbose=0, callbacks=[step])
    expected = ops.convert_to_numpy(group_norms.shrunk_groups(kernel.astype("float32"), 3, 0.8))
    np.testing.assert_allclose(dense.kernel, expected, rtol=1e-5, atol=1e-7)
    assert np.array_equal(dense.kernel[:, 5:], np.zeros((3, 2)))


def test_proximal_training_has_the_same_minimum_with_momentum():
    with_momentum, _ = toy_training(
        callbacks=[ProximalStep(["dense"], 2, 0.4)], learning_rate=0.01, momentum=0.9
    )
    optimum = toy_optimum(0.4)
    np.testing.assert_allclose(with_momentum, optimum, atol=0.003)
    assert np.abs(toy_optimum(0.0) - optimum).max() > 0.1


def test_proximal_step_takes_the_learning_rate_of_its_batch_from_a_schedule():
    """Rates of 1 and then 0.5; the loss is 0 from the start, so that only the shrinking moves weights."""
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([0], [1.0, 0.5])
    start = keras.Input((2,))
    dense = keras.layers.Dense(2, use_bias=False, name="dense")
    model = keras.Model(start, dense(start))
    dense.set_weights([np.array([[3.0, 0.0], [4.0, 0.1]])])
    model.compile(keras.optimizers.SGD(schedule), "mse")
    step = ProximalStep(["dense"], 2, 2.0)
    model.fit(np.zeros((2, 2)), np.zeros((2, 2)), epochs=1, batch_size=1, verbose=0, callbacks=[step])
    # norm 5, less 1.0 · 2 and 0.5 · 2
    np.testing.assert_allclose(dense.kernel, [[1.2, 0.0], [1.6, 0.0]], rtol=1e-6)


def test_proximal_step_refuses_unknown_layers():
    with pytest.raises(ValueError, match="no layer 'conv9'"):
        toy_training(callbacks=[ProximalStep(["conv9"])])


def shrunk_once(strength=1.0, **compiled):
    """Train on one batch without a loss, at the rate of 0.1, a layer whose two groups have norms 5 and 13."""
    start = keras.Input((2,))
    dense = keras.layers.Dense(4, use_bias=False, name="dense")
    model = keras.Model(start, dense(start))
    dense.set_weights([HAND])
    dense.trainable = compiled.pop("trainable", True)
    compiled = {"optimizer": keras.optimizers.SGD(0.1, 0.5), "loss": "mse"} | compiled
    model.compile(**compiled)
    step = ProximalStep(["dense"], 2, strength)
    model.fit(np.zeros((2, 2)), np.zeros((2, 4)), verbose=0, callbacks=[step])
    return plain_norms(ops.convert_to_numpy(dense.kernel), 2, 2)


@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights:UserWarning:keras")
def test_proximal_step_with_loss_scaling_and_on_layers_that_are_not_trained():
    assert shrunk_once() == pytest.approx([5 - 0.2, 13 - 0.2], rel=1e-5)
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1, 0.5))
    assert shrunk_once(optimizer=scaled) == pytest.approx([5 - 0.2, 13 - 0.2], rel=1e-5)
    assert shrunk_once(trainable=False) == pytest.approx([5, 13], rel=1e-6)


def test_proximal_step_refuses_what_it_would_do_wrong():
    with pytest.raises(ValueError, match="the proximal step is for SGD, got Adam"):
        shrunk_once(optimizer="adam")
    with pytest.raises(ValueError, match=r"steps_per_execution=1, not 4|must be 1 with the PyTorch backend"):
        shrunk_once(steps_per_execution=4)


@pytest.mark.parametrize("callback", [ProximalStep, GroupStrengths])
def test_layers_that_cannot_be_divided_are_refused_before_training(callback):
    model = small_network()
    model.compile(keras.optimizers.SGD(0.1), "mse")
    images, targets = weights(16, 6, 6, 2, dtype=np.float32), np.zeros((16, 1), np.float32)
    before = model.get_weights()
    with pytest.raises(ValueError, match="layer 'bn', a BatchNormalization, has no kernel"):
        model.fit(images, targets, verbose=0, callbacks=[callback(["bn"])])
    with pytest.raises(ValueError, match="conv: n_groups must be between 1 and the"):
        model.fit(images, targets, verbose=0, callbacks=[callback(["conv"], 1_000)])
    assert all(np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True))


def test_strengths_are_logged_after_every_epoch():
    kernel, history = toy_training(callbacks=[GroupStrengths(["dense"], 2)])
    logged = [history[f"strength/dense/{group}"] for group in (0, 1)]
    assert [len(values) for values in logged] == [60, 60]
    assert all(isinstance(value, float) for value in logged[0])
    np.testing.assert_allclose([values[-1] for values in logged], plain_norms(kernel, 2, 2), rtol=1e-6)


def test_strengths_of_a_network_are_those_of_its_convolutions():
    alexnet = builders.alexnet(variant="one_tower", width=0.08, input_size=64, head="pooling")
    found = group_norms.strengths_of(alexnet, 2)
    assert list(found) == [f"conv{i}" for i in range(1, 6)]
    kernel = ops.convert_to_numpy(alexnet.get_layer("conv2").kernel)
    halves = np.split(kernel, 2, axis=-1)
    np.testing.assert_allclose(found["conv2"], [np.sqrt((half**2).sum()) for half in halves], rtol=1e-5)
    largest = group_norms.strengths_of(alexnet, 2, np.inf, ["conv3"])
    kernel = ops.convert_to_numpy(alexnet.get_layer("conv3").kernel)
    np.testing.assert_allclose(
        largest["conv3"], [np.abs(half).max() for half in np.split(kernel, 2, axis=-1)]
    )


def test_strengths_of_unknown_layers_are_refused():
    with pytest.raises(ValueError, match="conv9"):
        group_norms.strengths_of(builders.mnist_cnn(), 2, layers=["conv9"])
