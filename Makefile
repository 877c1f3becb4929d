# make demo, make test: everything on a fresh machine. `make` lists all targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The CPU build, where there is a choice: plain torch brings gigabytes of CUDA.
TORCH ?= torch==2.13.0

# A SLURM that `make slurm` started here, unless another one was chosen.
ifneq ($(wildcard .slurm/slurm.conf),)
export SLURM_CONF ?= $(CURDIR)/.slurm/slurm.conf
endif

CLUSTER := $(PYTHON) tests/slurm/cluster.py
# Processes that run tests: more than cores, since many tests wait for SLURM, for a guest or for a lease.
PROCESSES ?= 4
# Such as --trials 40 --storm 30 --seed 7.
CHAOS ?=
# Of the next release, as pyproject.toml has it.
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
DEMO := ../$(BIN)/python train.py -m hydra/sweeper=dahps

# The first and the second word of an entry, such as 3.13-1.4; the interpreter of a Python's version, if it is here.
python-in = $(word 1,$(subst -, ,$(1)))
hydra-in = $(word 2,$(subst -, ,$(1)))
interpreter = $(firstword $(shell python$(1) -c 'import sys; print(sys.executable)' 2>/dev/null) \
    $(wildcard $(HOME)/.pyenv/versions/$(1).*/bin/python))
# What else is tested, in virtual environments of their own: a Python, and a line of Hydra.
MATRIX ?= $(foreach entry,3.13-1.4 3.10-1.3 3.12-1.3,$(if $(call interpreter,$(call python-in,$(entry))),$(entry)))
# Without torch, what a line of Hydra or a Python could break; all launchers of Hydra on the newest of both.
SELECTION := tests/space/test_overrides.py tests/ledger/test_ledger_contract.py tests/core/test_interruption.py \
    tests/packaging/test_start_up.py tests/sweeper/test_sweep.py
test-3.13-1.4: SELECTION += tests/sweeper/test_launchers.py tests/sweeper/test_remote_launchers.py \
    tests/sweeper/test_hydra_suites.py tests/sweeper/test_idioms_tasks.py
test-3.10-1.3: SELECTION += tests/sweeper/test_remote_launchers.py::test_a_trial_of_a_killed_worker_is_run_again
HYDRA_1.3 := 'hydra-core==1.3.*' 'hydra-submitit-launcher==1.2.*' 'hydra-joblib-launcher==1.2.*'
# A version that is no release yet is taken where it is named.
HYDRA_1.4 := 'hydra-core>=1.4.0rc3,<1.5' $(foreach launcher,submitit joblib,'hydra-$(launcher)-launcher>=1.4.0rc3,<1.5')
LAUNCHERS_3.13-1.4 := $(foreach launcher,ray rq,'hydra-$(launcher)-launcher>=1.4.0rc3,<1.5')
# RQ's launcher for Hydra 1.3 runs on no newer Python than 3.10, and with no newer rq.
LAUNCHERS_3.10-1.3 := 'hydra-ray-launcher==1.2.*' 'hydra-rq-launcher==1.2.*' 'rq<2'

.PHONY: help install install-matrix demo demo-slurm test test-fast test-matrix test-nfs chaos bench bench-own lint release slurm slurm-stop clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14

install: $(VENV)/installed ## make the virtual environment .venv with all that is needed
	@# Else each of a thousand interpreters compiles these anew, where they may not keep what they compile.
	@$(BIN)/python -m compileall -q dahps_core hydra_plugins tests/apps

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: install ## search the example's small tree, on this machine
	cd example_app && $(DEMO) hydra/launcher=submitit_local

demo-slurm: install ## the same on SLURM: that of `make slurm`, or your own
	cd example_app && $(DEMO) hydra/launcher=submitit_slurm hydra.launcher.timeout_min=30

test: install ## all tests; those that need SLURM run where sinfo answers
	$(BIN)/python -m pytest -n $(PROCESSES)

test-fast: install ## the tests that need no SLURM, NFS, browser or fault library, and start few programs
	$(BIN)/python -m pytest -n $(PROCESSES) -m 'not slurm' tests/core tests/ledger tests/report tests/space tests/strategies \
	    --deselect tests/core/test_doctor.py --ignore-glob='*_in_a_browser.py' --ignore-glob='*_kills*.py'

test-matrix: $(MATRIX:%=test-%) ## what other Pythons and lines of Hydra could break, and all launchers of Hydra
	@echo "Tested: $(MATRIX)"

install-matrix: $(MATRIX:%=.venv-%/installed)

test-%: .venv-%/installed
	.venv-$*/bin/python -m pytest -n $(PROCESSES) -m 'not slurm' $(SELECTION)

.PRECIOUS: .venv-%/installed
.venv-%/installed: pyproject.toml
	$(call interpreter,$(call python-in,$*)) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check pytest pytest-timeout pytest-xdist hypothesis click rich \
	    $(HYDRA_$(call hydra-in,$*)) $(LAUNCHERS_$*)
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	.venv-$*/bin/python -m pip freeze --exclude-editable | grep -i -E '^(hydra|omegaconf|submitit|ray|rq)'
	touch $@

test-nfs: install ## the ledger on a real NFS with two client kernels: minutes (Debian, as root)
	DAHPS_REQUIRE_NFS=1 DAHPS_NFS_LONG=1 $(BIN)/python -m pytest tests/nfs

chaos: install ## a search of 150 trials through a storm of two minutes, on a SLURM of its own (Debian, as root)
	$(BIN)/python -m tests.slurm.chaos $(CHAOS)

bench: bench-own ## what the ledger and the sweeper cost, beside others
	$(BIN)/python tests/benchmarks/peers.py
	$(BIN)/python tests/benchmarks/regret.py
	$(BIN)/python tests/benchmarks/utilisation.py
	$(BIN)/python tests/benchmarks/listings.py
	$(BIN)/python tests/benchmarks/file_operations.py

bench-own: install ## the same without the others, which install 1.6 GB in .benchmarks
	$(BIN)/python tests/benchmarks/claims.py
	$(BIN)/python tests/benchmarks/growth.py
	$(BIN)/python tests/benchmarks/heartbeats.py
	$(BIN)/python tests/benchmarks/isolation.py
	$(BIN)/python tests/benchmarks/listings.py --trials 100000
	$(BIN)/python tests/benchmarks/slurm_empty_trials.py
	$(BIN)/python tests/benchmarks/start_up.py
	$(BIN)/python tests/benchmarks/utilisation.py --own
	$(BIN)/python tests/benchmarks/watching.py --seconds 12

lint: install ## ruff and mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

release: lint ## build the packages, sweep with the installed wheel, date the changelog's entry, and tag; push nothing
	@test -z "$$(git status --porcelain)" || { echo 'Commit or remove your changes first.'; exit 1; }
	@! git rev-parse --quiet --verify refs/tags/v$(VERSION) || { echo 'v$(VERSION) exists: raise the version in pyproject.toml.'; exit 1; }
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/python -m pytest tests/packaging/test_wheel.py
	sed -i 's/^## \[Unreleased\]$$/&\n\n## [$(VERSION)] - $(shell date +%F)/' CHANGELOG.md
	git commit --quiet --message 'Release $(VERSION)' CHANGELOG.md
	git tag --annotate v$(VERSION) --message 'DAHPS $(VERSION)'

slurm: ## start a real SLURM of four nodes in .slurm (Debian, as root)
	$(CLUSTER) start

slurm-stop: ## end it
	$(CLUSTER) stop

clean: ## remove what the demo left
	rm -rf example_app/dahps example_app/multirun example_app/outputs
