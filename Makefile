# On a machine with Python 3 (and its venv module), make and a package registry, nothing else:
#   make demo   a real photo -> its face -> its expression
#   make test   linters, type checker and the default tests
# Before a release:
#   make test-wheel     the wheel alone in a fresh environment: predict, and every command without its extra
#   make test-minimum   the default tests on the lowest versions that pyproject.toml allows
# For documents and development:
#   make docs           generated pages, then the site in build/site
#   make constraints    constraints.txt: the newest versions that fit together
PYTHON ?= python3
BIN := .venv/bin
# a process for each core; a file's tests stay together, as they share what is costly to make
PARALLEL := --numprocesses auto --dist loadfile

# for instance python3.10, where that is there
MINIMUM_PYTHON ?= $(PYTHON)
MINIMUM := build/minimum
# wheels only, as the lowest version may have none for this Python; two projects have no wheel at all
LOWEST = $(MINIMUM)/bin/uv pip compile --quiet --upgrade --no-header --python $(MINIMUM)/bin/python \
    --resolution lowest-direct --only-binary :all: --no-binary grad-cam --no-binary ttach \
    --output-file $(MINIMUM)/lowest.txt pyproject.toml
TEST_TOOLS := pytest pytest-xdist hypothesis scikit-image torchmetrics nbclient nbformat ipykernel ipywidgets

.PHONY: demo test test-slow notebooks docs constraints dist test-wheel test-minimum clean

demo: .venv/core
	$(BIN)/fer-attention predict --sample --output demo_output --json demo_output/astronaut.json
	@echo "Written: demo_output/astronaut.png and demo_output/astronaut.json"

test: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	MYPY_NUM_WORKERS=2 $(BIN)/mypy
	$(BIN)/pytest -q $(PARALLEL)

test-slow: .venv/installed
	$(BIN)/pytest -q $(PARALLEL) -m "slow and not gpu" --durations=10

# with FER2013 set to its zip file, notebook 3 trains on faces
notebooks: .venv/installed
	$(BIN)/python examples/run_notebooks.py

docs: .venv/installed
	$(BIN)/python tools/generate_models.py
	$(BIN)/python tools/generate_commands.py
	$(BIN)/python benchmarks/cost_record.py
	$(BIN)/python benchmarks/render_benchmarks.py
	$(BIN)/python benchmarks/pretrained.py render
	$(BIN)/python benchmarks/peers/measure.py render
	$(BIN)/mkdocs build --strict --site-dir build/site

# --universal: one file for every Python and platform
constraints: .venv/installed
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.10 --extra dev --no-annotate \
	    --no-emit-index-url --no-emit-find-links --custom-compile-command "make constraints" \
	    --output-file constraints.txt pyproject.toml

dist: .venv/installed
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*

test-wheel: dist
	$(BIN)/python tools/wheel_alone.py dist

# The demo by itself afterwards: its gradio wants a newer pydantic and huggingface_hub than the rest does.
test-minimum:
	$(MINIMUM_PYTHON) -m venv --clear $(MINIMUM)
	$(MINIMUM)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(LOWEST) --extra train --extra faces --extra study --extra ray --extra export --extra explain \
	    --extra docs
	$(MINIMUM)/bin/uv pip install --python $(MINIMUM) --requirements $(MINIMUM)/lowest.txt $(TEST_TOOLS)
	$(MINIMUM)/bin/uv pip install --python $(MINIMUM) --no-deps --editable .
	$(MINIMUM)/bin/python -m pytest -q $(PARALLEL) -k "not demo"
	$(LOWEST) --extra demo
	$(MINIMUM)/bin/uv pip install --python $(MINIMUM) --requirements $(MINIMUM)/lowest.txt
	$(MINIMUM)/bin/python -m pytest -q tests/demo tests/cli/test_demo.py

# the library alone, which is all that the demo needs; modules are compiled when they are first imported
.venv/core: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --editable .
	touch $@

# the same environment with everything for development
.venv/installed: .venv/core
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv demo_output dist build
