# `make demo` runs the main job on the built-in sample, `make test` the tests; both set up .venv first.

PYTHON ?= python3
BIN := .venv/bin
SETTINGS := constraints.txt pyproject.toml
STAMP := .venv/ready-$(shell cat $(SETTINGS) | sha256sum | cut -c1-16)
HAS_GPU := $(shell command -v nvidia-smi)
# Without a GPU the tested torch; with one the newest, which brings the triton it needs.
CONSTRAINTS := $(if $(HAS_GPU),.venv/constraints.txt,constraints.txt)
export PATH := $(CURDIR)/$(BIN):$(PATH)
.SHELLFLAGS := -euo pipefail -c
SHELL := bash

.PHONY: demo test test-slurm lint docs bench venv

demo: venv
	python -m curate.run pipelines/clinical.yaml
	python -m mix.build --domain 0.8 --replay 0.2
	torchrun -m train.launch
	python -m eval.run
	python -m eval.report

test: venv
	OMP_NUM_THREADS=1 pytest -q -n auto --dist loadfile

test-slurm: venv # starts a Slurm of this machine alone in a temporary folder; skipped, saying why, where there is none
	OMP_NUM_THREADS=1 pytest -q tests/engines/on_slurm.py

lint: venv
	ruff check .
	ruff format --check .
	mypy

# tokenization's modules are named one by one: without an installation pdoc takes it for a module, not a folder.
docs: venv
	pdoc --no-show-source --output-directory build/docs curate eval mix pipelines train tokenization \
		$(patsubst tokenize/%.py,tokenization.%,$(wildcard tokenize/[a-z]*.py))

bench: venv
	for script in $$(grep -l __main__ tests/benchmarks/*.py); do echo "== $$script"; python "$$script"; done

venv: $(STAMP)

$(STAMP):
	[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	rm -f .venv/ready-*
	grep -vE '^(torch|triton)==' constraints.txt > .venv/constraints.txt
	python -m pip install --quiet --upgrade pip
	python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[dev]'
	python -m curate.language_model
	python -m curate.kenlm_build || echo "going on without lmplz; the perplexity stage will ask for it"
	touch $@
