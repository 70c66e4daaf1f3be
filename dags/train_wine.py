"""Train the wine-quality model and promote it if, and only if, it is proven better than the champion.

**When it runs.** Mondays at 03:00 UTC, when `monitor_wine` found that the world or the model changed, and by hand:
*Trigger*, then choose the parameters in the form. One run at a time.

**What it makes.** The original wines and those whose quality was observed since become one feature table by Spark
(rejected rows are kept with their reasons), an MLflow run with metrics, plots and the data's checksum beside a dummy
baseline, and a version of the registered model `wine-quality`. The alias `champion` moves only if a paired bootstrap on
the frozen test rows says so; decision, reason and evidence are in `promotions`. With `CUVEE_WINE_APPROVAL=human` what
is proven better waits at `ask_approval` for somebody's yes: *Required actions* of that task shows the evidence. A no,
or five days without an answer, is recorded, and the champion stays.

**When it fails.** More than `CUVEE_MAX_BAD_ROW_SHARE` of the files' rows were rejected, or a file breaks its contract:
the log says which rows and why; mend the CSV and clear the task. The champion stays. Every task is safe to run again;
after a week, when `housekeeping` removed the run's tables, begin at `collect_observations`.
"""

from datetime import timedelta

from airflow.sdk import Asset, AssetOrTimeSchedule, CronTriggerTimetable, Param, dag, get_current_context, task

from cuvee_airflow.approval import RecordedApproval
from cuvee_airflow.assets import WINE_CHAMPION, WINE_DRIFT
from cuvee_airflow.retries import RETRIES

WINE_FEATURES = Asset("wine_features")


@dag(
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("0 3 * * 1", timezone="UTC"), assets=WINE_DRIFT),
    catchup=False,
    max_active_runs=1,
    default_args=RETRIES,
    # Longer than a person is waited for.
    dagrun_timeout=timedelta(days=6),
    doc_md=__doc__,
    tags=["wine"],
    params={
        "estimator": Param(
            "blend",
            enum=[
                "blend",
                "extra_trees",
                "random_forest",
                "gradient_boosting",
                "gaussian_process",
                "ridge",
                "search",
            ],
            title="Estimator",
            description="A search tries all of them, with other parameters, and takes far longer.",
        ),
        "n_estimators": Param(
            120,
            type="integer",
            minimum=10,
            maximum=2000,
            title="Trees",
            description="Of a forest; boosting makes half as many steps.",
        ),
        "max_features": Param(
            0.5,
            type="number",
            exclusiveMinimum=0,
            maximum=1,
            description="Share of features tried at a split.",
            title="Features per split",
        ),
        "min_samples_leaf": Param(1, type="integer", minimum=1, maximum=100, title="Least wines in a leaf"),
        "learning_rate": Param(
            0.08, type="number", exclusiveMinimum=0, maximum=1, title="Learning rate", description="Of boosting only."
        ),
        "alpha": Param(
            1.0, type="number", exclusiveMinimum=0, maximum=1e6, title="Regularisation", description="Of ridge only."
        ),
        "trials": Param(
            20, type="integer", minimum=5, maximum=500, title="Trials", description="Of a search, in each of 4 studies."
        ),
        "recency_half_life_days": Param(
            0,
            type="number",
            minimum=0,
            maximum=36500,
            title="Half-life of a wine's weight, days",
            description="0: all wines count alike. Wines without a date of observation count as the oldest.",
        ),
        "seed": Param(7, type="integer", minimum=0, maximum=2**31 - 1, title="Random seed"),
    },
)
def train_wine():
    @task(doc_md="Export the wines whose quality was observed since, in the form of the wine table.")
    def collect_observations():
        from ml_service import pipeline

        return pipeline.collect_observations(run_key=get_current_context()["run_id"])

    @task(outlets=[WINE_FEATURES], doc_md="Spark: validate, de-duplicate, split by duplicate group, write Parquet.")
    def prepare_features(observed):
        from ml_service import pipeline

        return pipeline.prepare_features(run_key=get_current_context()["run_id"], observed=observed)

    @task(multiple_outputs=True, doc_md="Train beside a dummy baseline, log to MLflow, register a version.")
    def train_candidate(features):
        from ml_service import pipeline

        context = get_current_context()
        return pipeline.train_candidate(features, run_key=context["run_id"], params=dict(context["params"]))

    @task(
        multiple_outputs=True,
        outlets=[WINE_CHAMPION],
        doc_md="Compare with the champion on the same test rows.",
    )
    def decide_promotion(candidate, features):
        from ml_service import pipeline

        return pipeline.decide_promotion(candidate, features)

    @task.short_circuit(doc_md="A proven gain waits for a person if CUVEE_WINE_APPROVAL is `human`; else all is done.")
    def needs_approval(waiting):
        return waiting

    ask_approval = RecordedApproval(
        task_id="ask_approval",
        subject="Serve version {{ ti.xcom_pull(task_ids='decide_promotion', key='version') }} of wine-quality?",
        body="{{ ti.xcom_pull(task_ids='decide_promotion', key='evidence') }}",
        params={"why": Param("", type="string", title="Why", description="Recorded with the decision.")},
        defaults="Reject",
        response_timeout=timedelta(days=5),
        doc_md="Wait for somebody's yes or no; no answer in five days is a no.",
    )

    @task(
        multiple_outputs=True,
        outlets=[WINE_CHAMPION],
        doc_md="Record the answer, and serve the version if it was yes.",
    )
    def settle_promotion(decided, answer):
        from ml_service import pipeline

        return pipeline.settle_promotion(decided, answer)

    features = prepare_features(collect_observations())
    decided = decide_promotion(train_candidate(features), features)
    needs_approval(decided["waiting"]) >> ask_approval
    settle_promotion(decided, ask_approval.output)


train_wine()
