"""How the bundled weights are made, on a world of two classes."""

import numpy as np
import pytest

from cnninte_utils.artifacts import DataError
from cnninte_utils.datasets import ImageDataset, Split
from cnninte_utils.networks import pretraining
from cnninte_utils.networks.weights import Weights, bundled


@pytest.fixture
def two_classes(monkeypatch):
    rng = np.random.default_rng(0)

    def split(n):
        labels = np.arange(n) % 8
        images = np.full((n, 64, 64, 3), 40, np.uint8) + rng.integers(0, 20, (n, 64, 64, 3), np.uint8)
        images[labels >= 4, :, :, 0] += 150
        return Split(images, labels)

    world = ImageDataset("two", split(256), split(16), split(64), tuple("abcdefgh"), "made here")
    monkeypatch.setattr(pretraining.datasets, "load", lambda name: world)
    monkeypatch.setattr(pretraining, "N_CLASSES", 8)
    monkeypatch.setattr(pretraining, "STAGES", {"alexnet": ((64, 2), (64, 6))})


def test_weights_are_trained_folded_and_written_without_the_head(two_classes, tmp_path):
    accuracies = pretraining.pretrain("alexnet", tmp_path)
    assert accuracies["top5"] >= accuracies["top1"] > 0.15  # chance is 1/8, telling the colours 1/4
    written = Weights.load(tmp_path / "alexnet.npz")
    assert set(written.arrays) == {f"conv{i}" for i in range(1, 6)}
    assert written.options["width"] == pretraining.WIDTH
    assert written.options["input_size"] == 64


def test_full_networks_are_found_where_data_are_and_refused_where_they_are_not(
    two_classes, tmp_path, monkeypatch
):
    monkeypatch.setattr(pretraining, "FULL", {"alexnet": ((64, 1),)})
    monkeypatch.setenv("CNNINTE_DATA", str(tmp_path))
    with pytest.raises(DataError, match="cnninte pretrain alexnet --full"):
        pretraining.tiny_imagenet("alexnet")
    pretraining.pretrain("alexnet", tmp_path / "weights", is_full=True)
    found = pretraining.tiny_imagenet("alexnet")
    assert found.options["width"] == 1
    assert found.arrays["conv1"][0].shape == (11, 11, 3, 96)
    with pytest.raises(ValueError, match="choose alexnet or vgg19"):
        pretraining.tiny_imagenet("resnet")
    Weights("vgg19", found.options, found.arrays).save(tmp_path / "weights/alexnet_tiny_imagenet.npz")
    with pytest.raises(DataError, match="holds the weights of vgg19, not of alexnet"):
        pretraining.tiny_imagenet("alexnet")


def test_pixel_statistics_are_numpys():
    images = np.random.default_rng(1).integers(0, 256, (5, 4, 4, 3), np.uint8)
    mean, std = pretraining._pixel_statistics(images)
    np.testing.assert_allclose(mean, images.mean(axis=(0, 1, 2)) / 255)
    np.testing.assert_allclose(std, images.std(axis=(0, 1, 2)) / 255)


def test_bundled_weights_are_small_and_of_photographs():
    for architecture in ("alexnet", "vgg19"):
        weights = bundled(architecture)
        assert weights.options["width"] == pretraining.WIDTH
        assert 0.35 < min(weights.options["mean"]) < max(weights.options["mean"]) < 0.55
        assert all(np.isfinite(a).all() for arrays in weights.arrays.values() for a in arrays)
