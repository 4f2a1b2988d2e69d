.PHONY: run test lint unit unit-methods unit-rest notebooks lab bench clean
VENV := .venv
PYTHON ?= python3
MAKEFLAGS += --no-print-directory
# glibc keeps a tensor's memory for the next step instead of asking the system for it again
export MALLOC_MMAP_MAX_ := 0
export MALLOC_TRIM_THRESHOLD_ := 68719476736
# images of containers often set it: each process then compiles TensorFlow's Python anew, for 6 seconds
unexport PYTHONDONTWRITEBYTECODE

run: $(VENV)/.installed ## the whole series at quick, on embedded data, two notebooks at a time
	$(VENV)/bin/cnninte run --jobs 2

test: lint ## lint; then unit tests and committed notebooks, two parts at a time
	$(MAKE) --jobs=2 --output-sync=target unit notebooks

lint: $(VENV)/.installed ## style and import contracts
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports

unit: unit-methods unit-rest ## unit tests

unit-methods: $(VENV)/.installed
	$(VENV)/bin/python -m pytest tests/methods

unit-rest: $(VENV)/.installed
	$(VENV)/bin/python -m pytest --ignore=tests/methods

notebooks: $(VENV)/.installed ## the committed notebooks, every cell; the scoreboard after all others
	folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	export OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 CNNINTE_RUN_DIR=$$folder; \
	$(MAKE) notebooks-9

TENS := $(shell ls notebooks | grep ipynb | cut -c1 | sort -ru)
notebooks-9: $(patsubst %,notebooks-%,$(filter-out 9,$(TENS)))
notebooks-%:
	$(VENV)/bin/python -m pytest -p no:cacheprovider --nbval-lax --nbval-cell-timeout=600 notebooks/$*?_*.ipynb

lab: $(VENV)/.installed ## JupyterLab with the series' kernel
	$(VENV)/bin/python -m ipykernel install --sys-prefix --name python3 --display-name "Python 3 (cnninte)"
	$(VENV)/bin/jupyter lab notebooks

bench: $(VENV)/.installed ## ratios against plain scripts, LIME and shap; `paper` walked with random weights
	$(VENV)/bin/python benchmarks/bench_cnn_inte.py
	$(VENV)/bin/python benchmarks/bench_deconvnet.py
	$(VENV)/bin/python benchmarks/bench_qdv.py
	$(VENV)/bin/python benchmarks/bench_dissection.py
	$(VENV)/bin/python benchmarks/bench_attribution.py
	$(VENV)/bin/python benchmarks/walk_paper.py

clean: ## runs, learners' copies, trained networks, the environment
	-$(VENV)/bin/cnninte clean
	rm -rf $(VENV)

$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --no-deps --no-compile -r requirements.lock
	$(VENV)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@
