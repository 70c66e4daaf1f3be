"""What the DAGs do, one function per task; each can be killed at any line and run again.

`documents`: from the inbox to chunks with vectors. `index`: from these to the generation that is served.
`evaluation`: how good that is, and whether other weights are better; imported by name, because its libraries are slow.
`housekeeping`: what nobody needs any more goes.
"""

from rag_service.pipeline.documents import embed_chunks, land_documents, prepare_chunks
from rag_service.pipeline.housekeeping import forget_deleted, reclaim_index, reclaim_objects
from rag_service.pipeline.index import compact_index, go_back, publish_generation, serve_again, verify_served

__all__ = [
    "compact_index",
    "embed_chunks",
    "forget_deleted",
    "go_back",
    "land_documents",
    "prepare_chunks",
    "publish_generation",
    "reclaim_index",
    "reclaim_objects",
    "serve_again",
    "verify_served",
]
