"""How much faster the embedder is than plain SentenceTransformer.encode in fp32, and what that costs in retrieval.

Both embed the same passages on the same cores, in turns, so that a busy machine slows both; the figure is the median of
the turns' ratios. nDCG@10 is that of dense retrieval of the passage each answerable question was asked about.
Run: .venv/bin/python benchmarks/embedding.py [a file or folder of SQuAD form]
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from rag_service.index.embedder import BUNDLED, Embedder, ModelFiles

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "squad2-dev"
CHUNK_TOKENS = 240
TURNS = 5
Encode = Callable[[list[str]], NDArray[np.float32]]


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def read(data: Path) -> tuple[list[str], list[str], NDArray[np.int64]]:
    """Passages, answerable questions, and the position of each question's passage."""
    passages: list[str] = []
    questions: list[tuple[str, int]] = []
    for file in sorted(data.glob("*.json")) if data.is_dir() else [data]:
        for article in json.loads(file.read_text())["data"]:
            for paragraph in article["paragraphs"]:
                asked = [one["question"] for one in paragraph["qas"] if not one.get("is_impossible")]
                questions += [(question, len(passages)) for question in asked]
                passages.append(paragraph["context"])
    if not questions:
        raise SystemExit(f"{data} holds no answerable questions in SQuAD's form.")
    return passages, [question for question, _ in questions], np.array([place for _, place in questions])


def ndcg(encode: Encode, passages: list[str], questions: list[str], gold: NDArray[np.int64]) -> float:
    scores = encode(questions) @ encode(passages).T
    of_gold = scores[np.arange(len(gold)), gold]
    rank = (scores > of_gold[:, None]).sum(axis=1) + 1
    return float(np.where(rank <= 10, 1 / np.log2(rank + 1), 0.0).mean())


def seconds(encode: Encode, texts: Sequence[str]) -> float:
    started = time.perf_counter()
    encode(list(texts))
    return time.perf_counter() - started


def measure(data: Path) -> dict[str, Any]:
    passages, questions, gold = read(data)
    say(f"{len(passages)} passages, {len(questions)} answerable questions")
    files = ModelFiles.locate(BUNDLED, CHUNK_TOKENS)
    embedder = Embedder.load(BUNDLED, CHUNK_TOKENS)
    model = SentenceTransformer(str(files.folder), device="cpu", local_files_only=True)
    model.max_seq_length = files.max_tokens

    def plain(texts: list[str]) -> NDArray[np.float32]:
        return np.asarray(model.encode(texts, normalize_embeddings=True, show_progress_bar=False))

    sample = passages[:: max(1, len(passages) // 100)]
    for encode in (plain, embedder.encode):
        encode(sample[:16])
    turns = []
    for turn in range(TURNS):
        turns.append((seconds(plain, sample), seconds(embedder.encode, sample)))
        say(f"turn {turn + 1}: {len(sample) / turns[-1][0]:.1f} and {len(sample) / turns[-1][1]:.1f} passages a second")
    say("retrieval")
    plainly, ours = (ndcg(encode, passages, questions, gold) for encode in (plain, embedder.encode))
    return {
        "embedder": embedder.version,
        "plain_passages_per_second": round(len(sample) / min(before for before, _ in turns), 1),
        "passages_per_second": round(len(sample) / min(after for _, after in turns), 1),
        "plain_ndcg_at_10": round(plainly, 4),
        "ndcg_at_10": round(ours, 4),
        "speedup": round(statistics.median(before / after for before, after in turns), 2),
        "ndcg_drop": round(plainly - ours, 5),
    }


def main() -> None:
    figures = measure(Path(sys.argv[1]) if len(sys.argv) > 1 else DATA)
    bars = {
        "speedup": {"value": figures["speedup"], "bar": 2.0, "holds": figures["speedup"] >= 2.0},
        "ndcg_drop": {"value": figures["ndcg_drop"], "bar": 0.002, "holds": figures["ndcg_drop"] <= 0.002},
    }
    print(json.dumps({"bars": bars, **figures}))


if __name__ == "__main__":
    main()
