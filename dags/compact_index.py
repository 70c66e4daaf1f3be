"""Fold the index's delta and tombstones into a new base.

**When it runs.** Sundays at 04:00 UTC, and by hand. A micro-batch also folds by itself once the delta is too large
(`CUVEE_DELTA_SHARE`, `CUVEE_DELTA_LEAST_ROWS`, `CUVEE_DELTA_MOST_ROWS`, `CUVEE_DEAD_SHARE`).

**What it makes.** One index generation with the same living documents in one base, whose kind (Flat or IVF)
is chosen by its size; published in one transaction. Nothing where there is no delta and nothing dead.

**When it fails.** What was served goes on being served. Running it again is always safe.
"""

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, dag, task

from cuvee_airflow.assets import INDEX_GENERATION, NEW_BASE, tell_of_new_base
from cuvee_airflow.retries import RETRIES


@dag(
    schedule=CronTriggerTimetable("0 4 * * 0", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args=RETRIES,
    dagrun_timeout=timedelta(hours=6),
    doc_md=__doc__,
    tags=["documents", "upkeep"],
)
def compact_index():
    @task(
        task_id="compact",
        multiple_outputs=True,
        outlets=[INDEX_GENERATION, NEW_BASE],
        doc_md="Build a base of everything that is alive aside, publish it in one transaction, tell `rag_service`.",
    )
    def compact(outlet_events=None):
        from rag_service import pipeline

        receipt = pipeline.compact_index()
        tell_of_new_base(receipt, outlet_events)
        return receipt

    compact()


compact_index()
