# Every target does its own set-up in .venv, from the pinned constraints.txt.
PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3.13 python3))
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install --no-compile --constraint constraints.txt

# Bytecode is made when a module is first used, also where the environment says otherwise: each process would compile
# all that it imports, some ten seconds of it.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-slow lint docs bench integration studies seeds clean

demo: .venv/demo.installed
	$(BIN)/fivesigma run w-tagging

# As many processes as cores: threads inside them would only wait for each other.
test: .venv/dev.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile

test-slow: .venv/dev.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile -m slow

lint: .venv/dev.installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/dev.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: .venv/dev.installed
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m benchmarks.run

integration: .venv/dev.installed
	integration/slurm.sh

studies: .venv/dev.installed
	$(BIN)/fivesigma simulate w-tagging --output runs/samples/w-tagging-large.root --n-signal 75000 --n-background 75000 --seed 1
	$(BIN)/fivesigma run w-tagging --input jets=runs/samples/w-tagging-large.root --output runs/w-tagging-large --keep docs/results/w-tagging.json
	cp runs/w-tagging-large/figures/background-rejection.png docs/figures/w-tagging.png
	$(BIN)/fivesigma run w-tagging-pileup --keep docs/results/w-tagging-pileup.json
	$(BIN)/python docs/results/pile_up.py runs/w-tagging-pileup
	$(BIN)/fivesigma simulate higgs --output runs/samples/higgs-large.root --n-signal 200000 --n-background 200000 --seed 1 --no-multiparton
	$(BIN)/fivesigma run higgs --input events=runs/samples/higgs-large.root --output runs/higgs-large --keep docs/results/higgs.json
	cp runs/higgs-large/figures/background-rejection.png docs/figures/higgs.png
	$(BIN)/python docs/results/higgs_learning_curve.py runs/samples/higgs-large.root
	for study in pivot-toy domain-adaptation signed-weights bayesian; do $(BIN)/fivesigma run $$study --keep docs/results/$$study.json || exit 1; done
	$(BIN)/python docs/results/bayesian.py
	$(BIN)/fivesigma run grid-inference --keep docs/results/grid-inference.json
	$(BIN)/fivesigma simulate heavy-flavour --output runs/samples/heavy-flavour-large.root --n-signal 3000 --n-background 9500 --seed 1
	$(BIN)/fivesigma run topological-trigger --input sample=runs/samples/heavy-flavour-large.root --output runs/topological-trigger-large --keep docs/results/topological-trigger.json
	$(BIN)/python docs/results/topological_trigger.py runs/topological-trigger-large
	$(BIN)/fivesigma run muon-trigger --keep docs/results/muon-trigger.json
	for name in turn-on-22 rate-against-threshold bits-of-inputs accepted-spectrum; do cp runs/muon-trigger/figures/$$name.png docs/figures/muon-trigger-$$name.png || exit 1; done
	$(BIN)/python docs/results/muon_trigger.py
	$(BIN)/python docs/figures/palette.py
	$(BIN)/python docs/results/tables.py

seeds: .venv/dev.installed
	for seed in 1 2 3; do $(BIN)/fivesigma run w-tagging --seed $$seed --output runs/w-tagging-seed-$$seed || exit 1; done
	$(BIN)/python docs/results/seeds.py runs/w-tagging-seed-1 runs/w-tagging-seed-2 runs/w-tagging-seed-3

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "fivesigma needs Python 3.11 or newer; set PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -m venv .venv

.venv/demo.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing fivesigma into .venv (once, a few minutes)"
	$(PIP) --editable .
	@touch $@

.venv/dev.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing fivesigma, and what tests, documentation and simulation need, into .venv (once, a few minutes)"
	$(PIP) --only-binary pythia8mc,fastjet,xrootd --editable '.[dev,docs,sim,bayes,dask,deploy,hls,search,xrootd]'
	@touch $@

clean:
	rm -rf .venv runs site
