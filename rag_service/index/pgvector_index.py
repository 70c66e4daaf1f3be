"""The vector index in PostgreSQL, by pgvector: one table for an index, shared by all machines that reach it."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.dialects.postgresql import ARRAY

from cuvee.errors import ConfigurationError, IntegrityError, NotFoundError
from rag_service.index.vectors import FLAT_ROWS, LISTED_ROWS, Found, best, checked

_LEAST_CANDIDATES, _MOST_CANDIDATES = 100, 1000
"""Of `hnsw.ef_search`, which pgvector bounds."""


class PgVectorIndex:
    """Unit vectors under row numbers; exact up to FLAT_ROWS and among few rows, by HNSW otherwise."""

    def __init__(self, engine: sa.Engine, name: str, dimension: int, approximate: bool) -> None:
        self._engine = engine
        self._table = _table(name, dimension)
        self.dimension = dimension
        self.kind = "pgvector HNSW" if approximate else "pgvector Flat"
        self._approximate = approximate

    @classmethod
    def build(
        cls,
        engine: sa.Engine,
        name: str,
        batches: Iterable[NDArray[np.float32]],
        count: int,
        dimension: int,
        flat_rows: int = FLAT_ROWS,
    ) -> "PgVectorIndex":
        """Put `count` unit vectors in a table `name`, replacing it, in one transaction.

        Raises:
            IntegrityError: there are fewer vectors than `count`, or more, or of another dimension.
        """
        index = cls(engine, name, dimension, count > flat_rows)
        table, row = index._table, 0
        with engine.begin() as connection:
            connection.execute(sa.text("create extension if not exists vector"))
            table.drop(connection, checkfirst=True)
            table.create(connection)
            for batch in checked(batches, count, dimension):
                rows = [{"row": row + at, "embedding": vector} for at, vector in enumerate(batch)]
                connection.execute(sa.insert(table), rows)
                row += len(batch)
            if index._approximate:
                sa.Index(
                    f"{name}_hnsw",
                    table.c.embedding,
                    postgresql_using="hnsw",
                    postgresql_ops={"embedding": "vector_ip_ops"},
                ).create(connection)
        return index

    @classmethod
    def open(cls, engine: sa.Engine, name: str) -> "PgVectorIndex":
        """Raises NotFoundError when there is no such index."""
        attribute = sa.text("select atttypmod from pg_attribute where attrelid = to_regclass(:t) and attname = :c")
        indexes = sa.text("select count(*) from pg_indexes where tablename = :t and indexname = :i")
        with engine.connect() as connection:
            quoted = connection.dialect.identifier_preparer.quote(name)
            dimension = connection.execute(attribute, {"t": quoted, "c": "embedding"}).scalar()
            if dimension is None:
                raise NotFoundError(f"There is no vector index {name} in the database.")
            approximate = connection.execute(indexes, {"t": name, "i": f"{name}_hnsw"}).scalar_one() > 0
        return cls(engine, name, int(dimension), approximate)

    def __len__(self) -> int:
        with self._engine.connect() as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(self._table)).scalar_one())

    def delete(self, rows: NDArray[np.int64]) -> None:
        """Remove these rows; the others keep their numbers."""
        with self._engine.begin() as connection:
            connection.execute(sa.delete(self._table).where(self._among(rows)))

    def search(
        self,
        vector: NDArray[np.float32],
        count: int,
        rows: NDArray[np.int64] | None = None,
        alive: NDArray[np.bool_] | None = None,
    ) -> Found:
        """As VectorIndex.search."""
        if rows is not None and alive is not None:
            rows, alive = rows[alive[rows]], None
        if count <= 0 or (rows is not None and not len(rows)):
            return np.empty(0, np.int64), np.empty(0, np.float32)
        table = self._table
        negative = table.c.embedding.max_inner_product(np.asarray(vector, dtype=np.float32))
        exact = not self._approximate or (rows is not None and len(rows) <= LISTED_ROWS)
        # PostgreSQL takes the HNSW index for exactly `order by <distance>`, and not for this other form of it.
        order = (negative + 0.0, table.c.row) if exact else (negative,)
        query = sa.select(table.c.row, (-negative).label("cosine")).order_by(*order).limit(count)
        if rows is not None:
            query = query.where(self._among(rows))
        if alive is not None:
            query = query.where(sa.not_(self._among(np.flatnonzero(~alive))))
        with self._engine.begin() as connection:
            if not exact:
                candidates = min(max(2 * count, _LEAST_CANDIDATES), _MOST_CANDIDATES)
                connection.execute(sa.select(sa.func.set_config("hnsw.ef_search", str(candidates), True)))
                connection.execute(sa.select(sa.func.set_config("hnsw.iterative_scan", "relaxed_order", True)))
            found = connection.execute(query).all()
        return best(np.array([r for r, _ in found], np.int64), np.array([s for _, s in found], np.float32), count)

    def reconstruct(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors of these rows, shape (rows, dimension).

        Raises:
            IntegrityError: a row is not there.
        """
        if not len(rows):
            return np.empty((0, self.dimension), np.float32)
        table = self._table
        with self._engine.connect() as connection:
            found = connection.execute(sa.select(table.c.row, table.c.embedding).where(self._among(rows))).all()
        known = {row: np.asarray(vector, dtype=np.float32) for row, vector in found}
        missing = set(rows.tolist()) - known.keys()
        if missing:
            raise IntegrityError(f"{table.name} has no rows {sorted(missing)[:5]}.")
        return (
            np.stack([known[row] for row in rows.tolist()]) if len(rows) else np.empty((0, self.dimension), np.float32)
        )

    def _among(self, rows: NDArray[np.int64]) -> sa.ColumnElement[bool]:
        return self._table.c.row == sa.any_(sa.literal(rows.tolist(), ARRAY(sa.BigInteger)))


def _table(name: str, dimension: int) -> sa.Table:
    try:
        from pgvector.sqlalchemy import VECTOR
    except ImportError as error:
        raise ConfigurationError("A vector index in PostgreSQL needs the extra pgvector: cuvee[pgvector].") from error
    kind: Any = VECTOR(dimension)
    row = sa.Column("row", sa.BigInteger, primary_key=True, autoincrement=False)
    return sa.Table(name, sa.MetaData(), row, sa.Column("embedding", kind, nullable=False))
