# make run    set up and do the main job: measure, recommend, validate, report
# make test   set up and run the tests
# make test-browser, make test-fleet   the tests that need a browser, and those that start a Ray cluster
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT := advisor-out
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: fuzz test-engines run test test-browser test-fleet test-clients lint clean

$(BIN)/python:
	@echo "==> creating $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=python3.11")'
	@$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	@$(BIN)/python tools/install.py --constraint constraints.txt --extras full,dev
	@touch $@

run: $(STAMP)
	@$(BIN)/python tools/quickstart.py --output $(OUT)

test: $(STAMP)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest
	$(BIN)/python -m pytest -m engine tests/engine -q

# properties on examples never tried before
fuzz: $(STAMP)
	$(BIN)/python -m pytest -q -m hypothesis --hypothesis-profile=fuzz

test-browser: $(STAMP)
	$(BIN)/python tests/browser/install.py
	$(BIN)/python -m pytest -m browser tests/browser -q

test-fleet: $(STAMP)
	$(PIP) install --quiet --constraint constraints.txt -e ".[fleet]"
	$(BIN)/python -m pytest -m fleet tests/fleet -q

# real servers on loopback, each in an environment of its own, and our own beside them
test-engines: $(STAMP)
	$(PIP) install --quiet --constraint constraints.txt -e ".[serve]"
	$(BIN)/python tools/test_engines.py

# the programs that exports are for, each installed beside its tests; 4.7 GB with n8n
test-clients: $(STAMP)
	$(PIP) install --quiet --constraint constraints.txt -e ".[serve,mcp]"
	$(BIN)/python tests/clients/install.py
	$(BIN)/python -m pytest -m client tests/clients -q

lint: $(STAMP)
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

clean:
	rm -rf $(VENV) .venv-engines tests/clients/.venv-* $(OUT) build dist
