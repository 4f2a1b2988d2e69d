"""What each pixel has to do with a logit, by looking inside: gradients, class maps, relevance."""

from .class_maps import cam, grad_cam
from .differences import deeplift
from .gradients import gradient, gradient_input, integrated_gradients, smoothgrad
from .rectifiers import deconvnet, guided
from .relevance import lrp

__all__ = [
    "cam",
    "deconvnet",
    "deeplift",
    "grad_cam",
    "gradient",
    "gradient_input",
    "guided",
    "integrated_gradients",
    "lrp",
    "smoothgrad",
]
