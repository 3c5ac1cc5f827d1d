"""Compiling Java with Janino, the compiler that Spark brings for the code that it generates.

Run as `python -m medallion.spark.compiling JAR SOURCE…`. A Java that runs Spark need not bring a compiler.
"""

import os
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path


def into_jar(jar: Path, sources: Iterable[Path]) -> None:
    """Compile `sources`, each by itself, which may use Spark's class path, and write the classes to `jar`.

    Raises Py4JJavaError with the compiler's complaint.
    """
    from pyspark.java_gateway import launch_gateway

    from medallion.spark.session import for_any_jvm

    os.environ.update(for_any_jvm(), SPARK_LOCAL_IP="127.0.0.1")
    gateway = launch_gateway()
    loader = gateway.jvm.java.lang.Thread.currentThread().getContextClassLoader()
    classes: dict[str, bytes] = {}
    for source in sources:
        compiler = gateway.jvm.org.codehaus.janino.SimpleCompiler()
        compiler.setParentClassLoader(loader)
        compiler.cook(source.read_text(encoding="utf-8"))
        classes |= {name: bytes(code) for name, code in compiler.getBytecodes().items()}
    with zipfile.ZipFile(jar, "w") as packed:
        for name, code in classes.items():
            packed.writestr(f"{name.replace('.', '/')}.class", code)
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait()


if __name__ == "__main__":
    into_jar(Path(sys.argv[1]), map(Path, sys.argv[2:]))
