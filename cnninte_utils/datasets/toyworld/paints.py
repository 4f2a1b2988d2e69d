"""What there is in Toyworld and what it may be painted with."""

from dataclasses import dataclass

from . import shapes

PALETTE = {
    "black": (0.13, 0.13, 0.16),
    "blue": (0.14, 0.43, 0.87),
    "brown": (0.50, 0.31, 0.17),
    "gray": (0.56, 0.57, 0.60),
    "green": (0.24, 0.62, 0.26),
    "orange": (0.96, 0.55, 0.14),
    "pink": (0.97, 0.58, 0.74),
    "purple": (0.55, 0.28, 0.70),
    "red": (0.86, 0.18, 0.17),
    "white": (0.95, 0.95, 0.93),
    "yellow": (0.97, 0.84, 0.22),
}
COLORS = tuple(PALETTE)
MATERIALS = tuple(shapes.MATERIAL_SHADES)
TEXTURES = ("plain", *shapes.PATTERNS)
SCENES = tuple(shapes.SCENE_GROUNDS)
OBJECTS = tuple(shapes.OBJECT_PARTS)


@dataclass(frozen=True)
class Paint:
    """What a part may be painted with; `tint` lightens (up to 1) or darkens (down to -1) its colour."""

    colors: tuple[str, ...] = COLORS
    materials: tuple[str, ...] = ("paint",)
    patterned: bool = False
    tint: float = 0.0


def _paint(colors="", materials="paint", patterned=False, tint=0.0):
    """Return a paint from names in one string: of one of its colors (all, if none is named) and so on."""
    return Paint(tuple(colors.split()) or COLORS, tuple(materials.split()), patterned, tint)


_EYES = {"eye": _paint("white"), "pupil": _paint("black")}
_LIVELY = "blue green orange pink purple red yellow"
OBJECT_PAINTS = {
    "house": {
        "chimney": _paint("brown gray red", "brick stone"),
        "wall": _paint("brown gray orange pink red white yellow", "brick wood paint stone"),
        "roof": _paint("black blue brown green purple red", "paint wood stone", patterned=True),
        "door": _paint("", "wood metal paint"),
        "window": _paint("black blue yellow", "glass"),
    },
    "tree": {
        "trunk": _paint("brown black gray", "wood"),
        "crown": _paint("green green green orange red pink yellow", "foliage"),
        "fruit": _paint("orange red yellow white purple"),
    },
    "car": {
        "body": _paint("", "metal metal paint wood", patterned=True),
        "window": _paint("blue black white", "glass"),
        "wheel": _paint("black", "paint"),
        "hub": _paint("gray white yellow", "metal"),
        "light": _paint("yellow white red", "glass"),
    },
    "boat": {
        "mast": _paint("brown black white", "wood metal"),
        "flag": _paint(_LIVELY, "fabric"),
        "sail": _paint(f"white white {_LIVELY}", "fabric", patterned=True),
        "hull": _paint("", "wood metal paint"),
    },
    "fish": {
        "tail": _paint(_LIVELY, "skin"),
        "fin": _paint(_LIVELY, "skin"),
        "body": _paint(f"{_LIVELY} gray white black", "skin metal", patterned=True),
        **_EYES,
    },
    "bird": {
        "leg": _paint("orange black brown yellow"),
        "tail": _paint("", "skin"),
        "beak": _paint("orange yellow red"),
        "body": _paint("", "skin fabric"),
        "wing": _paint("", "skin fabric", patterned=True),
        **_EYES,
    },
    "flower": {
        "stem": _paint("green", "foliage"),
        "leaf": _paint("green", "foliage"),
        "petal": _paint("blue orange pink purple red white yellow", "paint fabric", patterned=True),
        "center": _paint("yellow orange brown black", "foliage"),
    },
    "rocket": {
        "flame": _paint("orange yellow red"),
        "fin": _paint("", "metal paint"),
        "body": _paint("", "metal metal paint", patterned=True),
        "nose": _paint("", "metal paint"),
        "window": _paint("blue yellow black", "glass"),
    },
    "cup": {
        "saucer": _paint("", "paint metal wood"),
        "handle": _paint("", "paint metal wood"),
        "bowl": _paint("", "paint metal glass", patterned=True),
        "drink": _paint("brown black red", "water"),
    },
    "lamp": {
        "pole": _paint("black brown gray yellow", "metal wood"),
        "base": _paint("", "metal wood stone"),
        "bulb": _paint("yellow white", "glass"),
        "shade": _paint("", "fabric paint glass", patterned=True),
    },
}
GROUND_PAINTS = {
    "sky": _paint("blue", "sky", tint=0.5),
    "hot sky": _paint("orange yellow", "sky", tint=0.55),
    "pale sky": _paint("gray", "sky", tint=0.35),
    "night sky": _paint("blue purple", "sky", tint=-0.72),
    "sun": _paint("yellow", tint=0.3),
    "moon": _paint("white", "stone"),
    "star": _paint("white"),
    "far hill": _paint("green", "foliage", tint=-0.25),
    "lawn": _paint("green", "grass", tint=0.15),
    "daisy": _paint("white yellow pink"),
    "sea": _paint("blue", "water"),
    "foam": _paint("white", "water"),
    "beach": _paint("yellow", "sand", tint=0.45),
    "facade": _paint("brown gray red", "brick stone", tint=0.1),
    "pane": _paint("yellow black", "glass"),
    "pavement": _paint("gray", "stone", tint=0.3),
    "road": _paint("gray", "stone", tint=-0.4),
    "road mark": _paint("white"),
    "wallpaper": _paint("blue green orange pink purple yellow", patterned=True, tint=0.45),
    "frame": _paint("brown black", "wood"),
    "picture": _paint(),
    "floor": _paint("brown", "wood", tint=0.15),
    "skirting": _paint("white brown", "wood"),
    "far dune": _paint("orange", "sand", tint=0.1),
    "dune": _paint("orange yellow", "sand", tint=0.3),
    "dark hill": _paint("black green", "grass", tint=-0.5),
    "ridge": _paint("gray", "stone"),
    "snowfield": _paint("white", "snow"),
    "snowflake": _paint("white", "snow"),
    "leaves": _paint("green", "foliage", tint=-0.35),
    "stem wood": _paint("brown", "wood", tint=-0.25),
    "canopy": _paint("green", "foliage", tint=-0.1),
    "moss": _paint("green brown", "grass", tint=-0.2),
    "rock": _paint("gray", "stone", tint=-0.2),
    "snowcap": _paint("white", "snow"),
    "lake": _paint("blue", "water", tint=-0.1),
    "deep water": _paint("blue", "water", tint=-0.2),
    "bubble": _paint("white", "glass"),
    "weed": _paint("green", "foliage", tint=-0.1),
    "sea floor": _paint("yellow", "sand", tint=0.1),
    "bush": _paint("green", "foliage", tint=-0.2),
    "boulder": _paint("gray brown", "stone"),
}
PARTS = tuple(dict.fromkeys(part for paints in OBJECT_PAINTS.values() for part in paints))
