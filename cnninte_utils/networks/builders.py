"""The papers' networks, built by name as flat functional Keras models with the papers' layer names."""

from collections.abc import Callable, Sequence

import keras

from .. import checks
from .parts import HEADS, LocalResponseNormalization, classified, convolution, image_input, scaled
from .residual import densenet, resnet

__all__ = [
    "ALEXNETS",
    "BUILDERS",
    "HEADS",
    "alexnet",
    "build",
    "densenet",
    "mnist_cnn",
    "resnet",
    "vgg19",
]

ALEXNETS = {
    "caffe": {"filters": (96, 256, 384, 384, 256), "groups": (1, 2, 1, 2, 2), "has_lrn": True},
    "one_tower": {"filters": (64, 192, 384, 256, 256), "groups": (1, 1, 1, 1, 1), "has_lrn": False},
}
_VGG19_BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))


def mnist_cnn(input_shape: tuple[int, int, int] = (28, 28, 1), n_classes: int = 10) -> keras.Model:
    """Build the CNN of paper A, Fig. 1: image → class probabilities.

    conv1 5×5×32 → pool1 2×2/2 → conv2 5×5×64 → pool2 2×2/2 → fc1 128 → dropout ½ → fc2 → softmax.
    The paper gives the layers; SAME padding and the initial values (weights from a normal with
    σ = 0.1 truncated at 2σ, biases 0.1) are those of TensorFlow's ``mnist_deep`` tutorial, whose
    names the paper's graph has.

    Parameters
    ----------
    input_shape : (height, width, channels)
    n_classes : int

    Returns
    -------
    keras.Model
        (n, height, width, channels) in [0, 1] → (n, n_classes) probabilities.

    References
    ----------
    Liu, Wang, Matwin 2018, "Interpretable Deep Convolutional Neural Networks via Meta-learning", Fig. 1.
    """
    checks.at_least(1, n_classes=n_classes)
    layers = keras.layers

    def start() -> dict:
        return {
            "kernel_initializer": keras.initializers.TruncatedNormal(stddev=0.1),
            "bias_initializer": keras.initializers.Constant(0.1),
        }

    image = keras.Input(input_shape, name="image")
    x = image
    for step, n_filters in ((1, 32), (2, 64)):
        x = layers.Conv2D(n_filters, 5, padding="same", activation="relu", name=f"conv{step}", **start())(x)
        x = layers.MaxPooling2D(2, name=f"pool{step}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(128, activation="relu", name="fc1", **start())(x)
    x = layers.Dropout(0.5, name="dropout")(x)
    x = layers.Dense(n_classes, name="fc2", **start())(x)
    return keras.Model(image, layers.Softmax(name="softmax")(x), name="mnist_cnn")


def alexnet(
    *,
    input_size: int = 224,
    n_classes: int = 10,
    width: float = 1.0,
    variant: str = "caffe",
    head: str = "flat",
    padding: str = "same",
    first_kernel: int = 11,
    first_stride: int = 4,
    batch_norm: bool = False,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> keras.Model:
    """Build AlexNet: image → class probabilities.

    Five convolutions (conv1 … conv5, each with its ReLU), max-pooling after the first, second and fifth
    (maxpool1, maxpool2, maxpool5), a head.

    Parameters
    ----------
    input_size : int
        Height and width of the images.
    n_classes : int
    width : float
        Fraction of the published numbers of filters and neurons.
    variant : {"caffe", "one_tower"}
        96-256-384-384-256 filters with two groups in conv2, conv4 and conv5 and local response
        normalisation after the first two (papers A of 2012 and B); or 64-192-384-256-256 without either
        (part C).
    head : {"flat", "fc", "pooling"}
        Flattened maxpool5 → classes (9,216 → 10 at 224, as in paper B); fc6 and fc7 of 4,096 with
        dropout ½ between; or global average pooling → classes, for any input size.
    padding : {"same", "valid"}
        Of conv1.
    first_kernel, first_stride : int
        Of conv1: 11 and 4; Zeiler & Fergus changed them to 7 and 2.
    batch_norm : bool
        Normalise every convolution before its ReLU (AlexNet-B); the ReLUs are then layers of their own.
    mean, std : sequence of three floats, optional
        Of the pixels in [0, 1] that the weights were trained with; the network's first layer applies them.
        By default pixels go in as they are.

    Returns
    -------
    keras.Model
        (n, input_size, input_size, 3) in [0, 1] → (n, n_classes) probabilities.

    References
    ----------
    Krizhevsky, Sutskever, Hinton 2012. Zeiler, Fergus 2014, Section 4.1. Wang, Liu 2024, Section 3.
    """
    plan = checks.choice("variant", variant, ALEXNETS)
    checks.choice("padding", padding, ("same", "valid"))
    checks.choice("batch_norm", batch_norm, (False, True))
    checks.at_least(1, first_kernel=first_kernel, first_stride=first_stride)
    image, x = image_input(input_size, mean, std)
    for step, (n_filters, groups) in enumerate(zip(plan["filters"], plan["groups"], strict=True), start=1):
        kernel, stride = (first_kernel, first_stride) if step == 1 else (5 if step == 2 else 3, 1)
        x = convolution(
            x, scaled(n_filters, width), kernel, f"conv{step}", batch_norm,
            strides=stride, groups=groups, padding=padding if step == 1 else "same",
        )  # fmt: skip
        if plan["has_lrn"] and step <= 2:
            x = LocalResponseNormalization(name=f"lrn{step}")(x)
        if step in (1, 2, 5):
            x = keras.layers.MaxPooling2D(3, 2, name=f"maxpool{step}")(x)
    return keras.Model(image, classified(x, head, n_classes, width), name="alexnet")


def vgg19(
    *,
    input_size: int = 224,
    n_classes: int = 10,
    width: float = 1.0,
    head: str = "fc",
    batch_norm: bool = False,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> keras.Model:
    """Build VGG19: image → class probabilities.

    Sixteen 3×3 convolutions in five blocks (conv1_1 … conv5_4, each with its ReLU), max-pooling after
    each block (maxpool1 … maxpool5), a head. Parameters as for :func:`alexnet`.

    References
    ----------
    Simonyan, Zisserman 2015, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
    Table 1, column E.
    """
    image, x = image_input(input_size, mean, std)
    for block, (n_filters, n_convolutions) in enumerate(_VGG19_BLOCKS, start=1):
        for step in range(1, n_convolutions + 1):
            x = convolution(x, scaled(n_filters, width), 3, f"conv{block}_{step}", batch_norm)
        x = keras.layers.MaxPooling2D(2, name=f"maxpool{block}")(x)
    return keras.Model(image, classified(x, head, n_classes, width), name="vgg19")


BUILDERS: dict[str, Callable[..., keras.Model]] = {
    "mnist_cnn": mnist_cnn,
    "alexnet": alexnet,
    "vgg19": vgg19,
    "resnet": resnet,
    "densenet": densenet,
}


def build(name: str, **options) -> keras.Model:
    """Build a network by name; `options` go to its builder.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    return checks.choice("network", name, BUILDERS)(**options)
