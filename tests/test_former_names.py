"""What was stored before the modules moved is found and read."""

import json
import subprocess
import sys
from zipfile import ZipFile

import keras
import numpy as np
import pytest

from cnninte_utils.artifacts import key
from cnninte_utils.datasets import ImageDataset, Split
from cnninte_utils.methods.dissection import passes
from cnninte_utils.methods.group_norms import BlockNorm, Penalty, WeightDecay, observed
from cnninte_utils.networks import builders, training
from cnninte_utils.networks.parts import GroupedConv2D, LocalResponseNormalization

FORMER = {
    "networks.parts": "layers",
    "methods.group_norms.weights": "regularizers",
    "methods.group_norms.activations": "activation_regularizers",
}


def as_it_was(stored):
    for now, then in FORMER.items():
        stored = stored.replace(f"cnninte_utils.{now}", f"cnninte_utils.{then}")
    return stored


@pytest.mark.parametrize(
    "thing",
    [
        GroupedConv2D(4, 3, groups=2, name="c"),
        LocalResponseNormalization(name="n"),
        BlockNorm(2),
        WeightDecay(),
    ],
    ids=lambda thing: type(thing).__name__,
)
def test_stored_objects_of_the_first_edition_are_read(thing):
    text = json.dumps(keras.saving.serialize_keras_object(thing))
    stored = as_it_was(text)
    assert stored != text
    again = keras.saving.deserialize_keras_object(json.loads(stored))
    assert type(again) is type(thing)
    assert again.get_config() == thing.get_config()


def test_key_of_a_dissection_is_that_of_the_first_edition():
    model = observed(Penalty("block_norm", n_groups=2).applied_to(builders.alexnet(input_size=64, width=0.1)))
    text = model.to_json()
    assert all(f"cnninte_utils.{now}" in text for now in FORMER)
    assert passes._with_former_modules(text) == as_it_was(text)


def test_key_of_a_training_is_that_of_the_first_edition():
    split = Split(np.zeros((10, 28, 28, 1), np.float32), np.arange(10))
    data = ImageDataset("zeros", split, split, split, tuple("0123456789"), "nothing")
    run = training._Training("mnist_cnn", {}, data, training.Recipe(), None, Penalty("proximal"))
    determinants = run.determinants()
    assert {determinants.pop("keras"), determinants.pop("backend")} == {keras.__version__, "tensorflow"}
    assert key(determinants) == "30b21175c8375e57"  # noted down before the modules moved


def test_files_with_a_penalty_are_read_where_nobody_has_imported_penalties(tmp_path):
    model = observed(Penalty("block_norm", n_groups=2).applied_to(builders.alexnet(input_size=64, width=0.1)))
    model.save(tmp_path / "new.keras")
    with ZipFile(tmp_path / "new.keras") as new, ZipFile(tmp_path / "old.keras", "w") as old:
        for name in new.namelist():
            content = new.read(name)
            old.writestr(name, as_it_was(content.decode()) if name == "config.json" else content)
    code = "import sys; from cnninte_utils.networks.training import load_model; load_model(sys.argv[1])"
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / name)])
        for name in ("new.keras", "old.keras")
    ]
    assert [process.wait() for process in processes] == [0, 0]
