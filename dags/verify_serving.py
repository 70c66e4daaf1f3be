"""Prove that what was promoted is what the services answer with.

**When it runs.** After every published index generation and every promoted wine model.

**What it makes.** Nothing; it succeeds once `rag_service` serves what was published, and `ml_service` the champion.

**When it fails.** A service refused the new version or is down: its log says why. What it served before goes on being
served. Mend the cause and clear the task; running it again is always safe.
"""

from datetime import timedelta

from airflow.sdk import dag, task

from cuvee_airflow.assets import INDEX_GENERATION, WINE_CHAMPION
from cuvee_airflow.retries import RETRIES


@dag(
    schedule=INDEX_GENERATION | WINE_CHAMPION,
    catchup=False,
    max_active_runs=1,
    default_args=RETRIES,
    dagrun_timeout=timedelta(minutes=30),
    doc_md=__doc__,
    tags=["documents", "wine", "serving"],
)
def verify_serving():
    @task(
        multiple_outputs=True,
        doc_md="`rag_service` serves the published generation, if there is one.",
    )
    def verify_answers():
        from rag_service import pipeline

        return pipeline.verify_served()

    @task(multiple_outputs=True, doc_md="`ml_service` serves the champion, if there is one.")
    def verify_predictions():
        from ml_service import pipeline

        return pipeline.verify_served()

    [verify_answers(), verify_predictions()]


verify_serving()
