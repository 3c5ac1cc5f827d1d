"""What other programs have left in the environment, and what the course does with it.

| variable | whose it is | what becomes of it |
|---|---|---|
| `PYSPARK_*`, `SPARK_*`, `HADOOP_*`, `YARN_*` | another Spark's | left out, but for the next two |
| `SPARK_REMOTE`, and with it `SPARK_CONNECT_*` | a server's | kept; refused when no server answers |
| `SPARK_CONF_DIR`, `SPARK_LOCAL_*`, `HADOOP_*`, `YARN_*` | a cluster's | kept with `MEDALLION_MASTER` |
| `JAVA_TOOL_OPTIONS`, `_JAVA_OPTIONS`, `CLASSPATH` and their like | any Java's | left out |
| `BASH_ENV` | any script's, also of Spark's | left out |
| `PYTHONHOME`, `PYTHONOPTIMIZE`, `PYTHONSTARTUP` and their like | another Python's | left out |
| `PYTHONPATH` | another Python's | folders with a module that Python or the lock has are left out |
| `MLFLOW_*`, `OPENLINEAGE_*` | another store's | left out |
| `HTTP_PROXY`, `https_proxy` and their like | the network's | kept, with loopback added to `NO_PROXY` |
| of these one with SOCKS, which no library here speaks | the network's | left out |
| `JAVA_HOME` and all others | | kept |

So it is for all that a command or a notebook starts, and in a notebook itself from `medallion.start()` on.
In a Databricks workspace everything stays as it is. `PIP_*` and `UV_*` matter at set-up: the script
`medallion` keeps those that say where packages come from and how they are fetched, and leaves out the others.
"""

import os
import pkgutil
import socket
import sys
import sysconfig
import urllib.parse
from functools import cache

from medallion.errors import MedallionError

# The names of what was left out, here or in a process that started this one
LEFT_OUT = "MEDALLION_LEFT_OUT"
REMOTE = "SPARK_REMOTE"
LOOPBACK = ("127.0.0.1", "localhost", "::1")

_PREFIXES = ("PYSPARK_", "SPARK_", "HADOOP_", "YARN_", "MLFLOW_", "OPENLINEAGE_")
_NAMES = {
    *("JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "IBM_JAVA_OPTIONS", "OPENJ9_JAVA_OPTIONS"),
    *("CLASSPATH", "BASH_ENV"),
    *("PYTHONHOME", "PYTHONPLATLIBDIR", "PYTHONSTARTUP", "PYTHONOPTIMIZE", "PYTHONINSPECT"),
    *("PYTHONWARNINGS", "PYTHONDEVMODE", "PYTHONVERBOSE"),
}
# What Python does as it starts hangs on these; of the others it takes nothing in for a command
_TAKEN_IN = {"PYTHONPATH", "PYTHONOPTIMIZE", "PYTHONWARNINGS", "PYTHONDEVMODE", "PYTHONINSPECT"}
_KEPT_WITH = {
    REMOTE: (REMOTE, "SPARK_CONNECT_"),
    "MEDALLION_MASTER": ("SPARK_CONF_DIR", "SPARK_LOCAL_", "HADOOP_", "YARN_"),
}
_REMOTE_PORT = 15002
_REMOTE_SECONDS = 10


def begin() -> None:
    """Clean the environment of a command; start it again when Python itself had taken something in."""
    if _TAKEN_IN.intersection(clean()):
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


@cache
def clean() -> list[str]:
    """Bring the environment of this process into the state of the table, and return the names left out.

    That is done once: what this process, Spark and MLflow set themselves later stays.
    """
    if "DATABRICKS_RUNTIME_VERSION" in os.environ:
        return []
    gone = [name for name in os.environ if _is_foreign(name)]
    for name in gone:
        del os.environ[name]
    if _leave_out_folders():
        gone.append("PYTHONPATH")
    if gone:
        os.environ[LEFT_OUT] = " ".join(sorted({*gone, *left_out()}))
    _keep_loopback_off_proxies()
    return gone


def left_out() -> list[str]:
    """Return the names that were left out, also by the process that started this one."""
    return os.environ.get(LEFT_OUT, "").split()


def require_remote() -> None:
    """Check that what SPARK_REMOTE names can be reached; Spark itself would ask for two minutes.

    Behind a proxy, which that connection may take, there is no check.
    Raises MedallionError.
    """
    remote = os.environ.get(REMOTE, "")
    if not remote or _proxies() or "DATABRICKS_RUNTIME_VERSION" in os.environ:
        return
    fix = f"Correct {REMOTE}, or unset it to have Spark on this machine."
    address = urllib.parse.urlsplit(remote)
    try:
        host, port = address.hostname, address.port or _REMOTE_PORT
    except ValueError:
        host, port = None, 0
    if address.scheme != "sc" or not host:
        # After a semicolon may stand a token, and before an @ a password
        shown = remote.partition(";")[0].rpartition("@")[2]
        raise MedallionError(f"{REMOTE} is {shown!r}, not the address sc://HOST:PORT of a server. {fix}")
    try:
        socket.create_connection((host, port), timeout=_REMOTE_SECONDS).close()
    except OSError as error:
        raise MedallionError(
            f"{REMOTE} is set, and no Spark answers on {host}:{port} ({error.strerror or error}). {fix}"
        ) from None


def _proxies() -> list[str]:
    return [name for name in os.environ if name.lower().endswith("_proxy") and name.lower() != "no_proxy"]


def _is_foreign(name: str) -> bool:
    if name in _NAMES or (name in _proxies() and os.environ[name].lower().startswith("socks")):
        return True
    if any(os.environ.get(by) and name.startswith(prefixes) for by, prefixes in _KEPT_WITH.items()):
        return False
    return name.startswith(_PREFIXES)


def _leave_out_folders() -> list[str]:
    """Take off PYTHONPATH, and off our own path, the folders that have a module of ours; return them."""
    if "PYTHONPATH" not in os.environ:
        return []
    listed = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    installed = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    ours = {module.name for module in pkgutil.iter_modules(installed)} | sys.stdlib_module_names
    foreign = [
        folder
        for folder in listed
        if folder and any(module.name in ours for module in pkgutil.iter_modules([folder]))
    ]
    if foreign:
        os.environ["PYTHONPATH"] = os.pathsep.join(folder for folder in listed if folder not in foreign)
        sys.path[:] = [folder for folder in sys.path if folder not in foreign]
    return foreign


def _keep_loopback_off_proxies() -> None:
    """Have what is asked on this machine be asked directly: by urllib, requests and their like."""
    # Without a proxy nothing is set: on macOS Python would no longer look at the system's proxies.
    if not _proxies():
        return
    both = ("no_proxy", "NO_PROXY")  # where both are set, programs differ in which one they read
    before = {name: next(filter(None, map(os.environ.get, (name, *both))), "") for name in both}
    for name, value in before.items():
        hosts = [host.strip() for host in value.split(",") if host.strip()]
        if hosts != ["*"]:
            os.environ[name] = ",".join([*hosts, *(one for one in LOOPBACK if one not in hosts)])
