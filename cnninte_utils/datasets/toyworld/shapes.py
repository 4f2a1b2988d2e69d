"""Toyworld's forms: signed-distance shapes, patterns, surfaces, and the objects and scenes made of them.

A shape is a distance in the units of its coordinates: negative inside, zero on the edge. `x` points
right and `y` up. Coordinates and measures may be numbers or arrays that broadcast together, so that one
call draws a shape in many images. Objects live in the square from -1 to 1; so do scenes.
"""

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np

Layers = Iterator[tuple[str, np.ndarray]]
ABSENT = 9.0
_TINY = 1e-6


def _in_double(function):
    """Let a function of NumPy compute in float64, whatever it takes and returns.

    Its float32 kind differs in the last bit from processor to processor, and pixels would differ with it.
    """

    def computed(*numbers):
        return function(*(np.asarray(each, np.float64) for each in numbers)).astype(np.result_type(*numbers))

    return computed


sin, cos, tanh, arctan2 = (_in_double(each) for each in (np.sin, np.cos, np.tanh, np.arctan2))


def ellipse(x, y, cx, cy, rx, ry):
    """Return the approximate distance from an ellipse with centre (cx, cy) and radii (rx, ry)."""
    x, y = (x - cx) / rx, (y - cy) / ry
    radius = _length(x, y) + _TINY
    return radius * (radius - 1) / (_length(x / rx, y / ry) + _TINY)


def disc(x, y, cx, cy, radius):
    """Return the distance from a disc."""
    return _length(x - cx, y - cy) - radius


def box(x, y, cx, cy, half_width, half_height):
    """Return the distance from a box (its level lines keep sharp corners)."""
    return np.maximum(np.abs(x - cx) - half_width, np.abs(y - cy) - half_height)


def polygon(x, y, *corners):
    """Return the distance from a convex polygon with its corners (x, y) counter-clockwise."""
    distance = None
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        along, up = x1 - x0, y1 - y0
        length = (along * along + up * up) ** 0.5
        side = (up / length) * (x - x0) - (along / length) * (y - y0)
        distance = side if distance is None else np.maximum(distance, side)
    return distance


def stroke(x, y, start, end, half_width):
    """Return the distance from a straight stroke with round ends."""
    along, up = end[0] - start[0], end[1] - start[1]
    x, y = x - start[0], y - start[1]
    share = np.clip((x * along + y * up) / (along * along + up * up), 0, 1)
    return _length(x - share * along, y - share * up) - half_width


def union(first, *others):
    """Return the distance from whatever is in at least one of the shapes."""
    for other in others:
        first = np.minimum(first, other)
    return first


def scatter(x, y, spacing, radius, phase):
    """Return the distance from discs strewn about, one in each square cell of width `spacing`."""
    x, y = x / spacing + 7 * phase, y / spacing
    column, row = np.floor(x), np.floor(y)
    right, up = (
        sin(12.9 * column + 78.2 * row + 40 * phase),
        cos(39.3 * column + 11.1 * row + 23 * phase),
    )
    return spacing * _length(x - column - 0.5 - 0.3 * right, y - row - 0.5 - 0.3 * up) - radius


def _length(x, y):
    return np.sqrt(x * x + y * y)


def striped(u, v):
    """Return the distance from the ink of upright stripes: half a period wide, period 1."""
    return np.abs(u - np.floor(u) - 0.5) - 0.25 + 0 * v


def dotted(u, v):
    """Return the distance from the ink of dots: radius 0.3, one in every unit square."""
    return _length(u - np.floor(u) - 0.5, v - np.floor(v) - 0.5) - 0.3


def checked(u, v):
    """Return the distance from the ink of a chequerboard with squares of side 0.5."""
    return 2 * (0.25 - _fold(u)) * (0.25 - _fold(v)) / 0.5


def zigzag(u, v):
    """Return the distance from the ink of level zigzags: half a period wide, period 1."""
    return 0.7 * (_fold(v + _fold(u)) - 0.25)


def _fold(u):
    """Return the distance from the nearest whole number, 0 to 0.5."""
    return np.abs(u - np.floor(u + 0.5))


PATTERNS: dict[str, Callable] = {
    "striped": striped,
    "dotted": dotted,
    "checked": checked,
    "zigzag": zigzag,
}


@cache
def surfaces(size: int) -> np.ndarray:
    """Return how each material modulates brightness, around 1, as tiles that repeat seamlessly.

    Returns
    -------
    ndarray of shape (len(MATERIALS), size, size), float32
        Tiles as large as one image of `size` by `size` pixels.
    """
    v, u = np.meshgrid(*[(np.arange(size) + 0.5) / size] * 2, indexing="ij")
    tiles = [1 + material(u, v) for material in MATERIAL_SHADES.values()]
    return np.stack([np.broadcast_to(tile, (size, size)) for tile in tiles]).astype(np.float32)


def _noise(u, columns, rows, seed):
    """Return smooth seamless noise of unit spread with at most so many waves across and down."""
    rng = np.random.default_rng(seed)
    n = len(u)
    waves = np.fft.fftfreq(n, 1 / n)
    band = np.exp(-((waves[:, None] / rows) ** 2) - (waves / columns) ** 2)
    band[0, 0] = 0
    noise = np.fft.ifft2(np.fft.fft2(rng.standard_normal((n, n))) * band).real
    return noise / noise.std()


def _brick(u, v):
    row = np.floor(8 * v)
    mortar = np.maximum(_fold(8 * v) < 0.1, _fold(4 * u + 0.5 * row) < 0.06)
    return 0.05 * _noise(u, 20, 20, 1) - 0.28 * mortar + 0.04


def _wood(u, v):
    return 0.10 * sin(2 * np.pi * (9 * v + 0.25 * _noise(u, 3, 4, 2))) + 0.04 * _noise(u, 3, 30, 3)


def _metal(u, v):
    return 0.14 * cos(4 * np.pi * (u + 0.5 * v)) * (np.abs(cos(2 * np.pi * u)) > 0.3) + 0.08


def _glass(u, v):
    return 0.28 * (_fold(3 * (u - v)) < 0.11) + 0.05 * cos(2 * np.pi * v)


def _fabric(u, v):
    return 0.10 * sin(2 * np.pi * 16 * u) * sin(2 * np.pi * 16 * v)


def _foliage(u, v):
    return 0.13 * _noise(u, 12, 12, 4)


def _grass(u, v):
    return 0.10 * _noise(u, 24, 7, 5)


def _water(u, v):
    return 0.09 * sin(2 * np.pi * (9 * v + 0.35 * _noise(u, 4, 3, 6)))


def _sky(u, v):
    return 0.16 * np.clip(_noise(u, 3, 6, 7) - 0.4, 0, 1)


def _sand(u, v):
    return 0.05 * _noise(u, 28, 28, 8) + 0.04 * _noise(u, 3, 7, 9)


def _snow(u, v):
    return 0.03 * _noise(u, 4, 4, 10)


def _stone(u, v):
    return 0.11 * tanh(_noise(u, 9, 9, 11))


def _paint(u, v):
    return 0 * u


def _feather(u, v):
    return 0.09 * np.maximum(_fold(8 * u + 0.5 * np.floor(8 * v)), _fold(8 * v)) ** 2 * 4 - 0.04


MATERIAL_SHADES: dict[str, Callable] = {
    "paint": _paint,
    "brick": _brick,
    "wood": _wood,
    "metal": _metal,
    "glass": _glass,
    "fabric": _fabric,
    "skin": _feather,
    "foliage": _foliage,
    "grass": _grass,
    "water": _water,
    "sky": _sky,
    "sand": _sand,
    "snow": _snow,
    "stone": _stone,
}


def house(x, y, k) -> Layers:
    """Yield the parts of a house, back to front; `k` holds proportions from -1 to 1."""
    half, eaves = 0.58 + 0.12 * k[0], 0.02 + 0.14 * k[1]
    yield "chimney", box(x, y, 0.36, 0.55, 0.09, 0.32)
    yield "wall", box(x, y, 0, (eaves - 0.9) / 2, half, (eaves + 0.9) / 2)
    yield "roof", polygon(x, y, (-half - 0.2, eaves), (half + 0.2, eaves), (0.2 * k[2], 0.95))
    yield "door", box(x, y, -0.25 + 0.08 * k[3], -0.62, 0.14, 0.28)
    yield "window", box(x, y, 0.27, -0.42 + 0.1 * k[4], 0.16, 0.16)


def tree(x, y, k) -> Layers:
    """Yield the parts of a tree: round with fruit where k[0] > 0, otherwise a conifer."""
    thick, wide = 0.12 + 0.03 * k[1], 1 + 0.15 * k[2]
    leafy = union(
        disc(x, y, 0, 0.45, 0.45), disc(x, y, -0.36 * wide, 0.15, 0.36), disc(x, y, 0.36 * wide, 0.2, 0.36)
    )
    conifer = union(
        polygon(x, y, (-0.66 * wide, -0.45), (0.66 * wide, -0.45), (0, 0.4)),
        polygon(x, y, (-0.52 * wide, -0.02), (0.52 * wide, -0.02), (0, 0.7)),
        polygon(x, y, (-0.38 * wide, 0.4), (0.38 * wide, 0.4), (0, 0.98)),
    )
    fruit = np.maximum(scatter(x, y, 0.34, 0.075, 1 + k[3]), leafy + 0.12)
    yield "trunk", polygon(x, y, (-thick, -0.97), (thick, -0.97), (0.6 * thick, 0.1), (-0.6 * thick, 0.1))
    yield "crown", np.where(k[0] > 0, leafy, conifer)
    yield "fruit", np.where(k[0] > 0, fruit, ABSENT)


def car(x, y, k) -> Layers:
    """Yield the parts of a car seen from the side, its front on the right."""
    top, wheel, axle = 0.42 + 0.1 * k[0], 0.23 + 0.03 * k[1], 0.5 + 0.05 * k[2]
    cabin = polygon(x, y, (-0.62, -0.1), (0.55, -0.1), (0.24, top), (-0.42, top))
    pane = polygon(x, y, (-0.49, -0.02), (0.4, -0.02), (0.19, top - 0.1), (-0.37, top - 0.1))
    yield "body", union(cabin, box(x, y, 0, -0.25, 0.84, 0.15) - 0.08)
    yield "window", np.maximum(pane, 0.05 - np.abs(x + 0.06))
    yield "wheel", union(disc(x, y, -axle, -0.5, wheel), disc(x, y, axle, -0.5, wheel))
    yield "hub", union(disc(x, y, -axle, -0.5, 0.45 * wheel), disc(x, y, axle, -0.5, 0.45 * wheel))
    yield "light", ellipse(x, y, 0.85, -0.2, 0.07, 0.1)


def boat(x, y, k) -> Layers:
    """Yield the parts of a sailing boat."""
    bow, top = 0.9 + 0.08 * k[0], 0.78 + 0.1 * k[1]
    yield "mast", box(x, y, 0, 0.25, 0.045, 0.7)
    yield "flag", polygon(x, y, (0.0, 0.74), (0.0, 0.96), (-0.3, 0.85))
    large = polygon(x, y, (0.08, -0.22), (0.78 + 0.1 * k[2], -0.22), (0.08, top))
    small = polygon(x, y, (-0.6 - 0.1 * k[3], -0.22), (-0.08, -0.22), (-0.08, top - 0.25))
    yield "sail", union(large, small)
    yield "hull", polygon(x, y, (-0.58, -0.78), (0.55, -0.78), (bow, -0.32), (-0.85, -0.32))


def fish(x, y, k) -> Layers:
    """Yield the parts of a fish that swims to the left."""
    deep, long = 0.42 + 0.09 * k[0], 0.66 + 0.05 * k[1]
    yield (
        "tail",
        np.maximum(polygon(x, y, (0.35, 0), (0.97, -0.45), (0.97, 0.45)), 0.18 - disc(x, y, 1.08, 0, 0)),
    )
    yield "fin", union(ellipse(x, y, 0.02, deep, 0.28, 0.2), ellipse(x, y, 0.02, -deep, 0.2, 0.16))
    yield "body", ellipse(x, y, -0.15, 0, long, deep)
    yield "eye", disc(x, y, -0.5, 0.12, 0.13)
    yield "pupil", disc(x, y, -0.53, 0.12, 0.07)


def bird(x, y, k) -> Layers:
    """Yield the parts of a standing bird that looks to the left."""
    head_y, plump = 0.42 + 0.1 * k[0], 0.38 + 0.06 * k[1]
    yield (
        "leg",
        union(
            stroke(x, y, (-0.1, -0.4), (-0.14, -0.95), 0.04), stroke(x, y, (0.14, -0.4), (0.12, -0.95), 0.04)
        ),
    )
    yield "tail", polygon(x, y, (0.3, -0.12), (0.98, 0.05 + 0.1 * k[2]), (0.9, 0.32 + 0.1 * k[2]))
    yield "beak", polygon(x, y, (-0.98, head_y - 0.04), (-0.6, head_y - 0.15), (-0.6, head_y + 0.14))
    body = ellipse(x, y, 0.05, -0.18, 0.55, plump)
    yield (
        "body",
        union(body, disc(x, y, -0.45, head_y, 0.27), stroke(x, y, (-0.4, head_y), (-0.2, -0.1), 0.17)),
    )
    yield "wing", ellipse(x + 0.3 * y, y - 0.25 * x, 0.18, -0.18, 0.34, 0.19 + 0.04 * k[3])
    yield "eye", disc(x, y, -0.5, head_y + 0.06, 0.1)
    yield "pupil", disc(x, y, -0.52, head_y + 0.06, 0.055)


def flower(x, y, k) -> Layers:
    """Yield the parts of a flower with five to eight petals."""
    height = 0.38 + 0.08 * k[0]
    sector = 2 * np.pi / np.floor(6.5 + 1.99 * k[1])
    angle, radius = arctan2(y - height, x), _length(x, y - height)
    angle = angle - sector * np.round(angle / sector)
    petal = ellipse(radius * cos(angle), radius * sin(angle), 0.34, 0, 0.23, 0.42 * sin(sector / 2) + 0.02)
    tilt = 0.5 + 0.15 * k[2]
    yield "stem", stroke(x, y, (0, -0.97), (0, height), 0.055)
    yield (
        "leaf",
        union(
            ellipse(x, y - tilt * x, 0.26, -0.75, 0.26, 0.11),
            ellipse(x, y + tilt * x, -0.26, -0.6, 0.26, 0.11),
        ),
    )
    yield "petal", petal
    yield "center", disc(x, y, 0, height, 0.2 + 0.03 * k[3])


def rocket(x, y, k) -> Layers:
    """Yield the parts of a rocket in flight."""
    fin, slim = 0.55 + 0.1 * k[0], 1.05 + 0.15 * k[1]
    hull = np.maximum(disc(x, y, slim, 0.1, slim + 0.32), disc(x, y, -slim, 0.1, slim + 0.32))
    yield "flame", union(ellipse(x, y, 0, -0.68, 0.15, 0.3), ellipse(x, y, 0, -0.62, 0.22, 0.15))
    yield (
        "fin",
        union(
            polygon(x, y, (-fin, -0.75), (-0.1, -0.5), (-0.1, 0.05), (-fin, -0.45)),
            polygon(x, y, (fin, -0.75), (fin, -0.45), (0.1, 0.05), (0.1, -0.5)),
        ),
    )
    yield "body", np.maximum(hull, -0.58 - y)
    yield "nose", np.maximum(hull, 0.5 + 0.08 * k[2] - y)
    yield "window", disc(x, y, 0, 0.18, 0.14)


def cup(x, y, k) -> Layers:
    """Yield the parts of a cup on its saucer, the handle on the right."""
    foot, brim, top = 0.36 + 0.1 * k[0], 0.55 + 0.05 * k[1], 0.42 + 0.12 * k[2]
    yield "saucer", ellipse(x, y, 0, -0.72, 0.8, 0.16)
    yield "handle", np.abs(ellipse(x, y, 0.55, -0.08, 0.28, 0.28)) - 0.07
    side = polygon(x, y, (-foot, -0.7), (foot, -0.7), (brim, top), (-brim, top))
    yield "bowl", union(side, ellipse(x, y, 0, top, brim, 0.17))
    yield "drink", ellipse(x, y, 0, top, brim - 0.09, 0.1)


def lamp(x, y, k) -> Layers:
    """Yield the parts of a table lamp."""
    low, high = 0.58 + 0.1 * k[0], 0.28 + 0.08 * k[1]
    yield "pole", box(x, y, 0, -0.3, 0.055, 0.55)
    yield "base", np.maximum(ellipse(x, y, 0, -0.95, 0.4 + 0.06 * k[2], 0.25), -0.95 - y)
    yield "bulb", disc(x, y, 0, 0.08, 0.16)
    yield "shade", polygon(x, y, (-low, 0.1), (low, 0.1), (high, 0.9), (-high, 0.9))


OBJECT_PARTS: dict[str, Callable[..., Layers]] = {
    f.__name__: f for f in (house, tree, car, boat, fish, bird, flower, rocket, cup, lamp)
}


def meadow(x, y, k) -> Layers:
    """Yield the ground of a meadow, back to front; `k` holds proportions from -1 to 1."""
    level = 0.1 + 0.3 * k[0]
    yield "sky", _sky_over(y, level)
    yield "sun", disc(x, y, 0.8 * k[1], 0.95, 0.2)
    yield "far hill", y - level - 0.18 - 0.14 * sin(2.5 * x + 4 * k[2])
    yield "lawn", y - level - 0.1 * sin(2 * x + 4 * k[3])
    yield "daisy", np.maximum(scatter(x, y, 0.28, 0.03, k[4]), y - level + 0.15)


def beach(x, y, k) -> Layers:
    """Yield the ground of a beach."""
    level = 0.3 + 0.2 * k[0]
    shore = level - 0.45 + 0.25 * k[1] * x + 0.05 * sin(5 * x + 3 * k[2])
    yield "sky", _sky_over(y, level)
    yield "sea", y - level + 0 * x
    yield "foam", np.abs(y - shore) - 0.05
    yield "beach", y - shore


def street(x, y, k) -> Layers:
    """Yield the ground of a street: a row of houses, a pavement and a road."""
    level = -0.15 + 0.2 * k[0]
    column = np.floor(2.2 * x + 3 * k[1])
    across = np.abs(2.2 * x + 3 * k[1] - column - 0.5)
    roofline = level + 0.65 + 0.25 * sin(9.1 * column + 5 * k[2])
    facade = np.maximum(y - roofline, (across - 0.46) / 2.2)
    pane = np.maximum(np.abs(across - 0.2) / 2.2 - 0.04, 0.22 * _fold((y - level) / 0.22) - 0.05)
    yield "sky", _sky_over(y, level)
    yield "facade", facade
    yield "pane", np.maximum(pane, facade + 0.06)
    yield "pavement", y - level + 0 * x
    yield "road", y - level + 0.15 + 0 * x
    yield "road mark", box(np.abs(1.5 * x + k[3]) % 1, y, 0.5, level - 0.5, 0.3, 0.03)


def room(x, y, k) -> Layers:
    """Yield the ground of a room: wallpaper, a picture, a skirting board and a floor."""
    level = -0.25 + 0.2 * k[0]
    picture = box(x, y, 0.6 * np.sign(k[1]), 0.55, 0.24, 0.2 + 0.04 * k[2])
    yield "wallpaper", _sky_over(y, level)
    yield "frame", picture
    yield "picture", picture + 0.07
    yield "floor", y - level + 0 * x
    yield "skirting", np.abs(y - level) - 0.05 + 0 * x


def desert(x, y, k) -> Layers:
    """Yield the ground of a desert."""
    level = 0.05 + 0.25 * k[0]
    yield "hot sky", _sky_over(y, level)
    yield "sun", disc(x, y, 0.8 * k[1], 0.7, 0.22)
    yield "far dune", y - level - 0.2 - 0.16 * np.abs(sin(1.8 * x + 3 * k[2]))
    yield "dune", y - level + 0.15 - 0.25 * np.abs(sin(1.5 * x + 3 * k[3]))


def night(x, y, k) -> Layers:
    """Yield the ground of a night: stars, a moon and dark hills."""
    level = -0.3 + 0.25 * k[0]
    moon_x = 0.75 * np.sign(k[1]) * (0.8 + 0.2 * k[2])
    yield "night sky", _sky_over(y, level)
    yield "star", scatter(x, y, 0.3, 0.03, k[3])
    yield "moon", np.maximum(disc(x, y, moon_x, 0.65, 0.22), 0.2 - disc(x, y, moon_x + 0.13, 0.72, 0))
    yield "dark hill", y - level - 0.15 * sin(2.5 * x + 4 * k[4])


def winter(x, y, k) -> Layers:
    """Yield the ground of a snowy winter day."""
    level = 0.1 + 0.25 * k[0]
    ridge = level + 0.3 + 0.2 * (np.abs((1.7 * x + 2 * k[1]) % 2 - 1) - 0.5)
    yield "pale sky", _sky_over(y, level)
    yield "ridge", y - ridge
    yield "snowfield", y - level - 0.1 * sin(2.2 * x + 4 * k[2])
    yield "snowflake", scatter(x, y, 0.26, 0.035, k[3])


def forest(x, y, k) -> Layers:
    """Yield the ground of a forest: leaves, a row of trunks and the forest floor."""
    level = -0.35 + 0.2 * k[0]
    column = 2.4 * x + 3 * k[1]
    trunk = np.abs(column - np.floor(column) - 0.5) / 2.4 - 0.06 - 0.03 * sin(5 * np.floor(column))
    yield "leaves", _sky_over(y, level)
    yield "stem wood", trunk + 0 * y
    yield "canopy", 0.55 + 0.12 * k[3] - y + 0.12 * sin(6 * x + 4 * k[2])
    yield "moss", y - level - 0.06 * sin(4 * x + 4 * k[4])


def mountains(x, y, k) -> Layers:
    """Yield the ground of mountains with snow on their tops, over a lake."""
    level = -0.1 + 0.2 * k[0]
    peak = level + 1.1 * np.abs((0.9 * x + 2 * k[1]) % 2 - 1) - 0.1
    yield "sky", _sky_over(y, level)
    yield "rock", 0.7 * (y - peak)
    cap = level + 0.55 + 0.06 * sin(14 * x + 3 * k[2])
    yield "snowcap", np.maximum(0.7 * (y - peak), cap - y)
    yield "lake", y - level + 0 * x


def reef(x, y, k) -> Layers:
    """Yield the ground of a reef under water: bubbles, weed and sand."""
    level = -0.5 + 0.15 * k[0]
    column = 2 * x + 3 * k[1]
    blade = np.abs(column - np.floor(column) - 0.5 + 0.12 * sin(9 * y + 3 * k[2])) / 2 - 0.045
    height = level + 0.45 + 0.25 * sin(7 * np.floor(column))
    yield "deep water", _sky_over(y, 1.4)
    yield "bubble", np.abs(scatter(x, y, 0.5, 0.05, k[3])) - 0.015
    yield "weed", np.maximum(blade, y - height)
    yield "sea floor", y - level - 0.07 * sin(3 * x + 4 * k[4])


def _sky_over(y, level):
    """Return a distance that is negative everywhere: the nearer to `level`, the nearer to zero."""
    return -np.abs(y - level) - 0.1


SCENE_GROUNDS: dict[str, Callable[..., Layers]] = {
    f.__name__: f for f in (meadow, beach, street, room, desert, night, winter, forest, mountains, reef)
}


def obstacle(x, y, k) -> Layers:
    """Yield what may stand in front of an object: a bush where k[0] > 0, otherwise a rock."""
    bush = union(
        disc(x, y, 0, 0, 0.6), disc(x, y, -0.6, -0.25, 0.45), disc(x, y, 0.6, -0.2, 0.4 + 0.1 * k[1])
    )
    rock = polygon(x, y, (-0.9, -0.6), (0.9, -0.6), (0.7, 0.1), (0.2, 0.6), (-0.5, 0.4))
    yield "bush", np.where(k[0] > 0, bush, ABSENT)
    yield "boulder", np.where(k[0] <= 0, rock, ABSENT)
