"""One-row requests against `mlflow models serve` and MLServer with the same forest; batches in process.

wrk drives each server from the same machine, one server at a time. MLServer gets a virtual environment of its own in a
temporary folder, so this needs pip's registry, and wrk (Debian's package of that name).

    .venv/bin/python benchmarks/predict.py [ours]     # `ours`: ml_service alone, without the comparisons
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from mlflow import MlflowClient
from sklearn.ensemble import RandomForestRegressor
from sklearn.pipeline import Pipeline

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.wine_stand import BIN, KEY, Stand, free_port, running, service, stand, told
from cuvee.registry import Registry
from ml_service import inference
from ml_service.dataset import as_frame
from ml_service.wine import FEATURE_NAMES, INPUT_COLUMNS, MODEL_NAME
from tests.wine_versions import register, wines

SECONDS, ROWS = 15, 10_000
MLSERVER = ("mlserver==1.7.1", "mlserver-sklearn==1.7.1", "joblib", f"scikit-learn=={sklearn.__version__}")


@dataclass(frozen=True)
class Load:
    per_second: float
    p50_ms: float
    p99_ms: float
    failed: int


def wrk(url: str, body: Any, connections: int, folder: Path) -> Load:
    """Requests from so many connections for `SECONDS`, after a second of warming up."""
    script = folder / "post.lua"
    script.write_text(
        f"wrk.method = 'POST'\nwrk.body = [==[{json.dumps(body)}]==]\n"
        f"wrk.headers['Content-Type'] = 'application/json'\nwrk.headers['Authorization'] = 'Bearer {KEY}'\n"
        "done = function(summary, latency, requests)\n"
        "local e = summary.errors\n"
        "io.write(string.format('RESULT %d %f %f %d %d\\n', summary.requests, latency:percentile(50),"
        " latency:percentile(99), summary.duration, e.connect + e.read + e.write + e.status + e.timeout))\nend\n"
    )
    command = ["wrk", "--threads", "1", "--connections", str(connections), "--script", str(script), "--timeout", "10s"]
    subprocess.run([*command, "--duration", "2s", url], check=True, capture_output=True)
    output = subprocess.run([*command, "--duration", f"{SECONDS}s", url], check=True, capture_output=True, text=True)
    found = re.search(r"RESULT (\d+) ([\d.]+) ([\d.]+) (\d+) (\d+)", output.stdout)
    assert found is not None, output.stdout
    requests, p50, p99, duration, failed = map(float, found.groups())
    load = Load(requests / duration * 1e6, p50 / 1e3, p99 / 1e3, int(failed))
    told(f"{url} {connections} connections: {load}")
    return load


def model_server(found: Stand, version: int, row: list[float]) -> dict[int, Load]:
    """`mlflow models serve`."""
    port = free_port()
    command = [str(BIN / "mlflow"), "models", "serve", "--model-uri", f"models:/{MODEL_NAME}/{version}"]
    command += ["--port", str(port), "--env-manager", "local"]
    url = f"http://127.0.0.1:{port}"
    body = {"dataframe_split": {"columns": list(INPUT_COLUMNS), "data": [row]}}
    with running(command, found.folder / "serve.log", f"{url}/ping", MLFLOW_TRACKING_URI=found.mlflow_url):
        return {n: wrk(f"{url}/invocations", body, n, found.folder) for n in (1, 32)}


def mlserver(found: Stand, row: list[float]) -> Load:
    """MLServer with adaptive batching, in an environment of its own."""
    home = found.folder / "mlserver"
    subprocess.run([sys.executable, "-m", "venv", str(home / "venv")], check=True)
    told("installing MLServer")
    subprocess.run([str(home / "venv/bin/pip"), "install", "-q", *MLSERVER], check=True, stdout=sys.stderr)
    model = home / "model"
    model.mkdir()
    np.savez(model / "data.npz", inputs=wines()[0], quality=wines()[1])
    fit = (
        "import joblib, numpy as np; from sklearn.ensemble import RandomForestRegressor as F; d = np.load('data.npz');"
        "joblib.dump(F(100, n_jobs=None, random_state=0).fit(d['inputs'], d['quality']), 'model.joblib')"
    )
    subprocess.run([str(home / "venv/bin/python"), "-c", fit], check=True, cwd=model)
    port, grpc, metrics = free_port(), free_port(), free_port()
    settings = {"http_port": port, "grpc_port": grpc, "metrics_port": metrics, "host": "127.0.0.1"}
    (model / "settings.json").write_text(json.dumps(settings | {"parallel_workers": 0, "debug": False}))
    described = {"name": "wine", "implementation": "mlserver_sklearn.SKLearnModel"}
    described |= {"max_batch_size": 64, "max_batch_time": 0.005, "parameters": {"uri": "./model.joblib"}}
    (model / "model-settings.json").write_text(json.dumps(described))
    url = f"http://127.0.0.1:{port}"
    body = {"inputs": [{"name": "x", "shape": [1, len(row)], "datatype": "FP64", "data": row}]}
    with running([str(home / "venv/bin/mlserver"), "start", "."], model / "log", f"{url}/v2/health/ready"):
        return wrk(f"{url}/v2/models/wine/infer", body, 32, found.folder)


def rows_per_second(found: Stand, version: int) -> float:
    """The fastest of some tries, in process; rows a little off those that the forest was trained on."""
    registry = Registry(found.mlflow_url)
    model = inference.load(registry, registry.version(MODEL_NAME, version))
    inputs = np.resize(wines()[0], (ROWS, len(INPUT_COLUMNS)))
    inputs[:, :-1] *= 1 + np.random.default_rng(0).normal(0, 0.01, (ROWS, len(FEATURE_NAMES)))
    taken = []
    for _ in range(20):
        started = time.perf_counter()
        model.answer(inputs)
        taken.append(time.perf_counter() - started)
    told(f"{ROWS} rows in process: {ROWS / min(taken):,.0f} rows/s, median {ROWS / float(np.median(taken)):,.0f}")
    return ROWS / min(taken)


def bar(value: float, limit: float, least: bool) -> dict[str, Any]:
    return {"value": round(value, 3), "bar": round(limit, 3), "holds": value >= limit if least else value <= limit}


def main() -> None:
    if not shutil.which("wrk"):
        raise SystemExit("wrk is needed: apt-get install wrk")
    inputs, quality = wines()
    forest = RandomForestRegressor(100, n_jobs=2, random_state=0).fit(as_frame(inputs), quality)
    forest.set_params(n_jobs=None)
    row = inputs[0].tolist()
    sample = dict(zip(FEATURE_NAMES, row, strict=False)) | {"colour": "red"}
    with tempfile.TemporaryDirectory(prefix="cuvee-benchmark-") as home, stand(Path(home)) as found:
        told("registering the forest")
        version = register(found.mlflow_url, Pipeline([("model", forest)]))
        MlflowClient(found.mlflow_url, found.mlflow_url).set_registered_model_alias(MODEL_NAME, "champion", version)
        with service(found) as url:
            one, many = (wrk(f"{url}/predict", {"samples": [sample]}, n, found.folder) for n in (1, 32))
            split = {"dataframe_split": {"columns": list(INPUT_COLUMNS), "data": [row]}}
            invoked = wrk(f"{url}/invocations", split, 32, found.folder)
        speed = rows_per_second(found, version)
        bars = {
            "failed_requests": bar(one.failed + many.failed + invoked.failed, 0, least=False),
            "p99_ms_32_connections": bar(many.p99_ms, 30, least=False),
            "rows_per_second_in_process": bar(speed, 300_000, least=True),
            "invocations_times_slower": bar(many.per_second / invoked.per_second, 1.5, least=False),
        }
        if "ours" not in sys.argv:
            theirs, batching = model_server(found, version, row), mlserver(found, row)
            bars |= {
                "times_mlflow_models_serve": bar(many.per_second / theirs[32].per_second, 25, least=True),
                "times_mlserver": bar(many.per_second / batching.per_second, 2, least=True),
                "p50_share_of_mlflow_models_serve": bar(one.p50_ms / theirs[1].p50_ms, 0.2, least=False),
            }
    print(json.dumps({"bars": bars, "requests_per_second": round(many.per_second)}))


if __name__ == "__main__":
    main()
