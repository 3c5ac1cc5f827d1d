"""Classes of our own for Spark's JVM, in Java.

For a file that it renames or creates, Hadoop 3.5 starts `readlink` and `chmod`: hundreds of processes a
chapter. `LocalFiles.java` asks Java instead. `HostGuard.java` has Spark's web pages answer this machine only.
`SqlKey.java` guards the SQL endpoint, and `SqlHistory.java` keeps what that was asked.
The compiler that Spark brings for its own code compiles them at set-up, into a jar that sessions of this
machine have on their class path.
"""

import hashlib
from pathlib import Path

from medallion import paths

_NAMES = ("LocalFiles", "HostGuard", "SqlKey", "SqlHistory")
SOURCES = tuple(Path(__file__).with_name(f"{name}.java") for name in _NAMES)
_FILES = "medallion.LocalFiles"


def path() -> Path:
    """Return where the jar for this Spark and these sources is, or would be."""
    import pyspark

    described = "\n".join([pyspark.__version__, *(file.read_text(encoding="utf-8") for file in SOURCES)])
    return paths.cache() / "classes" / f"{hashlib.sha256(described.encode()).hexdigest()[:16]}.jar"


def file_settings() -> dict[str, str]:
    """Return the settings with which Spark uses the jar for files: {} before set-up, when it does without."""
    if not path().exists():
        return {}
    return {
        "spark.hadoop.fs.file.impl": _FILES,
        "spark.hadoop.fs.AbstractFileSystem.file.impl": f"{_FILES}$Context",
    }


def page_settings() -> dict[str, str]:
    """Return the settings of Spark's web pages: they only show, and with the jar they know who may look."""
    guard = {"spark.ui.filters": "medallion.HostGuard"} if path().exists() else {}
    # Otherwise any page that the browser has open could end a job, or send a worker away
    return {"spark.ui.killEnabled": "false", "spark.master.ui.decommission.allow.mode": "DENY", **guard}
