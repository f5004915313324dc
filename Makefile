# toolgain: `make demo` shows the whole chain, `make test` runs every test. See README.md.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
# Before pip refuses package after package for it.
RIGHT_PYTHON = $(PYTHON) -c 'import sys; (3, 11) <= sys.version_info < (3, 13) or sys.exit( \
    "make: expected Python 3.11 or 3.12, found %s at $(PYTHON). Load another (module load python), or name " \
    "one: make setup PYTHON=python3.11" % sys.version.split()[0])'
PIP_FLAGS ?= --quiet --disable-pip-version-check

# Servers of NeMo Gym with requirements of their own, for `make setup-gym`.
GYM_SERVERS ?=

.PHONY: help setup setup-gym demo test test-fast test-upstream test-vllm test-gpu gpu-wheels lint generate lock audit cluster cluster-down clean

help: ## Show this list
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: .venv/.ready .venvs/bfcl/.ready .venvs/trl/.ready ## Make every environment

setup-gym: ## Make the environment of NeMo Gym (Python 3.12), and of GYM_SERVERS="..."
	@GYM_PYTHON="$(GYM_PYTHON)" tools/setup_gym.sh .venvs/gym $(GYM_SERVERS)

demo: setup ## Run the whole chain on this machine and print the verdict
	@.venv/bin/snakemake --profile profiles/local all
	@.venv/bin/toolgain verdict results/comparison.json --require not_regressed
	@echo "Report: $(CURDIR)/results/report.html"

# On two cores three at a time: one has the tests on the Slurm cluster, which mostly wait.
TEST_PROCESSES ?= 3
# Compiled files are kept whatever the shell says: every process would compile everything again.
test test-fast: export PYTHONDONTWRITEBYTECODE =

test: setup .venv/.dev .venvs/bfcl-eval/.ready ## Run every test
	.venv/bin/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadgroup \
	    --no-loadscope-reorder --durations 20 $(TESTS)

# What editors and pre-commit run. Some of these tests wait for a child, so four at a time.
test-fast: TEST_PROCESSES = 4
test-fast: setup .venv/.dev ## Run the unit tests and plan the workflow: under two minutes
	.venv/bin/python -m pytest --numprocesses $(TEST_PROCESSES) -m "not slow and not cluster and not browser" \
	    tests/unit tests/workflow/test_repository.py $(TESTS)

test-upstream: setup .venv/.dev .venvs/ray/.ready ## Test against a NeMo RL checkout: NEMO_RL_ROOT=...
	.venv/bin/python -m pytest tests/upstream $(TESTS)

# The version that the default ref of NeMo RL pins; any of 0.11.2 to 0.32.0 can be had.
VERSION ?= 0.20.0

test-vllm: setup .venv/.dev .venvs/vllm-$(VERSION)/.ready ## Test against a real vLLM on the CPU: VERSION=...
	TOOLGAIN_VLLM=$(CURDIR)/.venvs/vllm-$(VERSION) VLLM_PYTHON=$(CURDIR)/.venvs/vllm-$(VERSION)/bin/python \
	    .venv/bin/python -m pytest tests/vllm tests/upstream/test_vllm.py $(TESTS)

# A Python with torch for CUDA; what it lacks besides is taken from tests/gpu/wheels.
GPU_PYTHON ?= python3

test-gpu: ## Train with TRL on one GPU, resume, export, compare answers: GPU_PYTHON=...
	GPU_PYTHON=$(GPU_PYTHON) tests/gpu/run.sh

GPU_PYTHON_VERSION ?= 3.12

gpu-wheels: ## Fetch what test-gpu lacks on a machine without a network (23 MB): GPU_PYTHON_VERSION=...
	rm -rf tests/gpu/wheels
	$(PYTHON) -m pip download $(PIP_FLAGS) --no-deps --only-binary :all: --implementation cp \
	    --python-version $(GPU_PYTHON_VERSION) --platform manylinux_2_28_x86_64 \
	    --platform manylinux_2_27_x86_64 --platform manylinux_2_17_x86_64 \
	    --platform manylinux2014_x86_64 --dest tests/gpu/wheels --requirement tests/gpu/requirements.txt

.venvs/vllm-%/.ready: tests/vllm/make_environment.py tests/vllm/requirements.lock
	$(PYTHON) tests/vllm/make_environment.py .venvs/vllm-$* $*
	@touch $@

lint: .venv/.dev ## Run the checks that pre-commit runs
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports --no-logo
	PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/snakefmt --check Snakefile workflow/rules
	.venv/bin/python tools/generate.py --check
	git ls-files '*.sh' .ci/run | xargs --no-run-if-empty .venv/bin/shellcheck

generate: .venv/.ready ## Write environment.yml, the schemas and their documentation again
	.venv/bin/python tools/generate.py

lock: ## Write the lock files from the pins (needs uv)
	@tools/lock.sh

# Another source of advisories: AUDIT="--vulnerability-service osv --osv-url URL".
AUDIT ?=

audit: ## Check environments and lock files for known vulnerabilities (needs uv and an advisory service)
	@for python in .venv/bin/python .venvs/*/bin/python; do \
	    "$$python" -P tools/old_setuptools.py || exit 1; \
	done
	@tools/audit.sh $(AUDIT)

.venv/.ready: pyproject.toml workflow/envs/toolgain.lock
	@$(RIGHT_PYTHON)
	$(PYTHON) -m venv .venv
	@tools/install.sh .venv workflow/envs/toolgain.lock
	.venv/bin/pip install $(PIP_FLAGS) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: .venv/.ready workflow/envs/dev.lock
	@tools/install.sh .venv workflow/envs/dev.lock
	.venv/bin/pip install $(PIP_FLAGS) --no-deps --no-build-isolation --editable .
	@touch $@

# Real Ray, for the contract tests of NeMo RL alone.
.venvs/ray/.ready: tests/nemo_rl/requirements.txt
	@$(RIGHT_PYTHON)
	$(PYTHON) -m venv .venvs/ray
	.venvs/ray/bin/pip install $(PIP_FLAGS) --requirement $<
	@touch $@

# Berkeley's evaluators, for the tests of their folders alone.
.venvs/bfcl-eval/.ready: tests/official/requirements.txt tests/official/requirements-v4.txt
	@$(RIGHT_PYTHON)
	$(PYTHON) -m venv .venvs/bfcl-eval
	.venvs/bfcl-eval/bin/pip install $(PIP_FLAGS) --requirement $<
	.venvs/bfcl-eval/bin/pip install $(PIP_FLAGS) --no-deps --upgrade --target .venvs/bfcl-eval/v4 \
	    --requirement tests/official/requirements-v4.txt
	@touch $@

# torch goes first, and is in no lock: a CPU build is taken where pip is set up for one.
.venvs/%/.ready: workflow/envs/%.txt workflow/envs/%.lock
	@$(RIGHT_PYTHON)
	$(PYTHON) -m venv .venvs/$*
	@if grep -q '^torch==' $<; then .venvs/$*/bin/pip install $(PIP_FLAGS) "$$(grep '^torch==' $<)"; fi
	@tools/install.sh .venvs/$* workflow/envs/$*.lock
	@touch $@

cluster: ## Start a Slurm cluster of four hosts on this machine (root, see CONTRIBUTING.md)
	@$(PYTHON) tests/slurm/cluster.py up

cluster-down: ## Stop it and leave nothing behind
	@$(PYTHON) tests/slurm/cluster.py down

clean: ## Remove results and logs (not the environments)
	rm -rf results logs .snakemake
