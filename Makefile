# make demo and make test start from nothing but a Python: they build .venv, install what they need, and run.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUTPUT ?= demo-output

.DEFAULT_GOAL := help
.PHONY: help demo test bench format clean
.DELETE_ON_ERROR:

help:
	@echo "make demo    segment a synthetic scan; the result lies in $(OUTPUT)/"
	@echo "make test    format, lint, the import table and all tests"
	@echo "make bench   measure speed and memory against MONAI; prints the figures of docs/performance.md"
	@echo "make format  format and sort imports in place"
	@echo "make clean   remove $(VENV), $(OUTPUT) and what tests leave behind"
	@echo "PYTHON=python3.12 chooses another Python (3.11 to 3.13)."

demo: $(VENV)/installed-demo
	$(BIN)/sslseg demo -o $(OUTPUT)

test: $(VENV)/installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest

bench: $(VENV)/installed-test
	$(BIN)/python -m Testing.benchmarks

format: $(VENV)/installed-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) $(OUTPUT) build dist *.egg-info .hypothesis .ruff_cache .import_linter_cache Testing/output
	find . -name __pycache__ -prune -exec rm -rf {} +

# The stamps make a second run quick: pip runs again only when what is to be installed has changed.
$(VENV)/installed-demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/installed-test: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt "setuptools>=70" wheel -e ".[engine,train,bench,test]"
	# sam2 asks for torch to be built with: without isolation it takes the one that is there, not a second one.
	SAM2_BUILD_CUDA=0 $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt \
	    --no-build-isolation segment-anything sam2
	# nnU-Net checks the datasets we export; of what it needs for training, the check needs these.
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt \
	    --no-deps nnunetv2 batchgenerators nibabel acvl_utils pandas python-dateutil six
	@touch $@ $(VENV)/installed-demo

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || { \
	    found=$$($(PYTHON) --version 2>/dev/null || echo missing); \
	    echo "$(PYTHON) is $$found, but Python 3.11 to 3.13 is needed: name one as in make PYTHON=python3.11" >&2; \
	    exit 1; }
	$(PYTHON) -m venv $(VENV)
