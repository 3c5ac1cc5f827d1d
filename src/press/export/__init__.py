"""The course for a workspace of Databricks: the chapters as notebooks, and a bundle that runs them.

    medallion export databricks

| module | what it is for |
|---|---|
| `differences` | `databricks.yml` beside a lesson: which cells a workspace gets otherwise, and why |
| `notebook` | a chapter as a notebook, and the text of a notebook's file |
| `rules` | what an exported notebook must keep to: Python, names, packages, no path of a laptop |
| `bundle` | the job, its cluster, its parameters and the packages that it installs |
| `folder` | the files, written whole and never over somebody else's |
"""

from press.export.folder import default, write

__all__ = ["default", "write"]
