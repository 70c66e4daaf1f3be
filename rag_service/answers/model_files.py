"""Where a transformers model is loaded from, and which version of it that is."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cuvee.errors import ConfigurationError


@dataclass(frozen=True)
class Origin:
    """Where a model is loaded from; `arguments` are from_pretrained's."""

    name: str
    path: str
    version: str
    arguments: dict[str, Any]


def origin_of(where: str) -> Origin:
    """A folder, a .gguf file, or else an id of the hub.

    Raises:
        ConfigurationError: a path that does not exist or is no model.
    """
    path = Path(where).expanduser()
    is_path = path.suffix == ".gguf" or where.startswith(("/", "./", "../", "~")) or path.exists()
    if not is_path:
        return Origin(where, where, "", {})
    if not path.exists():
        raise ConfigurationError(f"CUVEE_ANSWER_MODEL names {path}, and there is no such file or folder.")
    local = {"local_files_only": True}
    if path.is_file():
        if path.suffix != ".gguf":
            raise ConfigurationError(f"CUVEE_ANSWER_MODEL names {path}, which is neither a folder nor a .gguf file.")
        return Origin(path.name, str(path.parent), _checksum([path]), {**local, "gguf_file": path.name})
    return Origin(path.name, str(path), _checksum(sorted(p for p in path.iterdir() if p.is_file())), local)


def _checksum(files: Sequence[Path]) -> str:
    """First twelve digits of the SHA-256 over names and contents."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:12]
