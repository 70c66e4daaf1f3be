"""What follows a decision: the alias moves, or waits for a person, and can be moved back.

Everything here is safe to repeat and runs under the lock of the artefact. `promotions` is written first and the alias
moved after it; a step that was killed in between leaves a row that is not carried out, which the next step finishes.
"""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cuvee.database import MODEL_CHANNEL, notify, promotions, single_writer
from cuvee.errors import NotFoundError
from cuvee.promotion import Decision, in_effect, superseded
from cuvee.registry import RegisteredVersion, Registry

DECISION_TAG = "cuvee.decision"
"""On a version: what became of it."""
ROLLED_BACK = "rolled back"
_MOST_TAG_CHARS = 4_500


@dataclass(frozen=True)
class Entry:
    """One row of `promotions` for people."""

    promotion_id: int
    artefact: str
    challenger: str
    champion: str | None
    decided_at: datetime
    outcome: str
    reason: str
    promoted: bool
    """It is to be served, or was until something else took its place."""
    waiting: bool
    superseded: bool
    """It was to be served, but something else took effect before it could be."""


def lock_name(artefact: str) -> str:
    """Of the advisory lock under which this artefact's champion is decided on and changed."""
    return f"promotion of {artefact}"


def history(connection: sa.Connection, artefact: str | None = None, most: int = 50) -> list[Entry]:
    """Decisions and rollbacks, newest first."""
    statement = sa.select(promotions).order_by(promotions.c.promotion_id.desc()).limit(most)
    if artefact is not None:
        statement = statement.where(promotions.c.artefact == artefact)
    entries: list[Entry] = []
    for row in connection.execute(statement):
        overtaken = any(later.artefact == row.artefact and later.promoted for later in entries)
        entries.append(_entry(row, overtaken))
    return entries


def _entry(row: Any, overtaken: bool) -> Entry:
    """`overtaken`: something else took effect after this row was written."""
    settled = row.promoted and row.approval not in ("waiting", "rejected")
    passed_over = settled and overtaken and row.kind == "decision" and row.carried_out_at is None
    who = f" by {row.decided_by}" if row.decided_by else ""
    why = f": {row.remark}" if row.remark else ""
    if row.kind == "rollback":
        outcome = f"gone back to{who}{why}"
    elif not row.promoted:
        outcome = "kept out"
    elif row.approval == "waiting":
        outcome = "waits for approval"
    elif passed_over:
        outcome = "superseded" + (f", though {row.approval}{who}{why}" if row.approval else "")
    else:
        outcome = f"{row.approval or 'promoted'}{who}{why}"
    return Entry(
        row.promotion_id,
        row.artefact,
        row.challenger,
        row.champion,
        row.decided_at,
        outcome,
        row.reason,
        promoted=settled and not passed_over,
        waiting=row.approval == "waiting",
        superseded=passed_over,
    )


def settle(
    connection: sa.Connection, artefact: str, challenger: str, approved: bool, by: str, remark: str | None
) -> None:
    """Record a person's answer; the first one stands."""
    connection.execute(
        sa.update(promotions)
        .where(
            promotions.c.artefact == artefact,
            promotions.c.challenger == challenger,
            promotions.c.approval == "waiting",
        )
        .values(approval="approved" if approved else "rejected", decided_by=by, remark=remark or None)
    )


def carry_out(engine: sa.Engine, registry: Registry, challenger: RegisteredVersion) -> Entry:
    """Tag the version with what was decided and, if it is to be served, move the alias and tell the service.

    Nothing is moved while an answer is awaited, nor if something else took effect since. The caller holds the lock.
    """
    artefact, identity = challenger.name, challenger.identity
    with engine.connect() as connection:
        row = _row(connection, artefact, identity)
        overtaken = superseded(connection, artefact, identity)
    entry = _entry(row, overtaken)
    said = registry.version(artefact, challenger.version).tags.get(DECISION_TAG)
    if overtaken and (row.carried_out_at is not None or said == ROLLED_BACK):
        # What was said of it since stands.
        return entry
    decision = Decision.from_json(row.evidence)
    verdict = "promoted" if entry.promoted else "waiting for approval" if entry.waiting else "not promoted"
    verdict = "superseded" if entry.superseded else verdict
    evidence = json.dumps(asdict(decision))[:_MOST_TAG_CHARS]
    told = decision.reason
    if row.approval or entry.superseded:
        told += f" {entry.outcome[0].upper()}{entry.outcome[1:]}."
    registry.tag(challenger, {DECISION_TAG: verdict, "cuvee.reason": told, "cuvee.evidence": evidence})
    if entry.waiting or entry.superseded:
        return entry
    with engine.begin() as connection:
        if entry.promoted:
            registry.promote(challenger)
            notify(connection, MODEL_CHANNEL, challenger.uri)
        _carried_out(connection, row.promotion_id)
    return entry


def roll_back(engine: sa.Engine, registry: Registry, name: str, by: str, remark: str | None) -> RegisteredVersion:
    """Serve the version again that the champion took the place of; a second call goes back one further.

    One that was killed halfway is finished first, and nothing else is done by that call.

    Returns:
        The version that is champion now.

    Raises:
        NotFoundError: there is no champion, it was promoted by no decision, or nothing was served before it.
    """
    with single_writer(engine, lock_name(name)):
        with engine.begin() as connection:
            row = _unfinished(connection, name) or _recorded_rollback(connection, registry, name, by, remark)
        target = _registered(registry, name, row.challenger)
        left = _registered(registry, name, row.champion)
        registry.tag(left, {DECISION_TAG: ROLLED_BACK, "cuvee.reason": row.reason})
        with engine.begin() as connection:
            registry.promote(target)
            notify(connection, MODEL_CHANNEL, target.uri)
            _carried_out(connection, row.promotion_id)
    return target


def _recorded_rollback(connection: sa.Connection, registry: Registry, name: str, by: str, remark: str | None) -> Any:
    champion = registry.champion(name)
    if champion is None:
        raise NotFoundError(f"{name} has no champion, so there is nothing to go back from.")
    before = connection.execute(
        sa.select(promotions.c.champion).where(
            promotions.c.artefact == name,
            promotions.c.challenger == champion.identity,
            promotions.c.kind == "decision",
            in_effect(),
        )
    ).scalar_one_or_none()
    if before is None:
        raise NotFoundError(
            f"Nothing was promoted before version {champion.version} of {name}, so there is nothing to go back to; "
            "`cuvee promotions list` shows what was decided."
        )
    _registered(registry, name, before)
    reason = f"Version {before.split('@')[0]} is served again in place of version {champion.version}."
    values = {
        "artefact": name,
        "challenger": before,
        "champion": champion.identity,
        "promoted": True,
        "reason": reason,
        "evidence": {},
        "kind": "rollback",
        "decided_by": by,
        "remark": remark or None,
    }
    return connection.execute(sa.insert(promotions).values(**values).returning(promotions)).one()


def _unfinished(connection: sa.Connection, name: str) -> Any | None:
    """The last thing that is to be in effect, if it is a rollback whose alias was not moved."""
    last = connection.execute(
        sa.select(promotions)
        .where(promotions.c.artefact == name, in_effect())
        .order_by(promotions.c.promotion_id.desc())
        .limit(1)
    ).one_or_none()
    return last if last is not None and last.kind == "rollback" and last.carried_out_at is None else None


def _registered(registry: Registry, name: str, identity: str) -> RegisteredVersion:
    """Raises NotFoundError when the version is gone, or its number belongs to another one now."""
    version = registry.version(name, int(identity.split("@")[0]))
    if version.identity != identity:
        raise NotFoundError(f"Version {identity} of {name} was deleted from MLflow; nothing was changed.")
    return version


def _row(connection: sa.Connection, artefact: str, challenger: str) -> Any:
    return connection.execute(
        sa.select(promotions).where(
            promotions.c.artefact == artefact,
            promotions.c.challenger == challenger,
            promotions.c.kind == "decision",
        )
    ).one()


def _carried_out(connection: sa.Connection, promotion_id: int) -> None:
    connection.execute(
        sa.update(promotions)
        .where(promotions.c.promotion_id == promotion_id, promotions.c.carried_out_at.is_(None))
        .values(carried_out_at=sa.func.now())
    )
