"""Walk `paper` of notebooks 20-23 and 30-32, every cell, on few images, in less than 12 GB.

Networks have the full width and take 224×224 pixels. AlexNet and VGG19 are read from files of the published
layouts (Caffe's in ONNX, Keras's in HDF5) that are filled with random weights first, so that nothing is
downloaded. Parameters are those of `paper` but for SMALLEST. Each notebook runs in a process of its own; its
time and the peak of its memory are printed.

    python benchmarks/walk_paper.py            # all seven
    python benchmarks/walk_paper.py 20 31
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["MPLBACKEND"] = "agg"

import h5py
import keras
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import onnx

from cnninte_utils import artifacts, datasets
from cnninte_utils.networks import builders, published
from cnninte_utils.series import plan

MOST_GB = 12
_TRANSFER = {"dataset": "toyworld", "epochs": 1}
_PAIRS = {"epochs": 1, "batch_size": 16, "n_train": 32}
SMALLEST = {
    "20": _TRANSFER,
    "21": _TRANSFER
    | {"image_class": "fish", "n_control": 1, "climb_steps": 2, "n_pictures": 1, "large_layers": [5]},
    "22": _TRANSFER
    | {"n_per_class": 30, "n_seeds": 1, "max_iter": 250, "projections": ["tsne", "pca"]}
    | {"refine_epochs": [1, 2], "refine_train": 32},
    "23": _TRANSFER
    | {
        "epochs_proper": 1,
        "n_train": 32,
        "n_per_class": 30,
        "n_seeds": 2,
        "n_samples": 2,
        "max_iter": 250,
        "image_class": "fish",
    },
    "30": _PAIRS | {"dataset": "toyworld_scenes", "path_images": 32, "path_epochs": 1},
    "31": _PAIRS
    | {"dataset": ["toyworld_scenes"], "labelled": "toyworld_broden", "n_images": 60, "n_null": 1},
    "32": _PAIRS
    | {"dataset": "toyworld_scenes", "labelled": "toyworld_broden", "n_images": 60, "n_null": 1}
    | {"networks": ["alexnet"], "factors": [0.0, 1.0], "n_seeds": [1], "skip_epochs": 1},
}


def write_alexnet(path: Path) -> None:
    """Write a graph of Caffe's AlexNet, of random weights: its convolutions and dense layers."""
    options = {"variant": "caffe", "padding": "valid", "head": "fc", "input_size": 227}
    network = builders.build("alexnet", n_classes=published.N_CLASSES, **options)
    nodes, tensors = [], []
    for layer in network.layers:
        if layer.name.startswith(("conv", "fc")):
            kernel, bias = layer.get_weights()
            kind, axes = ("Conv", (3, 2, 0, 1)) if kernel.ndim == 4 else ("Gemm", (1, 0))
            arrays = {
                f"{layer.name}_w": np.ascontiguousarray(kernel.transpose(axes)),
                f"{layer.name}_b": bias,
            }
            tensors += [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
            attributes = {"transB": 1} if kind == "Gemm" else {}
            nodes.append(onnx.helper.make_node(kind, ["x", *arrays], ["y"], **attributes))
    graph = onnx.helper.make_graph(nodes, "AlexNet", [], [], tensors)
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())


def write_vgg19(path: Path) -> None:
    """Write Keras's VGG19, of random weights, in the layout of the published file."""
    network = keras.applications.VGG19(weights=None)
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in network.layers]
        for layer in network.layers:
            group = file.create_group(layer.name)
            arrays = dict(zip((f"{layer.name}_W", f"{layer.name}_b"), layer.get_weights(), strict=False))
            group.attrs["weight_names"] = [name.encode() for name in arrays]
            for name, array in arrays.items():
                group[name] = array


def walk(number: str) -> None:
    """Run every cell of a notebook in this process, with networks from the files in ``$CNNINTE_DATA``."""
    path = published.ALEXNET.find()
    published.ALEXNET = replace(published.ALEXNET, sha256=artifacts.file_digest(path))
    load = datasets.load
    datasets.load = lambda name: few(load(name)) if name == "toyworld" else load(name)
    (notebook,) = plan.select(plan.load_series(plan.project_dir()), [number])
    parameters = plan.injected_parameters(notebook, "paper") | SMALLEST[number]
    names = {}
    for i, cell in enumerate(nbformat.read(notebook.path, as_version=4).cells):
        if cell.cell_type == "code":
            exec(compile(cell.source, f"{notebook.file}, cell {i}", "exec"), names)
            plt.close("all")
        if "parameters" in cell.metadata.get("tags", []):
            names |= parameters


def few(data: datasets.ImageDataset) -> datasets.ImageDataset:
    """Return two classes: ten mini-batches for training, of each 30 images for validation and 100 in test."""
    data = data.with_classes(2).with_train(160)
    splits = {"validation": (data.validation, 30), "test": (data.test, 100)}
    return replace(data, **{name: split.take(split.per_class(n, 0)) for name, (split, n) in splits.items()})


def main(*numbers: str) -> None:
    for setting in ("MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_"):  # of `make`; not in runs at `paper`
        os.environ.pop(setting, None)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CNNINTE_DATA"], os.environ["CNNINTE_CACHE"] = f"{folder}/data", f"{folder}/cache"
        os.environ["CNNINTE_RUN_DIR"] = f"{folder}/run"
        for source, write in ((published.ALEXNET, write_alexnet), (published.VGG19, write_vgg19)):
            path = Path(folder) / "data" / source.places[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path)
        for number in numbers or SMALLEST:
            started = time.perf_counter()
            child = subprocess.Popen([sys.executable, __file__, "--walk", number])
            _, status, usage = os.wait4(child.pid, 0)
            seconds, gigabytes = time.perf_counter() - started, usage.ru_maxrss / 2**20
            print(f"{number} at paper: {seconds:.0f} s, {gigabytes:.1f} GB at the peak", flush=True)
            assert status == 0, f"notebook {number} did not get to its end"
            assert gigabytes < MOST_GB, f"notebook {number} takes more than {MOST_GB} GB"


if __name__ == "__main__":
    walk(sys.argv[2]) if sys.argv[1:2] == ["--walk"] else main(*sys.argv[1:])
