"""Dissection: a planted unit, the slow way, shards, workers that die, nulls."""

import csv

import keras
import numpy as np
import pytest
from PIL import Image

from cnninte_utils.artifacts import cache_dir
from cnninte_utils.datasets import ImageDataset, Split, broden
from cnninte_utils.datasets.toyworld import broden_folder
from cnninte_utils.methods.dissection import passes
from cnninte_utils.methods.dissection.counting import Counts, bilinear_resizing
from cnninte_utils.methods.dissection.results import Probe, unique_detectors
from cnninte_utils.methods.group_norms.objective import Penalty
from cnninte_utils.networks.activations import activations
from cnninte_utils.networks.lookup import receptive_field
from cnninte_utils.networks.training import Recipe, fit_or_load

SIZE, N = 16, 12


def write_squares(root):
    """Write twelve black images with one square: red is label 1 (color), its place label 2 (object)."""
    (root / "images").mkdir(parents=True)
    rng, rows = np.random.default_rng(0), []
    for i in range(N):
        top, left = rng.integers(0, SIZE - 4, 2)
        square = (slice(top, top + 4), slice(left, left + 4))
        is_red = i % 2 == 0
        image = np.zeros((SIZE, SIZE, 3), np.uint8)
        image[square] = (255, 0, 0) if is_red else (0, 0, 255)
        labels = {"color": np.zeros_like(image), "object": np.zeros_like(image)}
        labels["color"][square] = (1 if is_red else 3, 0, 0)
        labels["object"][square] = (2, 0, 0)
        Image.fromarray(image).save(root / "images" / f"{i}.png")
        for name, label in labels.items():
            Image.fromarray(label).save(root / "images" / f"{i}_{name}.png")
        rows.append([f"{i}.png", "train", *[SIZE] * 4, f"{i}_color.png", f"{i}_object.png"])
    coding = ["code", "number", "name", "frequency", "coverage"]
    tables = {
        "index": [["image", "split", "ih", "iw", "sh", "sw", "color", "object"], *rows],
        "category": [["name"], ["color"], ["object"]],
        "label": [
            ["number", "name", "category", "frequency", "coverage", "syns"],
            [1, "red-c", "color(6)", 6, 0.4, ""],
            [2, "square", "object(12)", 12, 0.8, ""],
            [3, "blue-c", "color(6)", 6, 0.4, ""],
        ],
        "c_color": [coding, [1, 1, "red-c", 6, 0.4], [2, 3, "blue-c", 6, 0.4]],
        "c_object": [coding, [1, 2, "square", 12, 0.8]],
    }
    for name, table in tables.items():
        with (root / f"{name}.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows(table)
    return broden.open_folder(root)


@pytest.fixture
def squares(tmp_path):
    return write_squares(tmp_path / "squares")


@pytest.fixture
def planted():
    """Unit 0 sees red, unit 1 any square, unit 2 is dead, unit 3 sees what is black."""
    image = keras.Input((SIZE, SIZE, 3))
    maps = keras.layers.Conv2D(4, 1, activation="relu", name="conv1")(image)
    model = keras.Model(image, maps)
    kernel = np.array([[1, 0, 0], [1, 1, 1], [0, 0, 0], [-1, -1, -1]], np.float32).T
    model.get_layer("conv1").set_weights([kernel.reshape(1, 1, 3, 4), np.array([0, 0, 0, 1], np.float32)])
    return model


@pytest.fixture(scope="module")
def toyworld(tmp_path_factory):
    folder = tmp_path_factory.mktemp("broden") / "toyworld"
    return broden.open_folder(
        broden_folder.write(folder, n=26, size=32, map_size=20, min_images=1, min_coverage=0)
    )


@pytest.fixture
def network():
    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(6, 5, strides=2, padding="same", activation="relu", name="conv1")(image)
    x = keras.layers.MaxPooling2D(2, name="pool1")(x)
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="conv2")(x)
    return keras.Model(image, x)


def same(one, other):
    return all(np.array_equal(a, other.arrays()[name]) for name, a in one.arrays().items())


def clear_results():
    for path in (cache_dir() / "artifacts").iterdir():
        path.unlink()


def test_planted_units_have_iou_one(planted, squares):
    share = 6 * 16 / (N * SIZE**2)
    (result,) = passes.dissect(planted, [Probe("conv1", quantile=share)], squares, batch_size=5, shard_size=5)
    units = result.units()
    assert units["concept"][0] == "red-c"
    assert result.label.tolist() == [0, 6 * 16, 12 * 16, 6 * 16]
    np.testing.assert_allclose(result.iou()[0, 1], 1, atol=1e-9)
    assert not units["is_detector"][2]
    (wide,) = passes.dissect(planted, [Probe("conv1", quantile=2 * share)], squares)
    np.testing.assert_allclose(wide.iou()[1, 2], 1, atol=1e-9)


def test_thresholds_leave_the_top_share_above(network, toyworld):
    (result,) = passes.dissect(network, [Probe("conv1", quantile=0.03)], toyworld, batch_size=4, shard_size=8)
    maps = activations(network, "conv1", toyworld.images(range(26), 32)).reshape(-1, 6)
    n_above = int(0.03 * len(maps))
    np.testing.assert_allclose(result.thresholds, -np.sort(-maps, axis=0)[n_above], rtol=1e-5)


@pytest.mark.parametrize("size", [24, 32, 64])
def test_networks_are_fed_with_floats_from_0_to_1(toyworld, monkeypatch, size):
    image = keras.Input((size, size, 3))
    model = keras.Model(image, keras.layers.Conv2D(2, 1, name="conv1")(image))
    fed, predict = [], keras.Model.predict_on_batch
    monkeypatch.setattr(
        keras.Model, "predict_on_batch", lambda network, x: fed.append(x) or predict(network, x)
    )
    passes.dissect(model, [Probe("conv1", 0.02)], toyworld)
    passes.strongest_images(model, "conv1", toyworld)
    assert [x.shape for x in fed] == [(26, size, size, 3)] * 3
    assert all(x.dtype == np.float32 and x.min() >= 0 and 0.5 < x.max() <= 1 for x in fed)


def test_counts_are_those_of_all_images_at_once(network, toyworld):
    (result,) = passes.dissect(network, [Probe("conv2", 0.02)], toyworld, batch_size=4, shard_size=8)
    maps = activations(network, "conv2", toyworld.images(range(26), 32), batch_size=4)
    counts = Counts.zeros(8, toyworld.n_labels, len(toyworld.categories))
    for i in range(26):
        truth = toyworld.annotation(i)
        counts.add(
            np.ascontiguousarray(maps[i].transpose(2, 0, 1)),
            result.thresholds,
            (bilinear_resizing(8, 20),) * 2,
            truth.maps,
            truth.whole,
            toyworld.primary,
        )
    assert np.abs(result.both - counts.both).max() <= 1
    assert result.both.sum() > 0


def test_shards_do_not_matter(network, toyworld):
    probes = [Probe("conv1", 0.02), Probe("conv2", 0.02, rotation=1), Probe("conv2", 0.02, permutation=1)]
    whole = passes.dissect(network, probes, toyworld, batch_size=4, shard_size=32)
    clear_results()
    parts = passes.dissect(network, probes, toyworld, batch_size=4, shard_size=4)
    assert all(same(one, other) for one, other in zip(whole, parts, strict=True))


def test_stopped_dissection_goes_on(network, toyworld, monkeypatch):
    seen = []

    class Dies(broden.Broden):
        def images(self, rows, size=None):
            seen.append(rows[0])
            if len(seen) == 9:
                raise KeyboardInterrupt
            return super().images(rows, size)

    dying = Dies(
        **{
            name: getattr(toyworld, name)
            for name in ("root", "categories", "concepts", "index", "provenance")
        }
    )
    arguments = [Probe("conv1", 0.02)]
    with pytest.raises(KeyboardInterrupt):
        passes.dissect(network, arguments, dying, batch_size=4, shard_size=4)
    first_try = list(seen)
    stopped = passes.dissect(network, arguments, dying, batch_size=4, shard_size=4)
    assert first_try == [0, 4, 8, 12, 16, 20, 24, 0, 4]
    assert seen[9:] == [4, 8, 12, 16, 20, 24]
    assert [p.name for p in (cache_dir() / "artifacts").glob("*.part.npz")] == []
    passes.dissect(network, arguments, dying, batch_size=4, shard_size=4)
    assert len(seen) == 15, "a finished dissection is read, not computed"
    clear_results()
    assert same(stopped[0], passes.dissect(network, arguments, toyworld, batch_size=4, shard_size=4)[0])


def test_damaged_part_is_computed_again_and_parts_of_other_sizes_are_removed(network, toyworld, monkeypatch):
    probes = [Probe("conv1", 0.02)]
    expected = passes.dissect(network, probes, toyworld, batch_size=2, shard_size=8)
    clear_results()
    with monkeypatch.context() as patch:
        patch.setattr(passes, "_counts", lambda *_: 1 / 0)
        for shard_size in (4, 8):
            with pytest.raises(ZeroDivisionError):
                passes.dissect(network, probes, toyworld, batch_size=2, shard_size=shard_size)
    parts = list((cache_dir() / "artifacts").glob("*.part.npz"))
    assert len(parts) == 2
    for part in parts:
        part.write_bytes(part.read_bytes()[:100])
    again = passes.dissect(network, probes, toyworld, batch_size=2, shard_size=8)
    assert same(again[0], expected[0])
    assert not list((cache_dir() / "artifacts").glob("*.part.npz"))


def test_first_pass_takes_some_views_at_a_time_if_all_are_too_much(network, toyworld, monkeypatch):
    probes = [
        Probe("conv1", 0.02),
        Probe("conv2", 0.02),
        *passes.null_probes(["conv1"], rotations=2, permutations=1, quantile=0.05),
    ]
    expected = passes.dissect(network, probes, toyworld)
    clear_results()
    taken, top_shares = [], passes._top_shares
    monkeypatch.setattr(passes, "_BYTES_KEPT", 4 * 6 * 26 * 16**2 * 0.08)
    monkeypatch.setattr(
        passes,
        "_top_shares",
        lambda job, views, *rest: taken.append(views) or top_shares(job, views, *rest),
    )
    found = passes.dissect(network, probes, toyworld)
    assert taken == [[("conv1", None), ("conv2", None)], [("conv1", 0)], [("conv1", 1)]]
    assert all(same(one, other) for one, other in zip(expected, found, strict=True))


def test_result_is_kept_for_this_network_and_these_labels_only(planted, squares):
    probe = [Probe("conv1", 6 * 16 / (N * SIZE**2))]
    (first,) = passes.dissect(planted, probe, squares)
    kernel, bias = planted.get_layer("conv1").get_weights()
    planted.get_layer("conv1").set_weights([kernel[..., ::-1], bias[::-1]])
    (mirrored,) = passes.dissect(planted, probe, squares)
    np.testing.assert_array_equal(mirrored.both, first.both[::-1])
    smaller = keras.Model(planted.inputs, keras.layers.ReLU(threshold=0.5, name="relu")(planted.output))
    (other,) = passes.dissect(smaller, [Probe("relu", probe[0].quantile)], squares)
    assert other.probe.layer == "relu"
    (half,) = passes.dissect(planted, probe, squares.take(slice(6)))
    assert (half.n_images, half.label.tolist()) == (6, [0, 3 * 16, 6 * 16, 3 * 16])
    blue = squares.root / "images" / "0_color.png"
    labels = np.asarray(Image.open(blue)) * np.uint8(3)
    Image.fromarray(labels).save(blue)
    (edited,) = passes.dissect(planted, probe, broden.open_folder(squares.root))
    assert edited.label.tolist() == [0, 5 * 16, 12 * 16, 7 * 16]


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_networks_in_half_precision(planted, squares, dtype):
    keras.config.set_dtype_policy(dtype)
    try:
        image = keras.Input((SIZE, SIZE, 3))
        half = keras.Model(image, keras.layers.Conv2D(4, 1, activation="relu", name="conv1")(image))
    finally:
        keras.config.set_dtype_policy("float32")
    half.set_weights(planted.get_weights())
    probe = Probe("conv1", 6 * 16 / (N * SIZE**2))
    (found,) = passes.dissect(half, [probe], squares)
    np.testing.assert_allclose(found.iou()[0, 1], 1, atol=1e-9)


def test_rotation_keeps_what_the_layer_says(network, toyworld):
    rotation = passes._rotation(8, 3)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(8), atol=1e-5)
    probes = [Probe("conv2", 0.02), Probe("conv2", 0.02, rotation=3), Probe("conv2", 0.02, rotation=4)]
    plain, rotated, other = passes.dissect(network, probes, toyworld)
    assert not np.allclose(plain.thresholds, rotated.thresholds)
    assert not np.allclose(other.thresholds, rotated.thresholds)
    maps = activations(network, "conv2", toyworld.images(range(26), 32), batch_size=50) @ rotation
    n_above = int(0.02 * maps[..., 0].size)
    np.testing.assert_allclose(rotated.thresholds, -np.sort(-maps.reshape(-1, 8), axis=0)[n_above], rtol=1e-4)


def test_permuted_labels_break_what_was_planted(planted, squares):
    probe = Probe("conv1", 12 * 16 / (N * SIZE**2))
    nulls = passes.null_probes(["conv1"], permutations=5, quantile=probe.quantile)
    plain, *permuted = passes.dissect(planted, [probe, *nulls], squares)
    for null in permuted:
        np.testing.assert_array_equal(null.label, plain.label)
        np.testing.assert_array_equal(null.mask, plain.mask)
        assert null.iou()[1, 2] < 0.5
    sums = unique_detectors([plain, *permuted])["sum"]
    assert sums[0] > sums[1:].mean()


@pytest.mark.parametrize("stride", [1, 2])
def test_anchored_maps_lie_where_their_fields_are(squares, stride):
    """VALID 7×7 filters that look at their centre: anchored, the unit covers the square; stretched, not."""
    image = keras.Input((SIZE, SIZE, 3))
    convolution = keras.layers.Conv2D(1, 7, strides=stride, activation="relu", name="conv1")
    model = keras.Model(image, convolution(image))
    kernel = np.zeros((7, 7, 3, 1), np.float32)
    kernel[3, 3, 0] = 1
    model.get_layer("conv1").set_weights([kernel, np.zeros(1, np.float32)])
    assert receptive_field(model, "conv1").offset == 3
    probe = [Probe("conv1", 0.5)]
    anchored, stretched = (
        passes.dissect(model, probe, squares, anchored=choice)[0].iou()[0, 1] for choice in (True, False)
    )
    assert anchored > stretched + 0.1


def test_whatever_cannot_be_dissected_is_refused(planted, squares):
    with pytest.raises(ValueError, match="no layer 'conv9'"):
        passes.dissect(planted, [Probe("conv9")], squares)
    for sizes in ({"batch_size": 3, "shard_size": 4}, {"batch_size": 0}):
        with pytest.raises(ValueError, match="a multiple of batch_size"):
            passes.dissect(planted, [Probe("conv1")], squares, **sizes)
    with pytest.raises(ValueError, match="at least one probe and one image, got 0 and 12"):
        passes.dissect(planted, [], squares)
    with pytest.raises(ValueError, match="at least one probe and one image, got 1 and 0"):
        passes.dissect(planted, [Probe("conv1")], squares.take([]))
    with pytest.raises(ValueError, match=r"leaves none of the 3072 positions of conv1 .* at least 0.00033"):
        passes.dissect(planted, [Probe("conv1", 1e-4)], squares)
    for shape in ((None, None, 3), (16, 12, 3), (16, 16, 1)):
        image = keras.Input(shape)
        model = keras.Model(image, keras.layers.Conv2D(2, 1, name="conv1")(image), name="odd")
        with pytest.raises(ValueError, match="odd should take square colour images"):
            passes.dissect(model, [Probe("conv1")], squares)
    endless = keras.Model(planted.inputs, keras.layers.Rescaling(np.inf, name="endless")(planted.output))
    with pytest.raises(ValueError, match="NaN or infinity"):
        passes.dissect(endless, [Probe("endless")], squares)
    flat = keras.Model(planted.inputs, keras.layers.Flatten(name="flatten")(planted.output))
    with pytest.raises(ValueError, match="no feature maps to dissect"):
        passes.dissect(flat, [Probe("flatten")], squares)


def test_strongest_images_and_masks(planted, squares):
    rows = passes.strongest_images(planted, "conv1", squares, k=6, batch_size=5)
    assert sorted(rows[0]) == [0, 2, 4, 6, 8, 10], "the images with a red square"
    maps = np.array([[[0, 4], [0, 0]]], np.float32)
    expected = np.zeros((4, 4), bool)
    expected[:2, 3] = expected[0, 2] = True
    np.testing.assert_array_equal(passes.masks(maps, 2.9, (4, 4))[0], expected)


def test_workers_give_the_same_result(network, toyworld):
    from distributed import Client, LocalCluster

    probes = [Probe("conv1", 0.02), Probe("conv2", 0.02, permutation=1)]
    alone = passes.dissect(network, probes, toyworld, batch_size=2, shard_size=2)
    clear_results()
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        together = passes.dissect(network, probes, toyworld, batch_size=2, shard_size=2, client=client)
    assert all(same(one, other) for one, other in zip(alone, together, strict=True))
    assert not list((cache_dir() / "artifacts").glob("*.model.keras"))


def test_a_loaded_network_is_the_one_that_was_dissected(toyworld):
    images = np.random.default_rng(0).random((20, 64, 64, 3)).astype(np.float32)
    split = Split(images, np.repeat(np.arange(10), 2))
    data = ImageDataset("noise", split, split, split, tuple("0123456789"), "made here")
    recipe, options = (
        Recipe(1, 4, report_every=1),
        {"input_size": 64, "width": 0.05, "head": "pooling", "n_classes": 10},
    )
    penalty = Penalty("block_norm", n_groups=2)
    trained, loaded = (
        fit_or_load("alexnet", data, recipe, options=options, objective=penalty) for _ in range(2)
    )
    passes.dissect(trained.model, [Probe("conv5", 0.05)], toyworld)
    results = list((cache_dir() / "artifacts").glob("dissection-*.npz"))
    assert len(results) == 1
    passes.dissect(loaded.model, [Probe("conv5", 0.05)], toyworld)
    assert loaded.was_cached
    assert list((cache_dir() / "artifacts").glob("dissection-*.npz")) == results
