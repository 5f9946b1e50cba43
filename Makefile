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
	migration study weights hooks bench clean \
	lock audit sbom fuzz chaos

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# torch goes first and alone, from TORCH_PIP_ARGS and without a hash: which build there is depends on
# the machine, and the indexes with CPU builds publish other files than PyPI. Everything else is
# locked with hashes, rt-utils too, whose wish for the GUI build of opencv --no-deps leaves unheard.
# The last step brings the libraries of a CUDA build; a CPU build has none, and nothing is fetched.
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=..."; exit 1; }
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@echo "Installing cervicontour[$(1)] into $(VENV); the first time takes a few minutes"
	@$(BIN)/python -c 'import importlib.metadata as m; assert m.version("torch").startswith("2.13.0")' 2>/dev/null \
		|| $(PIP) install -q --no-deps $(TORCH_PIP_ARGS) torch==2.13.0
	@$(PIP) install -q --no-deps --require-hashes -r requirements/$(1).txt
	@$(PIP) install -q --no-deps --no-build-isolation -e .
	@$(PIP) install -q -c constraints.txt torch==2.13.0
endef

$(VENV)/.embedded: pyproject.toml requirements/embedded.txt
	$(call install,embedded)
	@touch $@

$(VENV)/.dev: pyproject.toml requirements/dev.txt
	$(call install,dev)
	@touch $@ $(VENV)/.embedded

setup: $(VENV)/.dev ## install everything into .venv

demo: $(VENV)/.embedded ## run the main job end to end on this machine
	@$(BIN)/python -m services.embedded demo

serve: $(VENV)/.embedded ## run API and workers on this machine until Ctrl-C
	@$(BIN)/python -m services.embedded serve

# Test processes at a time, each with servers of its own; a file's tests stay in one.
PROCESSES ?= 2
PYTEST := $(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile

test: setup ## run all tests, PROCESSES= at a time
	$(PYTEST)

unit: setup ## run the tests that start no server
	$(PYTEST) -m "not integration"

integration: setup ## run the tests with real servers and workers
	$(PYTEST) -m integration

coverage: setup ## run the unit tests with branch coverage; 100 % of the geometry
	$(PYTEST) -m "not integration" --cov --cov-report=term:skip-covered
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
	$(COMPOSE) -f docker-compose.yml --profile monitoring config -q
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

LOCK := $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	-c constraints.txt --override requirements/overrides.txt --no-emit-package torch

lock: ## write the locks again, after a change of pyproject.toml or constraints.txt
	@[ -x $(BIN)/uv ] || { echo "Run make setup first: it brings uv"; exit 1; }
	$(LOCK) --extra api pyproject.toml requirements/build.in -o requirements/api.txt
	for extra in worker embedded dev; do $(LOCK) --extra $$extra pyproject.toml requirements/build.in \
		requirements/worker.in -o requirements/$$extra.txt || exit 1; done
	$(LOCK) requirements/audit.in -o requirements/audit.txt
	$(BIN)/uv pip compile -q --python-platform x86_64-manylinux_2_28 --python-version 3.11 --generate-hashes \
		--no-header --no-annotate -c constraints.txt requirements/torch-cuda.in -o requirements/torch-cuda.txt

audit: setup ## ask for known vulnerabilities of everything locked (needs the internet)
	@$(BIN)/uv venv -q --clear build/audit
	@$(BIN)/uv pip sync -q --python build/audit --require-hashes requirements/audit.txt
	$(BIN)/python -m scripts.audit build/audit/bin/pip-audit requirements/dev.txt requirements/torch-cuda.txt

sbom: setup ## write what both images hold into build/sbom as CycloneDX, with licences
	$(BIN)/python -m scripts.sbom build/sbom

hooks: setup ## install the git hooks
	$(BIN)/pre-commit install

clean: ## remove what the demo, the tests and the tools left
	rm -rf var .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage

SEED ?= 1

N ?= 20000

fuzz: $(VENV)/.dev ## send N mutated DICOM files of a SEED to the API and record them in var/fuzz
	$(BIN)/python -m tests.fuzz --count $(N) --seed $(SEED) --record var/fuzz/$(SEED)

MODE ?= embedded
FAULTS ?= 200
JOBS ?= 500

chaos: setup ## have faults happen at random under load: MODE=embedded|servers FAULTS= JOBS= SEED=
	$(BIN)/python -m tests.chaos --mode $(MODE) --faults $(FAULTS) --jobs $(JOBS) --seed $(SEED)
