"""The feature table of ever more wines: by Spark, as `train_wine` makes it, and by pandas, in time and memory.

    .venv/bin/python benchmarks/wine_features.py [--full]     (minutes; --full: 20,000,000 rows too, half an hour)

Wines are drawn from those in `data/wine`, their measurements a little off, one in ten a copy and one in two hundred out
of range, in Parquet files of at most a million rows. Spark is the Connect server of the stack with its usual memory,
already running; pandas a process of its own, timed once it has started, that reads all files, does the same checks, and
writes the same columns.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pyarrow.dataset as ds

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.wine import say, wines
from benchmarks.wine_stand import free_port, wait_until
from cuvee.settings import Settings
from cuvee.stack.programs import programs
from ml_service.dataset import load
from ml_service.wine import COLOURS, FEATURE_NAMES, FEATURES
from spark_jobs import wine_features
from spark_jobs.session import attached

SIZES, FULL = (10_000, 100_000, 1_000_000, 3_000_000), 20_000_000
MOST_FOR_PANDAS = 3_000_000
FILE_ROWS = 1_000_000
GIBIBYTE = 2**30


@dataclass(frozen=True)
class Run:
    seconds: float
    gibibytes: float
    """Most resident memory at any time, of all processes of its own."""
    distinct: int


def generate(folder: Path, rows: int) -> None:
    """`rows` wines in files of at most `FILE_ROWS`."""
    data, draws = wines(), np.random.default_rng(0)
    folder.mkdir()
    for number, start in enumerate(range(0, rows, FILE_ROWS)):
        count = min(FILE_ROWS, rows - start)
        chosen = draws.integers(len(data.quality), size=count)
        table = pd.DataFrame(data.inputs[chosen][:, :-1], columns=list(FEATURE_NAMES))
        table *= 1 + draws.normal(0, 0.001, table.shape)
        table["quality"] = data.quality[chosen].astype(int)
        table["colour"] = np.asarray(COLOURS)[data.inputs[chosen, -1].astype(int)]
        table.loc[table.sample(frac=0.005, random_state=number).index, "ph"] = 42.0
        tenth = count // 10
        table.iloc[-tenth:] = table.iloc[:tenth].to_numpy()
        table.astype(dict.fromkeys(FEATURE_NAMES, float) | {"quality": int}).to_parquet(folder / f"{number}.parquet")


def by_pandas(folder: Path, target: Path) -> None:
    """What the Spark job does, as far as pandas does it well: whole columns at once, all in memory."""
    table = pd.concat([pd.read_parquet(path) for path in sorted(folder.glob("*.parquet"))], ignore_index=True)
    right = np.logical_and.reduce([table[one.name].between(one.lowest, one.highest) for one in FEATURES])
    right &= table["quality"].between(0, 10) & table["colour"].isin(COLOURS)
    target.mkdir()
    table[~right].to_parquet(target / "rejected.parquet")
    keys = [*FEATURE_NAMES, "colour", "quality"]
    found = table[right].groupby(keys, as_index=False, sort=False).size().rename(columns={"size": "copies"})
    text = found["colour"].str.cat([found[name].map("{:.6f}".format) for name in FEATURE_NAMES], sep="|")
    found["group_id"] = pd.util.hash_pandas_object(text, index=False)
    found["split"] = np.where(found["group_id"] % 100 < 20, "test", "train")
    found.to_parquet(target / "features.parquet")


def peak(processes: Callable[[], list[psutil.Process]], work: Callable[[], None]) -> tuple[float, float]:
    """Seconds that `work` took, and the most memory that the processes held meanwhile, in bytes."""
    most, done = 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.2):
            held = 0
            for process in processes():
                try:
                    held += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            most = max(most, held)

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    try:
        work()
    finally:
        taken = time.perf_counter() - started
        done.set()
        watcher.join()
    return taken, float(most)


def spark_run(url: str, server: psutil.Process, tables: Path, target: Path) -> Run:
    def work() -> None:
        with attached(url) as session:
            wine_features.write(session, [tables], target)

    seconds, held = peak(lambda: [server, *server.children(recursive=True)], work)
    distinct = ds.dataset(target / "features", format="parquet").count_rows()
    return Run(seconds, held / GIBIBYTE, distinct)


def pandas_run(tables: Path, target: Path) -> Run:
    command = [sys.executable, __file__, "pandas", str(tables), str(target)]
    started = psutil.Popen(command, stdout=subprocess.PIPE, text=True)
    told: list[str] = []
    _, held = peak(lambda: [started], lambda: told.append(started.communicate()[0]))
    if started.returncode != 0:
        raise SystemExit("pandas failed")
    return Run(float(told[0]), held / GIBIBYTE, len(pd.read_parquet(target / "features.parquet", columns=["copies"])))


def read_for_training(features: Path, most_rows: int) -> float:
    """Most memory, in GiB, of a process that does nothing else."""
    command = [sys.executable, __file__, "read", str(features), str(most_rows)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(output.split()[-1]) * 1024 / GIBIBYTE


def faster_from(found: dict[int, dict[str, Run]]) -> int | None:
    """The least number of rows from which on Spark was the faster one."""
    both = sorted(rows for rows, runs in found.items() if "pandas" in runs)
    slower = [rows for rows in both if found[rows]["spark"].seconds >= found[rows]["pandas"].seconds]
    later = [rows for rows in both if rows > max(slower, default=0)]
    return later[0] if later else None


def report(found: dict[int, dict[str, Run]], reading: float) -> None:
    most = max(found)
    same = [len({run.distinct for run in runs.values()}) == 1 for runs in found.values()]
    limits = {"spark_gib": (found[most]["spark"].gibibytes, 3.0), "reading_gib": (reading, 2.0)}
    bars: dict[str, Any] = {
        name: {"value": round(value, 2), "bar": limit, "holds": value <= limit}
        for name, (value, limit) in limits.items()
    }
    bars["tables_that_agree"] = {"value": sum(same), "bar": len(same), "holds": all(same)}
    told = {rows: {name: asdict(run) for name, run in runs.items()} for rows, runs in found.items()}
    print(json.dumps({"bars": bars, "rows": most, "spark_faster_from": faster_from(found), "runs": told}))


def measure(sizes: tuple[int, ...], home: Path) -> None:
    settings = Settings.load().model_copy(update={"home": home, "spark_connect_port": free_port()})
    program = next(one for one in programs(settings) if one.name == "spark")
    with (home / "spark.log").open("wb") as sink:
        environment = {**os.environ, **program.environment}
        server = psutil.Popen(program.command, env=environment, stdout=sink, stderr=sink)
    try:
        wait_until(program.healthy, "Spark Connect")
        found: dict[int, dict[str, Run]] = {}
        # The first is to warm up.
        for number, rows in enumerate((1_000, *sizes)):
            tables, made = home / f"tables-{number}", home / f"made-{number}"
            say(f"making {rows:,} rows")
            generate(tables, rows)
            found[rows] = {"spark": spark_run(settings.resolved_spark_url, server, tables, made)}
            if rows <= MOST_FOR_PANDAS:
                found[rows]["pandas"] = pandas_run(tables, home / f"pandas-{number}")
            say(f"{rows:,} rows: {found[rows]}")
        del found[1_000]
        report(found, read_for_training(made / "features", settings.max_training_rows))
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    match sys.argv[1:]:
        case ["pandas", tables, target]:
            started = time.perf_counter()
            by_pandas(Path(tables), Path(target))
            print(time.perf_counter() - started)
        case ["read", features, most_rows]:
            load(Path(features), int(most_rows))
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        case ["--full"]:
            with tempfile.TemporaryDirectory(prefix="cuvee-benchmark-") as home:
                measure((*SIZES, FULL), Path(home))
        case _:
            with tempfile.TemporaryDirectory(prefix="cuvee-benchmark-") as home:
                measure(SIZES, Path(home))


if __name__ == "__main__":
    main()
