"""Every message that the page on setting up explains is one that the code can say."""

import ast
import re

from medallion import paths

# What a learner's machine runs
CODE = ("src/medallion", "src/kestrel", "src/medallion_cli")


def said():
    """Return every text in the code, with "…" where something is filled in."""
    texts = [(paths.root() / "medallion").read_text(encoding="utf-8").replace('" \\\n    "', " ")]
    for file in (file for folder in CODE for file in (paths.root() / folder).rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                texts.append("".join(p.value if isinstance(p, ast.Constant) else "…" for p in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return texts


def explained():
    page = (paths.root() / "book" / "setup.md").read_text(encoding="utf-8")
    _, messages = page.split("## What the messages mean")
    return [
        message
        for line in messages.splitlines()
        if line.startswith("**`")
        for message in re.findall(r"\*\*`(.+?)`\*\*", line)
    ]


def test_every_message_on_the_page_is_in_the_code():
    texts = said()
    for message in explained():
        pieces = [re.escape(piece.strip()) for piece in message.split("…") if piece.strip(" .")]
        assert any(re.search(".*".join(pieces), text, re.DOTALL) for text in texts), message


def test_the_page_explains_a_fair_part_of_what_the_set_up_can_say():
    assert len(explained()) >= 25
