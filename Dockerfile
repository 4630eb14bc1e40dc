# One image for the API and the training workers: `serve` (the default) or `worker`.

FROM python:3.11-slim AS build
WORKDIR /app
COPY requirements.lock /build/
# Wheels only: a package that would have to be compiled fails the build.
RUN python -m venv --without-pip /venv && \
    python -m pip --python /venv/bin/python install --no-cache-dir --disable-pip-version-check --no-deps \
        --require-hashes --only-binary :all: --requirement /build/requirements.lock
COPY perceptron perceptron
COPY storage storage
COPY service service
COPY worker worker
COPY standalone standalone
COPY cli cli
COPY pyproject.toml LICENSE ./
# Compiled now, because the user at run time cannot write here. Readable, whatever the umask of the checkout.
RUN python -m compileall -q . && chmod -R a+rX .

FROM python:3.11-slim
# SageMaker and Vertex AI run the image as it is, and use port 8080 unless they set another.
LABEL org.opencontainers.image.title="Perceptron Service" \
      org.opencontainers.image.licenses="MIT" \
      com.amazonaws.sagemaker.capabilities.accept-bind-to-port="true"
# Nothing more is installed into this image. A volume on /data belongs to the user at run time.
RUN python -m pip uninstall --yes --quiet pip setuptools wheel && \
    rm -rf /usr/local/lib/python3*/ensurepip && \
    mkdir /data && chown 10001:10001 /data
COPY --from=build /venv /venv
COPY --from=build /app /app
ENV PATH=/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    PORT=8080 \
    DATA_DIR=/data
WORKDIR /app
USER 10001:10001
EXPOSE 8080
VOLUME /data
# For the API. A worker has no port and exits by itself when it cannot continue: switch the check off for it.
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; api = http.client.HTTPConnection('127.0.0.1', int(next(filter(None, map(os.environ.get, ('AIP_HTTP_PORT', 'SAGEMAKER_BIND_TO_PORT', 'PORT'))))), timeout=2); api.request('GET', '/livez'); sys.exit(api.getresponse().status != 200)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "cli"]
CMD ["serve"]
