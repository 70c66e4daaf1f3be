"""Spark's Python daemon with the slow imports done; the server is started with `spark.python.daemon.module` naming it.

Spark ends Python workers that were idle for a minute and forks new ones from its daemon, which stays. Forked from here,
a worker only loads the embedder, in less than a second, and the workers share the libraries' memory. Libraries are
imported and nothing more: what OpenVINO makes has threads, which do not survive a fork. torch is left out; a model that
needs it (runtime torch-*) pays for the import in each new worker.
"""

import gc
import os
import sys
from contextlib import redirect_stdout


def main() -> None:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads would not survive the fork
    with redirect_stdout(sys.stderr):  # the daemon tells Spark its port on standard output
        import openvino  # noqa: F401
        import tokenizers  # noqa: F401

        import spark_jobs.documents
        import spark_jobs.embeddings  # noqa: F401
    gc.collect()
    gc.freeze()
    from pyspark.daemon import manager

    manager()


if __name__ == "__main__":
    main()
