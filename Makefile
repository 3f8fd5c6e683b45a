# Two commands do everything, set-up included: make demo, make test.
PYTHON = .venv/bin/python
BENCHMARKS = reclaim store writeback fault touch tree age files

.PHONY: setup demo test nightly check bench bench-small docs clean

setup:
	@tools/setup.sh

# A workload and a two-stage agent on a mount of their own.
demo: setup
	@$(PYTHON) examples/demo.py

# All tests, real mounts included.
test: setup
	@$(PYTHON) -m pytest -q -n 2 --dist loadfile

# The long run of the model tests: at least 20,000 steps.
nightly: setup
	@HYPOTHESIS_PROFILE=nightly $(PYTHON) -m pytest -q -n 2 -o faulthandler_timeout=3600 tests/model

# Style, types, layers.
check: setup
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@$(PYTHON) -m pytest -q tests/unit/test_layers.py

bench: setup
	@for name in $(BENCHMARKS); do $(PYTHON) -m benchmarks.bench_$$name || exit 1; done

# The same, small: that they run, not how fast.
bench-small: setup
	@for name in $(BENCHMARKS); do $(PYTHON) -m benchmarks.bench_$$name --size 8M --repeat 1 || exit 1; done

# Pages made from the code.
docs: setup
	@$(PYTHON) examples/experiments/page.py
	@$(PYTHON) -m fakecg.cli.docs

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
