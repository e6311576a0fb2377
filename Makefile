# Everything is installed into .venv here; pip takes packages from wherever it is set up to.
PYTHON ?= python3
VENV := .venv
INSTALL := $(VENV)/bin/python -m pip install --quiet --constraint constraints.txt
DEMO := demo
BENCH := bench
# Each test process takes the next tests of its half, and those of the other when it is done, so that what a file shares is made once.
TESTS ?= -n 2 --dist worksteal
PYTEST := OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -q

.PHONY: help demo test test-slow test-all coverage check lint wheel release-check hooks docs results bench clean

help:
	@echo 'make demo     install, plant faults in films, find them, train, and write the report'
	@echo 'make test     run the tests, in about five minutes on two cores'
	@echo 'make test-slow run the long ones, which `make test` leaves out'
	@echo 'make coverage run both and say which lines none of them reaches'
	@echo 'make check    format, lint, types and tests'
	@echo 'make wheel    build the wheel and try it in an empty environment'
	@echo 'make release-check build wheel and source distribution and try both'
	@echo 'make hooks    check format, lint and types before each commit'
	@echo 'make docs     build the documentation into site/, which needs no network to be read'
	@echo 'make results  repeat the published tables'
	@echo 'make bench    measure speed against other libraries, on a machine that does nothing else'
	@echo 'make clean    remove what the other targets made'

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is older than 3.11 or absent; choose another with make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make environments; install its venv package (Debian, Ubuntu: apt install python3-venv)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# torch goes first and alone, so that the constraints choose its build and no other package does.
$(VENV)/.core: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) torch
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	$(INSTALL) --editable '.[dev,zoo,dicom,nifti,ecg,export]'
	@touch $@

$(VENV)/.docs: $(VENV)/.core
	$(INSTALL) --editable '.[docs]'
	@touch $@

demo: $(VENV)/.core
	rm -rf $(DEMO)
	$(VENV)/bin/resdx demo $(DEMO)

test: $(VENV)/.dev
	$(PYTEST) $(TESTS)

test-slow: $(VENV)/.dev
	$(PYTEST) $(TESTS) -m slow

test-all: $(VENV)/.dev
	$(PYTEST) $(TESTS) -m ''

coverage: $(VENV)/.dev
	$(PYTEST) $(TESTS) -m '' --cov --cov-report=term

lint: $(VENV)/.dev
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy --strict resdx

check: lint test-all

wheel: $(VENV)/.dev
	rm -rf build dist
	$(VENV)/bin/python -m build --wheel --outdir dist . > /dev/null
	bash tests/try_wheel.sh $(PYTHON) dist/resdx-*.whl

# The wheel is built from the source distribution, which shows that nothing is missing there.
release-check: $(VENV)/.dev
	rm -rf build dist
	$(VENV)/bin/python -m build --outdir dist . > /dev/null
	bash tests/try_wheel.sh $(PYTHON) dist/resdx-*.whl dist/resdx-*.tar.gz

hooks: $(VENV)/.dev
	$(VENV)/bin/pre-commit install

# MkDocs prints advertisements unless told not to.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=true $(VENV)/bin/python -m mkdocs build --quiet --strict --clean

results: $(VENV)/.dev
	@test -n '$(DATA)' || { echo 'say where the data sets are: make results DATA=FOLDER'; exit 1; }
	$(VENV)/bin/python -m benchmarks.results --data $(DATA)

bench: $(VENV)/.dev
	$(INSTALL) monai lightning ultralytics
	$(VENV)/bin/python -m benchmarks.speed $(BENCH) > benchmarks/speed.md
	if [ -n '$(DATA)' ]; then $(VENV)/bin/python -m benchmarks.time_to_auroc $(BENCH) --data $(DATA) > benchmarks/time_to_auroc.md; fi

clean:
	rm -rf $(VENV) $(DEMO) $(BENCH) build dist site .coverage .mypy_cache .ruff_cache .pytest_cache resdx.egg-info
