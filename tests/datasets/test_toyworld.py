import colorsys
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from cnninte_utils import datasets
from cnninte_utils.datasets.toyworld import (
    COLORS,
    MATERIALS,
    OBJECTS,
    PARTS,
    SCENES,
    TEXTURES,
    drawing,
    paints,
    render,
    shapes,
)
from cnninte_utils.datasets.toyworld import scenes as toyworld_scenes


@pytest.fixture(scope="module")
def data():
    return datasets.load("toyworld")


@pytest.fixture(scope="module")
def scenes():
    """Every object before every scene, five times."""
    pairs = np.tile(np.arange(100), 5)
    return render(500, seed=9, labels=pairs // 10, scenes=pairs % 10)


def plane(low, high, n=500):
    ticks = low + (np.arange(n) + 0.5) * (high - low) / n
    return ticks[None, :], ticks[:, None]


def area(shape, low=-1, high=1):
    """Area of the inside of a shape within the square from `low` to `high`."""
    return (shape(*plane(low, high)) < 0).mean() * (high - low) ** 2


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (lambda x, y: shapes.disc(x, y, 0.2, -0.1, 0.5), np.pi * 0.25),
        (lambda x, y: shapes.ellipse(x, y, 0.1, 0, 0.6, 0.3), np.pi * 0.18),
        (lambda x, y: shapes.box(x, y, 0, 0.3, 0.5, 0.25), 0.5),
        (lambda x, y: shapes.polygon(x, y, (-0.5, -0.5), (0.5, -0.5), (0, 0.5)), 0.5),
        (lambda x, y: shapes.stroke(x, y, (-0.4, 0.1), (0.4, 0.1), 0.1), 0.16 + np.pi * 0.01),
        (lambda x, y: shapes.scatter(x, y, 0.5, 0.06, 0.3), 16 * np.pi * 0.06**2),
    ],
)
def test_shapes_have_the_area_of_geometry(shape, expected):
    assert area(shape) == pytest.approx(expected, rel=0.02)


def test_union_adds_what_is_apart_and_counts_an_overlap_once():
    disc, far = (lambda x, y: shapes.disc(x, y, -0.5, 0, 0.3)), (lambda x, y: shapes.disc(x, y, 0.5, 0, 0.3))
    assert area(lambda x, y: shapes.union(disc(x, y), far(x, y))) == pytest.approx(area(disc) + area(far))
    assert area(lambda x, y: shapes.union(disc(x, y), disc(x, y))) == area(disc)


def test_distances_by_hand():
    assert shapes.disc(1.0, 0.0, 0, 0, 0.5) == pytest.approx(0.5)
    assert shapes.box(1.0, 0.2, 0, 0, 0.25, 0.5) == pytest.approx(0.75)
    assert shapes.polygon(0.0, -0.7, (-0.5, -0.5), (0.5, -0.5), (0, 0.5)) == pytest.approx(0.2)
    assert shapes.stroke(0.0, 0.3, (-0.4, 0), (0.4, 0), 0.1) == pytest.approx(0.2)
    assert shapes.stroke(0.7, 0.4, (-0.4, 0), (0.4, 0), 0.1) == pytest.approx(0.4)
    assert shapes.ellipse(1.2, 0.0, 0, 0, 0.6, 0.3) == pytest.approx(0.6, rel=1e-4)
    assert shapes.ellipse(0.0, 0.0, 0, 0, 0.6, 0.3) < 0


@pytest.mark.parametrize(
    ("name", "ink_share"), [("striped", 0.5), ("dotted", np.pi * 0.09), ("checked", 0.5), ("zigzag", 0.5)]
)
def test_patterns_have_period_one_and_their_share_of_ink(name, ink_share):
    pattern = shapes.PATTERNS[name]
    assert area(pattern, 0, 1) == pytest.approx(ink_share, rel=0.02)
    u, v = plane(0, 1, 64)
    for moved in (pattern(u + 1, v), pattern(u, v + 1)):
        np.testing.assert_allclose(moved, pattern(u, v), atol=1e-12)


def test_patterns_lie_as_their_names_say():
    u, v = plane(0, 1, 64)
    assert np.ptp(shapes.striped(u, v), axis=0).max() == 0
    assert [float(shapes.striped(at, 0.0)) for at in (0, 0.25, 0.5)] == [0.25, 0, -0.25]
    assert shapes.dotted(0.5, 0.5) == pytest.approx(-0.3)
    ink = shapes.checked(u, v) < 0
    np.testing.assert_array_equal(ink, ~(shapes.checked(u + 0.5, v) < 0))
    np.testing.assert_array_equal(ink, shapes.checked(u + 0.5, v + 0.5) < 0)
    for climb in (0.1, 0.25, 0.5):
        np.testing.assert_allclose(shapes.zigzag(climb, v), shapes.zigzag(-climb, v), atol=1e-12)
        np.testing.assert_allclose(shapes.zigzag(climb, v), shapes.zigzag(0.0, v + climb), atol=1e-12)


def test_surfaces_repeat_without_a_seam_and_keep_brightness():
    tiles = shapes.surfaces(64)
    assert np.all(tiles[MATERIALS.index("paint")] == 1)
    assert np.abs(tiles.mean(axis=(1, 2)) - 1).max() < 0.1
    inside, seam = (
        np.abs(np.diff(tiles, axis=1)).max(axis=(1, 2)),
        np.abs(tiles[:, 0] - tiles[:, -1]).max(axis=1),
    )
    assert np.all(seam <= inside * 1.3 + 1e-6)
    inside, seam = (
        np.abs(np.diff(tiles, axis=2)).max(axis=(1, 2)),
        np.abs(tiles[:, :, 0] - tiles[:, :, -1]).max(axis=1),
    )
    assert np.all(seam <= inside * 1.3 + 1e-6)


def test_bricks_lie_in_eight_courses():
    dark = shapes.surfaces(64)[MATERIALS.index("brick")].mean(axis=1) < 0.85
    assert np.sum(dark & ~np.roll(dark, 1)) == 8


def test_the_main_object_is_seen_and_no_other(scenes):
    for label, objects in zip(scenes.label, scenes.objects, strict=True):
        assert set(np.unique(objects)) == {0, label + 1}
    share = (scenes.objects > 0).mean(axis=(1, 2))
    assert share.min() > 0.03
    assert share.max() < 0.8


def test_every_object_asked_for_is_drawn_the_main_one_in_front():
    trees, fishes, cups = np.full((3, 60), [[1], [4], [8]])
    several = render(60, seed=3, n_objects=3, labels=np.stack([trees, fishes, cups], axis=1))
    assert set(np.unique(several.objects)) == {0, 2, 5, 9}
    assert np.all(several.label == 1)
    others = render(60, seed=3, n_objects=3, labels=np.stack([trees, cups, fishes], axis=1))
    np.testing.assert_array_equal(several.objects == 2, others.objects == 2)
    assert np.any((several.objects == 5) != (others.objects == 9))


def test_parts_belong_to_their_object_and_wear_only_its_paints(scenes):
    np.testing.assert_array_equal(scenes.parts > 0, scenes.objects > 0)
    seen = np.stack([scenes.objects, scenes.parts, scenes.colors, scenes.materials, scenes.textures])
    for object_, part, color, material, texture in np.unique(seen[:, seen[0] > 0], axis=1).T:
        paint = paints.OBJECT_PAINTS[OBJECTS[object_ - 1]][PARTS[part - 1]]
        assert MATERIALS[material - 1] in paint.materials
        assert TEXTURES[texture - 1] == "plain" or paint.patterned
        if TEXTURES[texture - 1] == "plain":
            assert COLORS[color - 1] in paint.colors
    for name, of_parts in paints.OBJECT_PAINTS.items():
        parts = np.unique(scenes.parts[scenes.objects == OBJECTS.index(name) + 1])
        assert {PARTS[part - 1] for part in parts} == set(of_parts)


def test_every_pixel_has_a_color_a_material_and_a_texture(scenes):
    for labels, names in (
        (scenes.colors, COLORS),
        (scenes.materials, MATERIALS),
        (scenes.textures, TEXTURES),
    ):
        assert set(np.unique(labels)) == set(range(1, len(names) + 1))


def test_pixels_look_like_the_color_they_are_labelled_with(scenes):
    plain = (scenes.parts > 0) & (scenes.materials == MATERIALS.index("paint") + 1) & (scenes.textures == 1)
    means = {
        name: scenes.images[plain & (scenes.colors == number)].mean(axis=0) / 255
        for number, name in enumerate(COLORS, start=1)
    }
    red_excess = {name: mean[0] - mean[1:].mean() for name, mean in means.items()}
    assert max(red_excess, key=red_excess.get) == "red"
    seen = {name: colorsys.rgb_to_hsv(*mean) for name, mean in means.items()}
    for name in ("black", "gray", "white"):
        assert seen.pop(name)[1] < 0.25
    for name, (hue, saturation, _) in seen.items():
        turn = abs(hue - colorsys.rgb_to_hsv(*paints.PALETTE[name])[0])
        assert min(turn, 1 - turn) < 15 / 360
        assert saturation > 0.2
    assert means["black"].mean() < means["gray"].mean() < means["white"].mean()
    assert means["brown"].mean() < means["orange"].mean()


def test_patterned_parts_show_two_colors_in_the_patterns_proportion(scenes):
    patterned = (scenes.parts > 0) & (scenes.textures > 1)
    for texture, low, high in (("striped", 0.42, 0.58), ("dotted", 0.2, 0.36), ("checked", 0.42, 0.58)):
        minor = []
        for image in np.flatnonzero(
            (patterned & (scenes.textures == TEXTURES.index(texture) + 1)).sum((1, 2)) > 150
        ):
            where = patterned[image] & (scenes.textures[image] == TEXTURES.index(texture) + 1)
            counts = np.sort(np.bincount(scenes.colors[image][where]))[::-1]
            assert counts[2:].sum() == 0
            minor.append(counts[1] / counts.sum())
        assert len(minor) >= 10
        assert low - 0.1 < np.mean(minor) < high


def test_ink_is_seen_where_it_is_labelled(scenes):
    patterned = (scenes.parts > 0) & (scenes.textures > 1)
    white, black = (
        scenes.images[patterned & (scenes.colors == COLORS.index(name) + 1)].mean()
        for name in ("white", "black")
    )
    assert white > 3.5 * black


def test_scene_determines_the_ground(scenes):
    ground = ["grass", "sand", "stone", "wood", "sand", "grass", "snow", "grass", "water", "sand"]
    sky = ["sky", "sky", "sky", "paint", "sky", "sky", "sky", "foliage", "sky", "water"]
    free = (scenes.objects == 0) & (np.abs(np.arange(64) - 31.5) > 26)
    for row, names in ((-1, ground), (0, sky)):
        for number, name in enumerate(names):
            seen = scenes.materials[scenes.scene == number, row][free[scenes.scene == number, row]]
            assert (seen == MATERIALS.index(name) + 1).mean() > 0.7, (SCENES[number], name)
    bottom = scenes.images[:, -1].mean(axis=(1, 2))
    winter, night = (bottom[scenes.scene == SCENES.index(name)].mean() for name in ("winter", "night"))
    assert winter > 2 * night


def test_render_depends_on_the_seed_alone():
    first, again, longer, other = (
        render(40, seed=4),
        render(40, seed=4),
        render(300, seed=4),
        render(40, seed=5),
    )
    for name in (*drawing._FIELDS, "images", "scene", "label"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
        np.testing.assert_array_equal(getattr(first, name), getattr(longer, name)[:40])
    assert not np.any(np.all(first.images == other.images, axis=(1, 2, 3)))


def test_scenes_come_in_any_size():
    """The label maps at 32 are those at 64 seen from afar."""
    small, large = render(50, seed=6, size=32), render(50, seed=6)
    for name in ("objects", "colors"):
        from_afar = getattr(large, name)[:, ::2, ::2]
        assert (getattr(small, name) == from_afar).mean() > 0.9
    blurred = large.images.reshape(50, 32, 2, 32, 2, 3).mean(axis=(2, 4))
    assert np.abs(small.images - blurred).mean() < 12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": [0, 1, 10]}, "labels must be 0 to 9, found 0 to 10"),
        ({"labels": [0, 1]}, r"labels must have shape \(3,\)"),
        ({"labels": np.zeros((3, 2))}, r"not \(3, 2\)"),
        ({"scenes": [-1, 0, 0]}, "scenes must be 0 to 9, found -1"),
        ({"n_objects": 14}, "n_objects <= 13"),
        ({"size": 4}, "size >= 8"),
    ],
)
def test_render_refuses_what_it_cannot_draw(options, message):
    with pytest.raises(ValueError, match=message):
        render(3, **options)


def test_the_data_set_is_balanced_and_always_the_same(data):
    for split, per_class in ((data.train, 200), (data.validation, 50), (data.test, 100)):
        assert np.bincount(split.labels).tolist() == [per_class] * 10
        assert np.count_nonzero(np.diff(split.labels)) > len(split) / 2
    drawing.load.cache_clear()
    assert drawing.load().fingerprint == data.fingerprint
    assert drawing.load() is drawing.load()


def test_it_is_drawn_once_and_anew_by_another_generator(data, monkeypatch):
    drawn, original = [], drawing.render

    def brighter(n, **options):
        drawn.append(n)
        scenes = original(n, **options)
        return replace(scenes, images=scenes.images | brightness)

    monkeypatch.setattr(drawing, "render", brighter)
    for brightness, expected in ((0, [30, 2000, 500, 1000]), (0, [30]), (128, [30, 2000, 500, 1000])):
        drawn.clear()
        drawing.load.cache_clear()
        assert (drawing.load().fingerprint == data.fingerprint) == (brightness == 0)
        assert drawn == expected
    drawing.load.cache_clear()


def test_the_splits_share_no_image(data):
    every = np.concatenate([s.images.reshape(len(s), -1) for s in (data.train, data.validation, data.test)])
    assert len({image.tobytes() for image in every}) == 3_500


def _contours(images):
    """Strength of edges in six directions in 8×8 cells of the grey image."""
    down, right = np.gradient(images.mean(axis=-1) / 255, axis=(1, 2))
    strength, direction = np.hypot(down, right), (np.arctan2(down, right) % np.pi * 6 / np.pi).astype(int) % 6
    cells = [(strength * (direction == d)).reshape(-1, 8, 8, 8, 8).mean(axis=(2, 4)) for d in range(6)]
    return np.sqrt(np.stack(cells, axis=-1)).reshape(len(images), -1)


def _corners(images):
    ends = (slice(0, 8), slice(-8, None))
    return np.concatenate([images[:, a, b].mean(axis=(1, 2)) for a in ends for b in ends], axis=1)


def _accuracy(data, features):
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    model.fit(features(data.train.images), data.train.labels)
    return model.score(features(data.test.images), data.test.labels)


def test_form_tells_the_class_and_the_background_does_not(data):
    assert 0.5 < _accuracy(data, _contours) < 0.85
    assert _accuracy(data, _corners) < 0.16


def test_status_is_ready():
    assert drawing.SOURCE.status() == ("ready", drawing.SOURCE.fetch())


@pytest.fixture(scope="module")
def scene_data():
    return datasets.load("toyworld_scenes")


def test_scenes_as_classes_are_balanced_and_always_the_same(scene_data):
    assert scene_data.class_names == SCENES
    splits = (scene_data.train, scene_data.validation, scene_data.test)
    for split, per_class in zip(splits, (200, 50, 100), strict=True):
        assert np.bincount(split.labels).tolist() == [per_class] * 10
        assert split.images.shape[1:] == (64, 64, 3)
    every = np.concatenate([split.images.reshape(len(split), -1) for split in splits])
    assert len({image.tobytes() for image in every}) == 3_500
    toyworld_scenes.load.cache_clear()
    assert toyworld_scenes.load().fingerprint == scene_data.fingerprint
    assert toyworld_scenes.SOURCE.status() == ("ready", toyworld_scenes.SOURCE.fetch())


def test_the_background_tells_the_scene(scene_data):
    assert _accuracy(scene_data, _corners) > 0.5


def test_every_processor_draws_the_same_pixels(data):
    """The digest was taken with NumPy's code for AVX2; here it is what the CPU has, and the plainest."""
    assert data.fingerprint == "3b0d46d056aeada1a8231e9888d9606e15e96be3d8bb064ab19460c309a5d45b"
    code = (
        "from cnninte_utils.artifacts import array_digest;"
        "from cnninte_utils.datasets.toyworld import render;"
        "print(array_digest(render(300, seed=5, n_objects=3).images))"
    )
    everything_off = {**os.environ, "NPY_DISABLE_CPU_FEATURES": "X86_V4 X86_V3"}
    answers = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code], env=env, capture_output=True, text=True, check=True
        ).stdout
        for env in (dict(os.environ), everything_off)
    }
    assert len(answers) == 1, answers
