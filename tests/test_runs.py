import pytest

from cnninte_utils.runs import Run


@pytest.mark.parametrize("preset", ["", "..", "../elsewhere", "a/b", "/tmp", 3, None])
def test_a_preset_that_is_no_name_of_a_folder_is_refused(preset):
    with pytest.raises(ValueError, match=r"parameter preset is .*; allowed: a name of letters, digits"):
        Run("10_x", preset, "digits", 0)


@pytest.mark.parametrize("dataset", ["", 3, None, ["digits"]])
def test_what_is_no_name_of_a_data_set_is_refused(dataset):
    with pytest.raises(ValueError, match=r"parameter dataset is .*; allowed: the name of a data set"):
        Run("10_x", "quick", dataset, 0)


@pytest.mark.parametrize("seed", [-1, 2**32, 0.5, "0", None, True])
def test_a_seed_that_no_generator_takes_is_refused(seed):
    with pytest.raises(ValueError, match="seed"):
        Run("10_x", "quick", "digits", seed)


def test_files_are_named_after_notebook_and_seed():
    assert Run("10_x", "my.preset-2", "digits", 2**32 - 1).name == "10_x.seed4294967295"
