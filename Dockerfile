# One image for all services; the command says which one a container runs: `serve auth`, `migrate all`, …
# Built and run by docker-compose.yaml; docs/operations/compose.md.

FROM python:3.12-slim AS build
WORKDIR /app
RUN python -m venv /opt/oofgg
COPY requirements/services.lock requirements/services.lock
RUN /opt/oofgg/bin/python -m pip install --disable-pip-version-check --no-input --no-cache-dir --only-binary :all: --require-hashes -r requirements/services.lock
COPY sdk/src/oofgg oofgg
COPY pkg pkg
COPY envoy envoy
COPY services services
RUN /opt/oofgg/bin/python -m compileall -q /opt/oofgg/lib /app

FROM python:3.12-slim
WORKDIR /app
ENV PATH=/opt/oofgg/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY --from=build /opt/oofgg /opt/oofgg
COPY --from=build /app /app
# Where a volume for Envoy's configuration is mounted: it takes its mode from here, whoever the user is.
RUN install -d -m 1777 /srv/envoy
USER 10001:10001
EXPOSE 9000 9001 9002
# What `python -m services health` asks, without starting Python.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9001 && printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3 && read -r protocol status rest <&3 && [ \"$status\" = 200 ]"]
ENTRYPOINT ["python", "-m", "services"]
