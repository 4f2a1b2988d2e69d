import pytest

from cnninte_utils.checks import require


def test_message_names_parameter_value_and_what_is_allowed():
    with pytest.raises(ValueError, match="parameter steps is -3; allowed: a positive number"):
        require(False, "steps", -3, "a positive number")


def test_valid_value_passes():
    require(True, "steps", 3, "a positive number")
