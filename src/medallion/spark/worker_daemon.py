"""The process from which Spark forks its Python workers, with the slow imports done before the first fork.

Spark runs it in the place of `pyspark.daemon` (`spark.python.daemon.module`), once for each kind of
worker. There each worker that runs a task imports pandas and pyarrow for itself, which takes seconds;
forked from here, workers share them, and their memory.
"""

import sys

from pyspark import daemon

if __name__ == "__main__":
    if sys.argv[1:] == ["pyspark.worker"]:
        import pandas  # noqa: F401
        import pyarrow  # noqa: F401
        import pyspark.worker  # noqa: F401
    daemon.manager()
