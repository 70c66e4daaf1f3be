"""Follow-up questions: what to search for when a question leans on what was said before. Rules for English.

A question that stands alone is left as it is. To one that does not, the content words of the question before it and
the titles that the answer cited are added: the search needs words, not grammar.
"""

import re
from collections.abc import Sequence

from rag_service.answers import prompt
from rag_service.answers.exchange import Asked, Turn
from rag_service.answers.models import GenerativeModel
from rag_service.answers.quantities import quantities
from rag_service.answers.words import STOP_WORDS, names, stem, terms, words

_MOST_TURNS = 12
_MOST_ADDED_WORDS = 24
_MOST_QUERY_WORDS = 60
_MOST_VARIANTS = 2
_MOST_TOKENS = 80
_LONE_TERMS = 1
_OPENS_ELLIPSIS = re.compile(
    r"^\W*(?:and|or|but|so|also|then|else|why|why not|what about|how about|what if|what else|which one|same)\b", re.I
)
_DEFINES = re.compile(
    r"^\W*(?:what|who)\s+(?:is|are|was|were|does|do)\s+(?!it\b|they\b|this\b|that\b|these\b)\w+", re.I
)
_PRONOUN = re.compile(
    r"\b(?:it|its|they|them|their|theirs|he|him|his|she|her|hers|ones?(?=\W*$)|there(?!\s+(?:is|are|was|were)\b)"
    r"|(?:this|that|these|those)(?=\W*$|\s+(?:is|are|was|were|be|has|have|do|does|can|may|must|should|will|one|ones)\b)"
    r"|(?:this|these|those|such|the same|the former|the latter)\s)",
    re.I,
)
# "It rained", "is it allowed to": here "it" stands for nothing.
_EXPLETIVE = re.compile(
    r"\bit\s+(?:rain|snow|hail|freez|take|is\s+(?:rain|snow|freez|possible|allowed|necessary|forbidden|true))\w*"
    r"|\b(?:is|was)\s+it\s+(?:possible|allowed|necessary|forbidden|true|safe\s+to|ok|okay)\b",
    re.I,
)


def queries(asked: Asked, model: GenerativeModel | None = None) -> list[str]:
    """What to search for: first the question made to stand alone; with a model, also its other ways to put it."""
    ruled = standalone(asked.question, asked.history)
    if model is None:
        return [ruled]
    first = _rewritten(asked, ruled, model) if ruled != asked.question else ruled
    written = model.write(prompt.rendered("variants"), first, _MOST_TOKENS).splitlines()
    variants = [text for text in map(_line, written) if _faithful(text, first, first) and text != first]
    return [first, *dict.fromkeys(variants[:_MOST_VARIANTS])]


def standalone(question: str, history: Sequence[Turn]) -> str:
    """The question, with the words it leans on if it follows up on what was said."""
    recent = list(history[-_MOST_TURNS:])
    asked_at = [at for at, turn in enumerate(recent) if turn.role == "user"]
    if not asked_at or not follows_up(question):
        return question
    last = asked_at[-1]
    before = standalone(recent[last].text, recent[:last])
    titles = [title for turn in recent[last:] for title in turn.titles]
    known = {stem(word) for word in words(question)}
    added: list[str] = []
    for word in (word for text in (before, *titles) for word in words(text)):
        if word.casefold() not in STOP_WORDS and stem(word) not in known:
            known.add(stem(word))
            added.append(word)
    return " ".join([question, *added[:_MOST_ADDED_WORDS]])


def follows_up(question: str) -> bool:
    """Whether the question cannot be understood alone: a pronoun without its noun, or too few words."""
    if _OPENS_ELLIPSIS.match(question) and len(terms(question)) <= 2 * _LONE_TERMS + 1:
        return True
    plain = _EXPLETIVE.sub(" ", question)
    pronoun = _PRONOUN.search(plain)
    if pronoun and len(terms(plain[: pronoun.start()])) <= _LONE_TERMS:
        return True
    return len(terms(question)) <= _LONE_TERMS and not names(question) and not _DEFINES.match(question)


def _rewritten(asked: Asked, ruled: str, model: GenerativeModel) -> str:
    """The model's rewriting, if it keeps the question's words and takes all others from the conversation."""
    said = "\n".join(f"{turn.role}: {turn.text}" for turn in asked.history[-prompt.MOST_TURNS :])
    written = _line(model.write(prompt.rendered("rewrite"), f"{said}\nuser: {asked.question}", _MOST_TOKENS))
    return written if _faithful(written, asked.question, f"{said} {ruled}") else ruled


def _faithful(text: str, question: str, known: str) -> bool:
    """Whether a rewriting keeps half of the question's words and invents neither names nor numbers."""
    if not text or len(words(text)) > _MOST_QUERY_WORDS:
        return False
    kept = set(terms(question)) & set(terms(text))
    numbers = {q.number for q in quantities(text)} <= {q.number for q in quantities(known)}
    invented = {name for name in names(text) if name not in {stem(word) for word in words(known)}}
    opening = {stem(word) for word in words(text)[:1]}
    return 2 * len(kept) >= len(set(terms(question))) and numbers and invented <= opening


def _line(text: str) -> str:
    """The first line that says something, without a list mark, quotation marks or a label."""
    first = next((line for line in text.splitlines() if words(line)), "")
    return re.sub(r"^\W*(?:\d+[.)]\s*)?(?:(?:rewritten )?question\s*:\s*)?|[\"'\s]+$", "", first.strip(), flags=re.I)
