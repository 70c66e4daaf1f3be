"""Index every document anew with what the settings name now: another embedder, other chunks, or a newer Cuvée.

**When it runs.** By hand: *Trigger*. It reads and embeds everything, which takes hours where there is much; what is
served stays, and stays up to date, until the end. `cuvee index rebuild` does the same.

**What it makes.** A generation aside, measured beside what is served on the golden set. It is published only if it is
proven to be hardly worse (ADR 14) and no document is lost; for another embedder, weights and refusal threshold are
fitted anew, and judged by questions that they were not fitted to. The decision is in `promotions`. Publishing adds what
was indexed meanwhile, and leaves out what was deleted.

**When it fails.** Every task can be killed at any point and run again; what was read is kept until it is published, or
until nobody has touched it for `CUVEE_SOAK_HOURS`. Where nothing is promoted, nothing is published: what `judge`
returns says why. Trigger it again with *accept* to serve it all the same.
"""

from datetime import timedelta

from airflow.sdk import Param, dag, get_current_context, task

from cuvee_airflow.assets import INDEX_GENERATION, NEW_BASE, tell_of_new_base
from cuvee_airflow.retries import RETRIES


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args=RETRIES,
    dagrun_timeout=timedelta(days=6),
    doc_md=__doc__,
    tags=["documents", "upkeep"],
    params={
        "accept": Param(
            None,
            type=["null", "string"],  # a text may not be left empty in the form
            maxLength=1000,
            title="Accept, because",
            description="Serve the new index whatever the measurement says; your reason is recorded.",
        )
    },
)
def rebuild_index():
    @task(multiple_outputs=True, doc_md="Spark: read, cut and embed every indexed document, beside what is served.")
    def read_anew():
        from rag_service.pipeline import rebuild

        return rebuild.read_anew()

    @task(multiple_outputs=True, doc_md="Build a generation aside, and measure it beside what is served.")
    def judge():
        from rag_service.pipeline import rebuild

        accept = get_current_context()["params"]["accept"]
        return rebuild.judge(accept.strip() if accept else None)

    @task(
        multiple_outputs=True,
        outlets=[INDEX_GENERATION, NEW_BASE],
        doc_md="Add what was indexed meanwhile, publish it in one transaction, tell `rag_service`.",
    )
    def publish_anew(judged, outlet_events=None):
        from airflow.sdk.exceptions import AirflowSkipException

        from rag_service.pipeline import rebuild

        if not judged["promoted"]:
            raise AirflowSkipException(judged["reason"])
        receipt = rebuild.publish_anew()
        tell_of_new_base(receipt, outlet_events)
        return receipt

    judged = judge()
    read_anew() >> judged
    publish_anew(judged)


rebuild_index()
