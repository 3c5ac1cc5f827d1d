"""Highlighted code without the marks that no style uses: they are a third of a chapter's page."""

from collections.abc import Iterable, Iterator
from typing import Any

from pygments.formatters import HtmlFormatter
from pygments.token import Name, Operator, Punctuation, Text, Whitespace, _TokenType

# In the book's style sheet these have the colour of the text
_PLAIN = (Name, Name.Namespace, Name.Other, Operator, Whitespace)


class Formatter(HtmlFormatter[str]):
    """Pygments' own formatter, with names, operators and punctuation as plain text."""

    def format(self, tokensource: Iterable[tuple[_TokenType, str]], outfile: Any) -> None:
        """Write the tokens to `outfile` as HTML."""
        super().format(_with_plain(tokensource), outfile)


def _with_plain(tokens: Iterable[tuple[_TokenType, str]]) -> Iterator[tuple[_TokenType, str]]:
    for kind, text in tokens:
        yield (Text if kind in _PLAIN or kind in Punctuation else kind), text
