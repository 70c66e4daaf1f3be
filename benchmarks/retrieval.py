"""Hybrid retrieval beside plain BM25, plain dense search and their reciprocal rank fusion, in one run.

Weights are fitted on half of the articles and measured on the other half, both ways round.

    .venv/bin/python benchmarks/retrieval.py [GOLDEN]      GOLDEN: SQuAD or BEIR form; default ../shared/data/squad2-dev
"""

import json
import sys

from squad import cross_fitted, prepared, told

from rag_service.evaluation.measuring import summary

BARS = {"ndcg_10": ("hybrid.ndcg_10", 0.905), "hit_1": ("hybrid.hit_1", 0.825)}


def main() -> None:
    with prepared(sys.argv) as (golden, bench):
        measured = cross_fitted(golden, bench)
    found = summary(measured)
    for name, value in found.items():
        if name.split(".")[0] in ("hybrid", "dense", "bm25", "rrf", "search_ms"):
            told(f"{name:22} {value:8.4f}")
    bars = {
        name: {"value": round(found[key], 4), "bar": bar, "holds": found[key] >= bar}
        for name, (key, bar) in BARS.items()
    }
    print(json.dumps({"bars": bars}))


if __name__ == "__main__":
    main()
