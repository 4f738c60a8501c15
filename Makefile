# `make` lists what there is. Every target sets up what it needs first; when nothing changed that takes a second.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# Many images set it. Without bytecode every process compiles all that it imports: the detector for five seconds at each start.
unexport PYTHONDONTWRITEBYTECODE

PYTHON := .venv/bin/python
ORCHESTRATION_PYTHON := .venv-orchestration/bin/python
# In an environment and a process of their own; Airflow and dbt warn of their own insides, which are not ours to mend.
DAG_TESTS := tests/orchestration --confcutdir=tests/orchestration -o norecursedirs=.hypothesis -W default
STREAMFLOW := .venv/bin/streamflow
SHELL_SCRIPTS := .ci/run $(shell find .github flink_jobs k8s ml sql tests docs -name '*.sh' -not -path '*/.venv/*')
# Two at a time, each with a stack of its own for half of what needs the servers.
AT_ONCE := -n 2 --dist loadgroup
# Not collected by `make test`: they want programs that take long to build.
CLUSTER_CHECKS := $(addprefix tests/lab/platform/,cluster_checks.py pod_checks.py upgrade_checks.py operator_checks.py)
# Lowest coverage in percent: the pure core, and everything.
CORE_COVERAGE := 95
ALL_COVERAGE := 80

UP_FLAGS ?=
DEMO_FLAGS ?=
MARTS_FLAGS ?=
PYTEST_FLAGS ?=
BENCH_FLAGS ?=
FAULTS_FLAGS ?=
IMAGES_FLAGS ?=
SOAK_FLAGS ?=

.PHONY: help setup setup-marts setup-monitoring setup-platform marts airflow airflow-down airflow-check up down status demo test \
	lint types check platform-check cluster-check images images-check ci upgrades bench faults soak picture clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## install what is missing: Java, Maven, Postgres, Python packages, jars
	@flink_jobs/local/bootstrap.sh

demo: setup ## start everything, send card transactions, watch decisions live (DEMO_FLAGS="--events 3000 --no-tty")
	@$(STREAMFLOW) demo $(DEMO_FLAGS)

setup-marts: ## the same as setup, and dbt and Airflow in an environment of their own
	@flink_jobs/local/bootstrap.sh marts

setup-monitoring: setup ## the same as setup, and Prometheus with promtool, which check the alerts and dashboards
	@tests/lab/bootstrap.sh monitoring

marts: setup-marts ## after the demo: gold marts with dbt, yesterday's fraud, the analyst's page (MARTS_FLAGS="--day 2024-01-08")
	@$(STREAMFLOW) marts $(MARTS_FLAGS)

airflow: setup-marts ## start Airflow on the local stack's Postgres: the DAGs that keep the marts
	@$(STREAMFLOW) airflow up

airflow-down: setup ## stop Airflow
	@$(STREAMFLOW) airflow down

airflow-check: setup-marts ## the real Airflow: a day from raw to gold, and what goes wrong (about ten minutes)
	@$(PYTHON) -m pytest -x tests/integration/airflow_check.py

up: setup ## start Postgres, Kafka and Flink (UP_FLAGS="--taskmanagers 2")
	@$(STREAMFLOW) up $(UP_FLAGS)

down: setup ## stop what `make up` started
	@$(STREAMFLOW) down

status: setup ## show processes, ports, jobs, checkpoints and lag
	@$(STREAMFLOW) status

setup-platform: setup ## the same as setup, and the tools that check k8s/, images and workflows
	@tests/lab/bootstrap.sh platform

test: setup-marts setup-monitoring setup-platform ## run all tests, the ones on real Postgres, Kafka and Flink too (PYTEST_FLAGS="-k state")
	@$(PYTHON) -m coverage erase
	@$(PYTHON) -m pytest --cov --cov-report= $(or $(PYTEST_FLAGS),$(AT_ONCE))
	@$(if $(PYTEST_FLAGS),,$(compiled-core-tests))
	@$(if $(PYTEST_FLAGS),,$(ORCHESTRATION_PYTHON) -m pytest --cov --cov-append --cov-report= $(DAG_TESTS))
	@$(if $(PYTEST_FLAGS),echo "coverage is not judged for a part of the tests",$(call gate,core,--include='flink_jobs/core/*',$(CORE_COVERAGE)) && $(call gate,all,,$(ALL_COVERAGE)))

# The same tests of the core once more, on what a job really runs.
compiled-core-tests = if STREAMFLOW_CORE=compiled $(PYTHON) -c 'import flink_jobs' 2>/dev/null; \
	then STREAMFLOW_CORE=compiled $(PYTHON) -m pytest -q $(AT_ONCE) tests/unit/core tests/unit/ml/test_train_serve_parity.py; \
	else echo "no C compiler was there at set-up: the compiled core is not tested"; fi

# gate(name, options, lowest): one line when it holds, the table of what is not covered when it does not.
gate = total=$$($(PYTHON) -m coverage report $(2) --format=total --fail-under=0) && \
	echo "coverage of $(1): $$total % (at least $(3) % wanted)" && \
	{ [ "$$total" -ge $(3) ] || { $(PYTHON) -m coverage report $(2) --fail-under=0; exit 2; }; }

lint: setup-marts ## ruff, import contracts, shell, YAML, SQL, secrets, spelling, documents (links, words, style), sizes
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@.venv/bin/lint-imports --no-cache
	@.venv/bin/shellcheck $(SHELL_SCRIPTS)
	@.venv/bin/yamllint --strict .
	@.venv/bin/codespell
	@$(PYTHON) -m pytest -q --no-header tests/house
	@git ls-files -z | xargs -0 .venv/bin/detect-secrets-hook --baseline .secrets.baseline
	@cd dbt && ../.venv-orchestration/bin/sqlfluff lint --disable-progress-bar models tests
	@cd sql && ../.venv-orchestration/bin/sqlfluff lint --disable-progress-bar analysis quality

types: setup-marts ## mypy --strict, in each environment what belongs to it
	@$(PYTHON) -m mypy
	@$(ORCHESTRATION_PYTHON) -m mypy --exclude nothing dags flink_jobs/warehouse/orchestration.py tests/orchestration

check: lint types ## all checks that run nothing

ci: ## what CI runs: checks, tests, the demo
	@.ci/run

upgrades: setup ## upgrade a job in every way on the real stack: the matrix of docs/upgrade.md
	@$(PYTHON) -m tests.integration.upgrade_matrix

bench: setup ## measure throughput and latency, or compare two reports (BENCH_FLAGS="--compare old.json new.json")
	@$(PYTHON) -m tests.lab.benchmarks $(BENCH_FLAGS)

platform-check: setup-platform ## the checks of terraform/ that are too slow for `make test`: validate, tests, tflint, checkov
	@tests/lab/bootstrap.sh terraform
	@$(PYTHON) -m pytest -q --no-header tests/lab/platform/terraform_checks.py

images: ## build the images with docker, podman or buildah, or without them (IMAGES_FLAGS="--base IMAGE job")
	@k8s/images/build.sh $(IMAGES_FLAGS)

images-check: setup ## as root, after `make images`: what is in them, their bills of materials, and both jobs at work
	@$(PYTHON) -m pytest -q --no-header tests/lab/platform/image_checks.py tests/lab/platform/image_work_checks.py

cluster-check: setup-platform ## k8s/ on a real Kubernetes API server (built once: 20 minutes), and under the Flink operator's validator
	@tests/lab/bootstrap.sh cluster
	@$(PYTHON) -m pytest -q --no-header $(CLUSTER_CHECKS)

faults: setup ## break the real stack in every way of the fault matrix, settle the account (FAULTS_FLAGS="--only broker-kill")
	@$(PYTHON) -m tests.lab.faults $(FAULTS_FLAGS)

soak: setup ## run at 80 % of capacity for long and judge what drifts (SOAK_FLAGS="--minutes 30")
	@$(PYTHON) -m tests.lab.soak $(SOAK_FLAGS)

picture: setup ## run the demo and draw the picture of the README from it (docs/demo.svg)
	@$(PYTHON) -m tests.lab.picture

clean: ## stop the stack and delete its data and all caches (.venv and .tools stay)
	@if [ -x $(STREAMFLOW) ]; then $(STREAMFLOW) down --wipe; fi
	@rm -rf .coverage .coverage.* htmlcov .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	@rm -rf dbt/target dbt/logs
	@find flink_jobs ml tests -name __pycache__ -type d -prune -exec rm -rf {} +
