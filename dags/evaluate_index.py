"""Measure what is served on questions whose answers are known.

**When it runs.** After each build of a new base (the first one, and when a delta was folded in), every night at 03:30
UTC, and by hand. Not after each micro-batch: it takes 10 to 15 s of processor time. It runs at the lowest priority
(nice 19), so that what else goes on at that time, such as the rest of `make demo`, goes before it.

**What it makes.** One MLflow run in the experiment `index-evaluation`: recall, nDCG, hit@1 and MRR of hybrid search
beside plain BM25, plain dense search and their fusion; how often the answer is right; which share of its sentences
the passages that they cite support; how well refusals tell questions without an answer; plots, and measures by topic.
Answers are those of the extractive model, whichever is served: the tag `answer_model` says so. Questions about
documents that are not indexed are left out.

**When it fails.** The golden set cannot be read, or MLflow does not answer: the log says which. What is served goes on
being served; nothing waits for this. Running it again is always safe. As long as nothing is indexed that the golden set
asks about, it is skipped.
"""

from datetime import timedelta

from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, dag, task

from cuvee_airflow.assets import INDEX_BASE
from cuvee_airflow.retries import RETRIES


@dag(
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("30 3 * * *", timezone="UTC"), assets=INDEX_BASE),
    catchup=False,
    max_active_runs=1,
    default_args=RETRIES,
    dagrun_timeout=timedelta(hours=1),
    doc_md=__doc__,
    tags=["documents", "quality"],
)
def evaluate_index():
    @task(multiple_outputs=True, doc_md="Ask every question of the sample's golden set, and log what came of it.")
    def measure():
        import os

        os.nice(19)
        from airflow.sdk.exceptions import AirflowSkipException

        from rag_service.pipeline import evaluation

        try:
            return evaluation.evaluate_index()
        except evaluation.NothingToMeasureError as nothing_to_ask:
            raise AirflowSkipException(str(nothing_to_ask)) from nothing_to_ask

    measure()


evaluate_index()
