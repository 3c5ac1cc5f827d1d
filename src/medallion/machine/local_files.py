"""Hadoop's file system for the files of this machine, without a process for each of them.

For a file that it renames or creates, Hadoop 3.5 starts `readlink` and `chmod`: hundreds of processes a
chapter. `LocalFiles.java` asks Java instead. The compiler that Spark brings for its own code compiles it at
set-up, into a jar that local sessions have on their class path.
"""

import hashlib
from pathlib import Path

from medallion import paths

SOURCE = Path(__file__).with_name("LocalFiles.java")
_CLASS = "medallion.LocalFiles"


def path() -> Path:
    """Return where the jar for this Spark and this source is, or would be."""
    import pyspark

    described = f"{pyspark.__version__}\n{SOURCE.read_text(encoding='utf-8')}"
    return paths.cache() / "classes" / f"{hashlib.sha256(described.encode()).hexdigest()[:16]}.jar"


def settings() -> dict[str, str]:
    """Return the settings with which Spark uses the jar: {} before set-up, when sessions do without."""
    if not path().exists():
        return {}
    return {
        "spark.hadoop.fs.file.impl": _CLASS,
        "spark.hadoop.fs.AbstractFileSystem.file.impl": f"{_CLASS}$Context",
    }
