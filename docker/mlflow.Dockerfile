# The MLflow server: runs in PostgreSQL, artifacts in a volume.
FROM python:3.11-slim-bookworm AS dependencies
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON=/opt/venv
RUN pip install --no-cache-dir "uv==0.13.8" && uv venv --python /usr/local/bin/python3 /opt/venv
WORKDIR /build
COPY requirements.lock ./
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --constraint requirements.lock mlflow psycopg2-binary \
 && cd /opt/venv/lib/python3.11/site-packages && rm -r pandas/tests pyarrow/include pyarrow/tests

FROM python:3.11-slim-bookworm
RUN groupadd --gid 10001 cuvee \
 && useradd --uid 10001 --gid cuvee --home-dir /var/lib/cuvee --no-create-home --shell /usr/sbin/nologin cuvee \
 && install --directory --owner cuvee --group cuvee /var/lib/cuvee /var/lib/cuvee/mlruns
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    MLFLOW_DISABLE_TELEMETRY=true \
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
    PYTHONUNBUFFERED=1
COPY --from=dependencies /opt/venv /opt/venv
COPY docker/healthy.py /usr/local/bin/healthy
USER cuvee
WORKDIR /var/lib/cuvee
