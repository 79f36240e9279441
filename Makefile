# Quxiang: `make run` tries it, `make test` checks it. Both work on a fresh machine.
PYTHON ?= python3
VENV := .venv
# Tests side by side; a file's tests stay together, since they share what was costly to make.
JOBS ?= 2
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help run test lint bench torture setup check-python clean

help:
	@echo "make run    try it: a township server and one kiosk on this machine"
	@echo "make test   the whole test suite"
	@echo "make bench  speed, next to face_recognition and faiss; writes bench.json"
	@echo "make torture  the fault tools, long; see docs/faults.md"
	@echo "make setup  the part they share"

run: setup
	@$(BIN)/python scripts/run_township.py $(ARGS)

test: setup $(VENV)/.installed-test lint
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

lint: $(VENV)/.installed-test
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m mypy

torture: setup $(VENV)/.installed-test
	@$(BIN)/python -m tests.faults.kill --times 1000
	@$(BIN)/python -m tests.faults.releases --times 30
	@$(BIN)/python -m tests.faults.tamper --times 12
	@$(BIN)/python -m tests.faults.thin --times 6000
	@$(BIN)/python -m tests.faults.line --times 60 --mode sqlite
	@$(BIN)/python -m tests.faults.line --times 60 --mode postgres || [ $$? = 77 ]
	@$(BIN)/python -m tests.faults.disk --times 5 || [ $$? = 77 ]
	@$(BIN)/python -m tests.faults.power --times 1000 || [ $$? = 77 ]

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
	@# --no-deps: face_recognition asks for the source of dlib, a build of minutes; dlib-bin is the same library.
	@$(PIP) install -q --no-deps 'face-recognition>=1.3,<1.4'
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@$(PIP) install -q -e '.[kiosk,server,enroll,dlib,test]'
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.installed
	@$(PIP) install -q -e '.[kiosk,server,enroll,dlib,bench]'
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
