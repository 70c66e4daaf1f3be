"""What the retrieval and answer benchmarks share: a golden set indexed in a temporary folder, measured by halves."""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rag_service.answers import models
from rag_service.answers.answerer import Answerer
from rag_service.evaluation import corpus, golden
from rag_service.evaluation.golden import GoldenSet
from rag_service.evaluation.measuring import Bench, Measured, passage_name
from rag_service.evaluation.trial import halves
from rag_service.evaluation.tuning import tune
from rag_service.index.embedder import BUNDLED, shared
from rag_service.index.search import CachingEncoder, Retriever

DEFAULT = Path(__file__).resolve().parents[2] / "shared" / "data" / "squad2-dev" / "dev.json"


def told(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def prepared(arguments: Sequence[str]) -> Iterator[tuple[GoldenSet, Bench]]:
    """The golden set that the first argument names, indexed."""
    path = Path(arguments[1]) if len(arguments) > 1 else DEFAULT
    chosen = golden.load(path / "dev.json" if (path / "dev.json").is_file() else path)
    assert chosen.passages, f"{path} brings no passages of its own"
    with tempfile.TemporaryDirectory(prefix="cuvee-benchmark-") as folder:
        encoder = CachingEncoder(shared(BUNDLED, 240), most_texts=200_000)
        told(f"Indexing {len(chosen.passages)} passages")
        generation = corpus.indexed(chosen.passages, encoder, Path(folder))
        told(f"Embedding {len(chosen.cases)} questions")
        encoder.encode([case.question for case in chosen.cases])
        answerer = Answerer(models.extractive())
        yield chosen, Bench.of(Retriever(generation, encoder), answerer, passage_name)


def cross_fitted(chosen: GoldenSet, bench: Bench) -> list[Measured]:
    """Every case, measured with weights that were fitted to the other half."""
    parts = halves(chosen.cases)
    measured: list[Measured] = []
    for fitting, judging in (parts, parts[::-1]):
        told(f"Fitting weights to {len(fitting)} questions, measuring {len(judging)} others")
        found = tune(fitting, bench.search, lambda hit: bench.name_of(hit.chunk))
        measured += bench.tuned(found).measure(judging)
    return measured
