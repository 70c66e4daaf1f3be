"""GET /questions: answers as they were given. POST /feedback: what people think of them."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Query

from rag_service.api.deps import Engine, RagCaller
from rag_service.api.schemas import (
    FeedbackOut,
    FeedbackRequest,
    QuestionOut,
    QuestionsResponse,
    QuestionSummary,
)
from rag_service.feedback import log, verdicts

router = APIRouter(tags=["answers"])


@router.get("/questions", summary="The questions this key asked, latest first")
def list_questions(
    caller: RagCaller, engine: Engine, limit: Annotated[int, Query(ge=1, le=200)] = 20
) -> QuestionsResponse:
    found = log.latest(engine, caller.key_id, limit)
    return QuestionsResponse(questions=[QuestionSummary.model_validate(summary) for summary in found])


@router.get("/questions/{question_id}", summary="An answer as it was given")
def show_question(question_id: uuid.UUID, caller: RagCaller, engine: Engine) -> QuestionOut:
    """Whoever knows the id of a question may read it: that is how an answer is shown to a colleague."""
    shown = QuestionOut.model_validate(log.find(engine, question_id), from_attributes=True)
    given = verdicts.of(engine, caller.key_id, question_id)
    return shown.model_copy(update={"feedback": given and FeedbackOut.model_validate(given)})


@router.post("/feedback", status_code=201, summary="Say whether an answer is right; a later verdict replaces it")
def judge(body: FeedbackRequest, caller: RagCaller, engine: Engine) -> FeedbackOut:
    verdict = verdicts.Verdict(body.question_id, body.verdict, body.comment, body.correct_document_id)
    return FeedbackOut.model_validate(verdicts.give(engine, caller.key_id, verdict))
