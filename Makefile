# Two commands: `make demo` and `make test`. Both share .venv and skip what is there.
PYTHON ?= python3
BIN := .venv/bin
DEMO_OUT ?= audit-demo
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo test check slow demos lint types setup clean

setup: .venv/.installed

# torch comes first and pinned: an open range would bring several gigabytes of CUDA packages along.
.venv/.installed: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q "$$(grep '^torch==' constraints.txt)" -c constraints.txt
	$(BIN)/pip install -q -e ".[dev]" -c constraints.txt
	@touch $@

demo: setup
	$(BIN)/audit demo --out $(DEMO_OUT)

test: setup
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow"

slow: setup
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "slow and not demos"

# The demos of kinds of model beside images and texts, ten minutes of a core each; .ci/run leaves them out.
demos: setup
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m demos

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

check: lint types test slow demos

clean:
	rm -rf .venv build dist *.egg-info
