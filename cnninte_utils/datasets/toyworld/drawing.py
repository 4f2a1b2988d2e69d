"""Toyworld: a seeded generator of small colour scenes, the embedded stand-in for CIFAR-10.

A scene is a ground (meadow, street, night ...) with one object or several (house, fish, rocket ...), each
made of named parts that have a colour, a material and perhaps a texture. :func:`render` yields the images
together with the true label of every pixel in each of these categories.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from ...artifacts import Artifact, array_digest
from ..base import ImageDataset, Split
from ..source import Embedded
from . import shapes
from .paints import COLORS, GROUND_PAINTS, MATERIALS, OBJECT_PAINTS, OBJECTS, PALETTE, PARTS, SCENES, TEXTURES

__all__ = [
    "COLORS",
    "MATERIALS",
    "OBJECTS",
    "PALETTE",
    "PARTS",
    "SCENES",
    "SOURCE",
    "TEXTURES",
    "Scenes",
    "balanced_splits",
    "load",
    "render",
]

SOURCE = Embedded("drawn by cnninte_utils.datasets.toyworld")

_VERSION = 2  # of the generator: goes up when pixels change, so that no older ones come from the cache
_CHUNK_PIXELS = 2**19
_DRAWS = 72
_GROUND, _FRONT, _LIGHT = -3, -2, -1  # whose draws come after the objects'
_LAYERS_EACH = 16  # numbers for the layers of one thing, two for each part: its base and its ink
_MAX_OBJECTS = 13  # so that the numbers of all layers fit into 8 bits
_FIELDS = ("objects", "parts", "colors", "materials", "textures")
_PLAIN_SHARE = 0.5
_OBSTACLE_SHARE = 0.35
_INKS = ("black", "white", "yellow", "red", "blue")
_SPARE_INK = "gray"
_TEXTURE = _FIELDS.index("textures")
_NOISE = 2.5
_GROUND_SHADING = (1.08, 0.88, 1.2)
_OBJECT_SHADING = (0.55, 1.04, 0.13)


@dataclass(frozen=True, eq=False)
class Scenes:
    """Images with the truth about every pixel.

    Parameters
    ----------
    images : ndarray of shape (n, height, width, 3), uint8
    objects, parts, colors, materials, textures : ndarray of shape (n, height, width), uint8
        Label maps: 0 for none, otherwise 1 + the index into :data:`OBJECTS`, :data:`PARTS` and so on. The
        ground and what stands in front have no object and no part, but the rest.
    scene : ndarray of shape (n,), int64
        Index into :data:`SCENES`.
    label : ndarray of shape (n,), int64
        Class of the main object, which stands before the others: index into :data:`OBJECTS`.
    """

    images: np.ndarray = field(repr=False)
    objects: np.ndarray = field(repr=False)
    parts: np.ndarray = field(repr=False)
    colors: np.ndarray = field(repr=False)
    materials: np.ndarray = field(repr=False)
    textures: np.ndarray = field(repr=False)
    scene: np.ndarray = field(repr=False)
    label: np.ndarray = field(repr=False)


@cache
def load() -> ImageDataset:
    """Return 2,000 training, 500 validation and 1,000 test images of one object each, always the same."""

    def draw(labels: np.ndarray, seed: int) -> np.ndarray:
        return render(len(labels), seed=seed, labels=labels).images

    return ImageDataset("toyworld", *balanced_splits("toyworld", draw, 1), OBJECTS, _PROVENANCE)


_PROVENANCE = (
    "3,500 synthetic 64×64 colour images of ten kinds of object before ten kinds of background, drawn by "
    "cnninte_utils.datasets.toyworld from the seeds 1, 2 and 3; 200/50/100 images per class"
)


def balanced_splits(name: str, draw: Callable[[np.ndarray, int], np.ndarray], seed: int) -> list[Split]:
    """Return 200, 50 and 100 images for each of ten classes, drawn once and then read from the cache.

    Parameters
    ----------
    name : str
        Of the file in the cache. Its key has a drawing of each class, so that it goes with the generator.
    draw : function
        Labels and a seed → as many images.
    seed : int
        Of the first split; the others have the next two.
    """
    seeds = {seed + step: per_class for step, per_class in enumerate((200, 50, 100))}
    labels = [np.random.default_rng(s).permutation(np.repeat(np.arange(10), n)) for s, n in seeds.items()]
    sample = draw(np.repeat(np.arange(10), 3), seed)
    determinants = {"version": _VERSION, "sample": array_digest(sample), "labels": array_digest(*labels)}

    def make(path: Path) -> tuple[list[np.ndarray], None]:
        images = [draw(each, s) for each, s in zip(labels, seeds, strict=True)]
        with path.open("wb") as stream:
            np.savez(stream, *images)
        return images, None

    def load(path: Path, _) -> list[np.ndarray]:
        with np.load(path, allow_pickle=False) as arrays:
            return list(arrays.values())

    images = Artifact(name, ".npz", determinants).get_or_make(load, make)
    return [Split(*both) for both in zip(images, labels, strict=True)]


def render(n, *, size=64, seed=0, n_objects=1, labels=None, scenes=None) -> Scenes:
    """Draw scenes; image i of a seed is the same whatever `n` is, if its label and scene are.

    Parameters
    ----------
    n : int
    size : int
        Height and width in pixels, at least 8.
    seed : int
    n_objects : int
        Objects per image, 1 to 13; with several they are smaller and stand side by side.
    labels : array-like of shape (n,) or (n, n_objects), optional
        Classes of the objects (the main one first), 0 to 9. By default, and for the objects left out, random.
    scenes : array-like of shape (n,), optional
        Scenes, 0 to 9. Random by default.

    Raises
    ------
    ValueError
        If a number, a label or a scene is out of range, or there are too few or too many of them.
    """
    if n < 1 or size < 8 or not 1 <= n_objects <= _MAX_OBJECTS:
        raise ValueError(
            f"n >= 1, size >= 8, 1 <= n_objects <= {_MAX_OBJECTS} needed: {n}, {size}, {n_objects}"
        )
    rng, noise_rng = np.random.default_rng(seed).spawn(2)
    draws = rng.random((n, n_objects + 3, _DRAWS), dtype=np.float32)
    classes = (draws[:, :n_objects, 0] * len(OBJECTS)).astype(np.int64)
    if labels is not None:
        given = _checked_indices("labels", labels, (n, n_objects), len(OBJECTS))
        classes[:, : given.shape[1]] = given
    scene = (draws[:, _GROUND, 0] * len(SCENES)).astype(np.int64)
    if scenes is not None:
        scene = _checked_indices("scenes", scenes, (n, 1), len(SCENES))[:, 0]
    maps = {name: np.empty((n, size, size), np.uint8) for name in _FIELDS}
    images = np.empty((n, size, size, 3), np.uint8)
    step = max(1, _CHUNK_PIXELS // size**2)
    for start in range(0, n, step):
        rows = slice(start, start + step)
        canvas = _Canvas.blank(len(scene[rows]), size)
        _compose(canvas, draws[rows], classes[rows], scene[rows])
        for name, labels_seen in zip(_FIELDS, canvas.labels(), strict=True):
            maps[name][rows] = labels_seen
        _expose(images[rows], canvas, maps["materials"][rows], _Dice(draws[rows, _LIGHT]), noise_rng)
    return Scenes(images, **maps, scene=scene, label=classes[:, 0])


def _checked_indices(name, indices, shape, n_choices):
    """Return indices (n,) or (n, m) as an array (n, m) if they are in range and m is not too large."""
    indices = np.asarray(indices, dtype=np.int64)
    table = indices[:, None] if indices.ndim == 1 else indices
    if table.ndim != 2 or len(table) != shape[0] or not 1 <= table.shape[1] <= shape[1]:
        raise ValueError(f"{name} must have shape ({shape[0]},) or {shape}, not {indices.shape}")
    if not 0 <= table.min() <= table.max() < n_choices:
        raise ValueError(f"{name} must be 0 to {n_choices - 1}, found {table.min()} to {table.max()}")
    return table


class _Dice:
    """One row of uniform draws per image, handed out column by column."""

    def __init__(self, draws):
        self._columns = iter(draws.T[1:])

    def uniform(self, low=0.0, high=1.0):
        """Return the next draws as an array (n, 1, 1)."""
        return (low + (high - low) * next(self._columns))[:, None, None]

    def index(self, n_choices):
        """Return the next draws as whole numbers below `n_choices`, an array (n,)."""
        return (next(self._columns) * n_choices).astype(np.intp)

    def proportions(self):
        """Return the next draws as five arrays (n, 1, 1) from -1 to 1."""
        return [self.uniform(-1, 1) for _ in range(5)]


@dataclass
class _Canvas:
    """Images under the brush: colour planes, the number of the layer seen at every pixel, its meaning."""

    planes: np.ndarray
    layer: np.ndarray
    meaning: np.ndarray

    @classmethod
    def blank(cls, n, size):
        """Return `n` black images without labels."""
        planes = np.zeros((3, n, size, size), np.float32)
        return cls(planes, np.zeros((n, size, size), np.uint8), np.zeros((n, 256, len(_FIELDS)), np.uint8))

    def take(self, rows):
        """Return copies of some images."""
        return _Canvas(self.planes.take(rows, axis=1), self.layer[rows], self.meaning[rows])

    def mark(self, layer, where, meaning):
        """Note the number of a layer where it is seen, and what it means in each of the categories."""
        np.copyto(self.layer, np.uint8(layer), where=where)
        for category, values in enumerate(meaning):
            self.meaning[:, layer, category] = values

    def put(self, rows, other):
        """Replace some images."""
        for plane, other_plane in zip(self.planes, other.planes, strict=True):
            plane[rows] = other_plane
        self.layer[rows], self.meaning[rows] = other.layer, other.meaning

    def labels(self):
        """Yield the label map (n, h, w) of each category: what the layer seen means there."""
        n, n_layers, _ = self.meaning.shape
        entries = self.layer + n_layers * np.arange(n)[:, None, None]
        for meaning in np.moveaxis(self.meaning, 2, 0):
            yield np.ascontiguousarray(meaning).ravel()[entries]


def _compose(canvas, draws, classes, scene):
    """Draw the grounds, the objects (the main one last) and the obstacles."""
    n_objects = classes.shape[1]
    for number, ground in enumerate(shapes.SCENE_GROUNDS.values()):
        _draw_group(canvas, scene == number, draws[:, _GROUND], _draw_ground, ground)
    for slot in reversed(range(n_objects)):
        first_layer = _LAYERS_EACH * (n_objects - slot)
        for number, name in enumerate(OBJECTS):
            chosen = classes[:, slot] == number
            _draw_group(canvas, chosen, draws[:, slot], _draw_object, name, slot, n_objects, first_layer)
    obstructed = draws[:, _FRONT, 0] < _OBSTACLE_SHARE
    _draw_group(canvas, obstructed, draws[:, _FRONT], _draw_obstacle, draws[obstructed, 0], n_objects)


def _draw_group(canvas, chosen, draws, draw, *args):
    rows = np.flatnonzero(chosen)
    if len(rows):
        group = canvas.take(rows)
        draw(group, _Dice(draws[rows]), *args)
        canvas.put(rows, group)


def _grid(size):
    ticks = ((np.arange(size, dtype=np.float32) + 0.5) * 2 / size - 1).astype(np.float32)
    return ticks[None, None, :], -ticks[None, :, None]


@dataclass(frozen=True)
class _Place:
    """Where a thing stands: what turns image coordinates into its own, per image (n, 1, 1)."""

    x: np.ndarray
    y: np.ndarray
    scale: np.ndarray
    stretch: np.ndarray
    angle: np.ndarray
    mirror: np.ndarray

    def coordinates(self, size):
        """Return the (x, y) of every pixel as the thing sees them, and the width of a pixel."""
        x, y = _grid(size)
        x, y = (x - self.x) / self.scale, (y - self.y) / self.scale
        cos, sin = shapes.cos(self.angle), shapes.sin(self.angle)
        width = self.mirror * self.stretch
        return (cos * x + sin * y) * width, cos * y - sin * x, 2 / size / self.scale


def _object_place(dice, slot, n_objects):
    column = ((dice.uniform() * n_objects).astype(np.intp) + slot) % n_objects
    middle = (2 * column + 1) / np.float32(n_objects) - 1
    return _Place(
        x=middle.astype(np.float32) + dice.uniform(-0.3, 0.3) / n_objects,
        y=dice.uniform(-0.3, 0.2),
        scale=dice.uniform(0.6, 1.0) * n_objects**-0.6,
        stretch=dice.uniform(0.85, 1.2),
        angle=dice.uniform(-0.25, 0.25),
        mirror=np.sign(dice.uniform(-1, 1)),
    )


def _draw_ground(canvas, dice, ground):
    x, y = _grid(canvas.layer.shape[1])
    layers = ground(x, y, dice.proportions())
    _draw_layers(canvas, layers, GROUND_PAINTS, dice, (x, y, 2 / y.size), 0, 0, _GROUND_SHADING)


def _draw_object(canvas, dice, name, slot, n_objects, first_layer):
    x, y, pixel = _object_place(dice, slot, n_objects).coordinates(canvas.layer.shape[1])
    canvas.planes *= 1 - 0.45 * np.clip(0.4 - 1.6 * shapes.ellipse(x, y, 0.1, -0.85, 0.75, 0.2), 0, 1)
    layers = shapes.OBJECT_PARTS[name](x, y, dice.proportions())
    label = OBJECTS.index(name) + 1
    _draw_layers(
        canvas, layers, OBJECT_PAINTS[name], dice, (x, y, pixel), first_layer, label, _OBJECT_SHADING
    )


def _draw_obstacle(canvas, dice, main_draws, n_objects):
    main = _object_place(_Dice(main_draws), 0, n_objects)
    place = _Place(
        x=main.x + main.scale * dice.uniform(-0.8, 0.8),
        y=main.y - main.scale * dice.uniform(0.6, 1.1),
        scale=main.scale * dice.uniform(0.4, 0.7),
        stretch=dice.uniform(0.8, 1.2),
        angle=dice.uniform(-0.2, 0.2),
        mirror=np.sign(dice.uniform(-1, 1)),
    )
    x, y, pixel = place.coordinates(canvas.layer.shape[1])
    layers = shapes.obstacle(x, y, dice.proportions())
    first_layer = _LAYERS_EACH * (n_objects + 1)
    _draw_layers(canvas, layers, GROUND_PAINTS, dice, (x, y, pixel), first_layer, 0, _OBJECT_SHADING)


def _draw_layers(canvas, layers, paints, dice, frame, first_layer, label, shading):
    """Brush parts onto the canvas, back to front, and write down what they are.

    `shading` gives the brightness at a part's edge, that of its inside, and how far in that begins.
    """
    x, y, pixel = frame
    edge, inside, depth = shading
    for number, (name, distance) in enumerate(layers):
        paint, layer = paints[name], first_layer + 2 * number
        cover = _clipped(distance * (-1 / pixel), 0.5, (0, 1))
        light = _clipped(distance * ((edge - inside) / depth), edge, sorted(shading[:2]))
        color, rgb = _mix_color(np.array([COLORS.index(c) for c in paint.colors]), paint.tint, dice)
        material = np.array([MATERIALS.index(m) for m in paint.materials])[dice.index(len(paint.materials))]
        part = PARTS.index(name) + 1 if label else 0
        canvas.mark(layer, distance < 0, (label, part, color + 1, material + 1, 1))
        if paint.patterned:
            inked, texture = _pattern(dice, x, y, pixel)
            ink, ink_rgb = _mix_color(_other_inks(color), paint.tint, dice)
            rgb = [tone + inked * (other - tone) for tone, other in zip(rgb, ink_rgb, strict=True)]
            canvas.meaning[:, layer, _TEXTURE] = texture + 1
            canvas.mark(
                layer + 1, (distance < 0) & (inked > 0.5), (label, part, ink + 1, material + 1, texture + 1)
            )
        for plane, tone in zip(canvas.planes, rgb, strict=True):
            change = tone * light - plane
            change *= cover
            plane += change


def _clipped(values, offset, limits):
    """Add an offset to an array and clip it, in place."""
    values += offset
    return np.clip(values, *limits, out=values)


def _mix_color(choices, tint, dice):
    """Draw one of the choices (k,) or (n, k) per image; return its index (n,) and its tone in each plane."""
    drawn = dice.index(choices.shape[-1])
    color = choices[drawn] if choices.ndim == 1 else choices[np.arange(len(drawn)), drawn]
    rgb = np.array(list(PALETTE.values()), np.float32)[color].T[:, :, None, None]
    rgb = rgb + (tint > 0) * tint * (1 - rgb) + (tint < 0) * tint * rgb
    brightness = dice.uniform(-0.06, 0.06)
    return color, [tone + brightness + dice.uniform(-0.04, 0.04) for tone in rgb]


def _other_inks(color):
    """Return, for every image, the colors of ink that show on `color`: an array (n, k)."""
    inks = np.array([COLORS.index(name) for name in _INKS])
    return np.where(inks == color[:, None], COLORS.index(_SPARE_INK), inks)


def _pattern(dice, x, y, pixel):
    """Draw a texture for every image; return how much ink covers each pixel, and the textures (n,)."""
    chance = dice.uniform()[:, 0, 0]
    texture = np.where(chance < _PLAIN_SHARE, 0, 1 + dice.index(len(shapes.PATTERNS)))
    period, angle = dice.uniform(0.24, 0.38), dice.uniform(-0.2, 0.2) + np.pi / 2 * np.round(dice.uniform())
    cos, sin = shapes.cos(angle) / period, shapes.sin(angle) / period
    u, v = cos * x + sin * y + dice.uniform(), cos * y - sin * x + dice.uniform()
    inked = np.zeros(u.shape, np.float32)
    sharpness = np.broadcast_to(period / pixel, period.shape)
    for number, pattern in enumerate(shapes.PATTERNS.values(), start=1):
        rows = texture == number
        inked[rows] = np.clip(0.5 - pattern(u[rows], v[rows]) * sharpness[rows], 0, 1)
    return inked, texture


def _expose(images, canvas, materials, dice, noise_rng):
    """Light the canvas, let the surfaces show, add a little noise and write 8-bit images."""
    n, size = materials.shape[:2]
    x, y = _grid(size)
    light = dice.uniform(0.88, 1.14) + dice.uniform(-0.14, 0.14) * x + dice.uniform(-0.05, 0.14) * y
    rows = (np.arange(size) + dice.index(size)[:, None])[:, :, None] % size
    columns = (np.arange(size) + dice.index(size)[:, None])[:, None, :] % size
    tiles = shapes.surfaces(size)
    light = 255 * light * tiles.ravel()[(materials.astype(np.intp) - 1) * size**2 + (rows * size + columns)]
    noise = _NOISE * noise_rng.standard_normal((n, size, size), dtype=np.float32)
    for channel, plane in enumerate(canvas.planes):
        values = plane * light
        values *= dice.uniform(0.93, 1.07)
        values += noise
        images[..., channel] = _clipped(values, 0.5, (0, 255))
