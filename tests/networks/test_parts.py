import keras
import numpy as np
import pytest
import tensorflow as tf

from cnninte_utils.networks.gradients import vector_jacobian_product
from cnninte_utils.networks.parts import GroupedConv2D, LocalResponseNormalization


def maps(*shape):
    return np.random.default_rng(0).normal(0, 20, shape).astype(np.float32)


def test_response_normalization_by_hand():
    """Of 1, 2, 3, 4, 5 the neighbours within 1 have the energies 5, 14, 29, 50, 41."""
    values = np.array([1, 2, 3, 4, 5], np.float32).reshape(1, 1, 1, 5)
    layer = LocalResponseNormalization(radius=1, alpha=0.5, beta=2.0, bias=3.0)
    by_hand = [1 / 5.5**2, 2 / 10**2, 3 / 17.5**2, 4 / 28**2, 5 / 23.5**2]
    assert np.allclose(np.ravel(layer(values)), by_hand, rtol=1e-6)


def test_response_normalization_is_tensorflows_with_the_values_of_caffe():
    values = maps(2, 3, 4, 9)
    theirs = tf.nn.local_response_normalization(values, depth_radius=2, bias=1, alpha=2e-5, beta=0.75)
    ours = np.asarray(LocalResponseNormalization()(values))
    assert np.allclose(ours, theirs, rtol=1e-5)
    assert np.abs(ours - values).max() > 0.1


def test_response_normalization_is_torchs():
    torch = pytest.importorskip("torch", reason="needs torch, which is in no extra")
    values = maps(2, 3, 4, 9)
    theirs = torch.nn.functional.local_response_norm(
        torch.from_numpy(values.transpose(0, 3, 1, 2)), 5, alpha=1e-4, beta=0.75, k=1.0
    )
    ours = np.asarray(LocalResponseNormalization()(values))
    assert np.allclose(ours.transpose(0, 3, 1, 2), theirs, rtol=1e-5)


def convolution(layer_class, **options):
    image = keras.Input((9, 9, 4))
    layer = layer_class(6, 3, groups=2, activation="relu", name="conv", **options)
    return keras.Model(image, layer(image))


@pytest.mark.parametrize(
    "options", [{"padding": "same"}, {"padding": "valid", "strides": 2}, {"dilation_rate": 2}]
)
def test_grouped_convolution_and_its_gradient_are_keras(options):
    ours, keras_own = convolution(GroupedConv2D, **options), convolution(keras.layers.Conv2D, **options)
    weights = [maps(*w.shape) for w in keras_own.weights]
    ours.set_weights(weights)
    keras_own.set_weights(weights)
    images = np.random.default_rng(0).random((2, 9, 9, 4), np.float32)
    cotangents = maps(2, *ours.output_shape[1:])
    # Keras's own gradient of a grouped convolution exists on a CPU only compiled
    with tf.GradientTape() as tape:
        x = tf.convert_to_tensor(images)
        tape.watch(x)
        theirs = tf.function(keras_own, jit_compile=True)(x)
    their_gradient = tape.gradient(theirs, x, output_gradients=cotangents)
    outputs, gradient = vector_jacobian_product(ours, images, cotangents)
    assert np.allclose(outputs, theirs, rtol=1e-4, atol=1e-4)
    assert np.allclose(gradient, their_gradient, rtol=1e-4, atol=1e-4)


def test_channels_first_are_refused():
    with pytest.raises(ValueError, match="takes channels last"):
        GroupedConv2D(6, 3, groups=2, data_format="channels_first")(keras.Input((4, 9, 9)))


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_response_normalization_in_half_precision(dtype):
    values = maps(2, 3, 4, 9) * 20  # whose squares float16 cannot hold
    expected = np.asarray(LocalResponseNormalization()(values))
    found = LocalResponseNormalization(dtype=dtype)(keras.ops.cast(values, dtype.removeprefix("mixed_")))
    assert keras.backend.standardize_dtype(found.dtype) == dtype.removeprefix("mixed_")
    assert np.allclose(keras.ops.cast(found, "float32"), expected, rtol=0.02)


def test_groups_do_not_see_each_other():
    model = convolution(GroupedConv2D)
    images = maps(1, 9, 9, 4)
    other = images.copy()
    other[..., 2:] += 10
    before, after = model.predict(images, verbose=0), model.predict(other, verbose=0)
    assert np.array_equal(before[..., :3], after[..., :3])
    assert not np.allclose(before[..., 3:], after[..., 3:])


def test_both_survive_saving_in_safe_mode(tmp_path):
    image = keras.Input((9, 9, 4))
    x = GroupedConv2D(6, 3, groups=2, padding="same", name="conv")(image)
    model = keras.Model(image, LocalResponseNormalization(1, 0.5, 0.6, 2.0, name="lrn")(x))
    model.save(tmp_path / "network.keras")
    again = keras.models.load_model(tmp_path / "network.keras", safe_mode=True)
    images = np.random.default_rng(0).random((2, 9, 9, 4), np.float32)
    assert [type(layer) for layer in again.layers[1:]] == [GroupedConv2D, LocalResponseNormalization]
    assert np.array_equal(model.predict(images, verbose=0), again.predict(images, verbose=0))
