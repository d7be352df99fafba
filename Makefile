# make demo, make test and make lint each set up all they need in .venv, and say what they do.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: demo test nightly lint zoo study-dense study-allconv drawbacks bench bundled clean

demo: $(VENV)/.demo
	@echo "== the demo: convert, prove, map, compare (pictures go to fullconv-demo/)"
	@$(BIN)/fullconv demo

test: $(VENV)/.test
	@echo "== the tests"
	@$(BIN)/python -m pytest $(PYTEST)

nightly: $(VENV)/.test
	@echo "== random networks, many of them, never the same"
	@HYPOTHESIS_PROFILE=nightly $(BIN)/python -m pytest tests/api/test_random_networks.py \
	  tests/api/test_random_streams.py tests/api/test_stream_zoo.py \
	  tests/storage/maps/test_map_kills.py tests/scanning/test_scan_kills.py $(PYTEST)

lint: $(VENV)/.test
	@echo "== style, types and layers"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

# Hours for some 370 models; can be stopped and run again. make zoo ZOO="--only 'timm:resnet*' --again"
zoo: $(VENV)/.test
	@echo "== which models convert: docs/coverage.md (results so far stay in .cache)"
	@$(BIN)/python docs/make_coverage.py $(ZOO)

# About an hour, most of it to train two networks; can be stopped and run again. Needs the data.
study-dense: $(VENV)/.test
	@echo "== dense evaluation against crops: docs/dense-evaluation.md (weights stay in .cache)"
	@PYTHONPATH=docs $(BIN)/python -m studies.dense_evaluation $(STUDY)

# About two hours on one core, to train 90 small networks; can be stopped and run again. Needs the data.
study-allconv: $(VENV)/.test
	@echo "== all-convolutional variants: docs/all-convolutional-study.md (runs stay in .cache)"
	@PYTHONPATH=docs $(BIN)/python -m studies.all_convolutional $(STUDY)

# Some ten minutes on a quiet machine; needs the data, and the study of all-convolutional variants.
drawbacks: $(VENV)/.test
	@echo "== what going fully convolutional costs: docs/drawbacks.md (audits stay in .cache)"
	@PYTHONPATH=docs $(BIN)/python -m studies.drawbacks $(DRAWBACKS)

# Some 25 minutes on a quiet machine; can be stopped and run again. make bench BENCH="--again"
bench: $(VENV)/.bench
	@echo "== the benchmarks: docs/benchmarks.md (results so far stay in .cache)"
	@$(BIN)/python benchmarks/make_page.py $(BENCH)

bundled: $(VENV)/.demo
	@$(BIN)/python training/train_textures.py

clean:
	@rm -rf $(VENV) fullconv-demo

$(BIN)/python:
	@echo "== a virtual environment in $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo \
	  "fullconv needs Python 3.11 or newer; name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo \
	  "no virtual environment could be made; on Debian and Ubuntu: apt install python3-venv"; exit 1; }

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	@echo "== installing fullconv with PyTorch and scikit-image (some minutes the first time)"
	@$(PIP) --editable '.[demo]'
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	@echo "== installing fullconv with everything the tests need (some minutes the first time)"
	@$(PIP) --editable '.[demo,hub,plot,wsi,geo,test,lint]'
	@touch $@

$(VENV)/.bench: pyproject.toml constraints.txt | $(BIN)/python
	@echo "== installing fullconv with what the benchmarks compare and draw (some minutes the first time)"
	@$(PIP) --editable '.[demo,hub,bench]'
	@touch $@
