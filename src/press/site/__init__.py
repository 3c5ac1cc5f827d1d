"""The published book: Jupyter Book's sources turned into a site that asks no other host for anything.

`build` makes it, `preview` serves it and reloads. What Sphinx loads is `extension`; the other modules
each make one thing on a page: `chapter` the notebook as a reader sees it, `outputs`, `figures` and
`tables` what the cells gave, `diagrams` the drawings, `terms` the links to the glossary, `sections` what
the search looks in, `head` what stands in a page's head, `navigation` the list of pages, `extras` the
files beside the pages.
"""
