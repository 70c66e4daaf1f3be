"""What a generative answer model is asked, from the templates in `prompts/`.

The passages are quoted data: nothing in them can end its quotation, and nothing in them is an instruction.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import dropwhile, groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rag_service.answers.claims import unmarked
from rag_service.answers.exchange import Turn
from rag_service.documents import sentences
from rag_service.index.hybrid import Hit

PROMPT_VERSION = 2
"""Raise it with every change of a template: it is part of the name under which answers are logged."""
MOST_TURNS = 6
_HISTORY_SHARE = 0.25
"""Of the context, at most, for what was said before."""
# Ends of a quotation, and control tokens in the form that most models give them.
_NEVER_QUOTED = re.compile(r"<\s*/?\s*passage|<\|[^|<>\n]{1,40}\|>", re.I)

Message = dict[str, str]


@dataclass(frozen=True)
class Passage:
    """Title and text of a passage, made harmless by `quoted`."""

    title: str
    text: str


@dataclass(frozen=True)
class Prompt:
    """A question with the passages and the earlier turns that fit the model's context."""

    question: str
    passages: tuple[Passage, ...]
    history: tuple[Turn, ...] = ()

    def chat(self, small: bool = False) -> list[Message]:
        """Messages for a model with a chat template: rules, earlier turns, passages with the question.

        After the rules user and assistant take turns, because many templates allow nothing else.

        Args:
            small: whether the model is one that does better with one rule than with five.
        """
        asked = rendered("answer_chat", question=self.question, passages=self.passages)
        said = [{"role": turn.role, "content": turn.text} for turn in self.history]
        rules = rendered("answer_rules_small" if small else "answer_rules")
        return _merged([{"role": "system", "content": rules}, *said, {"role": "user", "content": asked}])

    def plain(self) -> str:
        """One text for a sequence-to-sequence model, in the form that FLAN-T5 was tuned on."""
        return rendered("answer_plain", question=self.question, passages=self.passages)


def prompt_of(question: str, hits: Sequence[Hit], history: Sequence[Turn], control_tokens: Sequence[str]) -> Prompt:
    """Question, passages and the last turns, all quoted."""
    passages = tuple(
        Passage(
            title=re.sub(r'["<>]', "'", " ".join(quoted(hit.chunk.title, control_tokens).split())),
            text=quoted(hit.chunk.text, control_tokens),
        )
        for hit in hits
    )
    # The numbers in earlier answers are those of other passages.
    last = _from_a_question(history[-MOST_TURNS:])
    said = tuple(replace(turn, text=unmarked(quoted(turn.text, control_tokens))) for turn in last)
    return Prompt(quoted(question, control_tokens), passages, said)


def without_system(messages: Sequence[Message]) -> list[Message]:
    """The messages for a template that knows no system role: the rules stand at the head of the last message."""
    rules, *said, last = messages
    return [*said, {**last, "content": f"{rules['content']}\n\n{last['content']}"}]


def _merged(messages: Sequence[Message]) -> list[Message]:
    """Messages of one role in a row as one."""
    return [
        {"role": role, "content": "\n\n".join(message["content"] for message in said)}
        for role, said in groupby(messages, key=lambda message: message["role"])
    ]


def _from_a_question(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """The turns without the answers at their head, whose question is not among them."""
    return tuple(dropwhile(lambda turn: turn.role != "user", turns))


def quoted(text: str, control_tokens: Sequence[str]) -> str:
    """`text` without anything that could end its quotation or be read as one of the model's control tokens."""
    before = None
    # Again, because what is left around a token that was taken out may make another one.
    while text != before:
        before = text
        for token in control_tokens:
            text = text.replace(token, " ")
        text = _NEVER_QUOTED.sub(" ", text)
    return text


def fitted(prompt: Prompt, tokens: Callable[[Prompt], int], most_tokens: int) -> Prompt | None:
    """What of `prompt` fits into `most_tokens`: old turns go first, each with its answer, then whole passages from the
    end.

    Of a first passage that does not fit by itself, as many whole sentences as fit are kept. None: not even the
    question fits.
    """
    fixed = tokens(replace(prompt, passages=(), history=()))
    if fixed > most_tokens:
        return None
    history = prompt.history
    while history and tokens(replace(prompt, passages=(), history=history)) > fixed + _HISTORY_SHARE * most_tokens:
        history = _from_a_question(history[1:])
    for said in (history, ()):
        for count in range(len(prompt.passages), 0, -1):
            tried = replace(prompt, passages=prompt.passages[:count], history=said)
            if tokens(tried) <= most_tokens:
                return tried
    return _with_a_part(replace(prompt, history=()), tokens, most_tokens)


def _with_a_part(prompt: Prompt, tokens: Callable[[Prompt], int], most_tokens: int) -> Prompt:
    """`prompt` with the first whole sentences of its first passage that fit; with none where not one does."""
    best = replace(prompt, passages=())
    if not prompt.passages:
        return best
    first = prompt.passages[0]
    ends = [end for _, end in sentences.split(first.text)]
    low, high = 1, len(ends)
    while low <= high:
        middle = (low + high) // 2
        tried = replace(prompt, passages=(replace(first, text=first.text[: ends[middle - 1]]),))
        if tokens(tried) <= most_tokens:
            best, low = tried, middle + 1
        else:
            high = middle - 1
    return best


def rendered(name: str, **values: object) -> str:
    return _templates().get_template(f"{name}.jinja").render(**values).rstrip("\n")


@cache
def _templates() -> Environment:
    # Prompts are plain text; `quoted` is their escaping.
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "prompts"),
        autoescape=False,  # noqa: S701
        undefined=StrictUndefined,
        keep_trailing_newline=False,
    )
