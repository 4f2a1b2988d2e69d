"""Networks with skip connections for small images: ResNet and DenseNet."""

from collections.abc import Sequence

import keras

from .. import checks
from .parts import BEFORE_NORM, classified, convolution, image_input, normalized, rectified, scaled

__all__ = ["densenet", "resnet"]


def resnet(
    *,
    depth: int = 20,
    input_size: int = 32,
    n_classes: int = 10,
    width: float = 1.0,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> keras.Model:
    """Build the residual network for small images: image → class probabilities.

    A 3×3 convolution, then three stages of 16, 32 and 64 filters, each of (depth − 2) / 6 blocks of two 3×3
    convolutions with the block's input added before the last ReLU; global average pooling and the classes.
    The second and third stage begin with a stride of 2, their first shortcut takes every other pixel and
    fills the new channels with zeros (option A of the paper: no weights). Layers: conv1, conv2, ... with
    bn_conv1, relu_conv1, ...; add3, relu_add3, add5, ... after the second convolution of a block. The other
    parameters are as for :func:`cnninte_utils.networks.builders.alexnet`.

    Parameters
    ----------
    depth : int
        6n + 2: 20, 32, 44, 56 or 110 in the paper.

    Raises
    ------
    ValueError
        If the depth is another.

    References
    ----------
    He, Zhang, Ren, Sun 2016, "Deep Residual Learning for Image Recognition", Section 4.2.
    """
    if depth < 8 or depth % 6 != 2:
        raise ValueError(
            f"depth must be 6n + 2 with n >= 1, got {depth}: take 20 or {max(8, 6 * (depth // 6) + 8)}"
        )
    image, x = image_input(input_size, mean, std)
    x = convolution(x, scaled(16, width), 3, "conv1", batch_norm=True)
    for block in range((depth - 2) // 2):
        stage, place = divmod(block, (depth - 2) // 6)
        n_filters, stride = scaled(16 * 2**stage, width), 2 if stage and not place else 1
        first, second = f"conv{2 * block + 2}", f"conv{2 * block + 3}"
        residual = convolution(x, n_filters, 3, first, batch_norm=True, strides=stride)
        residual = keras.layers.Conv2D(n_filters, 3, name=second, **BEFORE_NORM)(residual)
        residual = normalized(residual, second)
        x = keras.layers.Add(name=f"add{2 * block + 3}")([_shortcut(x, n_filters, stride, second), residual])
        x = keras.layers.ReLU(name=f"relu_add{2 * block + 3}")(x)
    return keras.Model(image, classified(x, "pooling", n_classes, width), name="resnet")


def densenet(
    *,
    depth: int = 40,
    growth: int = 12,
    input_size: int = 32,
    n_classes: int = 10,
    width: float = 1.0,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> keras.Model:
    """Build the densely connected network for small images: image → class probabilities.

    A 3×3 convolution of 16 filters, then three blocks of (depth − 4) / 3 convolutions, each of which sees all
    feature maps of its block before it and adds `growth` of its own; between the blocks a 1×1 convolution
    and 2×2 average pooling; global average pooling and the classes. Normalisation and ReLU come before each
    convolution but the first (bn_before_conv2, relu_before_conv2, conv2, ...). `width` scales the numbers of
    filters; the other parameters are as for :func:`cnninte_utils.networks.builders.alexnet`.

    Parameters
    ----------
    depth : int
        3n + 4: 40 or 100 in the paper.
    growth : int
        Feature maps that each convolution adds: 12 or 24 in the paper.

    Raises
    ------
    ValueError
        If the depth is another.

    References
    ----------
    Huang, Liu, van der Maaten, Weinberger 2017, "Densely Connected Convolutional Networks", Section 3.
    """
    layers = keras.layers
    checks.at_least(1, growth=growth)
    if depth < 7 or depth % 3 != 1:
        raise ValueError(f"depth must be 3n + 4 with n >= 1, got {depth}: take 40 or {3 * (depth // 3) + 7}")
    n_each, n_filters = (depth - 4) // 3, scaled(growth, width)
    image, x = image_input(input_size, mean, std)
    x = layers.Conv2D(scaled(16, width), 3, name="conv1", **BEFORE_NORM)(x)
    for step in range(2, depth):
        name = f"conv{step}"
        before = rectified(x, f"before_{name}")
        if (step - 1) % (n_each + 1):
            new = layers.Conv2D(n_filters, 3, name=name, **BEFORE_NORM)(before)
            x = layers.Concatenate(name=f"concatenate{step}")([x, new])
        else:
            x = layers.Conv2D(x.shape[-1], 1, name=name, **BEFORE_NORM)(before)
            x = layers.AveragePooling2D(2, name=f"pool{step}")(x)
    x = rectified(x, "before_pooling")
    return keras.Model(image, classified(x, "pooling", n_classes, width), name="densenet")


def _shortcut(x, n_filters: int, stride: int, name: str) -> keras.KerasTensor:
    """Take every so many pixels, and fill up the channels with zeros: half of them before, half after."""
    n_new = n_filters - x.shape[-1]
    if stride > 1:
        x = keras.layers.MaxPooling2D(1, stride, padding="same", name=f"every_other_{name}")(x)
    if n_new:
        margins = ((0, 0), (n_new // 2, n_new - n_new // 2))
        # "channels_first" makes the last axis, ours of channels, the one that is padded
        x = keras.layers.ZeroPadding2D(margins, data_format="channels_first", name=f"zeros_{name}")(x)
    return x
