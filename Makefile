# Quxiang: `make run` tries it, `make test` checks it. Both work on a fresh machine.
PYTHON ?= python3
VENV := .venv
# Tests side by side, one more than a small machine has cores: many wait for a server. A file's
# tests stay together, since they share what was costly to make.
JOBS ?= 3
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# --no-deps: face_recognition asks for the source of dlib, a build of minutes; dlib-bin is the same library.
FACE_RECOGNITION := $(PIP) install -q --no-deps 'face-recognition>=1.3,<1.4'

# Some images forbid it; but the tests start Python hundreds of times, and compile for minutes then.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test lint style types risks audit compiled bench torture setup check-python clean

help:
	@echo "make run    try it: a township server and one kiosk on this machine"
	@echo "make test   the whole test suite"
	@echo "make bench  speed, next to face_recognition and faiss; writes bench.json"
	@echo "make audit  known faults in the packages that are installed, where PyPI can be asked"
	@echo "make torture  the fault and attack tools, long; see docs/faults.md"
	@echo "make setup  the part they share"

run: setup
	@$(BIN)/python scripts/run_township.py $(ARGS)

# Types keep one core busy; meanwhile the other one compiles what each worker would compile again.
test: $(VENV)/.installed-test
	@$(MAKE) --no-print-directory setup
	@$(MAKE) --no-print-directory -j3 types compiled risks style $(CHECKS)
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder || { \
	  [ $$? = 1 ] && echo "Once more, one after the other: a test that fails now too has failed." && \
	  $(BIN)/python -m pytest --last-failed --last-failed-no-failures none; }

lint: style types risks

style: $(VENV)/.installed-test
	@$(BIN)/python -m ruff check .

types: $(VENV)/.installed-test
	@$(BIN)/python -m mypy

risks: $(VENV)/.installed-test
	@$(BIN)/python -m bandit -q -c pyproject.toml -r attendance recognition hardware enroll kiosk server scripts

audit: $(VENV)/.installed-test
	@$(BIN)/python scripts/audit_packages.py

# What is wrong with a file is said by the run itself.
compiled: $(VENV)/.installed-test
	@$(BIN)/python -m pytest --collect-only -qq -p no:cacheprovider >/dev/null 2>&1 || true

torture: $(VENV)/.installed-test setup
	@$(BIN)/python -m tests.faults.kill --times 1000
	@$(BIN)/python -m tests.faults.releases --times 30
	@$(BIN)/python -m tests.faults.install --screen || [ $$? = 77 ]
	@$(BIN)/python -m tests.faults.tamper --times 12
	@$(BIN)/python -m tests.faults.thin --times 6000
	@$(BIN)/python -m tests.faults.line --times 60 --mode sqlite
	@$(BIN)/python -m tests.faults.line --times 60 --mode postgres || [ $$? = 77 ]
	@$(BIN)/python -m tests.faults.year --checkins 100000
	@$(BIN)/python -m tests.faults.storm --kill-workers
	@$(BIN)/python -m tests.faults.storm --kill-workers --database postgres || [ $$? = 77 ]
	@$(BIN)/python -m tests.faults.disk --times 5 || [ $$? = 77 ]
	@$(BIN)/python -m tests.faults.power --times 1000 || [ $$? = 77 ]
	@$(BIN)/python -m tests.attacks.hostile --times 3 --mode sqlite
	@$(BIN)/python -m tests.attacks.hostile --times 3 --mode postgres || [ $$? = 77 ]
	@$(BIN)/python -m tests.attacks.mutate --times 10000 --mode sqlite
	@$(BIN)/python -m tests.attacks.mutate --times 10000 --mode postgres || [ $$? = 77 ]

bench: setup $(VENV)/.installed-bench
	@$(BIN)/python scripts/bench.py --json bench.json

setup: $(VENV)/.installed
	@$(BIN)/quxiang-recognition weights --quiet

check-python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "Quxiang needs Python 3.11, 3.12 or 3.13; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }

$(VENV)/bin/python: | check-python
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: setup.py pyproject.toml | $(VENV)/bin/python
	@echo "Installing into $(VENV) (once; a few minutes) ..."
	@$(PIP) install -q -e '.[kiosk,server,enroll,dlib]'
	@$(FACE_RECOGNITION)
	@touch $@

# All at once, not the tests' part after the others: pip would choose every version twice.
$(VENV)/.installed-test: setup.py pyproject.toml | $(VENV)/bin/python
	@echo "Installing into $(VENV) (once; a few minutes) ..."
	@$(PIP) install -q -e '.[kiosk,server,enroll,dlib,test]'
	@$(FACE_RECOGNITION)
	@touch $(VENV)/.installed $@

$(VENV)/.installed-bench: $(VENV)/.installed
	@$(PIP) install -q -e '.[kiosk,server,enroll,dlib,bench]'
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
