"""Cards: one for every method, which is where the card says and gives what the card says."""

import importlib
import inspect

import pytest

from cnninte_utils.methods import attribution, card, perturbation

CARDS = card.collected()


def function_of(path):
    module, _, name = f"cnninte_utils.methods.{path}".rpartition(".")
    return getattr(importlib.import_module(module), name)


def test_every_method_handed_on_has_a_card():
    named = {f"attribution.{name}" for name in attribution.__all__}
    named |= {f"perturbation.{name}" for name in perturbation.__all__}
    assert named <= set(CARDS)


@pytest.mark.parametrize("path", CARDS)
def test_a_card_is_that_of_a_function_of_images_and_targets(path):
    function = function_of(path)
    assert list(inspect.signature(function).parameters)[:3] == ["model", "images", "targets"]
    own = CARDS[path]
    assert own.function == path
    author, year = own.source.split(",")[0].split(" ")[0], own.source.split()[-1]
    assert author in function.__doc__
    assert year in inspect.getsource(inspect.getmodule(function))
    assert own.question.endswith("?")
    assert own.fails.endswith(".")


def test_unknown_kinds_are_refused():
    filled = dict.fromkeys(("name", "function", "question", "output", "passes", "fails", "source"), "x")
    with pytest.raises(ValueError, match="unknown access 'weights': choose one of predict, gradient, layers"):
        card.Card(**filled, access="weights")
    with pytest.raises(ValueError, match="unknown reduction 'mean'"):
        card.Card(**filled, access="layers", reduction="mean")
