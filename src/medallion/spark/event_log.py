"""Spark's event log of a part of a notebook.

A cluster writes the log of a whole application, by `spark.eventLog.enabled`, which has to be set before Spark
starts. Here the same writer joins a session that runs already, and leaves it again: then a log is small, and
it does not matter how the session was started.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from medallion import paths


@contextmanager
def recorded(spark: SparkSession) -> Iterator[Path]:
    """Write the event log of the application while the block runs; the file is complete when the block ends.

    What other threads run meanwhile is in it too, streams among it.
    """
    jvm: Any = spark._jvm
    context = spark.sparkContext._jsc.sc()
    folder = Path(tempfile.mkdtemp(prefix="events_", dir=paths.scratch()))
    conf = context.conf().clone()
    for setting in ("rolling.enabled", "compress", "overwrite"):
        conf.set(f"spark.eventLog.{setting}", "false")
    application = spark.sparkContext.applicationId
    no_attempt = jvm.scala.Option.empty()
    where = jvm.java.net.URI.create(folder.as_uri())
    writer = jvm.org.apache.spark.scheduler.EventLoggingListener(
        application, no_attempt, where, conf, context.hadoopConfiguration()
    )
    context.listenerBus().waitUntilEmpty()  # what ran before is not in this log
    writer.start()
    context.addSparkListener(writer)
    try:
        yield folder / application
    finally:
        try:
            context.listenerBus().waitUntilEmpty()
        finally:  # after Ctrl-C too
            context.removeSparkListener(writer)
            writer.stop()
