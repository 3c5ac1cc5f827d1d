"""Running a notebook in a real kernel, and leaving nothing of it behind."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import deepcopy
from pathlib import Path
from typing import TextIO

import psutil
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from medallion import temporary
from medallion.errors import MedallionError

CELL_SECONDS = 300
_START_SECONDS = 90
_STOP_SECONDS = 10
_STOP_SECONDS_AFTER_CTRL_C = 1
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_CELL_LINE = re.compile(r"^(?:Cell In\s*\[\d+\], |In )line (\d+)", re.MULTILINE)


class CellFailed(MedallionError):
    """A cell that failed: `index` is its place among all cells, `line` its line, both from 0 and 1."""

    def __init__(self, index: int, line: int, short: str) -> None:
        super().__init__(f"cell {index}, line {line}: {short}")
        self.index = index
        self.line = line
        self.short = short


def execute(
    notebook: NotebookNode,
    cwd: Path,
    on_cell: Callable[[int, int], None] | None = None,
    env: Mapping[str, str] | None = None,
    seconds: int = CELL_SECONDS,
) -> NotebookNode:
    """Run every code cell of `notebook` in a fresh kernel of this Python and return it with its outputs.

    The kernel works in the folder `cwd` with `env` on top of this process's environment, without the
    start-up files of the user's IPython. `on_cell(done, all)` is called after each code cell. A cell
    may take `seconds`. The kernel and whatever it started are gone when this returns or raises, also
    on Ctrl-C. `notebook` itself is not changed.

    Raises CellFailed when a cell without the tag `raises-exception` raises, takes too long, or takes
    the kernel down with it, and MedallionError when there is no place for temporary files.
    """
    result = deepcopy(notebook)
    code = [index for index, cell in enumerate(result.cells) if cell.cell_type == "code"]
    with temporary.folder() as private:
        surroundings = {**os.environ, **(env or {}), "IPYTHONDIR": str(private)}
        client = _client(result, cwd, seconds, private / "kernel.json")
        # What the kernel's process says beside the notebook is for nobody once the cells have answered.
        with (private / "stderr.txt").open("w") as aside, _kernel(client, surroundings, aside):
            for done, index in enumerate(code, 1):
                _run(client, result.cells[index], index, seconds)
                if on_cell is not None:
                    on_cell(done, len(code))
    return _normal(result)


@contextmanager
def shown(title: str, console: Console) -> Iterator[Callable[[int, int], None]]:
    """Show on the terminal how many cells of a notebook have run; yield what `execute` takes as `on_cell`."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


def _client(notebook: NotebookNode, cwd: Path, seconds: int, connection: Path) -> NotebookClient:
    manager = AsyncKernelManager(
        kernel_name="python3",
        # No kernel folders: "python3" is then this interpreter, not a kernel that the user once installed.
        kernel_spec_manager=KernelSpecManager(kernel_dirs=[], ensure_native_kernel=True),
        # Sockets in a folder of our own, next to the connection file, instead of five open ports.
        transport="ipc",
        connection_file=str(connection),
    )
    return NotebookClient(
        notebook,
        km=manager,
        timeout=seconds,
        startup_timeout=_START_SECONDS,
        record_timing=False,
        resources={"metadata": {"path": str(cwd)}},
    )


@contextmanager
def _kernel(client: NotebookClient, env: Mapping[str, str], stderr: TextIO) -> Iterator[None]:
    """Start the client's kernel; at the end stop it, the JVM and every other process that it started."""
    started: list[psutil.Process] = []
    patience = _STOP_SECONDS
    try:
        with client.setup_kernel(env=dict(env), stderr=stderr, cleanup_kc=True):
            try:
                yield
            except KeyboardInterrupt:
                client.shutdown_kernel = "immediate"
                patience = _STOP_SECONDS_AFTER_CTRL_C
                raise
            finally:
                started = _descendants(client)
    finally:
        end(started, patience)


def _descendants(client: NotebookClient) -> list[psutil.Process]:
    kernel = getattr(client.km and client.km.provisioner, "pid", None)
    if kernel is None:
        return []
    try:
        return psutil.Process(kernel).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def end(processes: list[psutil.Process], patience: float = _STOP_SECONDS) -> None:
    """Give what a kernel started `patience` seconds to follow it, then end what stays."""
    _, alive = psutil.wait_procs(processes, timeout=patience)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _run(client: NotebookClient, cell: NotebookNode, index: int, seconds: int) -> None:
    try:
        client.execute_cell(cell, index)
    except CellExecutionError as error:
        # The kernel's answer has the error's own words; the output has those that a notebook shows.
        shown = (output.evalue for output in cell.outputs if output.output_type == "error")
        said = next(shown, error.evalue)
        short = f"{error.ename}: {_first_line(said)}" if said else str(error.ename)
        raise CellFailed(index, _failed_line(error.traceback), short) from None
    except CellTimeoutError:
        raise CellFailed(index, 1, f"it was still running after {seconds} seconds") from None
    except DeadKernelError:
        raise CellFailed(index, 1, "the kernel died while it ran") from None


def _first_line(text: str) -> str:
    return next((line.strip() for line in _ANSI.sub("", text).splitlines() if line.strip()), "")


def _failed_line(traceback: str) -> int:
    """Return the line in the cell that raised: the first frame of a traceback is the cell's own."""
    found = _CELL_LINE.search(_ANSI.sub("", traceback))
    return int(found[1]) if found else 1


def _normal(notebook: NotebookNode) -> NotebookNode:
    """Return the notebook with what differs from run to run, and says nothing, made the same.

    Counts run from 1; what a cell prints is one text, not as many as the kernel sent; a traceback is its
    last line, because its frames hold paths of this machine and line numbers of libraries.
    """
    count = 0
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        count += 1
        cell.execution_count = count
        cell.metadata.pop("execution", None)
        cell.outputs = _merged(cell.outputs)
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = count
            if output.output_type == "error":
                output.traceback = [f"{output.ename}: {output.evalue}"]
    return notebook


def _merged(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Return the outputs with each stream in one piece. nbclient's own merging is slow on a long line."""
    merged: list[NotebookNode] = []
    streams: dict[str, NotebookNode] = {}
    for output in outputs:
        if output.output_type != "stream":
            merged.append(output)
        elif output.name in streams:
            streams[output.name].text += output.text
        else:
            streams[output.name] = output
            merged.append(output)
    return merged
