"""Fine-tuning: what is kept, what is fresh, what a scaling changes."""

import numpy as np
import pytest

from cnninte_utils import datasets, measures
from cnninte_utils.datasets import ImageDataset, Split
from cnninte_utils.networks import activations, builders
from cnninte_utils.networks.weights import Weights, bundled
from cnninte_utils.papers import qdv
from cnninte_utils.series import plan


@pytest.fixture
def tiny_world():
    """Images of 64×64 whose class is their colour."""
    rng = np.random.default_rng(0)

    def split(n):
        labels = np.arange(n) % 3
        images = rng.integers(0, 60, (n, 64, 64, 3), np.uint8)
        images[np.arange(n), :, :, labels] += 150
        return Split(images, labels)

    return ImageDataset("colours", split(96), split(12), split(30), ("red", "green", "blue"), "made here")


def test_alexnet_learns_colours_and_is_loaded_the_second_time(tiny_world):
    options = {"epochs": 3, "batch_size": 8, "learning_rate": 1e-3}
    network = qdv.fine_tune("alexnet", tiny_world, **options)
    predictions = qdv.predicted_labels(network.model, tiny_world.test)
    whole = activations.predict(network.model, tiny_world.test.floats()).argmax(axis=1)
    assert np.array_equal(predictions, whole)
    assert (predictions == tiny_world.test.labels).mean() > 0.8
    assert qdv.fine_tune("alexnet", tiny_world, **options).was_cached


@pytest.mark.parametrize("architecture", qdv.NETWORKS)
def test_the_start_is_the_pretrained_convolutions_with_the_papers_head(architecture):
    weights = bundled(architecture)
    model = builders.build(architecture, **qdv.options_for(weights, 10))
    fresh = weights.put_into(model)
    assert fresh == {"alexnet": ["fc8"], "vgg19": ["fc6", "fc7", "fc8"]}[architecture]
    assert model.output_shape == (None, 10)
    after = Weights.of(model).arrays
    assert all(np.array_equal(after[n][0], weights.arrays[n][0]) for n in weights.arrays)


@pytest.mark.parametrize("scaling", qdv.SCALINGS)
def test_a_training_without_a_rate_ends_where_it_begins(tiny_world, scaling):
    trained = qdv.fine_tune("alexnet", tiny_world, epochs=1, learning_rate=0, seed=3, scaling=scaling)
    start = qdv.untuned("alexnet", 3, source="bundled", scaling=scaling, seed=3)
    expected = Weights.of(trained.model).arrays
    found = Weights.of(start).arrays
    assert expected.keys() == found.keys()
    assert all(np.array_equal(expected[name][i], found[name][i]) for name in found for i in (0, 1))


def test_pixels_in_zero_one_leave_out_the_standardisation_only():
    weights = bundled("alexnet")
    image = np.random.default_rng(0).random((1, 64, 64, 3), np.float32)
    outputs = {}
    for scaling in qdv.SCALINGS:
        model = builders.build("alexnet", **qdv.options_for(weights, 10, scaling))
        weights.put_into(model)
        outputs[scaling] = model, activations.activations(model, "conv1", image)
    mean, std = np.array(weights.options["mean"]), np.array(weights.options["std"])
    standardised = ((image - mean) / std).astype(np.float32)
    by_hand = outputs["zero_one"][0].get_layer("conv1")(standardised)
    np.testing.assert_allclose(by_hand, outputs["as_trained"][1], atol=1e-4)
    assert np.abs(outputs["zero_one"][1] - outputs["as_trained"][1]).max() > 0.1


def test_published_sizes_are_paper_bs_whatever_the_source_says():
    weights = Weights("alexnet", {"input_size": 227, "padding": "valid", "head": "fc"}, {})
    options = qdv.options_for(weights, 10)
    assert options == {"input_size": 224, "padding": "same", "head": "flat", "n_classes": 10}


def test_convolutions_alone_get_the_papers_flat_head():
    weights = Weights("alexnet", {"input_size": 227, "padding": "valid", "head": "flat", "width": 1.0}, {})
    model = builders.build("alexnet", **qdv.options_for(weights, 10))
    assert model.input_shape == (None, 224, 224, 3)
    assert model.get_layer("fc8").kernel.shape == (9_216, 10)


def test_vgg19_has_no_convolutions_alone(tiny_world):
    with pytest.raises(ValueError, match="are alexnet's only, not 'vgg19'"):
        qdv.fine_tune("vgg19", tiny_world, source="imagenet_convolutions")


def test_reduction_says_what_is_smaller():
    assert qdv.reduction("imagenet", 10, 45_000) == ""
    assert qdv.reduction("imagenet", 3, 1_000) == "3 of 10 epochs, 1,000 training images"
    assert qdv.reduction("bundled", 10, 45_000).startswith("a quarter of the width")
    assert qdv.reduction("imagenet_convolutions", 10, 45_000) == ""
    assert qdv.reduction("imagenet_convolutions", 2, 45_000) == "2 of 10 epochs"


def test_unknown_names_are_refused(tiny_world):
    with pytest.raises(ValueError, match="unknown architecture 'resnet': choose one of alexnet, vgg19"):
        qdv.fine_tune("resnet", tiny_world)
    with pytest.raises(
        ValueError, match="unknown source 'web': choose one of bundled, tiny_imagenet, imagenet"
    ):
        qdv.fine_tune("alexnet", tiny_world, source="web")
    with pytest.raises(ValueError, match="unknown scaling 'none': choose one of as_trained, zero_one"):
        qdv.fine_tune("alexnet", tiny_world, scaling="none")


def test_the_notebooks_recipe_at_quick_is_that_of_the_network_in_the_package():
    data = datasets.load("toyworld").with_train(0)
    for notebook in plan.select(plan.load_series(plan.project_dir()), ["20", "21", "22"]):
        declared = {name: p.default for name, p in plan.declared_parameters(notebook.path).items()}
        recipe = {name: declared[name] for name in qdv.TOYWORLD}
        assert (recipe, declared["n_train"]) == (qdv.TOYWORLD, 0)
    choices = [("vgg19", "as_trained"), ("alexnet", "as_trained"), ("alexnet", "zero_one")]
    for architecture, scaling in choices:
        network = qdv.fine_tune(architecture, data, scaling=scaling, **qdv.TOYWORLD)
        assert network.was_cached  # it would take minutes to train
        assert measures.agreement(qdv.predicted_labels(network.model, data.test), data.test.labels) > 0.7
