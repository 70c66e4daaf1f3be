"""From chunks with vectors to the generation that is served; compaction; going back to an older generation.

One writer at a time, by an advisory lock. Each function builds aside from what the ledger says, and publishes in a
transaction that holds the ledger still: a document that was deleted or superseded meanwhile is left out before.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from cuvee.database import single_writer
from cuvee.errors import IntegrityError, InvalidInputError, NotFoundError, NotReadyError
from cuvee.serving import wait_until_serves
from cuvee.settings import Settings
from rag_service.documents import ledger, membership
from rag_service.documents.batches import NOTHING_NEW, Batch, remove_older
from rag_service.documents.ledger import Outcome
from rag_service.index import building, publishing, reclaiming
from rag_service.index import generation as generations
from rag_service.index.alive import Alive
from rag_service.index.building import Recipe
from rag_service.index.generation import Generation
from rag_service.index.making import Making
from rag_service.index.manifest import Manifest
from rag_service.index.rows import Rows
from rag_service.pipeline.run import INDEX_LOCK, Run

log = logging.getLogger(__name__)

REBUILD = "rebuild"
"""Origin of a generation for which everything was read anew."""
_MOST_TRIES = 20
_SHARE_CHUNKS = 20_000
"""Of a batch, what is held in memory at once: with all copies about a gigabyte."""


@dataclass(frozen=True)
class _Ledger:
    """What the ledger said when a build began."""

    indexed: set[str]
    landings: set[tuple[str, str]]
    """Id and time of landing of what waits to be indexed."""
    restorable: set[str]

    @classmethod
    def read(cls, connection: sa.Connection) -> "_Ledger":
        indexed, waiting = ledger.ids_in_state(connection, "indexed"), ledger.landings(connection)
        return cls(indexed, waiting, membership.restorable(connection))

    def still(self, now: "_Ledger") -> "_Ledger":
        """What of it holds now."""
        return _Ledger(self.indexed & now.indexed, self.landings & now.landings, self.restorable & now.restorable)

    @property
    def living(self) -> set[str]:
        """What an older generation may serve again."""
        return self.indexed | self.restorable


def publish_generation(batch: dict[str, Any], settings: Settings | None = None) -> dict[str, Any]:
    """Build and publish the generation that holds what is alive of the present one, and the batch.

    A large batch is published in shares, so that memory stays bounded. Where what it would hold is published already
    (the batch was, or all of it failed), nothing is published.
    """
    run = Run.begin(settings)
    with single_writer(run.engine, INDEX_LOCK):
        present = run.published()
        if batch["batch_id"] is None:
            return _receipt(present, published=False)
        part = run.batch(batch["batch_id"])
        with run.engine.connect() as connection:
            waiting = ledger.landings(connection)
        outcomes = [] if part.id == NOTHING_NEW else part.outcomes()
        fresh = [outcome for outcome in outcomes if outcome.error is None and outcome.landing in waiting]
        making = run.making(present) if fresh else None
        if making and not part.is_of(outcomes, making.versions):
            log.warning("what is served was made otherwise meanwhile; the next run reads these documents again")
            fresh = []
        if not fresh and (present is None or not run.index_is_stale()):
            return _receipt(present, published=False)
        manifest = present
        for share in in_shares(fresh):
            manifest = _publish_share(run, part, share, manifest, making)
        reclaiming.reclaim(run.engine, run.index_dir, run.settings.generations_kept)
        if part.id != NOTHING_NEW:
            remove_older(run.settings.batches_dir, part)
    assert manifest is not None
    return _receipt(manifest, published=True, new_base=not same_base(present, manifest))


def in_shares(outcomes: Sequence[Outcome]) -> list[list[Outcome]]:
    """The outcomes in their order, in shares of at most `_SHARE_CHUNKS` chunks or one document; at least one share."""
    shares: list[list[Outcome]] = [[]]
    room = _SHARE_CHUNKS
    for outcome in outcomes:
        if shares[-1] and (outcome.chunks or 0) > room:
            shares.append([])
            room = _SHARE_CHUNKS
        shares[-1].append(outcome)
        room -= outcome.chunks or 0
    return shares


def _publish_share(
    run: Run, part: Batch, share: Sequence[Outcome], present: Manifest | None, making: Making | None
) -> Manifest:
    rows = Rows.of_batch(part.chunks({outcome.document_id for outcome in share})) if share else None

    def still_wanted(said: _Ledger) -> list[Outcome]:
        return [outcome for outcome in share if outcome.landing in said.landings]

    def build(number: int, said: _Ledger) -> Path:
        wanted = {outcome.document_id for outcome in still_wanted(said)}
        return _extended(run, number, present, said.indexed, rows.only(wanted) if rows else None, making)

    def record(connection: sa.Connection, said: _Ledger) -> None:
        ledger.mark_indexed(connection, still_wanted(said))
        membership.mark_left(connection)

    return _publish(run, build, record, "batch", None)


def compact_index(settings: Settings | None = None) -> dict[str, Any]:
    """Fold what is alive into a new base and publish that; nothing where there is no delta and nothing dead."""
    run = Run.begin(settings)
    with single_writer(run.engine, INDEX_LOCK):
        present = run.published()
        if present is None or (present.delta is None and not present.dead and not run.index_is_stale()):
            return _receipt(present, published=False)
        folded = fold_present(run, present)
    return _receipt(folded, published=True, new_base=not same_base(present, folded))


def fold_present(run: Run, present: Manifest) -> Manifest:
    """Publish what is alive of `present` in a new base; the lock must be held."""

    def build(number: int, said: _Ledger) -> Path:
        alive = Alive.of(run.index_dir, present, said.indexed)
        return building.fold(number, alive, None, Recipe.of(present))

    return _publish(run, build, lambda connection, _: _left(connection), "compaction", None)


def serve_again(number: int, settings: Settings | None = None) -> dict[str, Any]:
    """Publish what is alive of an older generation, as a new one.

    Deleted and superseded documents do not come back. Documents that it does not hold, or of which it says something
    else than is recorded now, wait to be indexed again.

    Raises:
        NotFoundError: there is no such generation (any more).
        IntegrityError: one of its files is missing or altered.
        InvalidInputError: it is what is published.
        ConfigurationError: the embedder that it was made with cannot be had here.
    """
    run = Run.begin(settings)
    with single_writer(run.engine, INDEX_LOCK):
        present = run.published()
        if present is not None and present.number == number:
            raise InvalidInputError(f"Generation {number} is what is published.")
        older = Generation.load(publishing.find(run.engine, number, run.index_dir)).manifest
        if older.chunks:
            Making.of(older)  # nothing that could not be served here
        outdated = _told_otherwise(run, older) | _cut_from_another_text(run, older)
        waiting = 0

        def held(said: _Ledger) -> Alive:
            return Alive.of(run.index_dir, older, said.living - outdated)

        def build(new: int, said: _Ledger) -> Path:
            return building.extend(new, held(said), None, Recipe.of(older), run.folding)

        def record(connection: sa.Connection, said: _Ledger) -> None:
            nonlocal waiting
            waiting = membership.mark_served(connection, held(said).document_ids)
            membership.mark_left(connection)

        manifest = _publish(run, build, record, "publish", number)
    receipt = _receipt(manifest, published=True, new_base=not same_base(present, manifest))
    return {**receipt, "made_from": number, "waiting": waiting}


def _told_otherwise(run: Run, older: Manifest) -> set[str]:
    """Documents of which this generation says what is not recorded of them any more, such as the author."""
    with run.engine.connect() as connection:
        recorded = ledger.told(connection)
    held = Alive.of(run.index_dir, older, recorded).told()
    return {document_id for document_id, told in held.items() if told != recorded[document_id]}


def _cut_from_another_text(run: Run, older: Manifest) -> set[str]:
    """Documents whose passages in this generation are not what stands at their places in the text that is kept: they
    were read again since, otherwise.
    """
    with run.engine.connect() as connection:
        kept = ledger.texts_read_after(connection, older.number)
    found: set[str] = set()
    of, text = "", ""
    for document_id, start, end, passage in Alive.of(run.index_dir, older, kept).passages():
        if document_id != of:
            of, text = document_id, _kept_text(run, kept[document_id])
        if text[start:end] != passage:
            found.add(document_id)
    return found


def _kept_text(run: Run, sha256: str) -> str:
    """Empty where it is lost: going back is no time to stop for that, and reading the document again mends it."""
    try:
        return run.objects.read(sha256).decode()
    except (NotFoundError, IntegrityError) as error:
        log.warning("a document is indexed again, as its text cannot be had: %s", error)
        return ""


def go_back(settings: Settings | None = None) -> dict[str, Any]:
    """`serve_again` of the generation that was served before; going back twice goes back two."""
    run = Run.begin(settings)
    return serve_again(publishing.before(run.engine), run.settings)


def verify_served(settings: Settings | None = None) -> dict[str, Any]:
    """Wait until `rag_service` serves the published generation, if there is one.

    Raises:
        NotReadyError: it still serves something else after a minute.
    """
    run = Run.begin(settings)
    present = run.published()
    if present is None:
        return {"generation": None, "seconds": 0.0}
    seconds = wait_until_serves(run.settings.resolved_rag_url, "generation", present.number)
    service_url = f"{run.settings.public_rag_url}/docs"
    return {"generation": present.number, "seconds": round(seconds, 1), "service_url": service_url}


def publish_built(
    run: Run,
    build: Callable[[int, set[str]], Path],
    origin: str,
    record: Callable[[sa.Connection], None] = lambda connection: _left(connection),
) -> Manifest:
    """Publish what `build` makes of a number and the ids of the indexed documents; the lock must be held.

    `record` says in the ledger, in the same transaction, what that changes of the documents.
    """
    return _publish(
        run, lambda number, said: build(number, said.indexed), lambda connection, _: record(connection), origin, None
    )


def _publish(
    run: Run,
    build: Callable[[int, _Ledger], Path],
    record: Callable[[sa.Connection, _Ledger], None],
    origin: str,
    made_from: int | None,
) -> Manifest:
    """Build, and publish in a transaction that holds the ledger still.

    Documents that vanished meanwhile get tombstones first; the rest of the build stands.
    """
    with run.engine.connect() as connection:
        said = _Ledger.read(connection)
    folder = build(generations.next_number(run.engine), said)
    for _ in range(_MOST_TRIES):
        with run.engine.begin() as connection:
            membership.hold(connection)
            still = said.still(_Ledger.read(connection))
            if still == said:
                manifest = generations.publish(connection, folder, origin, made_from)
                record(connection, said)
                break
        said = still
        log.info("documents were deleted or superseded meanwhile; they are left out of %s", folder.name)
        folder = building.trim(folder, said.living | {document_id for document_id, _ in said.landings})
    else:
        raise NotReadyError(f"Documents vanished {_MOST_TRIES} times while they were left out; try again.")
    counts = (manifest.number, manifest.documents, manifest.chunks)
    log.info("published generation %d: %d documents, %d chunks", *counts)
    return manifest


def _extended(
    run: Run, number: int, present: Manifest | None, indexed: set[str], fresh: Rows | None, making: Making | None
) -> Path:
    settings = run.settings
    # A threshold belongs to the weights that it was chosen with; the setting is for those that come with this version.
    refused_below = present.refusal_threshold if present and present.tuning else settings.refusal_threshold
    if making is None or (present is not None and present.chunks):
        assert present is not None, "without a batch there is no first generation"
        recipe = replace(Recipe.of(present), refusal_threshold=refused_below)
    else:
        recipe = Recipe.of_making(making, refused_below, present.tuning if present else {})
    if present is None:
        assert fresh is not None, "without a batch there is no first generation"
        return building.build(run.index_dir, number, Rows.together([fresh]), recipe)
    return building.extend(number, Alive.of(run.index_dir, present, indexed), fresh, recipe, run.folding)


def _left(connection: sa.Connection) -> None:
    membership.mark_left(connection)


def same_base(before: Manifest | None, now: Manifest) -> bool:
    """Whether only delta and tombstones have changed."""
    return before is not None and before.base == now.base


def receipt_of(manifest: Manifest, before: Manifest) -> dict[str, Any]:
    """What a task says of a generation that it published after `before`."""
    return _receipt(manifest, published=True, new_base=not same_base(before, manifest))


def _receipt(manifest: Manifest | None, published: bool, new_base: bool = False) -> dict[str, Any]:
    if manifest is None:
        return {"generation": None, "documents": 0, "chunks": 0, "published": published, "new_base": new_base}
    counts = {"documents": manifest.documents, "chunks": manifest.chunks}
    return {"generation": manifest.number, **counts, "published": published, "new_base": new_base}
