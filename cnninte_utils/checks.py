"""One voice for bad arguments: what was expected, what came, what to do."""

import math
from collections.abc import Collection, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

__all__ = [
    "at_least",
    "choice",
    "finite",
    "has_form",
    "images",
    "layers",
    "not_negative",
    "one_for_each",
    "require",
    "units",
    "within",
]


def require(is_valid: bool, name: str, value: object, allowed: str) -> None:
    """Stop with one sentence that names a notebook's parameter, its value and what is allowed.

    Raises
    ------
    ValueError
        If `is_valid` is false.

    Examples
    --------
    >>> require(3 > 0, "steps", 3, "a positive number")
    """
    if not is_valid:
        raise ValueError(f"parameter {name} is {value!r}; allowed: {allowed}")


def choice(kind: str, name: object, choices: Collection) -> Any:
    """Return `name`, or what goes with it if the choices are a mapping.

    Raises
    ------
    ValueError
        If it is none of the choices.

    Examples
    --------
    >>> choice("rule", "guided", {"guided": 1, "gradient": 2})
    1
    """
    if name not in choices:
        raise ValueError(f"unknown {kind} {name!r}: choose one of {', '.join(map(str, choices))}")
    return choices[name] if isinstance(choices, Mapping) else name


def at_least(smallest: int, **numbers: int) -> None:
    """Refuse what is no whole number, or a smaller one.

    Raises
    ------
    ValueError
        With the name of the first that is.
    """
    for name, number in numbers.items():
        if not isinstance(number, Integral) or isinstance(number, bool) or number < smallest:
            raise ValueError(f"the whole number {name} must be at least {smallest}, got {number!r}")


def one_for_each(names: Sequence[str], **counts: Sequence[int]) -> None:
    """Refuse what is not a list with a whole number from 1 on for each of `names`.

    Raises
    ------
    ValueError
        With the name of the first that is not.
    """
    for name, numbers in counts.items():
        is_list = has_form(numbers, [int]) and len(numbers) == len(names)
        if not is_list or min(numbers, default=1) < 1:
            raise ValueError(
                f"{name} must be {len(names)} whole numbers from 1 on, one for each of "
                f"{', '.join(names)}, got {numbers!r}"
            )


def not_negative(**factors: float) -> None:
    """Refuse a factor that is negative, infinite or no number.

    Raises
    ------
    ValueError
        With the name of the first that is.
    """
    for name, factor in factors.items():
        if not _is_real(factor) or not 0 <= factor < math.inf:
            raise ValueError(f"{name} must be finite and not negative, got {factor!r}")


def within(low: float, high: float, **numbers: float) -> None:
    """Refuse what is no number above `low` and at most `high`.

    Raises
    ------
    ValueError
        With the name of the first that is none.
    """
    for name, number in numbers.items():
        if not _is_real(number) or not low < number <= high:
            raise ValueError(f"{name} must be a number above {low:g} and at most {high:g}, got {number!r}")


def _is_real(number: object) -> bool:
    return isinstance(number, Real) and not isinstance(number, bool)


def has_form(value: object, form: Any) -> bool:
    """Tell whether what was read, JSON or YAML, has a form.

    Parameters
    ----------
    form : type, tuple of types, [form], or dict of str to form
        A type, where a truth value is no number; a list whose items have the form; an object that has these
        names, whatever else it has.

    Examples
    --------
    >>> has_form({"id": "a", "seeds": [1, 2]}, {"id": str, "seeds": [int]})
    True
    >>> has_form({"id": "a", "seeds": [True]}, {"id": str, "seeds": [int]})
    False
    """
    if isinstance(form, dict):
        return isinstance(value, dict) and all(n in value and has_form(value[n], f) for n, f in form.items())
    if isinstance(form, list):
        return isinstance(value, list) and all(has_form(item, form[0]) for item in value)
    kinds = form if isinstance(form, tuple) else (form,)
    return bool in kinds if isinstance(value, bool) else isinstance(value, kinds)


def finite(**arrays: np.ndarray) -> None:
    """Refuse NaN and infinity.

    Raises
    ------
    ValueError
        With the name of the first array that has one.
    """
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite, got NaN or infinity")


def units(numbers: Sequence[int], n_units: int) -> np.ndarray:
    """Return units' numbers as an array.

    Raises
    ------
    ValueError
        If there are none, or one is not from 0 to `n_units` - 1.
    """
    numbers = np.asarray(numbers)
    if not numbers.size or numbers.min() < 0 or numbers.max() >= n_units:
        raise ValueError(f"units must be between 0 and {n_units - 1}, got {numbers.tolist()}")
    return numbers


def layers(model, names: Sequence[str]) -> list:
    """Return the layers of these names of a ``keras.Model``.

    Raises
    ------
    ValueError
        If the model has no layer of one of them.
    """
    known = {layer.name: layer for layer in model.layers}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"no layer {unknown[0]!r} in {model.name}: it has {', '.join(known)}")
    return [known[name] for name in names]


def images(pixels: np.ndarray, shape: tuple[int | None, ...] | None = (None, None, None)) -> np.ndarray:
    """Return images as float32, sure that a network can be fed with them.

    Parameters
    ----------
    pixels : float array of shape (n, height, width, channels)
        In [0, 1].
    shape : (height, width, channels), or None
        What they should have; a None in it, or in its place, for what may be any.

    Raises
    ------
    ValueError
        If they are whole numbers, not all in [0, 1], not finite, none, or of another shape.
    """
    try:
        pixels = np.asarray(pixels)
    except ValueError:
        raise ValueError("images must be an array, got a list of arrays of different shapes") from None
    advice = "divide 0 … 255 by 255, or give a data set's Split, which is scaled and resized batch by batch"
    if not np.issubdtype(pixels.dtype, np.floating):
        raise ValueError(f"images must be floats in [0, 1], got {pixels.dtype}: {advice}")
    if shape is not None and not _fits(pixels.shape[1:], shape):
        if shape == (None, None, None):
            raise ValueError(f"images must be (n, height, width, channels), got {pixels.shape}")
        raise ValueError(f"the model takes images of shape {tuple(shape)}, got {pixels.shape[1:]}")
    if not pixels.size:
        raise ValueError(f"there must be at least one image, got the shape {pixels.shape}")
    lowest, highest = pixels.min(), pixels.max()
    if not (lowest >= 0 and highest <= 1):  # NaN is neither
        found = "NaN" if np.isnan(lowest) else f"{lowest:g} to {highest:g}"
        raise ValueError(f"images must be floats in [0, 1], got {found}: {advice}")
    return pixels.astype(np.float32, copy=False)


def _fits(found: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    return len(found) == len(expected) and all(e in (None, f) for f, e in zip(found, expected, strict=True))
