"""The producer: a chapter's source becomes its executed notebook, its exercises and its solutions."""

from medallion.build.chapter import Chapter, Problem, parse
from medallion.build.execute import CellFailed, execute
from medallion.build.pages import exercises, notebook, solutions, to_text
from medallion.build.producer import build, run
from medallion.build.replay import run_blank

__all__ = [
    "CellFailed",
    "Chapter",
    "Problem",
    "build",
    "execute",
    "exercises",
    "notebook",
    "parse",
    "run",
    "run_blank",
    "solutions",
    "to_text",
]
