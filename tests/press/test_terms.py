"""The index of terms: its form, the headings that it names, its page."""

import re
from dataclasses import replace

import pytest
from myst_parser.mdit_to_docutils.base import default_slugify

import medallion_cli
from medallion import contract, paths
from medallion.errors import MedallionError
from press.reference import reference, terms_page
from press.source import forms, terms
from press.source.chapter import Chapter, parse

ONE = """\
- term: watermark
  also: [withWatermark, late bound]
  taught:
    - "07 Watermarks: when a count becomes final"
"""


@pytest.fixture(scope="module")
def chapters() -> list[Chapter]:
    return [parse(path) for path in contract.lessons().values()]


def written(root, text: str) -> list[terms.Term]:
    (root / "book").mkdir(exist_ok=True)
    (root / terms.FILE).write_text(text, encoding="utf-8")
    return terms.read(root)


def test_a_term_has_names_and_sections(tmp_path):
    assert terms.read(tmp_path) == []
    [term] = written(tmp_path, ONE)
    assert term.names == ["watermark", "withWatermark", "late bound"]
    assert term.sections == [("07", "Watermarks: when a count becomes final")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ONE.replace('"07 W', '"W'), "term 1: 'Watermarks: when a count becomes final' is no section."),
        (
            ONE + ONE.replace("watermark\n", "lateness\n"),
            "'withwatermark' stands in it 2 times. Leave it once.",
        ),
        (ONE.replace("late bound", "Watermark"), "'watermark' stands in it 2 times."),
        ("- term: watermark\n  taught: []\n", "term 1, 'taught'"),
    ],
)
def test_a_wrong_entry_is_told_with_what_to_do(tmp_path, text, said):
    with pytest.raises(forms.Unfit, match=re.escape(said)):
        written(tmp_path, text)


def test_a_heading_that_no_longer_exists_is_told_with_its_line_and_the_nearest_one(tmp_path, chapters):
    known = written(tmp_path, ONE.replace("becomes", "is"))
    with pytest.raises(MedallionError) as told:
        terms.sections(known, chapters, tmp_path)
    assert str(told.value) == (
        "book/terms.yml:4: chapter 07 has no heading 'Watermarks: when a count is final'. Name the section "
        "that teaches this now, such as '07 Watermarks: when a count becomes final'."
    )
    with pytest.raises(MedallionError, match="there is no chapter 79"):
        terms.sections(written(tmp_path, ONE.replace('"07', '"79')), chapters, tmp_path)


def test_build_check_tells_it_too(tmp_path, monkeypatch):
    monkeypatch.setattr(reference, "_unrecorded", lambda *_: ())
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "README.md").write_text("# Data\n", encoding="utf-8")
    written(tmp_path, ONE.replace("becomes", "is"))
    with pytest.raises(MedallionError, match="has no heading 'Watermarks: when a count is final'"):
        reference.check(medallion_cli.make_parser(), tmp_path)


def test_every_heading_of_the_index_of_this_book_exists(chapters):
    known = terms.read(paths.root())
    assert len(known) >= 80
    terms.sections(known, chapters, paths.root())


def test_headings_are_those_of_the_text_without_backticks(chapters):
    [seven] = [chapter for chapter in chapters if chapter.number == "07"]
    found = terms.headings(seven)
    assert "transformWithState: the rule with its own state" in found
    assert "Exercise 7.1: count the late rows that are dropped" in found
    assert seven.title not in found
    assert terms.headings(replace(seven, cells=())) == []


def test_the_page_is_sorted_and_leads_from_a_spelling_to_its_term(tmp_path, chapters):
    known = written(
        tmp_path,
        ONE.replace("late bound", "_late bound, Mark")
        + '- term: "<=>"\n  taught: ["00 The session time zone"]\n',
    )
    page = terms_page.page(known, terms.sections(known, chapters, tmp_path))
    assert page.partition("## Signs")[2] == (
        "\n\n- **<=>**: [00 The session time zone](../../notebooks/00_tour.ipynb#the-session-time-zone)\n"
        "\n## L\n\n- _late bound: see [watermark](#w)\n"
        "\n## M\n\n- Mark: see [watermark](#w)\n"
        "\n## W\n\n- **watermark** (withWatermark, _late bound, Mark): "
        "[07 Watermarks: when a count becomes final]"
        "(../../notebooks/07_streaming_analytics.ipynb#watermarks-when-a-count-becomes-final)\n"
    )


def test_the_anchor_of_a_heading_is_the_one_that_myst_gives(chapters):
    for chapter in chapters:
        for heading in terms.headings(chapter):
            assert terms_page.anchored(heading) == default_slugify(heading), heading
