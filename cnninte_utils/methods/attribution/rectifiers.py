"""Back to the pixels with other rules for the ReLU: deconvnet and guided backpropagation."""

import keras
import numpy as np

from ... import checks
from ...networks import backward
from ...networks import targets as explained
from ...networks.gradients import in_batches
from ..card import Card

__all__ = ["CARDS", "deconvnet", "guided"]


def guided(
    model: keras.Model, images: np.ndarray, targets: np.ndarray, *, lrn: str = "identity"
) -> np.ndarray:
    r"""Let only what is positive come down, and only where a ReLU was on.

    The gradient, but for the ReLU's rule, for a signal g from above and the ReLU's output y:

    .. math:: g \mapsto \max(g, 0) \, [y > 0]

    Parameters
    ----------
    model : keras.Model
        A chain or graph of the layers in :data:`cnninte_utils.networks.backward.KINDS`; a softmax at the end
        is left out.
    images : float array of shape (n, height, width, channels), in [0, 1]
    targets : int array of shape (n,), or float array of shape (n, classes)
        The class of each image, or the signal that starts at the logits. The rule is not linear: a signal of
        the other sign gives another map.
    lrn : {"identity", "gradient"}
        Local response normalisation is passed by, or reversed by its gradient.

    Returns
    -------
    ndarray of shape (n, height, width, channels), float32, signed

    Raises
    ------
    ValueError
        If the images do not fit or are not in [0, 1], the targets are no classes, or the network has a layer
        without a rule.

    References
    ----------
    Springenberg et al. 2015, "Striving for Simplicity", Section 3.4. Mahendran, Vedaldi 2016, "Salient
    Deconvolutional Networks" (DeSaliNet).
    """
    return _rectified(model, images, targets, "guided", lrn)


def deconvnet(
    model: keras.Model, images: np.ndarray, targets: np.ndarray, *, lrn: str = "identity"
) -> np.ndarray:
    r"""Let only what is positive come down, wherever the ReLUs were on.

    .. math:: g \mapsto \max(g, 0)

    From a single unit of any layer it is :func:`cnninte_utils.methods.units.deconvnet.reconstruct`; here it
    starts at a logit. Parameters, result and errors as for :func:`guided`.

    References
    ----------
    Zeiler, Fergus 2014, "Visualizing and Understanding Convolutional Networks", Section 2.1.
    """
    return _rectified(model, images, targets, "deconvnet", lrn)


def _rectified(model, images, targets, rule: str, lrn: str) -> np.ndarray:
    checks.choice("lrn", lrn, ("identity", "gradient"))
    logits, images, cotangents = explained.prepared(model, images, targets)
    network = backward.steps(logits)
    rules = {"relu": backward.RELU_RULES[rule]}
    if lrn == "identity":
        rules["lrn"] = backward.passed
    return in_batches(
        lambda x, v: backward.trace(network, x).down(v, rules), logits, images, cotangents, copies=2
    )


CARDS = (
    Card(
        name="Deconvnet", function="attribution.deconvnet",
        question="Which strokes could have led to this score?",
        access="layers", output="signed, per channel", passes="1 F + 1 B", reduction="absolute",
        fails="What comes back is mostly the pooling's switches: much the same for every class.",
        source="Zeiler, Fergus 2014",
    ),
    Card(
        name="Guided backpropagation", function="attribution.guided",
        question="Which strokes that were seen speak for this score?",
        access="layers", output="signed, per channel", passes="1 F + 1 B", reduction="absolute",
        fails="Nearly the same map for every class, and with random weights in the last layers.",
        source="Springenberg et al. 2015",
    ),
)  # fmt: skip
