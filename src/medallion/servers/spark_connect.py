"""Spark Connect over this session: DataFrames in a process without a JVM, on loopback, behind a token.

    with spark_connect.serving() as environment:
        subprocess.run([sys.executable, "-c", program], env=environment)

In that process `SparkSession.builder.getOrCreate()` finds the server. It gets a session of its own.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from medallion.errors import MedallionError
from medallion.servers import server

__all__ = ["serving"]


@contextmanager
def serving() -> Iterator[dict[str, str]]:
    """Serve this process's session while the block runs; yield the environment in which a client finds it.

    Raises MedallionError without a session of this machine.
    """
    from pyspark.sql import SparkSession

    spark = SparkSession.getActiveSession()
    if spark is None or spark._jvm is None:
        raise MedallionError("No session runs here. Begin with `spark = medallion.start()`.")
    with server.listen(0) as listener:
        port = listener.getsockname()[1]
    token = secrets.token_urlsafe(24)
    jvm: Any = spark._jvm
    context = spark.sparkContext._jsc.sc()
    settings = {
        "spark.connect.grpc.binding.address": server.HOST,
        "spark.connect.grpc.binding.port": str(port),
        "spark.connect.authenticate.token": token,
    }
    for name, value in settings.items():
        context.conf().set(name, value)
    service = getattr(jvm.org.apache.spark.sql.connect.service, "SparkConnectService$").__getattr__("MODULE$")
    service.start(context)
    try:
        # Under this name, and only under this one, PySpark 4.2 sends a token without TLS
        where = {
            "SPARK_REMOTE": f"sc://localhost:{port}",
            "SPARK_CONNECT_AUTHENTICATE_TOKEN": token,
        }
        yield {**os.environ, **where}
    finally:
        service.stop(jvm.scala.Option.empty(), jvm.scala.Option.empty())
        for name in settings:
            context.conf().remove(name)
