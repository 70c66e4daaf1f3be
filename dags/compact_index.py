"""Fold the index's delta and tombstones into a new base.

**When it runs.** Sundays at 04:00 UTC, and by hand. A micro-batch also folds by itself once the delta is too large
(`CUVEE_DELTA_SHARE`, `CUVEE_DELTA_LEAST_ROWS`, `CUVEE_DELTA_MOST_ROWS`, `CUVEE_DEAD_SHARE`).

**What it makes.** One index generation with the same living documents in one base, whose kind (Flat, HNSW, IVF) is
chosen by its size; published in one transaction. Nothing where there is no delta and nothing dead.

**When it fails.** What was served goes on being served. Running it again is always safe.
"""

from datetime import timedelta

from airflow.sdk import Asset, CronTriggerTimetable, dag, task

from cuvee_airflow.retries import RETRIES

INDEX_GENERATION = Asset("index_generation")


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
        outlets=[INDEX_GENERATION],
        doc_md="Build a base of everything that is alive aside, publish it in one transaction, tell `rag_service`.",
    )
    def compact():
        from rag_service import pipeline

        return pipeline.compact_index()

    compact()


compact_index()
