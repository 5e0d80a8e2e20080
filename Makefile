# Thin wrappers around the tools in .venv: each line below can be typed by hand. `make` alone lists the targets.

# CPython 3.11, 3.12 or 3.13; later set-ups keep that of .venv.
MADE_WITH = $(shell sed -n 's/^executable = //p' .venv/pyvenv.cfg 2>/dev/null)
PYTHON ?= $(if $(wildcard .venv/.installed),.venv/bin/python,$(or $(MADE_WITH),python3.11))
SCALE ?= quick
PROFILE ?= local
JOBS ?= $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
# CPU=1 at the first set-up; .venv/.installed remembers it for later ones, .venv/.unfinished for one that failed.
CPU ?= $(shell cat .venv/.installed .venv/.unfinished 2>/dev/null | head -n 1)
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu

BIN := .venv/bin
# On one machine a pool of processes trains: a job of its own would start Python and PyTorch anew for each short run.
POOL = $(if $(filter local,$(PROFILE)),$(BIN)/gbn run --scale '$(SCALE)' $(if $(filter command environment,$(word 1,$(origin JOBS))),--jobs $(JOBS)))
SNAKEMAKE = $(BIN)/snakemake --profile workflow/profiles/$(PROFILE) $(if $(filter local,$(PROFILE)),--cores $(JOBS))
REPORTED = $(BIN)/python -c 'from gbnlib import files; print(f"Report: {files.results_root()}/$(SCALE)/report/index.html")'
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup ready reproduce report lab test lint bench clean

help: ## list these targets
	@echo 'usage: make TARGET [NAME=VALUE ...]'
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 20
	@echo 'SCALE=$(SCALE) (smoke, quick, desk, paper)  JOBS=$(JOBS)  PROFILE=$(PROFILE) ($(notdir $(wildcard workflow/profiles/*)))  PYTHON=$(PYTHON)'

setup: .venv/.installed ## make .venv from requirements.lock (CPU=1: the smaller CPU-only torch)

# The stamp is written last and removed first: a .venv without it was left half-made and is made anew.
.venv/.installed: requirements.lock pyproject.toml setup.py gbnlib/nn/kernel.cpp gbnlib/nn/kernel_layouts.h gbnlib/nn/kernel_vectors.h
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || { \
	  echo 'Python 3.11, 3.12 or 3.13 is needed and "$(PYTHON)" is none of them: name one with make setup PYTHON=/path/to/python3.12' >&2; \
	  exit 1; }
	@test -e $@ || "$(PYTHON)" -m venv --clear .venv
	@rm -f $@ && echo '$(CPU)' > .venv/.unfinished
	@if [ '$(CPU)' = 1 ]; then \
	  sed -nE '/^torch(vision)?=/p' requirements.lock > .venv/torch.txt && \
	  sed -E '/^(nvidia-|cuda-|triton=)/d' requirements.lock > .venv/lock.txt && \
	  $(BIN)/python -m pip install --no-deps --index-url '$(TORCH_CPU_INDEX)' -r .venv/torch.txt; \
	else cp requirements.lock .venv/lock.txt; fi
	@$(BIN)/python -m pip install -r .venv/lock.txt
	@$(BIN)/python -m pip install --no-deps --no-build-isolation -e .
	@mv .venv/.unfinished $@ && touch $@

# What Snakemake says at length or waits for without a word.
ready:
	@case '$(JOBS)' in ''|0*|*[!0-9]*) echo "JOBS is '$(JOBS)'; it must be a whole number, 1 or more" >&2; exit 2;; esac
	@cache="$${XDG_CACHE_HOME:-$$HOME/.cache}"; mkdir -p "$$cache" 2>/dev/null && test -w "$$cache" || { \
	  echo "cannot write to $$cache: set XDG_CACHE_HOME to a folder you may write to" >&2; exit 2; }

reproduce: setup ready ## train what is missing, run the notebooks, build the report (SCALE=quick)
	@$(BIN)/gbn plan --scale '$(SCALE)'
	@$(POOL)
	@$(SNAKEMAKE) --config 'scale=$(SCALE)'
	@$(REPORTED)

report: setup ready ## the same from the runs that are there, training nothing
	@$(SNAKEMAKE) --config 'scale=$(SCALE)' train=false
	@$(REPORTED)

# Copies, so that what JupyterLab saves leaves the tracked ones as they are; a copy older than its notebook is kept under a name of its own.
lab: setup ## open copies of the notebooks in JupyterLab
	@mkdir -p results/lab; for name in notebooks/*.ipynb; do copy=results/lab/$${name##*/}; \
	  if [ ! -e "$$copy" ]; then cp "$$name" "$$copy"; \
	  elif [ "$$name" -nt "$$copy" ]; then mv "$$copy" "$${copy%.ipynb}-$$(date +%Y%m%d-%H%M%S).ipynb" && cp "$$name" "$$copy"; fi; done
	@$(BIN)/jupyter lab results/lab

# One process more than cores: some tests wait for a cluster.
test: setup ## run the tests
	@$(BIN)/python -m pytest -n "$$(($(JOBS) + 1))" --maxprocesses 5 --dist loadfile --no-loadscope-reorder

lint: setup ## check style, layers, notebooks without outputs, spelling
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/nbstripout --verify --keep-id --extra-keys "metadata.papermill cell.metadata.papermill" notebooks/*.ipynb
	$(BIN)/codespell

bench: setup ## run every benchmark but benchmarks/gpu.py
	@set -e; for file in $(filter-out benchmarks/gpu.py,$(wildcard benchmarks/*.py)); do $(BIN)/python "$$file"; done

clean: setup ## remove what was made for SCALE, never the runs
	@$(BIN)/gbn clean --scale '$(SCALE)'
