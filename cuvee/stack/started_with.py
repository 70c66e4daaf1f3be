"""What a running stack was started with, as hashes: its processes keep their environment when `.env` changes."""

import hashlib
import json
import os
from pathlib import Path

from cuvee.settings import Settings


def record(settings: Settings, chosen: dict[str, str]) -> None:
    """Keep a SHA-256 of each value for `changed`; the owner alone may read them, as a short password can be guessed."""
    with open(os.open(_path(settings), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as target:  # noqa: PTH123
        json.dump(_hashes(chosen), target, indent=1)


def changed(settings: Settings, chosen: dict[str, str]) -> list[str]:
    """Names whose values are not those that were recorded; none where nothing was (by an older release)."""
    if not _path(settings).exists():
        return []
    before, now = json.loads(_path(settings).read_text()), _hashes(chosen)
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))


def _path(settings: Settings) -> Path:
    return settings.run_dir / "started-with.json"


def _hashes(chosen: dict[str, str]) -> dict[str, str]:
    return {name: hashlib.sha256(value.encode()).hexdigest() for name, value in chosen.items()}
