# `make` lists what there is. Every target sets up what it needs first; when nothing changed that takes a second.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON := .venv/bin/python
ORCHESTRATION_PYTHON := .venv-orchestration/bin/python
# In an environment and a process of their own; Airflow and dbt warn of their own insides, which are not ours to mend.
DAG_TESTS := tests/orchestration -o norecursedirs=.hypothesis -W default
STREAMFLOW := .venv/bin/streamflow
SHELL_SCRIPTS := .ci/run $(shell find flink_jobs k8s ml sql tests docs -name '*.sh' -not -path '*/.venv/*')
# Lowest coverage in percent: the pure core, and everything.
CORE_COVERAGE := 95
ALL_COVERAGE := 80

UP_FLAGS ?=
DEMO_FLAGS ?=
MARTS_FLAGS ?=
PYTEST_FLAGS ?=
BENCH_FLAGS ?=

.PHONY: help setup setup-marts setup-monitoring setup-platform marts airflow airflow-down up down status demo test lint \
	types check platform-check ci bench clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## install what is missing: Java, Maven, Postgres, Python packages, jars
	@flink_jobs/local/bootstrap.sh

demo: setup ## start everything, send card transactions, watch decisions live (DEMO_FLAGS="--events 3000 --no-tty")
	@$(STREAMFLOW) demo $(DEMO_FLAGS)

setup-marts: ## the same, and dbt and Airflow in an environment of their own
	@flink_jobs/local/bootstrap.sh marts

setup-monitoring: ## the same as setup, and Prometheus with promtool, which check the alerts and dashboards
	@flink_jobs/local/bootstrap.sh monitoring

marts: setup-marts ## after the demo: gold marts with dbt, yesterday's fraud, the analyst's page (MARTS_FLAGS="--day 2024-01-08")
	@$(STREAMFLOW) marts $(MARTS_FLAGS)

airflow: setup-marts ## start Airflow on the local stack's Postgres: the DAGs that keep the marts
	@$(STREAMFLOW) airflow up

airflow-down: setup ## stop Airflow
	@$(STREAMFLOW) airflow down

up: setup ## start Postgres, Kafka and Flink (UP_FLAGS="--taskmanagers 2")
	@$(STREAMFLOW) up $(UP_FLAGS)

down: setup ## stop what `make up` started
	@$(STREAMFLOW) down

status: setup ## show processes, ports, jobs, checkpoints and lag
	@$(STREAMFLOW) status

setup-platform: ## the same, and what checks k8s/, images and workflows
	@flink_jobs/local/bootstrap.sh platform

test: setup-marts setup-monitoring setup-platform ## run all tests, the ones on real Postgres, Kafka and Flink too (PYTEST_FLAGS="-k state")
	@$(PYTHON) -m coverage erase
	@$(PYTHON) -m pytest --cov --cov-report= $(PYTEST_FLAGS)
	@$(if $(PYTEST_FLAGS),,$(compiled-core-tests))
	@$(if $(PYTEST_FLAGS),,$(ORCHESTRATION_PYTHON) -m pytest $(DAG_TESTS))
	@$(if $(PYTEST_FLAGS),echo "coverage is not judged for a part of the tests",$(call gate,core,--include='flink_jobs/core/*',$(CORE_COVERAGE)) && $(call gate,all,,$(ALL_COVERAGE)))

# The same tests of the core once more, on what a job really runs.
compiled-core-tests = if STREAMFLOW_CORE=compiled $(PYTHON) -c 'import flink_jobs' 2>/dev/null; \
	then STREAMFLOW_CORE=compiled $(PYTHON) -m pytest -q tests/unit/core tests/unit/ml/test_train_serve_parity.py; \
	else echo "no C compiler was there at set-up: the compiled core is not tested"; fi

# gate(name, options, lowest): one line when it holds, the table of what is not covered when it does not.
gate = total=$$($(PYTHON) -m coverage report $(2) --format=total --fail-under=0) && \
	echo "coverage of $(1): $$total % (at least $(3) % wanted)" && \
	{ [ "$$total" -ge $(3) ] || { $(PYTHON) -m coverage report $(2) --fail-under=0; exit 2; }; }

lint: setup-marts ## ruff (rules and format), import contracts, shell scripts, YAML, SQL
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@.venv/bin/lint-imports --no-cache
	@.venv/bin/shellcheck $(SHELL_SCRIPTS)
	@.venv/bin/yamllint --strict .
	@cd dbt && ../.venv-orchestration/bin/sqlfluff lint --disable-progress-bar models tests
	@cd sql && ../.venv-orchestration/bin/sqlfluff lint --disable-progress-bar analysis quality

types: setup-marts ## mypy --strict, in each environment what belongs to it
	@$(PYTHON) -m mypy
	@$(ORCHESTRATION_PYTHON) -m mypy --exclude nothing dags flink_jobs/warehouse/orchestration.py tests/orchestration

check: lint types ## all checks that run nothing

ci: ## what CI runs: checks, tests, the demo
	@.ci/run

bench: setup ## measure throughput and latency (BENCH_FLAGS)
	@$(PYTHON) -m tests.benchmarks $(BENCH_FLAGS)

platform-check: setup-platform ## the checks of terraform/ that are too slow for `make test`: validate, tests, checkov
	@flink_jobs/local/bootstrap.sh terraform
	@$(PYTHON) -m pytest -q --no-header tests/platform/terraform_checks.py

clean: ## stop the stack and delete its data and all caches (.venv and .tools stay)
	@if [ -x $(STREAMFLOW) ]; then $(STREAMFLOW) down --wipe; fi
	@rm -rf .coverage .coverage.* htmlcov .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	@rm -rf dbt/target dbt/logs
	@find flink_jobs ml tests -name __pycache__ -type d -prune -exec rm -rf {} +
