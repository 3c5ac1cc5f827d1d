"""The pictures in README.md: of charts that are there, and not older than they."""

import json
import shutil

import pytest

from medallion import paths
from medallion.errors import MedallionError
from press.site import figures, screens


def test_no_picture_is_older_than_its_chart():
    held = screens.recorded(paths.root())
    old = [one.name for one in screens.PICTURES if held.get(one.name) != screens.shown(one, paths.root())]
    assert old == [], "Run ./medallion site, then .venv/bin/python -m press.site.screens."
    assert set(held) == {one.name for one in screens.PICTURES}


def test_every_picture_has_its_files_and_the_readme_shows_them():
    readme = (paths.root() / "README.md").read_text(encoding="utf-8")
    files = {f"{one.name}-{theme}.webp" for one in screens.PICTURES for theme in screens.THEMES}
    kept = {path.name for path in (paths.root() / screens.FOLDER).glob("*.webp")}
    assert kept == files
    assert [name for name in sorted(files) if f"{screens.FOLDER}/{name}" not in readme] == []


@pytest.fixture
def copy(tmp_path):
    """What a digest is made of, in a folder of its own."""
    for name in (*screens._LOOK, *(f"notebooks/{one.chapter}.ipynb" for one in screens.PICTURES)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(paths.root() / name, tmp_path / name)
    return tmp_path


def test_another_value_or_another_look_makes_a_picture_old(copy):
    one = screens.PICTURES[0]
    before = screens.shown(one, copy)
    notebook = copy / "notebooks" / f"{one.chapter}.ipynb"
    held = json.loads(notebook.read_text(encoding="utf-8"))
    outputs = [output for cell in held["cells"] for output in cell.get("outputs", ()) if "data" in output]
    data = [output["data"] for output in outputs if figures.MIME in output["data"]]
    chart = next(
        one_of[figures.MIME] for one_of in data if figures.title_of(one_of[figures.MIME]) == one.title
    )
    chart["layout"]["height"] = 1
    notebook.write_text(json.dumps(held), encoding="utf-8")
    changed = screens.shown(one, copy)
    (copy / screens._LOOK[1]).write_text("", encoding="utf-8")
    assert len({before, changed, screens.shown(one, copy)}) == 3


def test_a_chart_that_is_gone_is_named(copy):
    gone = screens.Picture("gone", screens.PICTURES[0].chapter, "No such chart")
    with pytest.raises(MedallionError, match="0 charts with the title 'No such chart'"):
        screens.shown(gone, copy)
