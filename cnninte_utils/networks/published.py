"""The published ImageNet weights of AlexNet and VGG19, for our networks."""

from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np

from ..artifacts import DataError, read_arrays
from ..datasets.source import Source
from .builders import build
from .weights import Weights

__all__ = [
    "N_CLASSES",
    "from_keras_vgg19",
    "from_npz_alexnet",
    "from_onnx_alexnet",
    "imagenet",
    "imagenet_convolutions",
]

N_CLASSES = 1_000

ALEXNET = Source(
    "AlexNet",
    ("weights/bvlcalexnet-12.onnx",),
    "Put bvlcalexnet-12.onnx into weights/ of the folder named by $CNNINTE_DATA.",
    url="https://huggingface.co/onnxmodelzoo/legacy_models/resolve/main/"
    "validated/vision/classification/alexnet/model/bvlcalexnet-12.onnx",
    sha256="6b0da9510f27f234ee96a85dc3809dd210150fdefad87f6850f9788513216945",
)
VGG19_FILE = "vgg19_weights_tf_dim_ordering_tf_kernels.h5"
VGG19 = Source(
    "VGG19",
    (f"weights/{VGG19_FILE}",),
    f"Put {VGG19_FILE} (575 MB) into weights/ of the folder named by $CNNINTE_DATA.",
)
ALEXNET_CONVOLUTIONS = Source(
    "The file of AlexNet's convolutions",
    ("weights/alexnet_convolutions.npz",),
    "Put alexnet_convolutions.npz into weights/ of the folder named by $CNNINTE_DATA; docs/data.md has its "
    "layout.",
)

_ALEXNET_MEAN = (122.67891434, 116.66876762, 104.00698793)
_VGG19_MEAN = (123.68, 116.779, 103.939)
_CONVOLUTIONS = ("conv1", "conv2", "conv3", "conv4", "conv5")
_DENSE = ("fc6", "fc7", "fc8")


def imagenet(architecture: str) -> Weights:
    """Return weights trained on ImageNet's 1,000 classes, from the data folders or the network.

    Each published network takes blue, green, red in 0 … 255 less a mean; the weights returned, with their
    options, are those of the same function of red, green, blue in [0, 1].

    - ``"alexnet"``: the Caffe AlexNet out of ``bvlcalexnet-12.onnx`` (244 MB, pinned SHA-256); see
      :func:`from_onnx_alexnet` for how its borders differ from ours.
    - ``"vgg19"``: Keras's copy of the authors' weights (575 MB), see :func:`from_keras_vgg19`.

    Both are looked for in ``weights/`` of ``$CNNINTE_DATA`` and of the cache before anything is downloaded.

    Parameters
    ----------
    architecture : {"alexnet", "vgg19"}

    Returns
    -------
    Weights
        All layers, fc8 too; for the whole network build with ``n_classes=1000`` and the options. For
        another task leave fc8 (or all dense layers) out: ``imagenet("vgg19").without("fc8")``.

    Raises
    ------
    ValueError
        If the architecture is another one.
    cnninte_utils.artifacts.DataError
        If a file is damaged or another one, or it is nowhere and the download fails.
    ImportError
        If AlexNet is asked for without the extra ``onnx``.

    References
    ----------
    Jia et al. 2014, "Caffe: Convolutional Architecture for Fast Feature Embedding" (AlexNet).
    Simonyan, Zisserman 2015, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (VGG19).
    """
    sources = {"alexnet": _alexnet, "vgg19": _vgg19}
    if architecture not in sources:
        raise ValueError(f"no ImageNet weights for {architecture!r}: choose one of {', '.join(sources)}")
    return sources[architecture]()


def _alexnet() -> Weights:
    _require_onnx()
    return from_onnx_alexnet(ALEXNET.fetch())


def _vgg19() -> Weights:
    source = VGG19.find() or "imagenet"
    try:
        model = keras.applications.VGG19(weights=source if source == "imagenet" else str(source))
    except Exception as error:  # of the network, HDF5 or other shapes: Keras documents none
        raise DataError(f"Keras could not read VGG19 from {source} ({error}). {VGG19.advice}") from None
    return from_keras_vgg19(model)


def imagenet_convolutions(architecture: str) -> Weights:
    """Return AlexNet's five convolutions trained on ImageNet, in 5 MB; see :func:`from_npz_alexnet`.

    They are the Caffe AlexNet's as Wu et al. quantised them: each kernel is made of a few short vectors
    (codebooks), so that they are near the published ones and not the same bits. There are no dense
    layers: these weights are for transfer. The file is looked for in ``weights/`` of ``$CNNINTE_DATA`` and of
    the cache.

    Raises
    ------
    ValueError
        If the architecture is another one.
    cnninte_utils.artifacts.DataError
        If the file is absent, damaged or another one.

    References
    ----------
    Wu, Leng, Wang, Hu, Cheng 2016, "Quantized Convolutional Neural Networks for Mobile Devices".
    """
    if architecture != "alexnet":
        raise ValueError(
            f"ImageNet's convolutions without dense layers are alexnet's only, not {architecture!r}"
        )
    return from_npz_alexnet(ALEXNET_CONVOLUTIONS.fetch())


def from_npz_alexnet(path: Path, *, width: float = 1.0) -> Weights:
    """Read AlexNet's convolutions from an ``.npz`` file that keeps Caffe's order of the colours.

    Parameters
    ----------
    path : Path
        Of the float32 arrays ``conv1/kernel`` (height, width, channels of the group, filters), ``conv1/bias``
        (filters,) and so on up to conv5, for blue, green, red in 0 … 255 less ImageNet's mean.
    width : float
        Fraction of the published numbers of filters that the file has.

    Returns
    -------
    Weights
        Of the same function of red, green, blue in [0, 1]: conv1's input channels are turned round, and the
        options hold mean and standard deviation. They are for 227×227 with ``padding="valid"``, as
        :func:`from_onnx_alexnet`'s are, with the flat head of paper B.

    Raises
    ------
    cnninte_utils.artifacts.DataError
        If the file is absent or damaged, or does not hold these arrays.
    """
    options = {
        "variant": "caffe",
        "padding": "valid",
        "head": "flat",
        "width": width,
        "input_size": 227,
    } | _standardization(_ALEXNET_MEAN)
    found = read_arrays(path)
    expected = {
        f"{layer.name}/{kind}": tuple(array.shape)
        for layer in build("alexnet", **options).layers
        if layer.name in _CONVOLUTIONS
        for kind, array in zip(("kernel", "bias"), layer.weights, strict=True)
    }
    if set(found) != set(expected):
        raise DataError(
            f"{path} does not hold AlexNet's convolutions: expected the arrays {', '.join(expected)}, found "
            f"{', '.join(found) or 'none'}"
        )
    for name, shape in expected.items():
        array = found[name]
        if array.shape != shape or array.dtype != np.float32 or not np.isfinite(array).all():
            raise DataError(
                f"{path} does not hold AlexNet's convolutions: {name} should be finite float32 {shape}, "
                f"found {array.dtype} {array.shape}"
            )
    arrays = {name: [found[f"{name}/kernel"], found[f"{name}/bias"]] for name in _CONVOLUTIONS}
    _turn_channels_round(arrays["conv1"])
    return Weights("alexnet", options, arrays)


def from_keras_vgg19(model: keras.Model) -> Weights:
    """Take the weights out of a ``keras.applications.VGG19``, with or without its dense layers.

    Parameters
    ----------
    model : keras.Model
        Of any input size; it takes what ``keras.applications.vgg19.preprocess_input`` returns.

    Returns
    -------
    Weights
        The first convolution's input channels turned round, so that it takes red, green, blue.
    """
    blocks = ((1, 2), (2, 2), (3, 4), (4, 4), (5, 4))
    names = {f"block{b}_conv{i}": f"conv{b}_{i}" for b, n in blocks for i in range(1, n + 1)}
    names |= {"fc1": "fc6", "fc2": "fc7", "predictions": "fc8"}
    arrays = {names[layer.name]: layer.get_weights() for layer in model.layers if layer.name in names}
    _turn_channels_round(arrays["conv1_1"])
    options = {"input_size": model.input_shape[1], "head": "fc" if "fc8" in arrays else "pooling"}
    return Weights("vgg19", options | _standardization(_VGG19_MEAN), arrays)


def from_onnx_alexnet(
    path: Path, *, width: float = 1.0, input_size: int = 227, n_classes: int = N_CLASSES
) -> Weights:
    """Read the Caffe AlexNet's weights from an ONNX file: its arrays only, nothing in it is run.

    The file's network is Caffe's, at 224×224: conv1 without padding gives 54×54, and every pooling is
    padded by one at the lower and right border, so that 27, 13 and 6 follow. Ours pads no pooling. For
    images of 227×227, as in Caffe's own ``deploy.prototxt``, the padding changes nothing (55, 27, 13, 6),
    and ours with ``padding="valid"`` is the same function: that is what the options returned ask for. With
    ``padding="same"`` at 224×224, as in paper B, the sizes are 56, 27, 13 and 6: all layers fit too, but
    conv1's windows begin three pixels outside the image.

    Parameters
    ----------
    path : Path
    width : float
        Fraction of the published numbers of filters and neurons that the file has.
    input_size : int
        Of the network that the weights are for.
    n_classes : int

    Returns
    -------
    Weights

    Raises
    ------
    cnninte_utils.artifacts.DataError
        If the file is absent or damaged, or does not hold an AlexNet of these sizes.
    ImportError
        If the package ``onnx`` is not installed.
    """
    options = {
        "variant": "caffe",
        "padding": "valid",
        "head": "fc",
        "width": width,
        "input_size": input_size,
    } | _standardization(_ALEXNET_MEAN)
    expected = {
        layer.name: [tuple(w.shape) for w in layer.weights]
        for layer in build("alexnet", n_classes=n_classes, **options).layers
        if layer.name in _CONVOLUTIONS + _DENSE
    }
    layers = _onnx_layers(path)
    arrays = {
        name: _in_keras_order(path, name, layer, expected[name], expected["conv5"][1][0])
        for name, layer in zip(expected, layers, strict=True)
    }
    _turn_channels_round(arrays["conv1"])
    return Weights("alexnet", options, arrays)


def _onnx_layers(path: Path) -> list[list[np.ndarray]]:
    """Return kernel and bias of the five convolutions and the three dense layers, kernels (in, out)."""
    _require_onnx()
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load_model(path, load_external_data=False).graph
    except (OSError, DecodeError, ValueError) as error:
        raise DataError(f"{path} is damaged or no ONNX file ({error}): fetch {path.name} again") from None
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    nodes = [node for node in graph.node if node.op_type in ("Conv", "Gemm")]
    found = [node.op_type for node in nodes]
    if found != ["Conv"] * len(_CONVOLUTIONS) + ["Gemm"] * len(_DENSE):
        raise DataError(
            f"{path} is not AlexNet: expected 5 convolutions (Conv), then 3 dense layers (Gemm), "
            f"found {found.count('Conv')} and {found.count('Gemm')} in the order {', '.join(found) or 'none'}"
        )
    layers = []
    for name, node in zip(_CONVOLUTIONS + _DENSE, nodes, strict=True):
        kernel, bias = (_array(path, name, tensors.get(i)) for i in [*node.input, "", "", ""][1:3])
        is_transposed = any(a.name == "transB" and a.i for a in node.attribute)
        layers.append([kernel.T if name in _DENSE and is_transposed else kernel, bias])
    return layers


def _array(path: Path, layer: str, tensor) -> np.ndarray:
    """Decode one array of the file itself, float32."""
    from onnx import TensorProto, numpy_helper

    if tensor is None or tensor.data_type != TensorProto.FLOAT or tensor.data_location != TensorProto.DEFAULT:
        raise DataError(f"{path} is not AlexNet: expected kernel and bias of {layer} in it, as float32")
    try:
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError) as error:
        raise DataError(f"{path} is damaged: an array of {layer} cannot be read ({error})") from None


def _in_keras_order(
    path: Path, name: str, layer: list[np.ndarray], expected: list[tuple[int, ...]], n_maps: int
) -> list[np.ndarray]:
    """Return kernel and bias with channels last, of the shapes expected."""
    kernel, bias = layer
    if name in _CONVOLUTIONS and kernel.ndim == 4:
        kernel = kernel.transpose(2, 3, 1, 0)
    found = [kernel.shape, bias.shape]
    if found != expected:
        raise DataError(
            f"{path} is not the AlexNet expected: {name} should have the shapes {expected}, found {found}"
        )
    if name == "fc6":  # its rows are the maps of maxpool5, map after map
        side = round((len(kernel) / n_maps) ** 0.5)
        kernel = kernel.reshape(n_maps, side, side, -1).transpose(1, 2, 0, 3).reshape(kernel.shape)
    return [np.ascontiguousarray(kernel), bias]


def _turn_channels_round(convolution: list[np.ndarray]) -> None:
    """Let a convolution of blue, green, red take red, green, blue."""
    convolution[0] = np.ascontiguousarray(convolution[0][:, :, ::-1])


def _standardization(mean: tuple[float, float, float]) -> dict[str, list[float]]:
    """Return mean and standard deviation that turn [0, 1] into 0 … 255 less the mean (red, green, blue)."""
    return {"mean": [value / 255 for value in mean], "std": [1 / 255] * 3}


def _require_onnx() -> None:
    if find_spec("onnx") is None:
        raise ImportError("the Caffe AlexNet needs the extra: pip install 'cnninte-utils[onnx]'")
