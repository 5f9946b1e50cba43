# CerviContour: everything a person or CI runs. `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Arguments for the torch step, for example an index with CPU builds: the plain one brings CUDA on Linux.
TORCH_PIP_ARGS ?=
PIP := $(BIN)/python -m pip --disable-pip-version-check
COMPOSE := $(BIN)/docker-compose

.DEFAULT_GOAL := help
.PHONY: help setup demo serve test unit integration coverage check lint types contracts deployment format \
	migration study weights hooks bench clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# torch goes first and alone, so that it comes from TORCH_PIP_ARGS and nothing else does; rt-utils
# goes last and without its dependencies: it asks for the GUI build of opencv (see pyproject.toml).
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=..."; exit 1; }
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@echo "Installing cervicontour[$(1)] into $(VENV); the first time takes a few minutes"
	@$(BIN)/python -c 'import importlib.metadata as m; assert m.version("torch").startswith("2.13.0")' 2>/dev/null \
		|| $(PIP) install -q --no-deps $(TORCH_PIP_ARGS) torch==2.13.0
	@$(PIP) install -q -c constraints.txt -e '.[$(1)]'
	@$(PIP) install -q --no-deps rt-utils==1.2.7
endef

$(VENV)/.embedded: pyproject.toml constraints.txt
	$(call install,embedded)
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	$(call install,dev)
	@touch $@ $(VENV)/.embedded

setup: $(VENV)/.dev ## install everything into .venv

demo: $(VENV)/.embedded ## run the main job end to end on this machine
	@$(BIN)/python -m services.embedded demo

serve: $(VENV)/.embedded ## run API and workers on this machine until Ctrl-C
	@$(BIN)/python -m services.embedded serve

test: setup ## run all tests
	$(BIN)/python -m pytest

unit: setup ## run the tests that start no server
	$(BIN)/python -m pytest -m "not integration"

integration: setup ## run the tests with real servers and workers
	$(BIN)/python -m pytest -m integration

coverage: setup ## run the unit tests with branch coverage; 100 % of the geometry
	$(BIN)/python -m pytest -m "not integration" --cov --cov-report=term:skip-covered
	$(BIN)/python -m coverage report --include='ml/geometry.py,ml/dicom/*,ml/metrics/*' --fail-under=100

check: lint types contracts deployment ## everything static: the one command before a commit

lint: setup ## ruff and typos
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/typos

types: setup ## pyright
	$(BIN)/pyright

contracts: setup ## import contracts
	$(BIN)/lint-imports

deployment: setup ## compose files and Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(COMPOSE) -f docker-compose.yml config -q
	$(COMPOSE) -f docker-compose.yml -f docker-compose.cpu.yml config -q
	$(BIN)/hadolint Dockerfile.gpu

format: setup ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

migration: setup ## write a migration: make migration m="add something"
	$(BIN)/alembic revision --autogenerate -m "$(m)"

study: setup ## compare losses, networks and recipes on phantoms into docs/study (hours)
	$(BIN)/cervicontour -v study

weights: setup ## train the demonstration weights again (an hour on two cores)
	$(BIN)/cervicontour -v demo-weights

hooks: setup ## install the git hooks
	$(BIN)/pre-commit install

clean: ## remove what the demo, the tests and the tools left
	rm -rf var .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage
