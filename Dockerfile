# One image for the API and the training workers: `serve` (the default), `worker` or `up`.

FROM python:3.11-slim AS build
WORKDIR /app
COPY requirements.lock /build/
# Wheels only: a package that would have to be compiled fails the build. What nobody imports goes: sources and stubs,
# tests, Arrow's client and server, and second copies of one of its libraries.
# hadolint ignore=DL3003
RUN python -m venv --without-pip /venv && \
    python -m pip --python /venv/bin/python install --no-cache-dir --disable-pip-version-check --no-deps \
        --require-hashes --only-binary :all: --requirement /build/requirements.lock && \
    cd /venv/lib/python3*/site-packages && \
    find . -type f \( -name '*.[ch]' -o -name '*.[ch]pp' -o -name '*.p[xy][xdi]' -o -name '*.a' \) -delete && \
    find numpy pyarrow -type d -name tests -prune -exec rm -r {} + && \
    rm -r pyarrow/include pyarrow/src pyarrow/*flight* pyarrow/libarrow_python.so pyarrow/libarrow_python.so.*.*.*
COPY perceptron perceptron
COPY storage storage
COPY service service
COPY worker worker
COPY standalone standalone
COPY perceptron_client perceptron_client
COPY cli cli
COPY pyproject.toml LICENSE ./
# Compiled now, because the user at run time cannot write here. Readable, whatever the umask of the checkout.
RUN python -m compileall -q . && chmod -R a+rX . && \
    echo /app > "$(echo /venv/lib/python3*/site-packages)/app.pth" && \
    printf '#!/venv/bin/python -P\nfrom cli.main import main\n\nmain()\n' > /venv/bin/perceptron && \
    chmod 755 /venv/bin/perceptron

FROM python:3.11-slim
# SageMaker and Vertex AI run the image as it is, and use port 8080 unless they set another.
LABEL org.opencontainers.image.title="Perceptron Service" \
      org.opencontainers.image.description="Trains small neural networks from data sent over HTTP and serves them in real time" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.authors="Perceptron Service contributors" \
      com.amazonaws.sagemaker.capabilities.accept-bind-to-port="true"
# Nothing more is installed into this image. Any user may write to a new volume on /data: `--user 12345:0`.
RUN python -m pip uninstall --yes --quiet pip setuptools wheel && \
    rm -rf /usr/local/lib/python3*/ensurepip && \
    mkdir /data && chown 10001:0 /data && chmod 0777 /data
COPY --from=build /venv /venv
COPY --from=build /app /app
ENV PATH=/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    PORT=8080 \
    DATA_DIR=/data \
    HEALTH_FILE=/tmp/perceptron-health
WORKDIR /app
USER 10001:0
EXPOSE 8080
VOLUME /data
# For the API on any port, and for a worker.
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=3 CMD ["python", "-m", "cli.health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["perceptron"]
CMD ["serve"]
