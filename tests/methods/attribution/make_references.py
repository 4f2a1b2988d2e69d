"""Makes references.npz: what zennit 0.5.1 and captum 0.9.0 say of one small network. No test runs this.

    python -m venv elsewhere; elsewhere/bin/pip install torch==2.13.0 zennit==0.5.1 captum==0.9.0
    elsewhere/bin/python tests/methods/attribution/make_references.py

The network, on two images of 13×13×3: convolution 3×3 of 6, same; max-pooling 3/2; convolution 3×3 of 8; max-
pooling 2/2; dense 12; dense 4; ReLUs between. Weights are random, so that no two values of a window tie, and
kept in the file in Keras's order. DeepLIFT's are of the network with averages for its maxima, 2/2 both, since
captum's are not complete for max-pooling, by its own account: its convergence delta is 0.19 of 0.03 here.
zennit's w² rule counts the bias, so the first layer has none there.
"""

from pathlib import Path

import captum.attr as captum
import numpy as np
import torch
from torch import nn
from zennit import rules
from zennit.attribution import Gradient
from zennit.composites import LayerMapComposite, SpecialFirstLayerMapComposite
from zennit.types import Activation, Convolution
from zennit.types import Linear as Weighted

rng = np.random.default_rng(42)
SHAPES = {"conv1": (3, 3, 3, 6), "conv2": (3, 3, 6, 8), "fc1": (32, 12), "fc2": (12, 4)}
weights = {}
for name, shape in SHAPES.items():
    weights[f"{name}.kernel"] = rng.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape).astype(np.float32)
    weights[f"{name}.bias"] = rng.normal(0, 0.1, shape[-1]).astype(np.float32)
images = rng.random((2, 13, 13, 3)).astype(np.float32)
baseline = rng.random((2, 13, 13, 3)).astype(np.float32)
targets = torch.tensor([2, 1])


class Network(nn.Sequential):
    """The network, channels first; what is flattened comes in Keras's order."""

    def __init__(self, is_average=False, has_first_bias=True):
        super().__init__(
            nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2) if is_average else nn.MaxPool2d(3, 2),
            nn.Conv2d(6, 8, 3), nn.ReLU(), nn.AvgPool2d(2) if is_average else nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(32, 12), nn.ReLU(), nn.Linear(12, 4),
        )  # fmt: skip
        for layer, name in ((self[0], "conv1"), (self[3], "conv2"), (self[7], "fc1"), (self[9], "fc2")):
            kernel = weights[f"{name}.kernel"]
            if kernel.ndim == 4:
                kernel = kernel.transpose(3, 2, 0, 1)
            elif name == "fc1":  # rows are (2, 2, 8) in Keras, (8, 2, 2) here
                kernel = kernel.reshape(2, 2, 8, 12).transpose(3, 2, 0, 1).reshape(12, 32)
            else:
                kernel = kernel.T
            bias = weights[f"{name}.bias"] * (has_first_bias or name != "conv1")
            layer.weight.data = torch.tensor(np.ascontiguousarray(kernel))
            layer.bias.data = torch.tensor(bias)


def first(array):
    return torch.tensor(array.transpose(0, 3, 1, 2).copy())


def last(tensor):
    return tensor.detach().numpy().transpose(0, 2, 3, 1)


def relevance(composite, model=None):
    def of_target(output):
        return output * torch.eye(4)[targets]

    with Gradient(model=model or Network(), composite=composite) as attributor:
        _, found = attributor(first(images), of_target)
    return last(found)


def by_layer(dense, convolution, at_first=None):
    passing = [(Activation, rules.Pass())]
    layers = [*passing, (Convolution, convolution), (Weighted, dense)]
    if at_first is None:
        return LayerMapComposite(layers)
    return SpecialFirstLayerMapComposite(layers, [(Convolution, at_first)])


def same(make):
    return by_layer(make(), make())


x, model = first(images), Network()
grad_cam = captum.LayerGradCam(model, model[4]).attribute(x, target=targets, relu_attributions=True)
references = {
    "gradient": captum.Saliency(model).attribute(x, target=targets, abs=False),
    "gradient_input": captum.InputXGradient(model).attribute(x, target=targets),
    "guided": captum.GuidedBackprop(Network()).attribute(x, target=targets),
    "deconvnet": captum.Deconvolution(Network()).attribute(x, target=targets),
    "integrated_gradients": captum.IntegratedGradients(model).attribute(
        x, first(baseline), target=targets, n_steps=20, method="riemann_middle"
    ),
    "deeplift": captum.DeepLift(Network(is_average=True)).attribute(x, first(baseline), target=targets),
    "grad_cam": grad_cam,
}
low, high = torch.zeros(1, 3, 13, 13), torch.ones(1, 3, 13, 13)
box = rules.ZBox(low=low, high=high, stabilizer=1e-9)
kept = {name: last(tensor) for name, tensor in references.items()} | {
    "lrp epsilon": relevance(same(lambda: rules.Epsilon(epsilon=0.25))),
    "lrp gamma": relevance(same(lambda: rules.Gamma(gamma=0.25, stabilizer=1e-9))),
    "lrp alpha_beta 1": relevance(same(lambda: rules.AlphaBeta(alpha=1, beta=0, stabilizer=1e-9))),
    "lrp alpha_beta 2": relevance(same(lambda: rules.AlphaBeta(alpha=2, beta=1, stabilizer=1e-9))),
    "lrp composite": relevance(by_layer(rules.Epsilon(1e-6), rules.Gamma(0.25, stabilizer=1e-9), box)),
    "lrp composite_flat": relevance(
        by_layer(rules.Epsilon(1e-6), rules.AlphaBeta(1, 0, stabilizer=1e-9), rules.Flat(stabilizer=1e-9))
    ),
    "lrp w2": relevance(
        by_layer(rules.Epsilon(1e-6), rules.Epsilon(1e-6), rules.WSquare(stabilizer=1e-9)),
        Network(has_first_bias=False),
    ),
    "logits": model(x).detach().numpy(),
}
arrays = weights | {"images": images, "baseline": baseline, "targets": targets.numpy()}
np.savez_compressed(
    Path(__file__).with_name("references.npz"),
    **arrays, **{f"found {name}": array.astype(np.float32) for name, array in kept.items()},
)  # fmt: skip
