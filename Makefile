# Each target sets itself up: a virtual environment with what constraints.txt pins, made again when that changes.
#   make demo   make test   make test-slow   make bench   make lint   make clean
SHELL := /bin/bash
PYTHON ?= python3.11 python3 python
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-input -c constraints.txt
PYTEST ?=
.DELETE_ON_ERROR:
.PHONY: demo test test-slow bench lint clean

.venv/bin/python:
	@for python in $(PYTHON); do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then \
	    echo "$$python -m venv .venv"; $$python -m venv .venv || { rm -rf .venv; exit 1; }; exit 0; \
	  fi; \
	done; echo "tsforge needs Python 3.11 or newer: name one with make PYTHON=/path/to/python" >&2; exit 1

# torch comes first, so that the pinned version is settled before anything that depends on it.
.venv/ready-demo: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing what constraints.txt pins: some minutes the first time"
	$(PIP) "$$(grep '^torch==' constraints.txt)"
	$(PIP) -e '.[report]'
	@touch $@

.venv/ready-dev: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing what constraints.txt pins: some minutes the first time"
	$(PIP) "$$(grep '^torch==' constraints.txt)"
	$(PIP) -e '.[dev]'
	@touch $@ .venv/ready-demo

# Weekly carbon dioxide at Mauna Loa, read from a package: a fit, a forecast, and a backtest beside seasonal naive.
SIZES := --h 52 --input-size 104 --set max_steps=150 --set learning_rate=0.005
SMALL := --set d_model=8 --set d_ff=16 --set top_k=3 --set num_kernels=4
demo: .venv/ready-demo
	$(BIN)/tsforge fit co2 --model dlinear $(SIZES) --out runs/demo/co2 --overwrite
	$(BIN)/tsforge predict runs/demo/co2 --level 80 --out runs/demo/co2.csv --overwrite
	@head -n 5 runs/demo/co2.csv
	$(BIN)/tsforge backtest co2 --model dlinear --model timesnet $(SIZES) $(SMALL) --windows 6 --level 80 \
	  --out runs/demo/backtest --overwrite

# two processes of one thread; PYTEST="-n 0" is one, for a debugger
test: .venv/ready-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2 --dist worksteal $(PYTEST)

test-slow: .venv/ready-dev
	$(BIN)/python -m pytest -m slow $(PYTEST)

# large temporaries fault page by page on some machines, which would flatter the scans
TUNED := MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=4294967296
bench: .venv/ready-dev
	$(BIN)/python bench/backtest.py
	$(BIN)/python bench/import_time.py
	$(BIN)/python bench/loader.py
	$(BIN)/python bench/predict.py
	$(BIN)/python bench/models.py
	$(BIN)/python bench/streaming.py
	$(BIN)/python bench/local.py
	$(BIN)/python bench/timesnet.py
	$(BIN)/python bench/store.py
	$(BIN)/python bench/sweeps.py
	$(TUNED) $(BIN)/python bench/kernels.py
	$(TUNED) $(BIN)/python bench/kernels_selective.py
	$(TUNED) $(BIN)/python bench/kernels_grid.py

lint: .venv/ready-dev
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

clean:
	rm -rf .venv runs/demo .pytest_cache .ruff_cache .hypothesis .import_linter_cache
