import numpy as np
import pytest

from cnninte_utils import checks


def test_message_names_parameter_value_and_what_is_allowed():
    with pytest.raises(ValueError, match="parameter steps is -3; allowed: a positive number"):
        checks.require(False, "steps", -3, "a positive number")


def test_valid_value_passes():
    checks.require(True, "steps", 3, "a positive number")


def test_choice_gives_what_goes_with_a_name_or_the_name():
    assert checks.choice("rule", "b", {"a": 1, "b": 2}) == 2
    assert checks.choice("rule", "b", ("a", "b")) == "b"
    with pytest.raises(ValueError, match="unknown rule 'c': choose one of a, b"):
        checks.choice("rule", "c", ("a", "b"))


@pytest.mark.parametrize("number", [0, -1, 2.0, True, None, "3"])
def test_numbers_that_count_nothing_are_refused(number):
    with pytest.raises(ValueError, match="the whole number steps must be at least 1, got "):
        checks.at_least(1, epochs=1, steps=number)


def test_whole_numbers_of_numpy_count():
    checks.at_least(1, steps=np.int64(1))
    checks.at_least(0, steps=np.uint8(0))


@pytest.mark.parametrize("numbers", [[1], [1, 2, 3], [1, 0], [1, 2.0], [1, True], (1, 2), 2, None])
def test_what_does_not_count_for_each_is_refused(numbers):
    checks.one_for_each(["a", "b"], n=[1, 2])
    checks.one_for_each([], n=[])
    with pytest.raises(ValueError, match="n must be 2 whole numbers from 1 on, one for each of a, b, got"):
        checks.one_for_each(["a", "b"], n=numbers)


@pytest.mark.parametrize("factor", [-1e-9, float("inf"), float("nan")])
def test_factors_that_weigh_nothing_are_refused(factor):
    with pytest.raises(ValueError, match="strength must be finite and not negative, got"):
        checks.not_negative(group=0.0, strength=factor)


def test_nan_and_infinity_are_refused_by_the_name_of_the_array():
    checks.finite(a=np.zeros(3), b=np.ones(2))
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="b must be finite"):
            checks.finite(a=np.zeros(3), b=np.array([0, bad]))


def test_units():
    assert checks.units([0, 2], 3).tolist() == [0, 2]
    for numbers in ([], [3], [-1, 0]):
        with pytest.raises(ValueError, match="units must be between 0 and 2, got"):
            checks.units(numbers, 3)


def test_images_come_back_as_float32_of_the_shape_asked_for():
    images = np.linspace(0, 1, 24).reshape(2, 2, 2, 3)
    checked = checks.images(images, (2, 2, 3))
    assert checked.dtype == np.float32
    np.testing.assert_allclose(checked, images, rtol=1e-6)
    assert checks.images(checked) is checked
    assert len(checks.images(images, (None, None, 3))) == 2
    with pytest.raises(ValueError, match=r"takes images of shape \(2, 2, 1\), got \(2, 2, 3\)"):
        checks.images(images, (2, 2, 1))
    with pytest.raises(ValueError, match="at least one image"):
        checks.images(images[:0])


@pytest.mark.parametrize(("lowest", "highest"), [(0, 1.001), (-0.001, 1), (0, np.inf), (np.nan, 1)])
def test_one_pixel_out_of_range_is_enough(lowest, highest):
    images = np.full((2, 3, 3, 1), 0.5)
    images[0, 0, 0], images[1, 2, 2] = lowest, highest
    with pytest.raises(ValueError, match=r"must be floats in \[0, 1\], got .*: divide 0 … 255 by 255"):
        checks.images(images)


@pytest.mark.parametrize("number", [0, -1, 1.5, float("nan"), float("inf"), "0.5", None, True])
def test_numbers_outside_a_range_and_no_numbers_are_refused_by_name(number):
    with pytest.raises(ValueError, match="width must be a number above 0 and at most 1, got "):
        checks.within(0, 1, learning_rate=1, width=number)


def test_numbers_within_a_range_pass():
    checks.within(0, 1, width=1, share=np.float32(0.5))


@pytest.mark.parametrize(
    ("value", "form", "fits"),
    [
        (1, int, True),
        (True, int, False),
        (True, (int, bool), True),
        (1, (int, float), True),
        ([1, 2], [int], True),
        ([], [int], True),
        ([1, "a"], [int], False),
        ((1, 2), [int], False),
        ({"a": 1, "b": 2}, {"a": int}, True),
        ({"b": 2}, {"a": int}, False),
        ({"a": {"b": [[1]]}}, {"a": {"b": [[int]]}}, True),
        ({"a": {"b": [1]}}, {"a": {"b": [[int]]}}, False),
        (None, type(None), True),
    ],
)
def test_forms(value, form, fits):
    assert checks.has_form(value, form) is fits


def test_images_are_of_four_axes_unless_any_will_do():
    picture = np.zeros((4, 4, 3), np.float32)
    with pytest.raises(ValueError, match=r"images must be \(n, height, width, channels\), got \(4, 4, 3\)"):
        checks.images(picture)
    assert checks.images(picture, None).shape == (4, 4, 3)
    with pytest.raises(ValueError, match="got a list of arrays of different shapes"):
        checks.images([np.zeros((2, 2, 3)), np.zeros((3, 3, 3))])
