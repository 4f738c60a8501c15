# syntax=docker/dockerfile:1
# The Flink jobs: Flink from its Python package, our code and the compiled core. From the root of the checkout:
#   docker build --file k8s/images/job.Dockerfile --tag streamflow/job .   (or `make images`)
# Debian 12 has the tested versions of Python (3.11) and Java (17). For a release, the deploy workflow pins the base by
# digest (--build-arg BASE=debian@sha256:...).
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
# Slim images have no manual folders, which Java's package needs.
# hadolint ignore=DL3008
RUN mkdir -p /usr/share/man/man1 && apt-get update \
  && apt-get install --yes --no-install-recommends gcc libc6-dev maven openjdk-17-jre-headless python3-dev python3-venv \
  && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir uv==0.13.8
# Bytecode is compiled here, because containers cannot write it and each process would compile its imports again.
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_CACHE=1 UV_PYTHON=/usr/bin/python3 UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=1
WORKDIR /opt/streamflow
COPY pyproject.toml uv.lock .python-version ./
RUN /opt/uv/bin/uv sync --frozen --no-progress --no-default-groups --group job
COPY flink_jobs/local/maven/connectors.xml flink_jobs/local/maven/lake.xml flink_jobs/local/maven/object-storage.xml ./maven/
RUN for pom in connectors lake object-storage; do \
    mvn -B -q -f "maven/$pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
      -DincludeScope=runtime -DoutputDirectory="/opt/jars/$pom"; \
  done
# One folder with the layout of Flink's own images, because the operator mounts its configuration at /opt/flink/conf. For
# process mode, PyFlink looks for a start script in its package, hence the link.
RUN pyflink="$PWD/.venv/lib/python3.11/site-packages/pyflink" \
  && mkdir -p /opt/flink/plugins/s3-fs-hadoop /opt/flink/log \
  && mv "$pyflink/bin" "$pyflink/conf" "$pyflink/lib" "$pyflink/opt" /opt/flink/ \
  && ln -s /opt/flink/bin "$pyflink/bin" \
  && mv /opt/jars/connectors/*.jar /opt/flink/lib/ \
  && cp /opt/flink/opt/flink-python-*.jar /opt/flink/lib/ \
  && mv /opt/jars/object-storage/*.jar /opt/flink/plugins/s3-fs-hadoop/ \
  && rm -rf "$pyflink/plugins" "$pyflink/examples" "$pyflink/log" \
  && printf '%s\n' 'classloader.parent-first-patterns.additional: pemja.' \
    "python.executable: $PWD/.venv/bin/python" "python.client.executable: $PWD/.venv/bin/python" \
    'metrics.reporter.prom.factory.class: org.apache.flink.metrics.prometheus.PrometheusReporterFactory' \
    'metrics.reporter.prom.filterLabelValueCharacters: "false"' \
    >> /opt/flink/conf/config.yaml \
  # At level INFO this class logs its environment with all passwords.
  && printf '\n%s\n' 'logger.environment.name = org.apache.flink.client.python.PythonEnvUtils' 'logger.environment.level = WARN' \
    >> /opt/flink/conf/log4j-console.properties
COPY flink_jobs/crossing ./flink_jobs/crossing
RUN mvn -B -q -f flink_jobs/crossing/pom.xml -Dflink.lib=/opt/flink/lib -Dbuild.folder=/opt/crossing package \
  && cp /opt/crossing/streamflow-crossing.jar /opt/flink/lib/
COPY flink_jobs ./flink_jobs
# The compiler stays in this stage. The job finds the compiled core by a digest of its sources.
RUN UV_PROJECT_ENVIRONMENT=/opt/compiler /opt/uv/bin/uv sync --frozen --no-progress --no-default-groups --group native \
  && PYTHONPATH="$PWD" /opt/compiler/bin/python -P -m flink_jobs.native.build \
  && rm .venv/.lock

FROM base
# No program may change its user (no setuid files).
# hadolint ignore=DL3008
RUN mkdir -p /usr/share/man/man1 && apt-get update \
  && apt-get install --yes --no-install-recommends libpython3.11 openjdk-17-jre-headless procps tini \
  && rm -rf /var/lib/apt/lists/* /tmp/hsperfdata_root \
  && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
  && groupadd --gid 10001 flink && useradd --uid 10001 --gid flink --no-create-home --home-dir /tmp flink
COPY --from=build /opt/flink /opt/flink
COPY --from=build /opt/streamflow/.venv /opt/streamflow/.venv
COPY --from=build /opt/streamflow/.tools/native /opt/streamflow/.tools/native
# Only the optional lake job loads these.
COPY --from=build /opt/jars/lake /opt/streamflow/.tools/jars/lake
COPY flink_jobs /opt/streamflow/flink_jobs
COPY --chmod=755 k8s/images/entrypoint.sh /docker-entrypoint.sh
RUN chown flink:flink /opt/flink/log
# PEMJA ignores .pth files, so PYTHONPATH lists both folders.
ENV FLINK_HOME=/opt/flink \
  JAVA_HOME=/usr/lib/jvm/java-17-openjdk-amd64 \
  PATH=/opt/flink/bin:/opt/streamflow/.venv/bin:/usr/local/bin:/usr/bin:/bin \
  PYTHONDONTWRITEBYTECODE=1 \
  PYTHONPATH=/opt/streamflow/.venv/lib/python3.11/site-packages:/opt/streamflow \
  STREAMFLOW_CORE=compiled \
  STREAMFLOW_HOME=/tmp/streamflow \
  TZ=UTC
USER 10001:10001
WORKDIR /opt/flink
EXPOSE 6123 8081 9249
ARG VERSION=0
ARG REVISION=
LABEL org.opencontainers.image.title="streamflow/job" \
  org.opencontainers.image.description="The Flink jobs of StreamFlow: the detector, the archive and the optional lake job" \
  org.opencontainers.image.licenses="Apache-2.0" \
  org.opencontainers.image.version="${VERSION}" \
  org.opencontainers.image.revision="${REVISION}"
ENTRYPOINT ["tini", "--", "/docker-entrypoint.sh"]
