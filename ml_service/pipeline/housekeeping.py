"""The task of the DAG `housekeeping` that removes what runs of `train_wine` left."""

import logging
import shutil
import time
from datetime import timedelta

from cuvee.settings import Settings
from ml_service.pipeline.run import OBSERVED, RUNS, Receipt

log = logging.getLogger(__name__)

_LONGEST_RUN = timedelta(days=7)
"""A run may wait for a person, and ends after six days."""


def reclaim_runs(settings: Settings | None = None) -> Receipt:
    """Remove the batches of runs that are older than the soak, and older than any run that still goes on."""
    settings = settings or Settings.load()
    kept = max(timedelta(hours=settings.soak_hours), _LONGEST_RUN)
    before = time.time() - kept.total_seconds()
    folders = (folder for kind in (RUNS, OBSERVED) for folder in (settings.batches_dir / kind).glob("*"))
    old = [folder for folder in folders if folder.stat().st_mtime < before]
    for folder in old:
        shutil.rmtree(folder)
    log.info("removed %d batches of wine runs", len(old))
    return {"batches": len(old)}
