# `make` lists the targets. Every target first installs the tools it needs; if nothing changed, that takes about a second.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# Many images set this variable. Without bytecode every process compiles its imports; the detector needs 5 s more to start.
unexport PYTHONDONTWRITEBYTECODE

PYTHON := .venv/bin/python
ORCHESTRATION_PYTHON := .venv-orchestration/bin/python
# These run in a separate environment and process. `-W default`: Airflow and dbt emit warnings that we cannot fix.
DAG_TESTS := tests/orchestration --confcutdir=tests/orchestration -o norecursedirs=.hypothesis -W default
STREAMFLOW := .venv/bin/streamflow
SHELL_SCRIPTS := .ci/run $(shell find .github flink_jobs k8s ml sql tests docs -name '*.sh' -not -path '*/.venv/*')
# Three worker processes, also on two cores, because tests on real servers wait a part of their time: two have a Flink cluster
# each, one has a Postgres server. The unit tests follow on the first process that has finished its share. The tests are taken in
# their order: by default, pytest-xdist begins with the group of most tests, which is not the longest.
AT_ONCE := -n 3 --dist loadgroup --no-loadscope-reorder --durations=30 --durations-min=5
# `make test` does not collect these, because their programs take long to build.
CLUSTER_CHECKS := $(addprefix tests/lab/platform/,cluster_checks.py pod_checks.py upgrade_checks.py operator_checks.py)
# The short forms of cluster-check and platform-check need no server, no tflint and no checkov. `make test` runs them too.
CLUSTER_SHORT := $(addprefix tests/lab/platform/test_,manifests.py components.py first_sync.py settings_agree.py collector.py \
	identity_component.py kafka_ui_component.py lake_component.py own_features_component.py redis_component.py registry_component.py webhooks_component.py release.py)
PLATFORM_SHORT := tests/lab/platform/test_terraform.py
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

.PHONY: help setup setup-marts setup-registry setup-monitoring setup-browser setup-platform setup-lab marts airflow airflow-down airflow-check registry-check up down status demo test test-compiled-core test-dags test-python security \
	lint types check platform-check platform-check-short cluster-check cluster-check-short collector-check canary-check chart helm-check images images-check ci upgrades bench faults soak picture clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## install missing tools: Java, Maven, Postgres, Python packages, jars
	@flink_jobs/local/bootstrap.sh

demo: setup ## start the stack, send card transactions and watch decisions live (DEMO_FLAGS="--events 3000 --no-tty")
	@$(STREAMFLOW) demo $(DEMO_FLAGS)

setup-registry: ## setup, plus the schema registry for Avro transactions (140 MB)
	@flink_jobs/local/bootstrap.sh registry

setup-marts: ## setup, plus dbt and Airflow in their own environment, and the jars of the lake job
	@flink_jobs/local/bootstrap.sh marts

setup-monitoring: setup ## setup, plus Prometheus and promtool, which check alerts and dashboards
	@tests/lab/bootstrap.sh monitoring

setup-browser: setup ## setup, plus Chromium and axe-core, which try the console
	@tests/lab/bootstrap.sh browser

marts: setup-marts ## after the demo: build the gold marts and the fraud report of a day (MARTS_FLAGS="--day 2024-01-08")
	@$(STREAMFLOW) marts $(MARTS_FLAGS)

airflow: setup-marts ## start Airflow with the DAGs of the marts, on the local stack's Postgres
	@$(STREAMFLOW) airflow up

airflow-down: setup ## stop Airflow
	@$(STREAMFLOW) airflow down

registry-check: setup-registry ## try Avro transactions with a real schema registry, Apicurio (about two minutes)
	@$(PYTHON) -m pytest -q --no-header tests/integration/registry_check.py

airflow-check: setup-marts ## test the DAGs in a real Airflow: a day from raw to gold, and failures (about ten minutes)
	@$(PYTHON) -m pytest -x tests/integration/airflow_check.py

up: setup ## start Postgres, Kafka and Flink (UP_FLAGS="--taskmanagers 2")
	@$(STREAMFLOW) up $(UP_FLAGS)

down: setup ## stop the processes that `make up` started
	@$(STREAMFLOW) down

status: setup ## show processes, ports, jobs, checkpoints and consumer lag
	@$(STREAMFLOW) status

setup-platform: setup ## setup, plus the tools that check k8s/, images and workflows
	@tests/lab/bootstrap.sh platform

setup-lab: setup-monitoring setup-browser setup-platform

test: setup-marts setup-lab ## run all tests, also on real Postgres, Kafka and Flink (PYTEST_FLAGS="-k state")
	@$(PYTHON) -m coverage erase
	@$(PYTHON) -m pytest --cov --cov-report= $(or $(PYTEST_FLAGS),$(AT_ONCE))
	@$(if $(PYTEST_FLAGS),,$(MAKE) -j2 --output-sync=target test-compiled-core test-dags)
	@$(if $(PYTEST_FLAGS),echo "coverage is checked only when all tests run",$(call gate,core,--include='flink_jobs/core/*',$(CORE_COVERAGE)) && $(call gate,all,,$(ALL_COVERAGE)))

# Parts of `make test` that run beside each other. The first: the tests of the core once more, on the compiled core that a job runs.
test-compiled-core:
	@if STREAMFLOW_CORE=compiled $(PYTHON) -c 'import flink_jobs' 2>/dev/null; \
	then STREAMFLOW_CORE=compiled $(PYTHON) -m pytest -q tests/unit/core tests/unit/ml/test_train_serve_parity.py; \
	else echo "the compiled core is not tested: it is not built; install gcc and run make setup"; fi

test-dags:
	@$(ORCHESTRATION_PYTHON) -m pytest --cov --cov-append --cov-report= $(DAG_TESTS)

# gate(name, options, lowest): prints one line if the coverage is high enough, else the table of uncovered lines.
gate = total=$$($(PYTHON) -m coverage report $(2) --format=total --fail-under=0) && \
	echo "coverage of $(1): $$total % (at least $(3) %)" && \
	{ [ "$$total" -ge $(3) ] || { $(PYTHON) -m coverage report $(2) --fail-under=0; exit 2; }; }

test-python: ## test the parts without Flink on this machine's python3 (3.11 or 3.12), in an environment of its own
	@tests/lab/python_versions.sh

security: setup ## check the locked packages for known vulnerabilities, the workflows and secrets (needs the internet)
	@tests/lab/security.sh

lint: setup-marts ## ruff, import contracts, shell, YAML, SQL, Avro, secrets, spelling, documents (links, words, style), sizes
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@.venv/bin/lint-imports --no-cache
	@.venv/bin/shellcheck $(SHELL_SCRIPTS)
	@.venv/bin/yamllint --strict .
	@.venv/bin/codespell
	@$(PYTHON) -m pytest -q --no-header tests/house
	@git ls-files -z | xargs -0 .venv/bin/detect-secrets-hook --baseline .secrets.baseline
	@$(STREAMFLOW) schemas check
	@cd dbt && ../.venv-orchestration/bin/sqlfluff lint --disable-progress-bar models tests
	@cd sql && ../.venv-orchestration/bin/sqlfluff lint --disable-progress-bar analysis quality

types: setup-marts ## mypy --strict in both environments
	@$(PYTHON) -m mypy
	@$(ORCHESTRATION_PYTHON) -m mypy --exclude nothing dags flink_jobs/warehouse/orchestration.py tests/orchestration

check: lint types ## all static checks

ci: ## all steps of CI: checks, tests, demo, marts
	@.ci/run

upgrades: setup ## run the upgrade matrix of docs/upgrade.md on a real stack
	@$(PYTHON) -m tests.integration.upgrade_matrix

bench: setup ## measure throughput, latency and memory, or compare two reports (BENCH_FLAGS="--compare old.json new.json")
	@$(PYTHON) -m tests.lab.benchmarks $(BENCH_FLAGS)

platform-check: setup-platform ## check terraform/ with terraform, tflint and checkov (first build: about six minutes)
	@tests/lab/bootstrap.sh terraform
	@$(PYTHON) -m pytest -q --no-header $(PLATFORM_SHORT) tests/lab/platform/terraform_checks.py

platform-check-short: setup-platform ## the part of platform-check that CI runs: terraform alone
	@$(PYTHON) -m pytest -q --no-header $(PLATFORM_SHORT)

canary-check: setup ## try a canary on a real stack: an equal program passes, another is returned (about three minutes)
	@$(PYTHON) -m pytest -q --no-header tests/integration/canary_check.py

chart: setup-platform ## write a Helm chart of the overlay of production to .tools/chart/streamflow
	@$(PYTHON) -m tests.lab.platform.helm_chart

helm-check: setup-platform ## check that chart with helm: equal to Kustomize, object by object (first build: two minutes)
	@tests/lab/bootstrap.sh helm
	@$(PYTHON) -m pytest -q --no-header tests/lab/platform/helm_checks.py

images: ## build the images, with or without a container engine (IMAGES_FLAGS="--base IMAGE job")
	@k8s/images/build.sh $(IMAGES_FLAGS)

images-check: setup ## as root, after `make images`: check the images' content and run both jobs from them
	@$(PYTHON) -m pytest -q --no-header tests/lab/platform/image_checks.py tests/lab/platform/image_work_checks.py

cluster-check: setup-platform ## check k8s/ with a real Kubernetes API server and Flink's operator (first build: 20 minutes)
	@tests/lab/bootstrap.sh cluster
	@$(PYTHON) -m pytest -q --no-header $(CLUSTER_CHECKS)

cluster-check-short: setup-platform ## the part of cluster-check that CI runs: schemas, policies, order and quota, without a server
	@$(PYTHON) -m pytest -q --no-header $(CLUSTER_SHORT)

collector-check: setup-platform ## send logs and one trace of a real stack through OpenTelemetry's collector (first build: five minutes)
	@tests/lab/bootstrap.sh collector
	@$(PYTHON) -m pytest -q --no-header -s tests/lab/platform/collector_checks.py

faults: setup ## break a real stack in every way of the fault matrix (FAULTS_FLAGS="--only broker-kill")
	@$(PYTHON) -m tests.lab.faults $(FAULTS_FLAGS)

soak: setup ## run at 80 % of capacity and check that no measured series drifts (SOAK_FLAGS="--minutes 30")
	@$(PYTHON) -m tests.lab.soak $(SOAK_FLAGS)

picture: setup ## run the demo and draw the README's picture from it (docs/demo.svg)
	@$(PYTHON) -m tests.lab.picture

clean: ## stop the stack, delete its data and all caches; keep .venv and .tools
	@if [ -x $(STREAMFLOW) ]; then $(STREAMFLOW) down --wipe; fi
	@rm -rf .coverage .coverage.* htmlcov .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	@rm -rf dbt/target dbt/logs
	@find api flink_jobs ml tests -name __pycache__ -type d -prune -exec rm -rf {} +
