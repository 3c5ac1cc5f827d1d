"""`medallion site`: the book built, served with reloading, or packed for reading offline."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from medallion import paths
from medallion.errors import MedallionError
from press.site.config import BOOK, PREVIEW, addresses

_HERE = Path(__file__).parent
_EPOCH = (2026, 1, 1, 0, 0, 0)


def build(root: Path | None = None) -> Path:
    """Build the site of the book in `root`, this clone's, from its stored outputs; return `_build/html`.

    What was there is replaced once everything has been built, so that a failure leaves the old site whole.
    Raises MedallionError when Sphinx finds an error or gives a warning.
    """
    root = root or paths.root()
    addresses()  # a wrong address is a clear error here, and a Sphinx traceback later
    out = root / "_build" / "html"
    made = out.with_name("html.new")
    shutil.rmtree(made, ignore_errors=True)
    command = [*_sphinx("sphinx"), "--fail-on-warning", "--keep-going", "--fresh-env"]
    command += _folders(root, made, ".doctrees")
    done = subprocess.run(command, cwd=root, env=_environment(root), check=False)
    if done.returncode != 0:
        raise MedallionError(
            "The site was not built: each line with WARNING or ERROR above names a file and what is wrong "
            "in it. Fix them and run this again."
        )
    (made / ".buildinfo").unlink(missing_ok=True)  # only an incremental build reads it
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
    root = paths.root()
    out = root / "_build" / "preview"
    ignored = [f"--ignore={root / name}" for name in ("_build", "lakehouse", "work", ".venv", ".git")]
    command = [*_sphinx("sphinx_autobuild"), "--host=127.0.0.1", "--port=0", *ignored]
    command += _folders(root, out, ".doctrees-preview")
    subprocess.run(command, cwd=root, env=_environment(root) | {PREVIEW: "yes"}, check=False)


def check_links() -> None:
    """Ask every site that the book links to whether the page is there. This needs the network.

    Raises MedallionError when one is not.
    """
    root = paths.root()
    folders = ["-b", "linkcheck", "-c", str(_HERE), "-d", str(root / "_build" / ".doctrees-links")]
    command = [*_sphinx("sphinx"), "--fresh-env", *folders, str(root), str(root / "_build" / "links")]
    if subprocess.run(command, cwd=root, env=_environment(root), check=False).returncode != 0:
        raise MedallionError(
            "Some links lead nowhere: each line with 'broken' above names its page. Fix the address, or "
            "check the network."
        )


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


def _folders(root: Path, out: Path, doctrees: str) -> list[str]:
    return ["-b", "html", "-c", str(_HERE), "-d", str(root / "_build" / doctrees), str(root), str(out)]


def _environment(root: Path) -> dict[str, str]:
    """Return the environment in which a build gives the same pages whatever the locale and time zone."""
    fixed = {"PYTHONUTF8": "1", "TZ": "UTC", "SOURCE_DATE_EPOCH": "1767225600"}
    return {**os.environ, **fixed, BOOK: str(root)}
