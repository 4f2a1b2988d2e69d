"""Algorithm 1: layers whose classes lie ever further apart score ever higher."""

import keras
import numpy as np
import pytest

from cnninte_utils import measures
from cnninte_utils.methods.layers import neighborhood
from cnninte_utils.networks.activations import activations


@pytest.fixture(scope="module")
def scored():
    """Two networks of two layers; only the second layer of the second tells the classes apart."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 15)
    noise = rng.standard_normal((4, 60, 3, 3, 8)).astype(np.float32)
    apart = 6 * rng.standard_normal((4, 3, 3, 8))[labels]
    arrays = {
        ("a", "one"): noise[0],
        ("a", "two"): noise[1],
        ("b", "one"): noise[2],
        ("b", "two"): noise[3] + apart,
    }
    spaces = [neighborhood.layer_space(network, layer, array) for (network, layer), array in arrays.items()]
    frame, points = neighborhood.score(spaces, labels, seeds=(0, 1), perplexity=10, max_iter=300, n_jobs=1)
    return arrays, labels, spaces, frame, points


def test_the_layer_that_separates_scores_one_the_others_chance(scored):
    *_, frame, _ = scored
    mean = frame.groupby(["network", "depth", "space"])["nh"].mean()
    for space in neighborhood.SPACES:
        assert mean["b", 2, space] > 0.98
        assert max(mean["a", 1, space], mean["a", 2, space], mean["b", 1, space]) < 0.5


def test_one_row_for_each_space_and_seed_with_an_interval_around_it(scored):
    *_, frame, _ = scored
    counts = frame.groupby(["network", "layer"])["space"].value_counts()
    assert counts.xs("2-D", level="space").eq(2).all()
    assert counts.xs("raw", level="space").eq(1).all()
    assert ((frame["low"] <= frame["nh"]) & (frame["nh"] <= frame["high"])).all()


def test_raw_distances_are_those_of_the_activations(scored):
    arrays, labels, spaces, *_ = scored
    flat = arrays["a", "one"].reshape(60, -1)
    assert measures.neighborhood_hit(flat, labels) == pytest.approx(
        measures.neighborhood_hit(spaces[0].distances, labels, metric="precomputed")
    )


def test_layers_of_a_model_in_one_pass_or_one_by_one():
    start = keras.Input((6, 6, 2))
    x = keras.layers.Conv2D(3, 3, name="one")(start)
    model = keras.Model(start, keras.layers.Conv2D(4, 3, name="two")(x))
    images = np.random.default_rng(0).random((7, 6, 6, 2), np.float32)
    for max_bytes in (1, 2**20):
        spaces = neighborhood.layer_spaces("net", model, ["one", "two"], images, max_bytes=max_bytes)
        for space, layer in zip(spaces, ("one", "two"), strict=True):
            expected = neighborhood.layer_space("net", layer, activations(model, layer, images))
            assert (space.network, space.layer) == ("net", layer)
            np.testing.assert_allclose(space.distances, expected.distances, atol=1e-5)


def test_paired_difference(scored):
    _, labels, _, frame, points = scored
    networks = [[("a", "one"), ("a", "two")], [("b", "one"), ("b", "two")]]
    compared = neighborhood.compare(points, labels, *networks)
    mean = frame[frame["space"] == "2-D"].groupby(["network", "depth"])["nh"].mean()
    assert compared["difference"].tolist() == pytest.approx(list(mean["b"] - mean["a"]))
    assert compared["low"].iloc[1] > 0.4
    assert compared["low"].iloc[0] < compared["difference"].iloc[0] < compared["high"].iloc[0]
