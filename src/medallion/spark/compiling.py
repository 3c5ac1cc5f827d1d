"""Compiling a Java source with Janino, the compiler that Spark brings for the code that it generates.

Run as `python -m medallion.spark.compiling SOURCE JAR`. A Java that runs Spark need not bring a compiler.
"""

import os
import sys
import zipfile
from pathlib import Path


def into_jar(source: Path, jar: Path) -> None:
    """Compile `source`, which may use what is on Spark's class path, and write its classes to `jar`.

    Raises Py4JJavaError with the compiler's complaint.
    """
    from pyspark.java_gateway import launch_gateway

    from medallion.spark.session import for_any_jvm

    os.environ.update(for_any_jvm(), SPARK_LOCAL_IP="127.0.0.1")
    gateway = launch_gateway()
    compiler = gateway.jvm.org.codehaus.janino.SimpleCompiler()
    loader = gateway.jvm.java.lang.Thread.currentThread().getContextClassLoader()
    compiler.setParentClassLoader(loader)
    compiler.cook(source.read_text(encoding="utf-8"))
    with zipfile.ZipFile(jar, "w") as packed:
        for name, code in compiler.getBytecodes().items():
            packed.writestr(f"{name.replace('.', '/')}.class", bytes(code))
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait()


if __name__ == "__main__":
    into_jar(Path(sys.argv[1]), Path(sys.argv[2]))
