import keras
import numpy as np
import pytest

from cnninte_utils import artifacts
from cnninte_utils.artifacts import DataError
from cnninte_utils.networks import builders, published

EIGHTH = {"width": 1 / 8, "input_size": 99, "n_classes": 10}
"""99 pixels give 23, 11, 5 and 2: odd sizes, as 227 does, so that Caffe's padding of the pooling is idle."""


def images_of(size, n=3):
    return np.random.default_rng(1).random((n, size, size, 3), np.float32)


def output_of(model, layer):
    return keras.Model(model.input, model.get_layer(layer).output)


def network_of(weights, **options):
    model = builders.build(weights.architecture, **weights.options | options)
    assert weights.put_into(model) == []
    return model


# VGG19


def keras_vgg19(**options):
    keras.utils.set_random_seed(0)
    model = keras.applications.VGG19(weights=None, input_shape=(32, 32, 3), **options)
    rng = np.random.default_rng(0)
    for layer in model.layers:  # Keras's own start has no bias, and its signal fades layer by layer
        if layer.weights:
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel * 1.4, rng.normal(0, 1, bias.shape)])
    return model


@pytest.mark.parametrize(
    ("options", "ours_options", "layer"),
    [
        ({"include_top": False}, {"n_classes": 10}, "maxpool5"),
        ({"include_top": True, "classes": 10}, {"n_classes": 10}, "fc8"),
    ],
)
def test_vgg19_is_keras_own_on_its_preprocessed_pixels(options, ours_options, layer):
    theirs = keras_vgg19(**options)
    if options["include_top"]:
        theirs.layers[-1].activation = keras.activations.linear
    weights = published.from_keras_vgg19(theirs)
    ours = builders.build("vgg19", **weights.options | ours_options)
    assert weights.put_into(ours) == ([] if options["include_top"] else ["fc8"])
    images = images_of(32)
    preprocessed = keras.applications.vgg19.preprocess_input(255 * images)
    expected = theirs.predict(preprocessed, verbose=0)
    part = output_of(ours, layer)
    found, swapped = (part.predict(i, verbose=0) for i in (images, images[..., ::-1]))
    tolerance = 1e-3 * np.abs(expected).max()
    assert np.allclose(found, expected, rtol=1e-3, atol=tolerance)
    assert not np.allclose(swapped, expected, rtol=1e-3, atol=tolerance)


def test_keras_model_is_left_as_it_is():
    theirs = keras_vgg19(include_top=False)
    before = theirs.get_layer("block1_conv1").get_weights()[0]
    ours = published.from_keras_vgg19(theirs).arrays["conv1_1"][0]
    assert np.array_equal(theirs.get_layer("block1_conv1").get_weights()[0], before)
    assert np.array_equal(ours, before[:, :, [2, 1, 0]])


def test_vgg19_is_looked_for_in_the_data_folder(tmp_path, monkeypatch):
    asked = []
    path = tmp_path / "packs" / "weights" / published.VGG19_FILE
    monkeypatch.setenv("CNNINTE_DATA", str(tmp_path / "packs"))

    def vgg19(weights):
        asked.append(weights)
        raise OSError("no network")

    monkeypatch.setattr(keras.applications, "VGG19", vgg19)
    for _ in range(2):
        with pytest.raises(
            DataError, match=r"could not read VGG19 .*no network.*weights/ of the folder named"
        ):
            published.imagenet("vgg19")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert asked == ["imagenet", str(path)]


# AlexNet


@pytest.fixture
def onnx():
    return pytest.importorskip("onnx", reason="needs the extra onnx")


class Caffe:
    """The graph of bvlcalexnet-12.onnx, an eighth as wide, with random weights."""

    filters, groups, kernels = (12, 32, 48, 48, 32), (1, 2, 1, 2, 2), (11, 5, 3, 3, 3)
    dense = (512, 512, 10)

    def __init__(self, onnx, size=99, **changes):
        self.onnx, self.nodes, self.tensors, self.last = onnx, [], [], "data_0"
        self.rng = np.random.default_rng(0)
        n_channels = 3
        for step, (n, group, kernel) in enumerate(
            zip(self.filters, self.groups, self.kernels, strict=True), start=1
        ):
            pads, stride = ([0] * 4, 4) if step == 1 else ([kernel // 2] * 4, 1)
            shape = changes.get(f"conv{step}", (n, n_channels // group, kernel, kernel))
            options = {"kernel_shape": shape[2:], "strides": [stride] * 2, "pads": pads, "group": group}
            self.add("Conv", self.weights(f"conv{step}", shape, scale=0.02 if step == 1 else 1), **options)
            self.add("Relu")
            if step <= 2:
                self.add("LRN", size=5, alpha=1e-4, beta=0.75, bias=1.0)
            if step in (1, 2, 5):
                self.add("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])
            n_channels = n
        n_inputs = n_channels * 2 * 2
        self.tensors.append(onnx.numpy_helper.from_array(np.array([-1, n_inputs]), "shape"))
        self.add("Reshape", ["shape"])
        for step, n in enumerate(self.dense, start=6):
            self.add("Gemm", self.weights(f"fc{step}", (n, n_inputs)), transB=1)
            if step < 8:
                self.add("Relu")
            n_inputs = n
        helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            self.nodes,
            "AlexNet",
            [helper.make_tensor_value_info("data_0", float32, [None, 3, size, size])],
            [helper.make_tensor_value_info(self.last, float32, None)],
            self.tensors,
        )
        self.model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)])

    def add(self, kind, inputs=(), **attributes):
        output = f"{kind}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, [self.last, *inputs], [output], **attributes))
        self.last = output

    def weights(self, name, shape, scale=1.0):
        fan_in = np.prod(shape[1:])
        kernel = self.rng.normal(0, scale * np.sqrt(2 / fan_in), shape).astype(np.float32)
        bias = self.rng.normal(0, 0.1, shape[0]).astype(np.float32)
        self.tensors += [
            self.onnx.numpy_helper.from_array(a, f"{name}_{k}")
            for k, a in zip("wb", (kernel, bias), strict=True)
        ]
        return [f"{name}_w", f"{name}_b"]

    def save(self, folder):
        path = folder / "small.onnx"
        path.write_bytes(self.model.SerializeToString())
        return path


def reference_output(model, values):
    """Evaluate with onnx's NumPy reference, whose own LRN (up to 1.23) takes the images for the channels."""
    from onnx.reference import ReferenceEvaluator
    from onnx.reference.op_run import OpRun

    class LRN(OpRun):
        op_domain = ""

        def _run(self, x, alpha=None, beta=None, bias=None, size=None):
            y = np.empty_like(x)
            for c in range(x.shape[1]):
                energy = (x[:, max(0, c - size // 2) : c + size // 2 + 1] ** 2).sum(axis=1)
                y[:, c] = x[:, c] / (bias + alpha / size * energy) ** beta
            return (y,)

    return ReferenceEvaluator(model, new_ops=[LRN]).run(None, {"data_0": values})[0]


def test_alexnet_is_the_function_that_the_onnx_file_holds(onnx, tmp_path):
    caffe = Caffe(onnx)
    weights = published.from_onnx_alexnet(caffe.save(tmp_path), **EIGHTH)
    images = images_of(99)
    blue_green_red = 255 * images[..., ::-1] - np.array([104.00698793, 116.66876762, 122.67891434])
    expected = reference_output(caffe.model, blue_green_red.transpose(0, 3, 1, 2).astype(np.float32))
    ours = network_of(weights, n_classes=10)
    found = output_of(ours, "fc8").predict(images, verbose=0)
    assert np.allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    assert np.abs(expected - expected[0]).max() > 0.1 * np.abs(expected).max()


def test_alexnets_kernels_one_by_one(onnx, tmp_path):
    caffe = Caffe(onnx)
    arrays = published.from_onnx_alexnet(caffe.save(tmp_path), **EIGHTH).arrays
    theirs = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in caffe.tensors}
    assert arrays["conv1"][0][4, 7, 0, 5] == theirs["conv1_w"][5, 2, 4, 7]  # red is Caffe's last channel
    assert arrays["conv2"][0][4, 3, 2, 5] == theirs["conv2_w"][5, 2, 4, 3]
    # row 1, column 0, map 3 of 2×2×32 is Caffe's value 3·4 + 1·2 + 0
    assert arrays["fc6"][0][1 * 64 + 0 * 32 + 3, 9] == theirs["fc6_w"][9, 14]
    assert np.array_equal(arrays["fc8"][0], theirs["fc8_w"].T)
    assert np.array_equal(arrays["conv5"][1], theirs["conv5_b"])


def test_dense_layers_may_be_stored_the_other_way_round(onnx, tmp_path):
    caffe = Caffe(onnx)
    expected = published.from_onnx_alexnet(caffe.save(tmp_path), **EIGHTH).fingerprint
    graph = caffe.model.graph
    fc8 = next(tensor for tensor in graph.initializer if tensor.name == "fc8_w")
    fc8.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(fc8).T.copy(), "fc8_w"))
    graph.node[-1].attribute[0].i = 0
    assert published.from_onnx_alexnet(caffe.save(tmp_path), **EIGHTH).fingerprint == expected


def test_wrong_shape_is_named_with_the_one_expected(onnx, tmp_path):
    path = Caffe(onnx, conv1=(12, 3, 7, 7)).save(tmp_path)
    message = r"conv1 should have the shapes \[\(11, 11, 3, 12\), \(12,\)\], found \[\(7, 7, 3, 12\)"
    with pytest.raises(DataError, match=message):
        published.from_onnx_alexnet(path, **EIGHTH)


def without_conv5(model):
    del model.graph.node[next(i for i, n in enumerate(model.graph.node) if "conv5_w" in n.input)]


def without_bias(model):
    del model.graph.initializer[next(i for i, t in enumerate(model.graph.initializer) if t.name == "fc7_b")]


def outside_the_file(model):
    tensor = model.graph.initializer[0]
    tensor.data_location = 1
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/hostname"


def short_of_values(model):
    tensor = model.graph.initializer[0]
    tensor.raw_data = tensor.raw_data[:-8]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without_conv5, r"expected 5 convolutions \(Conv\), then 3 dense layers \(Gemm\), found 4 and 3"),
        (without_bias, "expected kernel and bias of fc7 in it, as float32"),
        (outside_the_file, "expected kernel and bias of conv1 in it, as float32"),
        (short_of_values, "is damaged: an array of conv1 cannot be read"),
    ],
)
def test_other_graphs_are_one_clear_error(onnx, tmp_path, damage, message):
    caffe = Caffe(onnx)
    damage(caffe.model)
    with pytest.raises(DataError, match=message):
        published.from_onnx_alexnet(caffe.save(tmp_path), **EIGHTH)


@pytest.mark.parametrize("content", [b"", b"not a model at all", None])
def test_truncated_and_foreign_files_are_one_clear_error(onnx, tmp_path, content):
    path = Caffe(onnx).save(tmp_path)
    path.write_bytes(path.read_bytes()[:-1_000] if content is None else content)
    with pytest.raises(DataError, match=r"small\.onnx is (damaged|not AlexNet)"):
        published.from_onnx_alexnet(path, **EIGHTH)


def test_alexnet_is_looked_for_before_it_is_fetched_with_its_hash(onnx, tmp_path, monkeypatch):
    read, fetched = [], []
    monkeypatch.setattr(published, "from_onnx_alexnet", read.append)
    monkeypatch.setattr(artifacts, "fetch", lambda *request: fetched.append(request) or request[-1])
    monkeypatch.setenv("CNNINTE_DATA", str(tmp_path / "packs"))
    published.imagenet("alexnet")
    cached = artifacts.cache_dir() / "data" / "weights" / "bvlcalexnet-12.onnx"
    assert fetched == [(published.ALEXNET.url, published.ALEXNET.sha256, cached)]
    assert fetched[0][1].startswith("6b0da951")
    own = tmp_path / "packs" / "weights" / "bvlcalexnet-12.onnx"
    for path in (cached, own):
        path.parent.mkdir(parents=True)
        path.touch()
        published.imagenet("alexnet")
    assert len(fetched) == 1
    assert read == [cached, cached, own]


# AlexNet's convolutions alone


def convolutions(filters=(96, 256, 384, 384, 256), dtype=np.float32):
    """Made-up weights in the file's layout: (height, width, channels of the group, filters)."""
    rng = np.random.default_rng(0)
    channels = (3, filters[0] // 2, filters[1], filters[2] // 2, filters[3] // 2)
    arrays = {}
    for step, (n, c, side) in enumerate(zip(filters, channels, (11, 5, 3, 3, 3), strict=True), start=1):
        arrays[f"conv{step}/kernel"] = rng.normal(0, 0.02, (side, side, c, n)).astype(dtype)
        arrays[f"conv{step}/bias"] = rng.normal(0, 1, n).astype(dtype)
    return arrays


EIGHTH_FILTERS = (12, 32, 48, 48, 32)


@pytest.fixture
def npz(tmp_path, monkeypatch):
    """Where the file is looked for, and a function that writes it."""
    monkeypatch.setenv("CNNINTE_DATA", str(tmp_path / "packs"))
    path = tmp_path / "packs" / "weights" / "alexnet_convolutions.npz"
    path.parent.mkdir(parents=True)

    def write(arrays):
        np.savez(path, **arrays)
        return path

    return write


def test_convolutions_see_blue_green_red_in_0_255_less_the_mean(npz):
    """Three windows by hand; of the 4·55 + 11 − 224 = 7 pixels of padding 3 are above and on the left."""
    arrays = convolutions()
    npz(arrays)
    weights = published.imagenet_convolutions("alexnet")
    model = network_of_convolutions(weights, input_size=224, padding="same")
    image = images_of(224, n=1)
    found = output_of(model, "conv1").predict(image, verbose=0)[0]
    assert found.shape == (56, 56, 96)
    pixels = 255 * image[0, :, :, [2, 1, 0]].transpose(1, 2, 0).astype(float)  # indexing puts colours first
    pixels -= [104.00698793, 116.66876762, 122.67891434]
    padded = np.pad(pixels, ((3, 4), (3, 4), (0, 0)))
    for y, x in ((0, 0), (10, 31), (55, 55)):
        window = padded[4 * y : 4 * y + 11, 4 * x : 4 * x + 11]
        sums = (window[..., None] * arrays["conv1/kernel"]).sum(axis=(0, 1, 2)) + arrays["conv1/bias"]
        assert 20 < (sums > 0).sum() < 76
        np.testing.assert_allclose(found[y, x], np.maximum(sums, 0), atol=2e-3 * np.abs(sums).max())


def network_of_convolutions(weights, **options):
    model = builders.build("alexnet", n_classes=10, **weights.options | options)
    assert weights.put_into(model) == ["fc8"]
    return model


def test_other_convolutions_are_as_they_lie_in_the_file(npz):
    arrays = convolutions(EIGHTH_FILTERS)
    found = published.from_npz_alexnet(npz(arrays), width=1 / 8)
    assert list(found.arrays) == ["conv1", "conv2", "conv3", "conv4", "conv5"]
    assert np.array_equal(found.arrays["conv1"][0], arrays["conv1/kernel"][:, :, [2, 1, 0]])
    for step in (2, 3, 4, 5):
        for i, kind in enumerate(("kernel", "bias")):
            assert np.array_equal(found.arrays[f"conv{step}"][i], arrays[f"conv{step}/{kind}"])


def test_npz_and_onnx_of_the_same_weights_are_the_same(onnx, tmp_path, npz):
    caffe = Caffe(onnx)
    theirs = published.from_onnx_alexnet(caffe.save(tmp_path), **EIGHTH)
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in caffe.tensors}
    arrays = {}
    for step in range(1, 6):
        arrays[f"conv{step}/kernel"] = tensors[f"conv{step}_w"].transpose(2, 3, 1, 0)
        arrays[f"conv{step}/bias"] = tensors[f"conv{step}_b"]
    ours = published.from_npz_alexnet(npz(arrays), width=1 / 8)
    assert ours.fingerprint == theirs.without("fc6", "fc7", "fc8").fingerprint
    for name in ("mean", "std", "variant", "padding", "width"):
        assert ours.options[name] == theirs.options[name]


def nothing_finite(arrays):
    arrays["conv3/bias"][5] = np.nan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("conv4/bias"), "expected the arrays conv1/kernel, .*conv5/bias, found"),
        (lambda a: a.update({"fc6/kernel": np.zeros(3)}), "expected the arrays .* found .*fc6/kernel"),
        (lambda a: a.clear(), "found none"),
        (
            lambda a: a.update({"conv2/kernel": a["conv2/kernel"].transpose(3, 2, 0, 1)}),
            r"conv2/kernel should be finite float32 \(5, 5, 6, 32\), found float32 \(32, 6, 5, 5\)",
        ),
        (
            lambda a: a.update({"conv1/bias": a["conv1/bias"].astype(np.float16)}),
            r"conv1/bias should be finite float32 \(12,\), found float16 \(12,\)",
        ),
        (nothing_finite, r"conv3/bias should be finite float32 \(48,\), found float32"),
        (lambda a: a.update({"conv5/bias": np.array([print] * 32, object)}), "is damaged"),
    ],
)
def test_other_arrays_are_one_clear_error(npz, change, message):
    arrays = convolutions(EIGHTH_FILTERS)
    change(arrays)
    with pytest.raises(DataError, match=message):
        published.from_npz_alexnet(npz(arrays), width=1 / 8)


def test_truncated_convolutions_are_one_clear_error(npz):
    path = npz(convolutions(EIGHTH_FILTERS))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"alexnet_convolutions\.npz is damaged or no archive of arrays"):
        published.imagenet_convolutions("alexnet")


def test_absent_convolutions_say_where_they_belong(npz):
    with pytest.raises(
        DataError, match=r"The file of AlexNet's convolutions is not in .*packs or .*weights/ of the folder"
    ):
        published.imagenet_convolutions("alexnet")


def test_convolutions_are_alexnets_only():
    with pytest.raises(ValueError, match="are alexnet's only, not 'vgg19'"):
        published.imagenet_convolutions("vgg19")


def test_real_convolutions(real_data):
    if published.ALEXNET_CONVOLUTIONS.find() is None:
        pytest.skip(f"needs real data: {published.ALEXNET_CONVOLUTIONS.places[0]} in $CNNINTE_DATA")
    weights = published.imagenet_convolutions("alexnet")
    model = network_of_convolutions(weights, input_size=224, padding="same")
    assert output_of(model, "maxpool5").output_shape == (None, 6, 6, 256)
    kernel = weights.arrays["conv1"][0].astype(float)
    grey = kernel.mean(axis=2, keepdims=True)
    greyness = 3 * (grey**2).sum(axis=(0, 1, 2)) / (kernel**2).sum(axis=(0, 1, 2))
    halves = sorted([np.median(greyness[:48]), np.median(greyness[48:])])
    assert halves[0] < 0.5 < 0.9 < halves[1]  # conv2's two groups make one half see colours, one grey edges


def test_without_onnx_the_extra_is_named_before_anything_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr(published, "find_spec", lambda name: None)
    monkeypatch.setattr(artifacts, "fetch", lambda *request: pytest.fail("fetched"))
    with pytest.raises(ImportError, match=r"cnninte-utils\[onnx\]"):
        published.imagenet("alexnet")


def test_other_networks_have_none():
    with pytest.raises(ValueError, match="no ImageNet weights for 'mnist_cnn': choose one of alexnet, vgg19"):
        published.imagenet("mnist_cnn")
