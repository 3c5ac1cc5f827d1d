"""What a file of a chapter imports of ours; what imports what in the packages is import-linter's to check."""

import ast

import pytest

from medallion import contract, paths

FILES = sorted(contract.folder().glob("*/*.py"))
OURS = {path.stem for path in [*(paths.root() / "src").glob("*/"), *FILES]} | {"book", "tests"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_chapter_imports_of_ours_only_medallion(path):
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add("." * node.level + (node.module or ""))
    refused = OURS - {"medallion"} | {""}  # a relative import has nothing before its dot
    assert [name for name in imported if name.split(".")[0] in refused] == []
