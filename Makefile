# `make demo` and `make test` set everything up themselves, in .venv.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test test-all lint bench clean

demo: $(READY)
	$(BIN)/pgregistry smoke --nproc 8 pipe=2 tensor=2 zero1=2 nettest=3

test: $(READY) lint
	$(BIN)/pytest -q -n 2

# What takes minutes: the fault matrix, and several hosts (network namespaces, where they are allowed; -rs says why not).
test-all: $(READY)
	$(BIN)/pytest -q -rs -n 2 -m slow tests

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	for script in benchmarks/bench_*.py; do $(BIN)/python $$script || exit 1; done

clean:
	rm -rf .venv build dist .*_cache

$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed; say make PYTHON=/path/to/python"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "pgregistry needs Python 3.10 or newer, but $(PYTHON) is $$($(PYTHON) -V 2>&1); say make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -c constraints.txt hatchling editables
	$(BIN)/pip install -q -c constraints.txt --no-build-isolation -e '.[dev]'
	@touch $(READY)
