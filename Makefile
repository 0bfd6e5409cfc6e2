# `make demo` and `make test` set everything up themselves, in .venv.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test test-all torch gpu soak lint coverage docs pages bench bench-scale bench-all clean

demo: $(READY)
	$(BIN)/pgregistry smoke --nproc 8 pipe=2 tensor=2 zero1=2 nettest=3
	@echo "Next: . $(BIN)/activate; pgregistry show 16 tensor=4 pipe=2 --html plan.html"

test: $(READY) lint
	$(BIN)/pytest -q -n 3  # on two cores: tests also wait

# What takes minutes: the fault matrix, what builds environments, and several hosts (network namespaces; -rs shows why not).
# As root on Debian it first installs what tests of launchers and of the page need, and Zensical for those of the site.
test-all: $(READY)
	@sh tests/hosts/packages.sh
	@$(MAKE) -s .venv/.docs || echo "Zensical cannot be installed here, so the tests of the site are skipped."
	$(BIN)/pytest -q -rs -n 2 -m slow tests

# The fast tests with another torch, in build/torch-VERSION: make torch VERSION=2.15.0. Its row in docs/compatibility.md
# is written anew. The builds that PyPI has for Linux take about 5 GB each.
torch:
	$(PYTHON) tests/versions/run_suite.py "$(VERSION)" $(TESTS)

# On GPUs, one or several, within 5 minutes: make gpu PYTHON=/path/to/a/python/with/torch. It installs nothing.
gpu:
	@$(PYTHON) tests/gpu/run.py

# Thousands of runs with faults at random moments, and every answer of the store wrong in every way: hours.
soak: $(READY)
	$(BIN)/pytest -q -m soak tests

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Which lines and branches `make test` runs, on ranks too. A process that is killed is not counted.
coverage: $(READY)
	$(BIN)/pytest -q -n 2 --cov --cov-report=term

# The site of the documentation, in build/site. A link that leads nowhere and a generated page that is stale fail it.
docs: .venv/.docs
	$(BIN)/python docs/site/build.py

# The pages that are generated and kept.
pages: $(READY)
	$(BIN)/python examples/generate_layouts_page.py > docs/layouts.md
	$(BIN)/python tests/helpers/refused_page.py docs/refused.md

# Every claim of README beside its peers, in minutes; writes docs/benchmarks.md.
bench: $(READY)
	$(BIN)/python benchmarks/quick.py

# Thousands of simulated ranks, and up to 256 real ones; writes the tables and plots of docs/scale.md.
bench-scale: $(READY)
	$(BIN)/python benchmarks/scale.py

# Each claim more closely: about half an hour.
bench-all: $(READY)
	for script in benchmarks/bench_*.py; do $(BIN)/python $$script || exit 1; done

.venv/.docs: $(READY)
	$(BIN)/python -m pip install -q -c constraints.txt --group docs
	@touch $@

clean:
	rm -rf .venv build dist .coverage* .*_cache

$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed; run make PYTHON=/path/to/python"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "pgregistry needs Python 3.10 or newer, but $(PYTHON) is $$($(PYTHON) -V 2>&1); run make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt --upgrade pip
	$(BIN)/python -m pip install -q -c constraints.txt hatchling editables
	$(BIN)/python -m pip install -q -c constraints.txt --no-build-isolation -e . --group dev
	@touch $(READY)
