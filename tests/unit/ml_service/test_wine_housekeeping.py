"""Batches of wine runs go after the soak, but not while a run may still wait for a person."""

import os
import time
from pathlib import Path

from cuvee.settings import Settings
from ml_service import pipeline


def batch(settings: Settings, name: str, days: float) -> None:
    folder = settings.batches_dir / name
    (folder / "features").mkdir(parents=True)
    (folder / "features" / "part.parquet").write_bytes(b"")
    os.utime(folder, (0, time.time() - days * 86_400))


def left(settings: Settings) -> set[str]:
    return {str(folder.relative_to(settings.batches_dir)) for folder in settings.batches_dir.glob("*/*")}


def test_old_batches_are_removed_but_none_of_a_run_that_may_wait_for_a_person(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    for name, days in {"wine/old": 8, "wine/asking": 6, "wine-observed/old": 8, "wine-observed/asking": 6}.items():
        batch(settings, name, days)
    batch(settings, "documents/old", 8)

    receipt = pipeline.reclaim_runs(settings)

    assert receipt == {"batches": 2}
    assert left(settings) == {"wine/asking", "wine-observed/asking", "documents/old"}
    assert pipeline.reclaim_runs(settings) == {"batches": 0}


def test_a_longer_soak_keeps_them_longer(tmp_path: Path) -> None:
    batch(Settings(home=tmp_path), "wine/old", 8)

    assert pipeline.reclaim_runs(Settings(home=tmp_path, soak_hours=240.0)) == {"batches": 0}
    assert pipeline.reclaim_runs(Settings(home=tmp_path)) == {"batches": 1}
