# Spillway with all it needs, as a user without rights. The Makefile's steps: the pinned packages by their hashes, then our own.
FROM python:3.11.13-slim-bookworm AS build

RUN python -m venv /opt/spillway
WORKDIR /build
COPY requirements-service.lock ./
RUN /opt/spillway/bin/python -m pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements-service.lock
COPY pyproject.toml README.md LICENSE ./
COPY pipeline pipeline
COPY collectors collectors
COPY sinks sinks
COPY spillway spillway
RUN /opt/spillway/bin/python -m pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation .

FROM python:3.11.13-slim-bookworm

RUN groupadd --system --gid 10001 spillway \
    && useradd --system --uid 10001 --gid spillway --no-create-home --home-dir /data --shell /usr/sbin/nologin spillway \
    && install --directory --owner spillway --group spillway --mode 0750 /data
COPY --from=build /opt/spillway /opt/spillway
COPY config/spillway.yaml /etc/spillway/spillway.yaml

ENV PATH=/opt/spillway/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 9108
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request as web; web.urlopen('http://127.0.0.1:9108/healthz', timeout=4)"]
ENTRYPOINT ["spillway"]
CMD ["run", "--config", "/etc/spillway/spillway.yaml", "--data", "/data"]
