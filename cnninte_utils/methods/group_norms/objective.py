"""What paper C adds to the loss: weight decay or block norm, and two terms on activations."""

from dataclasses import dataclass

import keras

from ... import checks
from ...networks.lookup import chosen_layers
from .activations import observed
from .weights import (
    BlockNorm,
    GroupStrengths,
    ProximalStep,
    WeightDecay,
    check_exponent,
    kernel_options,
    regularized,
)

__all__ = ["KINDS", "Penalty"]

KINDS = ("none", "weight_decay", "block_norm", "proximal")


@dataclass(frozen=True)
class Penalty:
    """Terms of the loss beside the cross-entropy, with paper C's values as defaults.

    Parameters
    ----------
    kind : {"none", "weight_decay", "block_norm", "proximal"}
        On the weights: of every layer for weight decay, of every convolution for block norm. "proximal" is
        the block norm with p = 2 and q = 1 minimised by a proximal step after each batch, which can reach
        zero.
    strength : float
        Factor of that term.
    n_groups : int
        Of each convolution's filters, also for the group term on activations.
    p, q : float
        Of the block norm, 1 to infinity.
    activation : float
        Factor of the term that wants the filters of a group active in the same region.
    spatial : float
        Factor of the term that wants each filter's activation in one place.
    seed : int
        Of the pairs that the group term on activations draws.

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    kind: str = "block_norm"
    strength: float = 0.005
    n_groups: int = 5
    p: float = 2.0
    q: float = 1.0
    activation: float = 0.0
    spatial: float = 0.0
    seed: int = 0

    def __post_init__(self):
        checks.choice("penalty", self.kind, KINDS)
        checks.not_negative(strength=self.strength, activation=self.activation, spatial=self.spatial)
        for name in ("p", "q"):
            check_exponent(name, getattr(self, name))
        checks.at_least(1, n_groups=self.n_groups)
        if self.kind == "proximal" and (self.p, self.q) != (2, 1):
            raise ValueError(f"the proximal step is that of p = 2 and q = 1, got p = {self.p}, q = {self.q}")

    def applied_to(self, model: keras.Model) -> keras.Model:
        """Return a copy of the model, with its weights, whose loss has these terms."""
        if self.activation or self.spatial:
            model = observed(
                model, group=self.activation, spatial=self.spatial, n_groups=self.n_groups, seed=self.seed
            )
        if self.kind == "weight_decay":
            layers = [layer.name for layer in model.layers if kernel_options(layer)]
            return regularized(model, WeightDecay(self.strength), layers)
        if self.kind == "block_norm":
            return regularized(model, BlockNorm(self.n_groups, self.p, self.q, self.strength))
        return model

    def callbacks(self, model: keras.Model) -> list[keras.callbacks.Callback]:
        """Return what takes the proximal step and writes every group's strength into the curves."""
        layers = [layer.name for layer in chosen_layers(model)]
        steps = [ProximalStep(layers, self.n_groups, self.strength)] if self.kind == "proximal" else []
        return [*steps, GroupStrengths(layers, self.n_groups)]
