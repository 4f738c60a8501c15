# syntax=docker/dockerfile:1
# The command line: `streamflow` without Flink, for migrations, traffic, training, models and dead letters.
#   docker build --file k8s/images/tools.Dockerfile --tag streamflow/tools .   (or `make images`)
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
RUN /opt/uv/bin/uv sync --frozen --no-progress --no-default-groups --group tools \
  && rm .venv/.lock

FROM base
# No program may change its user (no setuid files).
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 tini && rm -rf /var/lib/apt/lists/* \
  && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
  && groupadd --gid 10001 streamflow && useradd --uid 10001 --gid streamflow --no-create-home --home-dir /tmp streamflow
COPY --from=build /opt/streamflow/.venv /opt/streamflow/.venv
COPY api /opt/streamflow/api
COPY flink_jobs /opt/streamflow/flink_jobs
COPY ml /opt/streamflow/ml
COPY sql /opt/streamflow/sql
# Models and reports read the release version from it.
COPY pyproject.toml /opt/streamflow/
ENV PATH=/opt/streamflow/.venv/bin:/usr/local/bin:/usr/bin:/bin \
  PYTHONDONTWRITEBYTECODE=1 \
  PYTHONPATH=/opt/streamflow \
  STREAMFLOW_HOME=/tmp/streamflow \
  TZ=UTC
USER 10001:10001
WORKDIR /tmp
ARG VERSION=0
ARG REVISION=
ENV STREAMFLOW_REVISION=${REVISION}
LABEL org.opencontainers.image.title="streamflow/tools" \
  org.opencontainers.image.description="The command line of StreamFlow" \
  org.opencontainers.image.licenses="Apache-2.0" \
  org.opencontainers.image.version="${VERSION}" \
  org.opencontainers.image.revision="${REVISION}"
ENTRYPOINT ["tini", "--", "python", "-P", "-m", "flink_jobs.cli"]
CMD ["--help"]
