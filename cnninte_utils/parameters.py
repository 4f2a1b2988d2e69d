"""Check a notebook's parameters where they come in."""

__all__ = ["require"]


def require(is_valid: bool, name: str, value: object, allowed: str) -> None:
    """Stop with one sentence that names the parameter, its value and what is allowed.

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
