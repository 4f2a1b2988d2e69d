"""Every test has a cache of its own and no data folder but the one it names."""

import gc
import os

# Before NumPy and TensorFlow: threads that wait for each other take most of the time
os.environ["OMP_NUM_THREADS"] = os.environ["TF_NUM_INTRAOP_THREADS"] = "1"
os.environ["TF_NUM_INTEROP_THREADS"] = "1"

import pytest
from hypothesis import settings

# The same examples in every run: a check that fails is about the change, not about the draw.
# New draws: --hypothesis-profile=drawn
settings.register_profile("drawn", deadline=None)
settings.register_profile("series", deadline=None, derandomize=True)
settings.load_profile("series")

gc.set_threshold(100_000, 20, 50)  # graphs are many objects, and hardly any of them garbage

REAL_DATA = os.environ.get("CNNINTE_DATA")


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("CNNINTE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CNNINTE_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.delenv("CNNINTE_DATA", raising=False)


@pytest.fixture
def real_data(monkeypatch):
    """Give back the folder of real data packs, or skip and say why."""
    if not REAL_DATA:
        pytest.skip("needs real data: set CNNINTE_DATA to a folder with mnist/mnist.npz")
    monkeypatch.setenv("CNNINTE_DATA", os.path.abspath(REAL_DATA))
