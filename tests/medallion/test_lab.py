"""The exercises in `work/`: brought once and whole, never written again; and JupyterLab opens just there."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from jupyter_server.serverapp import ServerApp

from medallion import files, paths
from medallion.course import lab
from medallion.errors import MedallionError

NOTEBOOK = {"cells": [{"cell_type": "markdown", "id": "a", "metadata": {}, "source": "Täsk"}], "metadata": {}}


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with the exercises of one chapter, which is not under version control."""
    root = tmp_path / "Kurs für Anfänger"
    (root / "exercises").mkdir(parents=True)
    monkeypatch.delenv("MEDALLION_HOME", raising=False)
    monkeypatch.setattr(paths, "root", lambda: root)
    write(root / "exercises" / "01_one.ipynb", NOTEBOOK)
    return root


def write(path: Path, notebook: object) -> None:
    path.write_text(json.dumps(notebook, indent=1), encoding="utf-8")


def test_an_exercise_is_brought_once_and_then_the_learner_s(
    clone: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mine = lab.copy_exercises() / "01_one.ipynb"
    assert mine == clone / "work" / "01_one.ipynb"
    held = json.loads(mine.read_text(encoding="utf-8"))
    assert held["cells"] == NOTEBOOK["cells"]
    held["cells"][0]["source"] = "my answer"
    write(mine, held)
    before = mine.read_bytes()
    lab.copy_exercises()
    assert mine.read_bytes() == before
    assert capfd.readouterr().err == ""


def test_a_newer_version_is_told_and_not_forced(clone: Path, capfd: pytest.CaptureFixture[str]) -> None:
    mine = lab.copy_exercises() / "01_one.ipynb"
    before = mine.read_bytes()
    write(
        clone / "exercises" / "01_one.ipynb",
        {**NOTEBOOK, "cells": [{**NOTEBOOK["cells"][0], "source": "new"}]},
    )
    lab.copy_exercises()
    assert capfd.readouterr().err == (
        "medallion: the course has a newer 01_one.ipynb; to have it, move yours away and call this again.\n"
    )
    assert mine.read_bytes() == before
    mine.rename(mine.with_name("old.ipynb"))
    lab.copy_exercises()
    assert b"new" in mine.read_bytes() and capfd.readouterr().err == ""


def test_a_copy_that_is_killed_leaves_nothing_and_the_next_one_is_whole(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(files.os, "fsync", killed)
        lab.copy_exercises()
    assert not (clone / "work" / "01_one.ipynb").exists()
    assert json.loads((lab.copy_exercises() / "01_one.ipynb").read_bytes())["cells"]


@pytest.mark.parametrize("left", [b"", b'{"cells": [', b"[]", b"\xff\xfe", b'{"cells": 1}'])
def test_what_is_no_notebook_is_set_aside_and_copied_anew(
    clone: Path, capfd: pytest.CaptureFixture[str], left: bytes
) -> None:
    mine = lab.copy_exercises() / "01_one.ipynb"
    whole = mine.read_bytes()
    for number in (1, 2):
        mine.write_bytes(left)
        lab.copy_exercises()
        aside = mine.with_name(f"01_one.ipynb.broken-{number}")
        assert (mine.read_bytes(), aside.read_bytes()) == (whole, left)
        assert f"it is {aside.name} now, and copied anew" in capfd.readouterr().err


def test_a_clone_that_cannot_be_written_is_told_or_gone_round(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths.os, "access", lambda place, _: not Path(place).is_relative_to(clone))
    assert paths.work() == clone / "work", "a lakehouse in the clone cannot be written either"
    (clone / "work").write_text("", encoding="utf-8")
    with pytest.raises(MedallionError, match=r"work cannot be written .* set MEDALLION_HOME to a folder"):
        lab.copy_exercises()
    monkeypatch.setenv("MEDALLION_HOME", str(tmp_path / "mine"))
    assert lab.copy_exercises() == tmp_path / "mine" / "work"
    assert (tmp_path / "mine" / "work" / "01_one.ipynb").exists()


def test_jupyterlab_opens_in_the_folder_whatever_the_user_s_own_settings_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, own = tmp_path / "wörk", tmp_path / "own"
    for folder in (work, own / "jupyter_server_config.d", tmp_path / "other"):
        folder.mkdir(parents=True)
    other = dict.fromkeys(("root_dir", "preferred_dir"), str(tmp_path / "other"))
    said = {"ServerApp": {**other, "ip": "0.0.0.0"}, "FileContentsManager": other}
    (own / "jupyter_server_config.json").write_text(json.dumps(said), encoding="utf-8")
    more = own / "jupyter_server_config.d" / "more.json"
    more.write_text(json.dumps(said), encoding="utf-8")
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(own))
    server = ServerApp()
    server.initialize(lab.command(work)[4:], find_extensions=False, new_httpserver=False)
    assert [server.root_dir, server.contents_manager.root_dir, server.ip] == [
        str(work),
        str(work),
        "127.0.0.1",
    ]
    assert server.contents_manager.preferred_dir == ""  # that of the root
    assert server.identity_provider.token
    assert server.allow_root == (os.geteuid() == 0)


def test_a_home_that_cannot_be_written_leaves_jupyter_a_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDALLION_HOME", str(tmp_path / "mine"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "user" / "runtime"))
    assert lab.places_of_jupyter() == {}
    monkeypatch.setattr(lab.os, "access", lambda place, _: place != tmp_path)
    found = lab.places_of_jupyter()
    assert set(found) >= {"JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"}
    assert all(Path(place).is_relative_to(tmp_path / "mine") for place in found.values())


def test_a_file_beside_the_notebooks_is_no_module_of_jupyterlab(tmp_path: Path) -> None:
    (tmp_path / "tornado.py").write_text("raise SystemExit('not this one')", encoding="utf-8")
    python, *safe = lab.command(tmp_path)[:2]
    done = subprocess.run(
        [python, *safe, "-c", "import tornado"], cwd=tmp_path, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
