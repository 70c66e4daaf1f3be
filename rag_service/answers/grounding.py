"""Support: a drafted sentence stays only if a passage says it, and it cites the passages that do."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rag_service.answers import evidence
from rag_service.answers.claims import Claim, declines
from rag_service.answers.evidence import Piece, Quotation, Span, touch
from rag_service.answers.exchange import Draft
from rag_service.answers.support import refers_back
from rag_service.answers.words import squeezed, words
from rag_service.index.hybrid import Hit
from rag_service.index.rows import Chunk
from rag_service.index.search import Encoder

LEAST_SIMILARITY = 0.6
"""Cosine between a sentence and its evidence."""
LEAST_LIKENESS = 0.5
"""Cosine between a sentence without support and the quotation that may take its place."""
_FRAGMENT_WORDS = 4
"""Fewer words than this make an answer ("10 minutes"), not a statement that could be checked alone."""
_QUESTION_MARKS = ("?", "\uff1f", "\u061f")
# Han, kana and hangul: one character says about as much as a short word, and there may be no spaces between words.
_LIKE_A_WORD = re.compile(
    "[\u3005\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003fffd]"
)


@dataclass(frozen=True)
class Proof:
    """The words of one passage that say a sentence."""

    rank: int
    """Of the passage, from 0."""
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Supported:
    """A sentence and what supports it, best passage first."""

    text: str
    proofs: tuple[Proof, ...]

    @property
    def ranks(self) -> tuple[int, ...]:
        return tuple(proof.rank for proof in self.proofs)


@dataclass(frozen=True)
class Grounded:
    """The sentences of an answer, and what became of the draft that it was made from."""

    sentences: tuple[Supported, ...]
    draft: Draft


def check(question: str, draft: Sequence[Quotation], hits: Sequence[Hit], encoder: Encoder) -> list[Supported]:
    """The quotations of `draft` that have support, once each, in their order."""
    kept: dict[str, Supported] = {}
    for quotation in draft:
        supported = supported_by(question, Claim(quotation.text, ()), hits, encoder, quotation)
        if supported and squeezed(quotation.text) not in kept:
            kept[squeezed(quotation.text)] = supported
    return list(kept.values())


def mend(
    question: str,
    claimed: Sequence[Claim],
    hits: Sequence[Hit],
    encoder: Encoder,
    quotations: Callable[[], Sequence[Quotation]],
    trusted: bool = True,
) -> Grounded:
    """The claims that have support; in place of each other one the quotation most like it; all quotations if none.

    Args:
        quotations: the extractive answer to the same question, asked for only when it is needed.
        trusted: whether what the model says with support also answers the question. If not, the quotations are taken
            where the model said none of them and one is nearer to the question than all that it said.
    """
    checked = [(claim, supported_by(question, claim, hits, encoder)) for claim in claimed]
    if trusted and checked and all(supported for _, supported in checked):
        return Grounded(_once(supported for _, supported in checked if supported), "kept")
    pool = check(question, quotations(), hits, encoder)
    whole = Grounded(tuple(pool), "replaced")
    said: list[Supported] = []
    for claim, supported in checked:
        taken = _once([*said, *(kept for _, kept in checked if kept)])
        left = [quotation for quotation in pool if not any(_same_place(quotation, other) for other in taken)]
        fitting = supported or (None if declines(claim.text) else _most_like(claim.text, left, encoder))
        said += [fitting] if fitting else []
    if not any(kept for _, kept in checked) or not (trusted or _to_the_point(question, said, pool, encoder)):
        return whole
    return Grounded(_once(said), "kept" if all(kept for _, kept in checked) else "mended")


def supported_by(
    question: str, claim: Claim, hits: Sequence[Hit], encoder: Encoder, quoted: Quotation | None = None
) -> Supported | None:
    """The claim with the passages that say it: those that it cites, or else any.

    A sentence in the very words of a passage needs no more; any other must pass `support.says` and be near its
    evidence in meaning. Passages may speak to the model that wrote the claim: what they tell it to say is no support,
    unless the claim was `quoted` by a model that follows no instructions. A quotation that refers to what stands before
    it is supported by its own passage alone.
    """
    if not squeezed(claim.text) or claim.text.rstrip().endswith(_QUESTION_MARKS):
        return None
    everywhere: Sequence[int] = range(len(hits))
    if quoted and quoted.rank is not None and refers_back(claim.text):
        everywhere = (quoted.rank,)
    cited = [rank for rank in claim.ranks if rank < len(hits)]
    for ranks in (cited, everywhere) if cited else (everywhere,):
        proofs = _quoting(claim.text, ranks, hits, quoted)
        proofs = proofs or _carrying(question, claim.text, ranks, hits, encoder, quoted)
        if proofs:
            return Supported(claim.text, _places(proofs, hits))
    return None


def _quoting(text: str, ranks: Iterable[int], hits: Sequence[Hit], quoted: Quotation | None) -> list[Proof]:
    """The passages that have these very words."""
    if _is_fragment(text):
        return []
    found = [
        (rank, evidence.verbatim(hits[rank].chunk.text, text, quoted.within(rank) if quoted else None))
        for rank in ranks
    ]
    return [Proof(rank, spans) for rank, spans in found if spans and (quoted or not _told(hits[rank].chunk, spans))]


def _told(chunk: Chunk, spans: Sequence[Span]) -> bool:
    return any(touch(span, hostile) for span in spans for hostile in evidence.speaking(chunk.text))


def _carrying(
    question: str,
    text: str,
    ranks: Iterable[int],
    hits: Sequence[Hit],
    encoder: Encoder,
    quoted: Quotation | None,
) -> list[Proof]:
    """The passages of which one sentence or row says the same and is near in meaning.

    Of what is quoted, those that hold its words: nothing can be nearer, so there nothing is embedded.
    """
    if quoted and not _is_fragment(text) and (cut := _holding(text, ranks, hits, quoted)):
        return cut
    claim = f"{question} {text}" if _is_fragment(text) else text
    proofs = []
    for rank in ranks:
        chunk = hits[rank].chunk
        found = [piece for piece in evidence.pieces(chunk.title, chunk.text) if piece.says(text)]
        if carrying := _nearest(claim, found, encoder):
            proofs.append(Proof(rank, (carrying.span,)))
    return proofs


def _holding(text: str, ranks: Iterable[int], hits: Sequence[Hit], quoted: Quotation) -> list[Proof]:
    """The passages of which one sentence holds these very words, which were cut from it."""
    proofs = []
    for rank in ranks:
        chunk, place = hits[rank].chunk, quoted.within(rank)
        if having := evidence.holding(chunk.title, chunk.text, text):
            best = next((piece for piece in having if place and touch(piece.span, place)), having[0])
            proofs.append(Proof(rank, (best.span,)))
    return proofs


def _is_fragment(text: str) -> bool:
    return len(words(_LIKE_A_WORD.sub(r" \g<0> ", text))) < _FRAGMENT_WORDS


def _nearest(claim: str, carrying: Sequence[Piece], encoder: Encoder) -> Piece | None:
    if not carrying:
        return None
    vectors = encoder.encode([claim, *(f"{p.around} {p.text}" for p in carrying), *(p.text for p in carrying)])
    cosines = (vectors[1:] @ vectors[0]).reshape(2, -1).max(axis=0)
    best = int(cosines.argmax())
    return carrying[best] if cosines[best] >= LEAST_SIMILARITY else None


def _most_like(text: str, quotations: Sequence[Supported], encoder: Encoder) -> Supported | None:
    if not quotations:
        return None
    vectors = encoder.encode([text, *(quotation.text for quotation in quotations)])
    cosines = vectors[1:] @ vectors[0]
    best = int(cosines.argmax())
    return quotations[best] if cosines[best] >= LEAST_LIKENESS else None


def _to_the_point(question: str, said: Sequence[Supported], quotations: Sequence[Supported], encoder: Encoder) -> bool:
    """Whether what was said is among the quotations, or no quotation is nearer to the question."""
    if any(_same_place(sentence, quotation) for sentence in said for quotation in quotations):
        return True
    vectors = encoder.encode([question, *(sentence.text for sentence in (*said, *quotations))])
    return int((vectors[1:] @ vectors[0]).argmax()) < len(said)


def _once(found: Iterable[Supported]) -> tuple[Supported, ...]:
    kept: dict[str, Supported] = {}
    for supported in found:
        kept.setdefault(squeezed(supported.text), supported)
    return tuple(kept.values())


def _same_place(one: Supported, other: Supported) -> bool:
    """Whether two sentences rest on the same words."""
    return any(
        a.rank == b.rank and any(touch(s, t) for s in a.spans for t in b.spans)
        for a in one.proofs
        for b in other.proofs
    )


def _places(proofs: Sequence[Proof], hits: Sequence[Hit]) -> tuple[Proof, ...]:
    """Proofs without those whose passage only repeats, by overlap, the place that a better one shows."""
    kept: list[Proof] = []
    for proof in proofs:
        chunk = hits[proof.rank].chunk
        if not any(_overlap(chunk, hits[other.rank].chunk) for other in kept):
            kept.append(proof)
    return tuple(kept)


def _overlap(one: Chunk, other: Chunk) -> bool:
    same = one.document_id == other.document_id
    return same and one.start_char < other.end_char and other.start_char < one.end_char
