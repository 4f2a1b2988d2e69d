"""Where the evidence for a class lies in the last feature maps: CAM, Grad-CAM, guided Grad-CAM."""

import keras
import numpy as np
from keras import ops

from ...networks import backward
from ...networks import targets as explained
from ...networks.gradients import in_batches
from ..card import Card
from .rectifiers import guided

__all__ = ["CARDS", "cam", "grad_cam", "guided_grad_cam"]


def cam(
    model: keras.Model, images: np.ndarray, targets: np.ndarray, *, is_upsampled: bool = True
) -> np.ndarray:
    r"""Weigh the last feature maps by the class's weights.

    .. math:: M_t = \sum_k w_{kt} A_k, \qquad f_t(x) = \operatorname{mean}(M_t) + b_t

    with :math:`A_k` the feature maps that a global average pooling takes, and w, b the dense layer after it.

    Parameters
    ----------
    model : keras.Model
        That ends in global average pooling and one dense layer (and a softmax, which is left out): resnet,
        densenet, and others with ``head="pooling"``.
    images : float array of shape (n, height, width, channels), in [0, 1]
    targets : int array of shape (n,), or float array of shape (n, classes)
        The class t of each image; or v, where :math:`\sum_t v_t M_t` takes the place of :math:`M_t`.
    is_upsampled : bool
        Whether the map is enlarged to the image, bilinearly.

    Returns
    -------
    ndarray of shape (n, height, width, 1), float32, signed
        Height and width of the feature maps if not enlarged.

    Raises
    ------
    ValueError
        If the network ends otherwise; if the images or targets do not fit.

    References
    ----------
    Zhou et al. 2016, "Learning Deep Features for Discriminative Localization", Section 2.
    """
    logits, images, cotangents = explained.prepared(model, images, targets)
    network = backward.steps(logits)

    def maps(x, v):
        trace = backward.trace(network, x)
        features = _pooled(trace, logits.name)
        weights = ops.matmul(v, ops.transpose(network[-1].kernel))
        return ops.einsum("nhwk,nk->nhw", features, weights)[..., None]

    found = in_batches(maps, logits, images, cotangents)
    return _upsampled(found, images.shape[1:3]) if is_upsampled else found


def grad_cam(
    model: keras.Model,
    images: np.ndarray,
    targets: np.ndarray,
    *,
    layer: str | None = None,
    is_upsampled: bool = True,
) -> np.ndarray:
    r"""Weigh a layer's feature maps by how much the logit rises with each.

    .. math:: L_t = \max\Big(0, \sum_k \alpha_k A_k\Big), \qquad
              \alpha_k = \frac1Z \sum_{ij} \frac{\partial f_t}{\partial A_{kij}}

    with Z the number of a map's positions. Where CAM exists it is its positive part, divided by Z.

    Parameters
    ----------
    model : keras.Model
        A chain or graph of the layers in :data:`cnninte_utils.networks.backward.KINDS`.
    layer : str, optional
        With feature maps; by default the last one before pooling and the head: conv5 of AlexNet, the ReLU of
        the last sum of a ResNet.

    Others as for :func:`cam`.

    Returns
    -------
    ndarray of shape (n, height, width, 1), float32, not negative

    Raises
    ------
    ValueError
        If the layer is unknown or has no feature maps; if the images or targets do not fit.

    References
    ----------
    Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks", Section 3.
    """
    logits, images, cotangents = explained.prepared(model, images, targets)
    network = backward.steps(logits)

    def maps(x, v):
        trace = backward.trace(network, x)
        name = _last_features(trace) if layer is None else layer
        signal = trace.down(v, until=name)
        features = trace[name].output
        if len(features.shape) != 4:
            raise ValueError(f"{name} of {logits.name} has no feature maps, its output is {features.shape}")
        weights = ops.mean(signal, axis=(1, 2))
        return ops.relu(ops.einsum("nhwk,nk->nhw", features, weights))[..., None]

    found = in_batches(maps, logits, images, cotangents)
    return _upsampled(found, images.shape[1:3]) if is_upsampled else found


def guided_grad_cam(
    model: keras.Model, images: np.ndarray, targets: np.ndarray, *, layer: str | None = None
) -> np.ndarray:
    """Keep of guided backpropagation what lies where Grad-CAM is: the product of the two.

    Parameters as for :func:`grad_cam`.

    Returns
    -------
    ndarray of shape (n, height, width, channels), float32, signed

    References
    ----------
    Selvaraju et al. 2017, Section 3.2.
    """
    return grad_cam(model, images, targets, layer=layer) * guided(model, images, targets)


def _pooled(trace: backward.Trace, name: str):
    """Return the feature maps of which each logit is a weighted sum of means."""
    *before, last = trace.records
    while before and before[-1].step.kind == "shape":
        before.pop()
    pooling = before[-1] if before else last
    is_pooling = last.step.kind == "dense" and pooling.step.kind == "average_pooling"
    if is_pooling and len(pooling.inputs[0].shape) == 4:
        features = pooling.inputs[0]
        means = ops.mean(features, axis=(1, 2))
        pooled = ops.reshape(pooling.output, (len(means), -1))
        if pooled.shape == means.shape and np.allclose(pooled, means, atol=1e-5):
            return features
    raise ValueError(
        f"{name} does not end in global average pooling and one dense layer, as CAM wants: take grad_cam"
    )


def _last_features(trace: backward.Trace) -> str:
    """Return the last step with feature maps that is neither pooling nor a change of shape."""
    kinds = ("max_pooling", "average_pooling", "shape")
    found = [r.step.name for r in trace.records if len(r.output.shape) == 4 and r.step.kind not in kinds]
    if not found:
        raise ValueError("the network has no feature maps")
    return found[-1]


def _upsampled(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    larger = ops.image.resize(maps, size, interpolation="bilinear", data_format="channels_last")
    return ops.convert_to_numpy(larger)


CARDS = (
    Card(
        name="CAM", function="attribution.cam",
        question="Where in the last feature maps does the evidence for a class lie?",
        access="layers", output="signed, one channel, coarse", passes="1 F", sums_to="f(x) - bias, as a mean",
        fails="Only before global average pooling; as coarse as the last feature maps.",
        source="Zhou et al. 2016",
    ),
    Card(
        name="Grad-CAM", function="attribution.grad_cam",
        question="Where in a layer's feature maps does the evidence for a class lie?",
        access="layers", output="not negative, one channel, coarse", passes="1 F + 1 B", is_signed=False,
        fails="One weight for a whole map: before a flat head it may mark what speaks against the class.",
        source="Selvaraju et al. 2017",
    ),
    Card(
        name="Guided Grad-CAM", function="attribution.class_maps.guided_grad_cam",
        question="Which strokes lie where the evidence for a class lies?",
        access="layers", output="signed, per channel", passes="1 F + 2 B",
        fails="Its fine strokes are guided backpropagation's, which hardly depend on the class.",
        source="Selvaraju et al. 2017",
    ),
)  # fmt: skip
