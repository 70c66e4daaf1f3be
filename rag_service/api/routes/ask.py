"""POST /ask: an answer with citations, or a refusal; logged before it is returned."""

from fastapi import APIRouter

from rag_service.answers.answerer import Asked
from rag_service.api.deps import Engine, RagCaller, ServedAnswerer, ServedRetriever, Threads
from rag_service.api.schemas import AskRequest, AskResponse, SentenceOut, SourceOut, VersionsOut
from rag_service.feedback import log
from rag_service.index.filters import place

router = APIRouter(tags=["answers"])


@router.post("/ask", summary="Answer a question from the documents, with citations, or refuse")
async def ask(
    body: AskRequest,
    caller: RagCaller,
    retriever: ServedRetriever,
    answerer: ServedAnswerer,
    engine: Engine,
    threads: Threads,
) -> AskResponse:
    def answered_and_logged() -> AskResponse:
        answer = answerer.answer(retriever, Asked(body.question, body.top_k, place(body.topic, body.segment)))
        question_id = log.record(engine, caller.key_id, body.question, body.topic, body.segment, answer)
        return AskResponse(
            question_id=question_id,
            answer=answer.answer,
            refused=answer.refused,
            sentences=[SentenceOut.model_validate(sentence) for sentence in answer.sentences],
            sources=[SourceOut.model_validate(source) for source in answer.sources],
            versions=VersionsOut.model_validate(answer.versions),
            timings_ms=answer.timings_ms,
        )

    return await threads.run(answered_and_logged)
