"""Tombstones: the numbers of a generation's rows that are dead, as ascending int64 in one file."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cuvee.errors import IntegrityError
from rag_service.index.manifest import Manifest, verify


def write_tombstones(path: Path, dead: NDArray[np.int64]) -> None:
    path.write_bytes(np.ascontiguousarray(dead, dtype="<i8").tobytes())


def read_tombstones(index_dir: Path, manifest: Manifest) -> NDArray[np.int64]:
    """Raises IntegrityError when the file is not what the manifest says, or names rows that there are not."""
    if manifest.tombstones is None:
        return np.empty(0, dtype=np.int64)
    path = index_dir / manifest.tombstones
    verify(path, manifest.files[manifest.tombstones])
    content = path.read_bytes()
    if len(content) % 8:
        raise IntegrityError(f"{path} is no list of row numbers.")
    dead = np.frombuffer(content, dtype="<i8").astype(np.int64)
    if len(dead) != manifest.dead or (len(dead) and not 0 <= dead[0] <= dead[-1] < manifest.rows):
        raise IntegrityError(f"{path} names other rows than the manifest says.")
    return dead
