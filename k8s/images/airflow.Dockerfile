# syntax=docker/dockerfile:1
# Airflow with the DAGs and dbt with the marts, for Airflow's own chart (k8s/airflow/values.yaml).
#   docker build --file k8s/images/airflow.Dockerfile --tag streamflow/airflow .   (or `make images`)
ARG BASE=debian:12.12-slim

FROM ${BASE} AS base
ENV DEBIAN_FRONTEND=noninteractive LANG=C.UTF-8
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# Debian stable only publishes fixes, so packages are not pinned; the upgrade installs fixes that are newer than the base.
# hadolint ignore=DL3008
RUN apt-get update && apt-get upgrade --yes \
  && apt-get install --yes --no-install-recommends ca-certificates python3 \
  && rm -rf /var/lib/apt/lists/*

FROM base AS build
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends python3-venv && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir uv==0.13.8
# Bytecode is compiled here, because containers cannot write it and each process would compile its imports again.
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_CACHE=1 UV_PYTHON=/usr/bin/python3 UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=1
WORKDIR /opt/streamflow
COPY pyproject.toml uv.lock .python-version ./
# flink_jobs/warehouse/paths.py expects these names: dbt and Airflow in .venv-orchestration, the command line in .venv.
RUN UV_PROJECT_ENVIRONMENT=.venv-orchestration /opt/uv/bin/uv sync --frozen --no-progress --no-default-groups --group airflow
RUN /opt/uv/bin/uv sync --frozen --no-progress --no-default-groups --group tools \
  && printf '#!/bin/sh\nexec /opt/streamflow/.venv/bin/python -P -m flink_jobs.cli "$@"\n' > .venv/bin/streamflow \
  && chmod 755 .venv/bin/streamflow \
  && rm .venv/.lock .venv-orchestration/.lock

FROM base
# Slim images have no manual folders, which the Postgres packages need. No program may change its user (no setuid files).
# hadolint ignore=DL3008
RUN mkdir -p /usr/share/man/man1 /usr/share/man/man7 && apt-get update && apt-get install --yes --no-install-recommends git libgomp1 postgresql-client tini && rm -rf /var/lib/apt/lists/* \
  && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
  && groupadd --gid 10001 airflow && useradd --uid 10001 --gid airflow --no-create-home --home-dir /opt/airflow airflow \
  && mkdir -p /opt/airflow && chown airflow:airflow /opt/airflow
WORKDIR /opt/streamflow
COPY --from=build /opt/streamflow/.venv .venv
COPY --from=build /opt/streamflow/.venv-orchestration .venv-orchestration
COPY api api
COPY flink_jobs flink_jobs
COPY ml ml
COPY sql sql
# Models and reports read the release version from it.
COPY pyproject.toml ./
COPY dags dags
COPY --chown=10001:10001 dbt dbt
ENV AIRFLOW_HOME=/opt/airflow \
  AIRFLOW__CORE__DAGS_FOLDER=/opt/streamflow/dags \
  AIRFLOW__CORE__LOAD_EXAMPLES=False \
  AIRFLOW__COSMOS__ENABLE_TELEMETRY=False \
  DO_NOT_TRACK=1 \
  PATH=/opt/streamflow/.venv-orchestration/bin:/usr/local/bin:/usr/bin:/bin \
  PYTHONDONTWRITEBYTECODE=1 \
  PYTHONPATH=/opt/streamflow \
  STREAMFLOW_HOME=/tmp/streamflow \
  TZ=UTC
USER 10001:10001
# Cosmos creates the DAGs from dbt's manifest. Parsing needs no database, but the variables must be set.
RUN STREAMFLOW_POSTGRES_HOST=none STREAMFLOW_POSTGRES_PORT=1 STREAMFLOW_POSTGRES_DATABASE=none \
  STREAMFLOW_POSTGRES_TRANSFORMER_USER=none STREAMFLOW_POSTGRES_TRANSFORMER_PASSWORD=none \
  dbt parse --project-dir dbt --profiles-dir dbt --no-use-colors
ARG VERSION=0
ARG REVISION=
ENV STREAMFLOW_REVISION=${REVISION}
LABEL org.opencontainers.image.title="streamflow/airflow" \
  org.opencontainers.image.description="Airflow and dbt with the DAGs and the marts of StreamFlow" \
  org.opencontainers.image.licenses="Apache-2.0" \
  org.opencontainers.image.version="${VERSION}" \
  org.opencontainers.image.revision="${REVISION}"
ENTRYPOINT ["tini", "--"]
CMD ["airflow", "version"]
