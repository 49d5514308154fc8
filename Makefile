# Everything that one does in a clone. Needs Python 3.11 or later with pip and venv, make and git;
# each target first sets up what it needs in .venv, and a second call finds it there.
# uv, when the package index has it, makes setting up about ten times as quick; `UV=no` does without.

VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
UV ?= yes
JOBS ?= 2
PYTHON ?= $(shell for p in python3.11 python3; do "$$p" -c '' 2>/dev/null && echo "$$p" && break; done)
OTHER_PYTHONS := 3.12 3.13
SETTINGS := pyproject.toml constraints.txt

export PIP_DISABLE_PIP_VERSION_CHECK := 1

# $(call install,ENVIRONMENT,ARGUMENTS): uv where it is and works, else pip; both take the same.
with_uv = [ "$(UV)" != no ] && [ -x $(BIN)/uv ] && $(BIN)/uv pip install --quiet --python $(1) $(2)
install = { $(call with_uv,$(1),$(2)); } || $(1)/bin/python -m pip install --quiet $(2)

.PHONY: help demo test lint interpreters bench soak peers lines lab notebooks tui constraints
.DELETE_ON_ERROR:

help:
	@echo "make demo          an economy on the sample in data/, to a checked proof"
	@echo "make test          lint, types and every test"
	@echo "make lab           JupyterLab on notebooks/"
	@echo "make tui           the live dashboard, once it is there"
	@echo "make bench         the numbers that matter, beside their peers (make peers first)"
	@echo "make soak          bounds, crashes, flips, fuzz, gas, machine, pairs: half an hour in all"
	@echo "make lint          ruff and mypy only"
	@echo "make lines         source lines of dii and tui"
	@echo "make notebooks     runs notebooks/ again and saves them as the tests compare them"
	@echo "make constraints   resolves the pinned versions again"

demo: $(VENV)/.core
	@$(PY) -m dii.cli.demo

# The test runner's summary must stay the last line. By its own order, the files with few tests
# would come last, and the longest of these would keep one worker busy alone.
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
	  echo 'dii needs Python 3.11 or later: install it, or say make PYTHON=/path/to/python'; exit 1; }
	@"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.uv: $(VENV)/pyvenv.cfg
	@[ "$(UV)" = no ] || $(PY) -m pip install --quiet uv || echo 'no uv to be had: pip takes longer'
	@touch $@

$(VENV)/.core: EXTRAS :=
$(VENV)/.notebooks: EXTRAS := [notebooks]
$(VENV)/.tui: EXTRAS := [tui]
$(VENV)/.dev: EXTRAS := [dev]
$(VENV)/.core $(VENV)/.notebooks $(VENV)/.tui $(VENV)/.dev: $(VENV)/.uv $(SETTINGS)
	@echo "installing dii$(EXTRAS) into $(VENV)"
	@$(call install,$(VENV),--constraint constraints.txt --editable '.$(EXTRAS)')
	@touch $@

# libFuzzer for Python, where there is one for this machine; the soak has a plain loop otherwise.
$(VENV)/.fuzz: $(VENV)/.dev tests/soak/requirements.txt
	@$(call install,$(VENV),--requirement tests/soak/requirements.txt) || \
	  echo 'no atheris to be had: fuzzing goes without its guidance'
	@touch $@

# The determinism tests run on every other Python found; only uv makes these quickly enough.
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
