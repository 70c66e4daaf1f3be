"""Spark's Python daemon with the slow imports done; the server is started with `spark.python.daemon.module` naming it.

Spark ends Python workers that were idle for a minute and forks new ones from its daemon, which stays. Importing torch
and its company takes a worker 10 seconds or more, loading the embedder 1; forked from here, it only pays the second,
and the workers share the libraries' memory.
"""

import gc
import os
import sys
from contextlib import redirect_stdout


def main() -> None:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads would not survive the fork
    with redirect_stdout(sys.stderr):  # the daemon tells Spark its port on standard output
        import sentence_transformers  # noqa: F401

        import spark_jobs.documents
        import spark_jobs.embeddings  # noqa: F401
    gc.collect()
    gc.freeze()
    from pyspark.daemon import manager

    manager()


if __name__ == "__main__":
    main()
