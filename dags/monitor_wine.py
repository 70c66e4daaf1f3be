"""Watch the wine model: does the world still look as in training, and are its answers still as good?

**When it runs.** Every hour at 23 minutes past, and by hand. While there is no champion, or too little was predicted
and observed to say anything (`CUVEE_MONITOR_LEAST_ROWS`, `CUVEE_MONITOR_LEAST_OBSERVED`), it says so and makes nothing.

**What it makes.** A verdict, *stable*, *drifting* or *degraded*, with its reasons: a row in `monitoring_reports`, which
`ml_service` shows as metrics, and a page with tables and plots in MLflow, experiment `wine-monitoring`. If the verdict
asks for it (strong evidence, or `CUVEE_MONITOR_CONSECUTIVE` alarming verdicts in a row, and no retraining was asked for
within `CUVEE_MONITOR_COOLDOWN_HOURS`), the Asset `wine_drift` starts `train_wine`. Inputs that merely stay where they
moved ask once: again only after `CUVEE_MONITOR_LEAST_OBSERVED` qualities came in since; else nothing is new to learn.

**When it fails.** The champion's run has no profile (train it again), or MLflow or the database is down. What is served
goes on. Running it again is always safe: one run writes one row.
"""

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, dag, get_current_context, task

from cuvee_airflow.assets import WINE_DRIFT
from cuvee_airflow.retries import RETRIES


@dag(
    schedule=CronTriggerTimetable("23 * * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args=RETRIES,
    dagrun_timeout=timedelta(minutes=50),
    doc_md=__doc__,
    tags=["wine", "quality"],
)
def monitor_wine():
    @task(multiple_outputs=True, doc_md="Compare what was predicted and observed lately with the champion's profile.")
    def measure_drift():
        from ml_service import pipeline

        return pipeline.measure_drift(run_key=get_current_context()["run_id"])

    @task.short_circuit(doc_md="Go on only if the verdict asks for a retraining.")
    def needs_retraining(retraining):
        return retraining

    @task(outlets=[WINE_DRIFT], doc_md="Start `train_wine` by the Asset it waits for.")
    def request_retraining():
        pass

    needs_retraining(measure_drift()["retraining"]) >> request_retraining()


monitor_wine()
