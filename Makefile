# All tasks of a clone. They need Python 3.11 or later with pip and venv, make and git. Each target
# first installs its requirements into .venv, where the next call finds them. If the package index
# has uv, installing takes about a tenth of the time; `UV=no` uses pip alone.

VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
UV ?= yes
JOBS ?= 2
PYTHON ?= $(shell for p in python3.11 python3; do "$$p" -c '' 2>/dev/null && echo "$$p" && break; done)
OTHER_PYTHONS := 3.12 3.13
SETTINGS := pyproject.toml constraints.txt

export PIP_DISABLE_PIP_VERSION_CHECK := 1

# $(call install,ENVIRONMENT,ARGUMENTS): uv if it is there and works, else pip, with the same arguments.
with_uv = [ "$(UV)" != no ] && [ -x $(BIN)/uv ] && $(BIN)/uv pip install --quiet --python $(1) $(2)
install = { $(call with_uv,$(1),$(2)); } || $(1)/bin/python -m pip install --quiet $(2)

.PHONY: help demo test lint interpreters bench soak peers lines lab notebooks tui constraints
.DELETE_ON_ERROR:

help:
	@echo "make demo          runs an economy on the sample in data/, up to a verified proof"
	@echo "make test          runs lint, type checks and all tests"
	@echo "make lab           opens JupyterLab on notebooks/"
	@echo "make tui           opens the live dashboard (not implemented yet)"
	@echo "make bench         runs the benchmarks, with peers for comparison (make peers first)"
	@echo "make soak          runs the long tests (consensus, crashes, fuzzing, gas) for 40 minutes"
	@echo "make lint          runs ruff and mypy only"
	@echo "make lines         counts the source lines of dii and tui"
	@echo "make notebooks     runs notebooks/ again and saves the outputs that tests compare"
	@echo "make constraints   resolves the pinned versions again"

demo: $(VENV)/.core
	@$(PY) -m dii.cli.demo

# The summary of pytest must stay the last line. Without --no-loadscope-reorder, files with few
# tests would come last, and the longest of them would keep one worker busy alone.
test: lint interpreters
	@$(PY) -m pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder --nbval

lint: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(PY) tests/wording.py dii tui tests
	@$(BIN)/mypy

bench: $(VENV)/.dev
	@$(PY) -m tests.benchmarks

soak: $(VENV)/.fuzz
	@$(PY) -m tests.soak

lines:
	@"$(PYTHON)" tests/lines.py dii tui

lab: $(VENV)/.notebooks
	@$(BIN)/jupyter lab notebooks $$([ "$$(id -u)" != 0 ] || echo --allow-root)

notebooks: $(VENV)/.dev
	@$(BIN)/jupyter nbconvert --to notebook --execute --inplace notebooks/*.ipynb
	@$(BIN)/nbstripout --keep-output --keep-count --extra-keys metadata.widgets notebooks/*.ipynb

tui: $(VENV)/.tui
	@$(BIN)/dii-tui

constraints: $(VENV)/.uv
	@$(BIN)/uv pip compile --quiet --upgrade --universal --fork-strategy fewest --all-extras \
	  --python-version 3.11 --custom-compile-command "make constraints" -o constraints.txt pyproject.toml

# --- environments -------------------------------------------------------------------------------

$(VENV)/pyvenv.cfg:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo 'dii needs Python 3.11 or later: install it, or call make PYTHON=/path/to/python'; exit 1; }
	@"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.uv: $(VENV)/pyvenv.cfg
	@[ "$(UV)" = no ] || $(PY) -m pip install --quiet uv || echo 'uv is not available; pip takes longer'
	@touch $@

$(VENV)/.core: EXTRAS :=
$(VENV)/.notebooks: EXTRAS := [notebooks]
$(VENV)/.tui: EXTRAS := [tui]
$(VENV)/.dev: EXTRAS := [dev]
$(VENV)/.core $(VENV)/.notebooks $(VENV)/.tui $(VENV)/.dev: $(VENV)/.uv $(SETTINGS)
	@echo "installing dii$(EXTRAS) into $(VENV)"
	@$(call install,$(VENV),--constraint constraints.txt --editable '.$(EXTRAS)')
	@touch $@

# libFuzzer for Python, if there is one for this machine; otherwise the soak uses a plain loop.
$(VENV)/.fuzz: $(VENV)/.dev tests/soak/requirements.txt
	@$(call install,$(VENV),--requirement tests/soak/requirements.txt) || \
	  echo 'atheris is not available; fuzzing runs without coverage guidance'
	@touch $@

# The determinism tests run on every other Python found; only uv makes environments fast enough.
interpreters: $(OTHER_PYTHONS:%=.venv-py%/.core)

.venv-py%/.core: $(VENV)/.uv $(SETTINGS)
	@[ "$(UV)" != no ] && [ -x $(BIN)/uv ] || exit 0; \
	for p in python$* "$$(pyenv root 2>/dev/null)"/versions/$*.*/bin/python; do \
	  "$$p" -c '' 2>/dev/null || continue; \
	  echo "installing dii into .venv-py$*"; \
	  $(BIN)/uv venv --quiet --clear --python "$$p" .venv-py$* && \
	  $(call with_uv,.venv-py$*,--constraint constraints.txt --editable .) && \
	  touch $@ || { rm -rf .venv-py$*; echo "no environment for $$p: its tests are skipped"; }; \
	  break; \
	done

peers: .venv-peers/.made

.venv-peers/.made: $(VENV)/.uv tests/benchmarks/peers-requirements.txt
	@[ -d .venv-peers ] || $(PY) -m venv .venv-peers
	@echo "installing the benchmarks' peers into .venv-peers"
	@$(call install,.venv-peers,--requirement tests/benchmarks/peers-requirements.txt)
	@touch $@
