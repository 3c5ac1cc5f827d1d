"""`medallion site`: the book built, served with reloading, or packed for reading offline."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from medallion import paths
from medallion.errors import MedallionError
from medallion.site.config import PREVIEW, addresses

_HERE = Path(__file__).parent
_EPOCH = (2026, 1, 1, 0, 0, 0)


def folder() -> Path:
    """Return the folder that the site is built in."""
    return paths.root() / "_build" / "html"


def build() -> Path:
    """Build the site from the stored outputs, and return its folder.

    What was there is replaced once everything has been built, so that a failure leaves the old site whole.
    Raises MedallionError when Sphinx finds an error or gives a warning.
    """
    addresses()  # a wrong address is a clear error here, and a Sphinx traceback later
    out = folder()
    made = out.with_name("html.new")
    shutil.rmtree(made, ignore_errors=True)
    paths.writable(out.parent, "nothing: _build is inside the clone; clone to a folder")
    command = [*_sphinx("sphinx"), "--fail-on-warning", "--keep-going", "--fresh-env", *_folders(made, ".doctrees")]
    done = subprocess.run(command, cwd=paths.root(), env=_environment(), check=False)
    if done.returncode != 0:
        raise MedallionError(
            "The site was not built: each line with WARNING or ERROR above names a file and what is wrong "
            "in it. Mend them and run this again."
        )
    old = out.with_name("html.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    made.rename(out)
    shutil.rmtree(old, ignore_errors=True)
    return out


def preview() -> None:
    """Serve the site on this machine, and build it anew and reload the page when a source changes.

    Ends with Ctrl-C. The pages go to a folder of their own: they lack the security policy, which would
    stop the script that reloads.
    """
    out = folder().with_name("preview")
    root = paths.root()
    ignored = [f"--ignore={root / name}" for name in ("_build", "lakehouse", "work", ".venv", ".git")]
    command = [*_sphinx("sphinx_autobuild"), "--host=127.0.0.1", "--port=0", *ignored]
    command += _folders(out, ".doctrees-preview")
    subprocess.run(command, cwd=root, env=_environment() | {PREVIEW: "yes"}, check=False)


def pack(site: Path) -> Path:
    """Pack the built site as `_build/medallion-site.zip` and return it: unpacked, it opens from the disk.

    The same site gives the same bytes.
    """
    target = site.parent / "medallion-site.zip"
    partial = target.with_suffix(".part")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(path for path in site.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(f"medallion/{path.relative_to(site).as_posix()}", _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, path.read_bytes())
    partial.replace(target)
    return target


def _sphinx(module: str) -> list[str]:
    return [sys.executable, "-m", module]


def _folders(out: Path, doctrees: str) -> list[str]:
    build = paths.root() / "_build"
    return ["-b", "html", "-c", str(_HERE), "-d", str(build / doctrees), str(paths.root()), str(out)]


def _environment() -> dict[str, str]:
    """Return the environment in which a build gives the same pages whatever the locale and time zone."""
    return {**os.environ, "PYTHONUTF8": "1", "TZ": "UTC", "SOURCE_DATE_EPOCH": "1767225600"}
