"""Penalties in a training, and the pairs of paper C."""

import keras
import numpy as np
import pandas as pd
import pytest

from cnninte_utils import claims, datasets
from cnninte_utils.methods.group_norms.objective import Penalty
from cnninte_utils.methods.group_norms.weights import group_strengths, strengths_of
from cnninte_utils.networks import builders, lookup
from cnninte_utils.networks.training import Recipe, fit_or_load
from cnninte_utils.papers import block_norm

OPTIONS = {
    "variant": "one_tower",
    "width": 0.08,
    "input_size": 32,
    "head": "pooling",
    "first_kernel": 5,
    "first_stride": 2,
}
RECIPE = Recipe(4, 8, learning_rate=0.05, report_every=2, algorithm="sgd")


@pytest.fixture(scope="module")
def scenes():
    return datasets.load("toyworld_scenes").with_train(40)


def trained(scenes, penalty):
    return fit_or_load("alexnet", scenes, RECIPE, options=OPTIONS | {"n_classes": 10}, objective=penalty)


def regularized_layers(model):
    return [layer.name for layer in model.layers if getattr(layer, "kernel_regularizer", None) is not None]


@pytest.fixture
def alexnet():
    return builders.alexnet(**OPTIONS)


def test_weight_decay_is_half_the_squares_of_every_kernel(alexnet):
    penalized = Penalty("weight_decay", 0.1).applied_to(alexnet)
    kernels = [layer.kernel for layer in alexnet.layers if hasattr(layer, "kernel")]
    expected = 0.1 / 2 * sum(np.sum(np.square(keras.ops.convert_to_numpy(kernel))) for kernel in kernels)
    assert float(sum(penalized.losses)) == pytest.approx(expected, rel=1e-5)
    assert regularized_layers(penalized) == ["conv1", "conv2", "conv3", "conv4", "conv5", "fc8"]


def test_block_norm_is_the_sum_of_group_strengths_of_convolutions(alexnet):
    penalized = Penalty("block_norm", 0.1, n_groups=3).applied_to(alexnet)
    kernels = [alexnet.get_layer(f"conv{i}").kernel for i in range(1, 6)]
    expected = 0.1 * sum(float(keras.ops.sum(group_strengths(kernel, 3))) for kernel in kernels)
    assert float(sum(penalized.losses)) == pytest.approx(expected, rel=1e-5)
    assert regularized_layers(alexnet) == [], "the given model is not altered"


def test_curves_have_every_groups_strength_and_they_are_the_networks(scenes):
    network = trained(scenes, Penalty("block_norm", 0.01, n_groups=2))
    for layer in ("conv1", "conv5"):
        strengths = keras.ops.convert_to_numpy(group_strengths(network.model.get_layer(layer).kernel, 2))
        curves = [network.history[f"strength/{layer}/{group}"] for group in range(2)]
        assert [len(curve) for curve in curves] == [2, 2]
        np.testing.assert_allclose([curve[-1] for curve in curves], strengths, rtol=1e-5)


def test_penalty_is_part_of_the_key_and_of_the_loaded_network(scenes):
    penalty = Penalty("block_norm", 0.01, n_groups=2, p=float("inf"))
    assert not trained(scenes, penalty).was_cached
    again = trained(scenes, penalty)
    assert again.was_cached
    assert again.model.get_layer("conv2").kernel_regularizer.p == float("inf")
    assert not trained(scenes, Penalty("block_norm", 0.02, n_groups=2)).was_cached


def test_only_the_proximal_step_reaches_zero(scenes):
    def zero_groups(kind):
        history = trained(scenes, Penalty(kind, 100.0, n_groups=2)).history
        return sum(history[f"strength/conv{i}/{g}"][-1] == 0 for i in range(1, 6) for g in range(2))

    assert zero_groups("proximal") == 10
    assert zero_groups("block_norm") == 0


def test_terms_on_activations_are_logged_separately(scenes):
    history = trained(scenes, Penalty("none", n_groups=2, activation=0.1, spatial=0.1)).history
    assert {"regularizer_conv1_group_loss", "regularizer_conv1_spatial_loss"} <= set(history)
    assert all(value > 0 for value in history["regularizer_conv5_spatial_loss"])


def test_unknown_kinds_and_impossible_steps_are_refused():
    with pytest.raises(ValueError, match="choose one of none, weight_decay, block_norm, proximal"):
        Penalty("lasso")
    with pytest.raises(ValueError, match="p = 2 and q = 1, got p = 1"):
        Penalty("proximal", p=1)
    with pytest.raises(ValueError, match="choose one of adam, sgd"):
        Recipe(algorithm="rmsprop")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"strength": -1}, "strength must be finite and not negative, got -1"),
        ({"kind": "none", "strength": float("nan")}, "strength must be finite and not negative, got nan"),
        ({"activation": -0.1}, "activation must be finite and not negative, got -0.1"),
        ({"spatial": float("inf")}, "spatial must be finite and not negative, got inf"),
        ({"p": 0.5}, "p must be between 1 and inf, got 0.5"),
        ({"q": float("nan")}, "q must be between 1 and inf, got nan"),
        ({"n_groups": 0}, "the whole number n_groups must be at least 1, got 0"),
        ({"n_groups": 2.5}, "the whole number n_groups must be at least 1, got 2.5"),
    ],
)
def test_values_out_of_range_are_refused_by_their_names(wrong, message):
    with pytest.raises(ValueError, match=message):
        Penalty(**wrong)


def test_the_recipe_is_that_of_the_authors_and_of_alexnet(scenes, monkeypatch):
    asked = []
    monkeypatch.setattr(
        block_norm, "fit_or_load", lambda *arguments, **options: asked.append((arguments, options))
    )
    block_norm.train("alexnet_b", block_norm.PENALTIES["block_norm"], scenes, epochs=3, batch_size=20, seed=7)
    [((architecture, _, recipe), options)] = asked
    assert (architecture, options["options"]["batch_norm"]) == ("alexnet", True)
    assert options["objective"] == Penalty("block_norm", strength=0.005, n_groups=5, p=2, q=1)
    assert block_norm.PENALTIES["weight_decay"].strength == 5e-4
    assert (recipe.steps, recipe.report_every, recipe.seed) == (6, 2, 7)
    assert (recipe.algorithm, recipe.schedule, recipe.is_augmented) == ("sgd", "cosine", True)
    assert recipe.optimizer().momentum == 0.9


def test_seed_of_a_penalty_is_that_of_its_layers(alexnet):
    penalties = [Penalty("none", activation=1.0, n_groups=2, seed=seed) for seed in (0, 100)]
    layers = [penalty.applied_to(alexnet).get_layer("regularizer_conv2") for penalty in penalties]
    assert [layer.seed for layer in layers] == [1, 101]


@pytest.mark.parametrize(("network", "layers"), [("alexnet", "conv{}"), ("alexnet_b", "relu_conv{}")])
def test_pairs_are_one_tower_networks_as_published(network, layers):
    options = block_norm.network_options(network, 365, width=1, input_size=224)
    assert options["head"] == "fc"
    model = builders.alexnet(**block_norm.network_options(network, 50, width=1, input_size=64))
    assert lookup.feature_layers(model) == [layers.format(i) for i in range(1, 6)]
    filters = [model.get_layer(f"conv{i}").filters for i in range(1, 6)]
    assert filters == [64, 192, 384, 256, 256]


@pytest.mark.parametrize(("network", "n_convolutions"), [("resnet", 19), ("densenet", 15)])
def test_networks_with_skips_are_penalised_at_every_convolution(network, n_convolutions, scenes, monkeypatch):
    asked = []
    monkeypatch.setattr(block_norm, "fit_or_load", lambda *given, **options: asked.append((given, options)))
    block_norm.train(network, block_norm.PENALTIES["block_norm"], scenes, input_size=32, batch_size=20)
    [((architecture, _, _), options)] = asked
    assert architecture == network
    keras.utils.set_random_seed(0)
    model = builders.build(architecture, **options["options"])
    penalised = options["objective"].applied_to(model)
    assert len(penalised.losses) == n_convolutions
    strengths = strengths_of(model, 5)
    assert float(sum(penalised.losses)) == pytest.approx(
        0.005 * sum(each.sum() for each in strengths.values()), rel=1e-4
    )


def test_unknown_networks_are_refused_with_those_that_there_are(scenes):
    with pytest.raises(ValueError, match=r"vgg19.*alexnet, alexnet_b, resnet, densenet"):
        block_norm.train("vgg19", block_norm.PENALTIES["block_norm"], scenes)


def test_a_pair_is_trained_alike(scenes):
    settings = {"width": 0.08, "input_size": 64, "epochs": 1, "batch_size": 20}
    penalties = [Penalty("weight_decay", 0.0, n_groups=2), Penalty("block_norm", 0.0, n_groups=2)]
    one, other = (block_norm.train("alexnet", penalty, scenes, **settings) for penalty in penalties)
    assert one.history["loss"] == pytest.approx(other.history["loss"], rel=1e-3)


def test_all_that_is_smaller_is_said():
    assert block_norm.reduction(0.25, 64, 20) == (
        "0.25 of the filters, 64×64 pixels, first layer 7×7/2, global pooling before the classes, "
        "20 of 90 epochs"
    )
    assert block_norm.reduction(0.5, 128, 90) == "0.5 of the filters, 128×128 pixels"
    assert block_norm.reduction(1, 224, 90) == ""


def test_settings_of_the_papers_scale_are_the_authors_but_for_what_they_do_not_give():
    own = {"width": 1.0, "input_size": 224, "epochs": 90, "batch_size": 256, "learning_rate": 0.01}
    found = block_norm.settings(block_norm.PENALTIES["block_norm"], 365, **own)
    differing = {name: there for name, (there, here) in found.items() if there != here}
    assert set(differing) == {"λ of weight decay", "schedule", "augmentation"}
    assert set(differing.values()) == {"not given"}


def test_settings_are_those_that_a_small_network_is_built_and_trained_with(scenes):
    small = {"width": 0.25, "input_size": 64, "epochs": 4, "batch_size": 32, "learning_rate": 0.02}
    found = {
        k: here
        for k, (_, here) in block_norm.settings(Penalty(strength=0.1, n_groups=3), 10, **small).items()
    }
    options = block_norm.network_options("alexnet", 10, width=0.25, input_size=64)
    model = builders.alexnet(**options)
    filters = [model.get_layer(f"conv{i}").filters for i in range(1, 6)]
    assert found["filters"] == "-".join(map(str, filters))
    first = model.get_layer("conv1")
    assert found["first layer"] == f"{first.kernel_size[0]}×{first.kernel_size[1]}, stride {first.strides[0]}"
    assert found["after the convolutions"] == "global average pooling"
    assert any(isinstance(layer, keras.layers.GlobalAveragePooling2D) for layer in model.layers)
    assert [found[k] for k in ("p (within a group)", "q (across groups)", "groups G in a layer")] == [
        "2",
        "1",
        "3",
    ]
    assert [found[k] for k in ("λ of the block norm", "learning rate", "epochs")] == ["0.1", "0.02", "4"]


def test_table_1_by_hand():
    rows = [
        ("alexnet", "weight_decay", 0, "detectors", 10), ("alexnet", "block_norm", 0, "detectors", 13),
        ("alexnet", "weight_decay", 1, "detectors", 12), ("alexnet", "block_norm", 1, "detectors", 11),
        ("alexnet", "block_norm", 0, "permuted", 2), ("alexnet", "block_norm", 1, "permuted", 5),
        ("alexnet", "block_norm", 1, "rotated", 9), ("alexnet_b", "weight_decay", 0, "detectors", 7),
        ("alexnet_b", "block_norm", 0, "detectors", 7),
    ]  # fmt: skip
    counts = pd.DataFrame(rows, columns=["network", "penalty", "seed", "kind", "detectors"])
    measured, reasons = block_norm.table_1(counts, "places50_1")
    assert set(measured) <= set(claims.catalogue())
    cell = "block_norm.detectors.places50_1.alexnet.block_norm"
    assert measured[cell] == {"mean": 12, "sd": pytest.approx(np.sqrt(2)), "n": 2}
    assert reasons[cell] == "permuted: median 3.5, 2 to 5; rotated: median 9, 9 to 9"
    assert reasons["block_norm.detectors.places50_1.alexnet.weight_decay"] == ""
    assert measured["block_norm.gain.places50_1.alexnet"] is True  # +3 and -1
    assert reasons["block_norm.gain.places50_1.alexnet"] == "each pair of trainings: +3, -1"
    assert measured["block_norm.gain.places50_1.alexnet_b"] is False


def test_what_blocks_hand_on_is_as_wide_as_published():
    widths = {}
    for network, layers in block_norm.HANDED_ON.items():
        model = builders.build(network, **block_norm.network_options(network, 10, width=1.0, input_size=32))
        widths[network] = [model.get_layer(layer).output.shape[-1] for layer in layers]
    assert widths["resnet"] == [16] + 3 * [16] + 3 * [32] + 3 * [64]
    assert widths["densenet"] == [16 + 4 * 12, 64 + 4 * 12, 112 + 4 * 12]
