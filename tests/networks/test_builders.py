import keras
import numpy as np
import pytest

from cnninte_utils.networks import builders, lookup, residual
from cnninte_utils.papers import qdv


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return builders.mnist_cnn()


def test_layers_are_the_papers(network):
    names = [layer.name for layer in network.layers]
    assert names == [
        "image",
        "conv1",
        "pool1",
        "conv2",
        "pool2",
        "flatten",
        "fc1",
        "dropout",
        "fc2",
        "softmax",
    ]
    assert network.get_layer("pool2").output.shape == (None, 7, 7, 64)
    assert network.get_layer("dropout").rate == 0.5


def test_number_of_parameters_by_hand(network):
    by_hand = (25 * 1 + 1) * 32 + (25 * 32 + 1) * 64 + (7 * 7 * 64 + 1) * 128 + (128 + 1) * 10
    assert network.count_params() == by_hand


def test_initial_values_are_the_tutorials(network):
    for name in ("conv1", "conv2", "fc1", "fc2"):
        weights, bias = network.get_layer(name).get_weights()
        assert np.allclose(bias, 0.1)
        assert np.abs(weights).max() <= 0.2 + 1e-6
    fc1 = network.get_layer("fc1").get_weights()[0]
    assert abs(fc1.mean()) < 1e-3
    assert abs(fc1.std() - 0.088) < 1e-3  # a normal of σ = 0.1 cut at 2σ has 0.88 of its deviation


def test_output_is_probabilities(network):
    out = network.predict(np.random.default_rng(0).random((3, 28, 28, 1), np.float32), verbose=0)
    assert out.shape == (3, 10)
    assert np.allclose(out.sum(axis=1), 1, atol=1e-5)


def test_unknown_network_is_refused():
    with pytest.raises(ValueError, match="'lenet': choose one of mnist_cnn"):
        builders.build("lenet")


def alexnet(**options):
    return builders.alexnet(**{"width": 1 / 32} | options)


def output_sizes(network):
    return {layer.name: layer.output.shape[1] for layer in network.layers if len(layer.output.shape) == 4}


@pytest.fixture
def no_random_weights(monkeypatch):
    """Large networks to be counted only: zeros instead of 144 million normal numbers."""
    monkeypatch.setattr(
        keras.initializers.VarianceScaling,
        "__call__",
        lambda self, shape, dtype=None: keras.ops.zeros(shape, dtype),
    )


@pytest.mark.parametrize(
    ("builder", "options", "expected"),
    [
        (builders.alexnet, {"variant": "caffe", "padding": "valid", "input_size": 227}, 60_965_224),
        (builders.alexnet, {"variant": "caffe"}, 60_965_224),
        (builders.alexnet, {"variant": "one_tower"}, 61_100_840),
        (builders.vgg19, {}, 143_667_240),
    ],
)
def test_as_many_parameters_as_published(no_random_weights, builder, options, expected):
    assert builder(head="fc", n_classes=1_000, **options).count_params() == expected


def test_alexnets_filters_groups_and_flat_head_are_caffes(no_random_weights):
    network = builders.alexnet()
    kernels = {layer.name: layer.kernel.shape for layer in network.layers if layer.name.startswith("conv")}
    assert kernels == {
        "conv1": (11, 11, 3, 96),
        "conv2": (5, 5, 48, 256),
        "conv3": (3, 3, 256, 384),
        "conv4": (3, 3, 192, 384),
        "conv5": (3, 3, 192, 256),
    }
    assert network.get_layer("fc8").kernel.shape == (9_216, 10)
    lrn = network.get_layer("lrn2")
    assert (lrn.radius, lrn.alpha, lrn.beta, lrn.bias) == (2, 2e-5, 0.75, 1.0)


def test_the_layers_looked_at_are_there_in_order():
    for name, layers in qdv.LAYERS.items():
        network = builders.build(name, width=1 / 32, input_size=67)
        assert [layer.name for layer in network.layers if layer.name in layers] == list(layers)


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ({}, (56, 27, 13, 6)),
        ({"padding": "valid"}, (54, 26, 12, 5)),
        ({"padding": "valid", "input_size": 227}, (55, 27, 13, 6)),
        ({"first_kernel": 7, "first_stride": 2}, (112, 55, 27, 13)),
        ({"first_kernel": 7, "first_stride": 2, "padding": "valid"}, (109, 54, 26, 12)),
    ],
)
def test_alexnets_sizes_by_hand(options, sizes):
    """SAME: ceil(224 / stride); VALID: floor((size − kernel) / stride) + 1; pooling 3/2 is VALID."""
    found = output_sizes(alexnet(**options))
    assert (found["conv1"], found["maxpool1"], found["maxpool2"], found["maxpool5"]) == sizes
    assert found["conv2"] == found["maxpool1"]
    assert found["conv5"] == found["maxpool2"]


def test_vgg19_halves_five_times():
    found = output_sizes(builders.vgg19(width=1 / 32, head="pooling"))
    assert [found[f"maxpool{i}"] for i in range(1, 6)] == [112, 56, 28, 14, 7]
    assert sum(name.startswith("conv") for name in found) == 16


@pytest.mark.parametrize("variant", ["caffe", "one_tower"])
def test_a_quarter_of_the_width(variant):
    network = alexnet(width=0.25, variant=variant, head="fc", input_size=67)
    filters = [network.get_layer(f"conv{i}").filters for i in range(1, 6)]
    expected = {"caffe": [24, 64, 96, 96, 64], "one_tower": [16, 48, 96, 64, 64]}
    assert filters == expected[variant]
    assert network.get_layer("fc6").units == 1_024
    assert ("lrn1" in [layer.name for layer in network.layers]) == (variant == "caffe")


def test_first_layer_standardizes_the_pixels():
    keras.utils.set_random_seed(0)
    mean, std = np.array([0.1, 0.5, 0.9]), np.array([0.2, 0.25, 0.5])
    network = alexnet(input_size=67, mean=mean.tolist(), std=std.tolist())
    plain = alexnet(input_size=67)
    plain.set_weights(network.get_weights())
    images = np.random.default_rng(0).random((2, 67, 67, 3), np.float32)
    before = keras.Model(network.input, network.get_layer("standardize").output).predict(images, verbose=0)
    assert np.allclose(before, (images - mean) / std, atol=1e-5)
    expected = plain.predict(before, verbose=0)
    assert np.allclose(network.predict(images, verbose=0), expected, atol=1e-5)
    assert not np.allclose(plain.predict(images, verbose=0), expected, atol=1e-3)


def test_batch_norm_stands_between_convolution_and_relu():
    network = alexnet(input_size=67, batch_norm=True)
    names = [layer.name for layer in network.layers]
    assert names[1:7] == ["conv1", "bn_conv1", "relu_conv1", "lrn1", "maxpool1", "conv2"]
    assert network.get_layer("conv1").activation is keras.activations.linear
    assert not network.get_layer("conv1").use_bias


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "two_towers"}, "unknown variant 'two_towers': choose one of caffe, one_tower"),
        ({"head": "fancy"}, "unknown head 'fancy': choose one of flat, fc, pooling"),
        ({"mean": [0.5, 0.5, 0.5]}, "mean and std go together"),
    ],
)
def test_unknown_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        alexnet(input_size=67, **options)


def test_networks_are_built_by_name():
    assert builders.build("vgg19", width=1 / 32, input_size=32, head="pooling", n_classes=7).output_shape == (
        None,
        7,
    )


def n_trainable(network):
    return sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)


@pytest.mark.parametrize(
    ("builder", "options", "expected"),
    [
        (builders.resnet, {}, 269_722),  # the paper: 0.27 M
        (builders.resnet, {"depth": 56}, 853_018),  # 0.85 M
        (builders.densenet, {}, 1_019_722),  # 1.0 M
    ],
)
def test_networks_with_skips_have_as_many_weights_as_published(builder, options, expected):
    assert n_trainable(builder(**options)) == expected


def test_resnets_weights_by_hand():
    """Kernels, two numbers a channel for each normalisation, classes; the shortcuts have none."""
    kernels = 9 * (3 * 16 + 2 * 16 * 16 + 16 * 32 + 32 * 32 + 32 * 64 + 64 * 64)
    norms = 2 * (3 * 16 + 2 * 32 + 2 * 64)
    assert n_trainable(builders.resnet(depth=8)) == kernels + norms + 65 * 10


def test_densenets_feature_maps_by_hand():
    """16, then 12 more for each of twelve convolutions in each block: 160, 304, 448."""
    network = builders.densenet()
    maps = [network.get_layer(name).output.shape[1:] for name in ("conv14", "conv27", "relu_before_pooling")]
    assert maps == [(32, 32, 160), (16, 16, 304), (8, 8, 448)]
    names = [layer.name for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    assert names == [f"conv{i}" for i in range(1, 40)]


def test_resnets_shortcut_takes_every_other_pixel_and_adds_empty_channels():
    network = builders.resnet(depth=8)
    tensors = [network.get_layer(name).output for name in ("relu_add3", "zeros_conv5")]
    image = np.random.default_rng(0).random((1, 32, 32, 3), np.float32)
    before, after = keras.Model(network.input, tensors).predict(image, verbose=0)
    np.testing.assert_array_equal(after[..., 8:24], before[:, ::2, ::2])
    assert after.shape == (1, 16, 16, 32)
    assert not after[..., :8].any()
    assert not after[..., 24:].any()


@pytest.mark.parametrize(
    ("name", "options"), [("resnet", {"depth": 8}), ("densenet", {"depth": 7, "growth": 4})]
)
def test_networks_with_skips_learn_and_come_back_from_their_file(name, options, tmp_path):
    keras.utils.set_random_seed(0)
    network = builders.build(name, **options, input_size=16, n_classes=2, width=0.5)
    labels = np.arange(16) % 2
    images = (
        np.random.default_rng(0).random((16, 16, 16, 3), np.float32) / 4 + labels[:, None, None, None] / 2
    )
    network.compile("adam", "sparse_categorical_crossentropy")
    losses = network.fit(images, labels, epochs=8, batch_size=16, verbose=0).history["loss"]
    assert losses[-1] < 0.8 * losses[0]
    network.save(tmp_path / "network.keras")
    again = keras.models.load_model(tmp_path / "network.keras")
    assert np.allclose(again.predict(images, verbose=0), network.predict(images, verbose=0), atol=1e-6)


@pytest.mark.parametrize(
    ("builder", "depth", "message"),
    [(builders.resnet, 18, r"6n \+ 2 .* got 18"), (builders.densenet, 41, r"3n \+ 4 .* got 41")],
)
def test_impossible_depth_is_refused(builder, depth, message):
    with pytest.raises(ValueError, match=message):
        builder(depth=depth)


def test_feature_layers_of_the_papers_networks(network):
    assert lookup.feature_layers(network) == ["conv1", "conv2"]
    for variant in ("caffe", "one_tower"):
        convs = [f"conv{i}" for i in range(1, 6)]
        assert lookup.feature_layers(alexnet(input_size=67, variant=variant)) == convs
        normalized = alexnet(input_size=67, variant=variant, batch_norm=True)
        assert lookup.feature_layers(normalized) == [f"relu_{name}" for name in convs]
    vgg19 = lookup.feature_layers(builders.vgg19(width=1 / 32, input_size=32, head="pooling"))
    assert (len(vgg19), vgg19[0], vgg19[-1]) == (16, "conv1_1", "conv5_4")


def test_feature_layers_where_paths_meet(no_random_weights):
    assert lookup.feature_layers(builders.resnet(depth=8)) == [
        "relu_conv1", "relu_conv2", "conv3", "relu_conv4", "conv5", "relu_conv6", "conv7",
    ]  # fmt: skip
    assert lookup.feature_layers(builders.densenet(depth=7)) == [f"conv{i}" for i in range(1, 7)]
    found = lookup.feature_layers(keras.applications.ResNet50(weights=None))
    assert len(found) == 53
    assert sum(name.endswith("_relu") for name in found) == 33
    assert found[:3] == ["conv1_relu", "conv2_block1_1_relu", "conv2_block1_2_relu"]
    assert found[3:5] == ["conv2_block1_0_conv", "conv2_block1_3_conv"]


def test_feature_layers_pass_over_what_changes_no_shape():
    layers = keras.layers
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", name="a")(image)
    x = layers.Activation("linear")(layers.Dropout(0.5)(layers.BatchNormalization()(x)))
    x = layers.Activation("relu", name="relu_a")(x)
    x = layers.MaxPooling2D(2)(layers.Conv2D(4, 3, padding="same", name="pooled_first")(x))
    x = layers.Conv2D(4, 1, name="linear")(layers.ReLU()(x))
    x = layers.Conv2D(4, 1, activation="relu", name="fused")(x)
    x = layers.Conv2D(4, 1, name="twice")(x)
    x = layers.Add()([layers.ReLU()(x), x])
    model = keras.Model(image, layers.Conv2D(4, 1, name="last")(x))
    assert lookup.feature_layers(model) == ["relu_a", "pooled_first", "linear", "fused", "twice", "last"]


@pytest.mark.parametrize("name", ["alexnet", "vgg19"])
@pytest.mark.parametrize("width", [0, -1.0, float("nan")])
def test_a_width_that_leaves_no_filter_is_refused(name, width):
    with pytest.raises(ValueError, match="width must be a positive fraction"):
        builders.build(name, input_size=64, width=width)


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (builders.alexnet, {"mean": [0.5] * 3, "std": [0.0] * 3}, "std three above 0"),
        (
            builders.alexnet,
            {"mean": [124.0, 116.0, 104.0], "std": [1.0] * 3},
            r"mean must be three numbers in \[0, 1\]",
        ),
        (builders.alexnet, {"mean": [np.nan] * 3, "std": [1.0] * 3}, "mean must be finite"),
        (builders.alexnet, {"mean": [0.5] * 2, "std": [1.0] * 2}, "mean must be three numbers"),
        (builders.alexnet, {"batch_norm": "yes"}, "unknown batch_norm 'yes'"),
        (builders.alexnet, {"padding": "x"}, "unknown padding 'x': choose one of same, valid"),
        (builders.alexnet, {"input_size": 0}, "input_size must be at least 1"),
        (builders.alexnet, {"n_classes": 0}, "n_classes must be at least 1"),
        (builders.alexnet, {"first_stride": 0}, "first_stride must be at least 1"),
        (builders.mnist_cnn, {"n_classes": 0}, "n_classes must be at least 1"),
        (residual.densenet, {"growth": 0}, "growth must be at least 1"),
    ],
)
def test_options_that_cannot_be_are_refused_by_name(build, options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)
