"""Turn the files in the inbox into a new index generation that `rag_service` answers from.

**When it runs.** As soon as files have settled in `data/inbox/<topic>/<segment>/`, as soon as a document was deleted or
is to be tried again, when documents have waited for long, and every hour for whatever an earlier run left behind. One
run at a time; each takes at most `CUVEE_BATCH_DOCUMENTS` files and documents.

**What it makes.** One row per document in `documents` (*indexed*, or *failed* with a reason that its owner can act
on), and one index generation, published in one transaction: it holds no document that was deleted or superseded. A
document that cannot be read never stops the others.

**When it fails.** Every task can be killed at any point and run again: clear it, or just wait for the retries. Files
are removed from the inbox only once they are stored and recorded, so nothing is lost.
"""

from datetime import timedelta

from airflow.sdk import Asset, AssetOrTimeSchedule, AssetWatcher, CronTriggerTimetable, dag, task

from cuvee_airflow.assets import INDEX_GENERATION, NEW_BASE, tell_of_new_base
from cuvee_airflow.retries import RETRIES
from cuvee_airflow.triggers import InboxTrigger, RequestTrigger

INBOX = Asset("documents_inbox", watchers=[AssetWatcher(name="inbox", trigger=InboxTrigger())])
REQUESTS = Asset("documents_requests", watchers=[AssetWatcher(name="requests", trigger=RequestTrigger())])


@dag(
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("7 * * * *", timezone="UTC"), assets=INBOX | REQUESTS),
    catchup=False,
    max_active_runs=1,
    default_args=RETRIES,
    dagrun_timeout=timedelta(hours=6),
    doc_md=__doc__,
    tags=["documents"],
)
def index_documents():
    @task(doc_md="Store each settled file under its SHA-256, record it as *landed*, take it out of the inbox.")
    def land_documents():
        from rag_service import pipeline

        return pipeline.land_documents()

    @task.short_circuit(
        doc_md="Spark: read, clean and chunk every landed document. Nothing landed or left: the rest is skipped."
    )
    def prepare_chunks():
        from rag_service import pipeline

        batch = pipeline.prepare_chunks()
        return batch if batch["batch_id"] else None

    @task(doc_md="Spark: vectors of the chunks and their statements, by the embedder that also embeds the questions.")
    def embed_chunks(batch):
        from rag_service import pipeline

        return pipeline.embed_chunks(batch)

    @task(
        multiple_outputs=True,
        outlets=[INDEX_GENERATION, NEW_BASE],
        doc_md="Build the next generation aside, publish it in one transaction, tell `rag_service`.",
    )
    def publish_generation(batch, outlet_events=None):
        from rag_service import pipeline

        receipt = pipeline.publish_generation(batch)
        tell_of_new_base(receipt, outlet_events)
        return receipt

    batch = prepare_chunks()
    land_documents() >> batch
    publish_generation(embed_chunks(batch))


index_documents()
