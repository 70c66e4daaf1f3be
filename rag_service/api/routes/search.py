"""POST /search: the passages nearest to a query, without an answer."""

from fastapi import APIRouter

from rag_service.answers.answerer import cleaned
from rag_service.api.asking import where_of
from rag_service.api.deps import RagCaller, ServedRetriever, Threads
from rag_service.api.schemas import HitOut, SearchRequest, SearchResponse
from rag_service.index.hybrid import Hit

router = APIRouter(tags=["answers"])


@router.post("/search", summary="The passages nearest to a query, best first")
async def search(body: SearchRequest, _: RagCaller, retriever: ServedRetriever, threads: Threads) -> SearchResponse:
    found = await threads.run(retriever.search, cleaned(body.query), body.top_k, where_of(body))
    return SearchResponse(
        hits=[_shown(hit) for hit in found.hits],
        generation=retriever.generation.manifest.number,
        reranker=retriever.scorer.version if retriever.scorer else None,
    )


def _shown(hit: Hit) -> HitOut:
    chunk = hit.chunk
    return HitOut(
        document_id=chunk.document_id,
        chunk_id=chunk.chunk_id,
        title=chunk.title,
        uri=chunk.uri,
        page=chunk.page,
        text=chunk.text,
        score=hit.score,
    )
