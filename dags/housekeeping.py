"""Remove what nobody needs any more, after a soak of `CUVEE_SOAK_HOURS`.

**When it runs.** Daily at 02:30 UTC, and by hand.

**What it removes.** Retired index generations (also those beyond the last `CUVEE_GENERATIONS_KEPT`) and the segments
that only they used; batches (those of `train_wine` not before seven days: a run may wait for a person so long); what a
`rebuild_index` left that nobody goes on with; raw bytes and cleaned texts of deleted and superseded documents, and
their words in logged answers. Objects that another document refers to stay. If the published generation's files still
hold text of deleted documents, it is folded first.

**When it fails.** Nothing that is served is touched. Every task can be killed at any point and run again.
"""

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, dag, task

from cuvee_airflow.assets import INDEX_GENERATION, NEW_BASE, tell_of_new_base
from cuvee_airflow.retries import RETRIES


@dag(
    schedule=CronTriggerTimetable("30 2 * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args=RETRIES,
    dagrun_timeout=timedelta(hours=6),
    doc_md=__doc__,
    tags=["documents", "upkeep"],
)
def housekeeping():
    @task(
        multiple_outputs=True,
        outlets=[INDEX_GENERATION, NEW_BASE],
        doc_md="Fold the index if its files still hold text of documents that were deleted before the soak.",
    )
    def forget_deleted(outlet_events=None):
        from rag_service import pipeline

        receipt = pipeline.forget_deleted()
        tell_of_new_base(receipt, outlet_events)
        return receipt

    @task(multiple_outputs=True, doc_md="Remove old generations, segments that none refers to, and old batches.")
    def reclaim_index():
        from rag_service import pipeline

        return pipeline.reclaim_index()

    @task(multiple_outputs=True, doc_md="Remove all text of documents deleted or superseded long ago, also in the log.")
    def reclaim_objects():
        from rag_service import pipeline

        return pipeline.reclaim_objects()

    @task(multiple_outputs=True, doc_md="Remove what old runs of `train_wine` left in `data/batches`.")
    def reclaim_wine_runs():
        from ml_service import pipeline

        return pipeline.reclaim_runs()

    forget_deleted() >> reclaim_index() >> reclaim_objects()
    reclaim_wine_runs()


housekeeping()
