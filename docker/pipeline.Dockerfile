# Airflow's processes, the Spark cluster and the migrations: one image, so that a task, an executor and a trigger
# always run the same code on the same versions.
FROM python:3.11-slim-bookworm AS dependencies
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON=/opt/venv
RUN pip install --no-cache-dir "uv==0.13.8" && uv venv --python /usr/local/bin/python3 /opt/venv
WORKDIR /build
COPY pyproject.toml requirements.lock ./
# uv does not read pip's find-links; a base image that has wheels of its own is asked for torch first.
RUN --mount=type=cache,target=/root/.cache/uv \
    UV_FIND_LINKS="${PIP_FIND_LINKS:-}" uv pip install --constraint requirements.lock \
      $([ -n "${PIP_FIND_LINKS:-}" ] || echo --torch-backend cpu) \
      --requirements pyproject.toml --extra airflow --extra spark --extra rag --extra ml
# Nothing at run time reads torch's own tests and headers: 200 MB. Importing it needs torch_shm_manager.
RUN cd /opt/venv/lib/python3.11/site-packages \
 && rm -r torch/include torch/test pandas/tests pyarrow/include pyarrow/tests \
 && find torch/bin -type f ! -name torch_shm_manager -delete

FROM dependencies AS project
COPY pyproject.toml README.md ./
COPY cuvee cuvee
COPY rag_service rag_service
COPY ml_service ml_service
COPY spark_jobs spark_jobs
COPY plugins plugins
RUN --mount=type=cache,target=/root/.cache/uv uv build --wheel --out-dir /dist

FROM python:3.11-slim-bookworm
# LightGBM uses the system's OpenMP. The JRE's post-install links manual pages into a folder that slim images lack.
RUN mkdir -p /usr/share/man/man1 && apt-get update \
 && apt-get install --yes --no-install-recommends libgomp1 openjdk-17-jre-headless \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
# The folders are made here because a new named volume takes its first content and owner from the image.
RUN groupadd --gid 10001 cuvee \
 && useradd --uid 10001 --gid cuvee --home-dir /var/lib/cuvee --no-create-home --shell /usr/sbin/nologin cuvee \
 && install --directory --owner cuvee --group cuvee /var/lib/cuvee /var/lib/cuvee/airflow /var/lib/cuvee/secrets \
      /var/lib/cuvee/data /var/lib/cuvee/data/inbox /var/lib/cuvee/data/wine /var/lib/cuvee/data/golden \
      /var/lib/cuvee/logs /var/lib/cuvee/models
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    SPARK_HOME=/opt/venv/lib/python3.11/site-packages/pyspark \
    PYSPARK_PYTHON=/opt/venv/bin/python \
    AIRFLOW_HOME=/var/lib/cuvee/airflow \
    CUVEE_HOME=/var/lib/cuvee \
    MLFLOW_DISABLE_TELEMETRY=true \
    PYTHONUNBUFFERED=1 \
    TOKENIZERS_PARALLELISM=false
COPY --from=dependencies /opt/venv /opt/venv
COPY docker/healthy.py /usr/local/bin/healthy
COPY docker/init.sh docker/spark-connect.sh docker/inbox-access.sh /usr/local/bin/
COPY dags /opt/cuvee/dags
RUN --mount=type=bind,from=project,source=/dist,target=/dist \
    --mount=type=bind,from=dependencies,source=/usr/local/bin/uv,target=/usr/local/bin/uv \
    uv pip install --no-cache --compile-bytecode --python /opt/venv --no-deps /dist/*.whl
USER cuvee
WORKDIR /var/lib/cuvee
