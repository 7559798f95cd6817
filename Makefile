# On a machine with Python 3 (and its venv module), make and a package registry, nothing else:
#   make demo   a real photo -> its face -> its expression
#   make test   linters, type checker and the default tests
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-slow clean

demo: .venv/installed
	$(BIN)/python examples/astronaut.py demo_output/photo/astronaut.png
	$(BIN)/fer-attention predict demo_output/photo/astronaut.png \
	    --output demo_output --json demo_output/astronaut.json
	@echo "Written: demo_output/astronaut.png and demo_output/astronaut.json"

test: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -q

test-slow: .venv/installed
	$(BIN)/pytest -q -m "slow and not gpu" --durations=10

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv demo_output
