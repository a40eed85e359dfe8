# make demo   set up everything, then run the main job: a live forecast beside unseen AIMD
# make test   set up everything, then run the fast tests
# make test-pyside   the tests of the window again with PySide6 in place of PyQt6
# All may be run again at any time; what is there already is not done twice.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt
WINDOW_PACKAGES := xvfb libgl1 libegl1 libdbus-1-3 libfontconfig1 libxkbcommon-x11-0 libxcb-cursor0 \
    libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-render-util0 libxcb-shape0 libxcb-xinerama0
PACKAGES := python3-venv $(WINDOW_PACKAGES)
GPAW_PACKAGES := gcc python3-dev libxc-dev libopenblas-dev

export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-pyside setup setup-test packages lint clean

demo: setup
	@$(BIN)/ldm demo

test: setup-test
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile

test-pyside: .venv/.pyside
	@QT_API=pyside6 PYTEST_QT_API=pyside6 PYTHONPATH=.venv/pyside \
	    xvfb-run -a -s "-screen 0 1280x800x24" $(BIN)/python -m pytest -q tests/gui

lint: setup-test
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

setup: .venv/.gui
setup-test: .venv/.test

.venv/.gui: pyproject.toml constraints.txt
	@$(MAKE) --no-print-directory packages WANTED="$(PACKAGES)"
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"ldm_viewer needs Python 3.11 or newer, {sys.executable} is {v.major}.{v.minor}; try: make PYTHON=python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv (once; a few minutes)"
	@$(INSTALL) -e ".[gui]" >.venv/install.log 2>&1 || { cat .venv/install.log; exit 1; }
	@$(BIN)/python -c "import engine.kernels"  # compiled once, here rather than in the first forecast
	-@$(BIN)/python -c "import engine.blocks"
	@$(BIN)/python -c "from training.bench.frames import frames; frames(1).call()"
	@touch $@

.venv/.test: .venv/.gui
	@$(MAKE) --no-print-directory packages WANTED="$(GPAW_PACKAGES)"
	@echo "installing what the tests need, GPAW included (once)"
	@$(INSTALL) -e ".[gui,gpaw,test,dev]" >.venv/install.log 2>&1 || { cat .venv/install.log; exit 1; }
	@# what the Fourier neural operator needs itself; its own list would bring an experiment tracker
	@$(INSTALL) --no-deps neuraloperator tensorly tensorly-torch opt_einsum ruamel.yaml >.venv/install.log 2>&1 || { cat .venv/install.log; exit 1; }
	@touch $@

# Aside from the rest, so that PyQt6 stays what everything else takes.
.venv/.pyside: .venv/.test
	@$(INSTALL) --no-deps --upgrade --target .venv/pyside PySide6-Essentials shiboken6
	@touch $@

# Installs the Debian packages of WANTED that are missing, or says which to ask for.
packages:
	@missing=; for p in $(WANTED); do \
	    dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
	if [ "$(PYTHON)" != python3 ] || $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null; then missing=$${missing/ python3-venv/}; fi; \
	if $(PYTHON) -c 'import os, sysconfig; assert os.path.exists(sysconfig.get_path("include") + "/Python.h")' 2>/dev/null; then missing=$${missing/ python3-dev/}; fi; \
	test -z "$$missing" && exit 0; \
	if [ $$(id -u) = 0 ]; then run=; elif sudo -n true 2>/dev/null; then run=sudo; \
	else echo "These packages are missing, and installing them needs root. Please run, or ask for:"; \
	    echo "    sudo apt-get install$$missing"; exit 1; fi; \
	echo "installing$$missing"; \
	$$run apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$run apt-get install -y -qq --no-install-recommends $$missing >/dev/null

clean:
	rm -rf .venv demo build *.egg-info
