# One image for the API and the training worker: `serve` or `worker`.

FROM python:3.11-slim AS build
WORKDIR /build
COPY requirements.lock ./
# Wheels only: what would have to be compiled fails here, where it is noticed. The embedded server is not needed.
RUN python -m venv /venv && \
    /venv/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --require-hashes \
        --only-binary :all: -r requirements.lock
COPY perceptron /app/perceptron
COPY storage /app/storage
COPY service /app/service
COPY worker /app/worker
COPY standalone /app/standalone
COPY cli /app/cli
COPY pyproject.toml LICENSE /app/
RUN /venv/bin/python -m compileall -q /app /venv/lib && /venv/bin/pip uninstall --yes --quiet pip setuptools

FROM python:3.11-slim
LABEL org.opencontainers.image.title="Perceptron Service" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /venv /venv
COPY --from=build /app /app
# A volume made from this directory belongs to the user that runs.
RUN mkdir /data && chown 10001:10001 /data
ENV PATH=/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    PORT=8000 \
    DATA_DIR=/data
WORKDIR /app
USER 10001:10001
EXPOSE 8000
VOLUME /data
# Of the API; a worker listens on no port and ends by itself when it cannot go on, so switch this off for it.
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/livez', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "cli"]
CMD ["serve"]
