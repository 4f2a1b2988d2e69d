"""A method's card: what it asks, what it must be given, what comes out, what it costs, how it fails."""

import importlib
import pkgutil
from dataclasses import dataclass

from .. import checks

__all__ = ["ACCESS", "REDUCTIONS", "Card", "collected"]

ACCESS = ("predict", "gradient", "layers")
"""What a method must be able to ask of a network: outputs alone, gradients, or every layer."""

REDUCTIONS = ("positive", "absolute", "sum")
"""How the channels of a result become one map, by the method's authors."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a reader should know before using a method.

    Parameters
    ----------
    name : str
        As readers know it.
    function : str
        Where it is: "attribution.integrated_gradients", below ``cnninte_utils.methods``.
    question : str
        That it answers.
    access : {"predict", "gradient", "layers"}
    output : str
    passes : str
        Its cost for one image, in forward (F) and backward (B) passes.
    trains : bool
        Whether something is fitted before the first explanation.
    is_signed : bool
        Whether results may be negative: evidence against.
    sums_to : str
        What all numbers of a result add up to: "f(x)", "f(x) - f(baseline)"; or nothing.
    reduction : {"positive", "absolute", "sum"}
    fails : str
        When it misleads.
    source : str

    Raises
    ------
    ValueError
        If the access or the reduction is unknown.
    """

    name: str
    function: str
    question: str
    access: str
    output: str
    passes: str
    trains: bool = False
    is_signed: bool = True
    sums_to: str = ""
    reduction: str = "positive"
    fails: str
    source: str

    def __post_init__(self):
        checks.choice("access", self.access, ACCESS)
        checks.choice("reduction", self.reduction, REDUCTIONS)


def collected() -> dict[str, Card]:
    """Return every card by the function that it describes, in order.

    Families of methods do not know each other, so each module keeps the cards of its own, ``CARDS``.
    """
    package = importlib.import_module(__package__)
    found = {}
    for module in pkgutil.walk_packages(package.__path__, f"{__package__}."):
        for card in getattr(importlib.import_module(module.name), "CARDS", ()):
            found[card.function] = card
    return dict(sorted(found.items()))
