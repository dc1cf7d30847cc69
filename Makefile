# `make` lists the verbs. All paths are relative: the repository may lie in a path with spaces.

PY := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help env demo test test-fast test-deep test-versions test-e2e test-ui bench scale-out figures check format build clean

help:
	@echo "make demo       real Airflow runs a DAG that generates, edits and delivers two clips; no key needed"
	@echo "                OUT=dir: where the clips go; KEEP=1: leave the UI up; REAL=1: the real, paid service"
	@echo "make test       the whole test suite with branch coverage, in lanes side by side; ARGS='-k name' is passed on to pytest"
	@echo "make test-fast  all tests but those that start Airflow's processes or a browser; about three minutes"
	@echo "make test-deep  the models and random searches, long: EXAMPLES=2000 each, and other ones each time"
	@echo "make test-versions  quick tests on the oldest and the newest Airflow; VERSIONS='3.2.2 3.3.2' names others"
	@echo "make test-e2e   only the tests that start the four real Airflow processes; puts the counts of its fault run"
	@echo "                into docs/paid-once.md"
	@echo "make test-ui    only the tests of the page in Airflow's UI, in a real Chromium; SCREENSHOTS=1 puts what they saw"
	@echo "                into docs/images"
	@echo "make bench      what waiting and tables cost, against the usual ways; about two hours; QUICK=1: a quarter of it"
	@echo "make scale-out  200 videos on PostgreSQL, Celery and Redis with two triggerers, one of which is killed"
	@echo "make figures    what can be counted of the package's structure: long files, loops, names with two meanings"
	@echo "make check      lint, format, types, import rules, documentation, private words in texts that users see"
	@echo "make format     let ruff rewrite what it can; write the tables of arguments in docs/reference.md"
	@echo "make build      wheel and sdist into dist/"
	@echo "make clean      remove what the verbs made, .venv included, but not demo_output/"
	@echo "PYTHON=/path/to/python3.12 chooses the interpreter .venv is made with."

env:
	@sh scripts/venv.sh

demo: env
	@$(PY) scripts/demo.py

test: env
	@$(PY) scripts/suite.py $(ARGS)

test-fast: env
	@$(PY) -m pytest -n logical -m "not e2e and not ui" $(ARGS)

test-deep: env
	@GROKVIDEO_MODEL_EXAMPLES=$(or $(EXAMPLES),2000) $(PY) -m pytest -n logical -m deep $(ARGS)

test-versions: env
	@sh scripts/versions.sh $(VERSIONS)

test-e2e: env
	@rm -f build/fault-run.json
	@$(PY) -m pytest -m e2e $(ARGS)
	@$(if $(ARGS),echo "A part of the tests: the table in docs/paid-once.md stays.",\
		$(PY) scripts/fault_table.py build/fault-run.json docs/paid-once.md)

test-ui: env
	@GROKVIDEO_NEED_BROWSER=1 GROKVIDEO_SCREENSHOTS=$(if $(SCREENSHOTS),docs/images) $(PY) -m pytest -m ui $(ARGS)

bench: env
	@$(PY) -m benchmarks $(if $(QUICK),--quick) $(ARGS)

scale-out: env
	@$(PY) scripts/scale_out.py $(ARGS)

figures: env
	@$(PY) scripts/figures.py

check: env
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	MYPYPATH=scripts $(PY) -m mypy scripts benchmarks
	$(PY) -c 'from importlinter.cli import lint_imports_command as main; main()'
	$(PY) scripts/check_docs.py

format: env
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .
	$(PY) scripts/check_docs.py --write

build:
	@sh scripts/build.sh

clean:
	rm -rf .venv build dist htmlcov .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find airflow_provider_grokvideo benchmarks dags_examples scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +
