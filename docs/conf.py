"""The book: notebooks as they are committed, the pages of docs/, and the API from its docstrings.

Built by ``make site`` with the root of the repository as its source, so that links between pages
are the same here and on GitHub. Nothing is fetched while it is read: MathJax comes from npm at
build, the theme brings its own scripts and fonts.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

from book import api_pages, no_edit, references, repository, theme_options  # noqa: E402
from pygments.lexers.special import TextLexer  # noqa: E402
from sphinx.application import Sphinx  # noqa: E402

project, author = "xaiutils", "The xaiutils developers"
project_copyright = "the xaiutils developers"
root_doc = "docs/index"
extensions = [
    "myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
]  # fmt: skip
include_patterns = [
    "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "data/README.md", "docs/*.md", "docs/api/*.rst",
    "notebooks/README.md", "notebooks/*.ipynb",
]  # fmt: skip

suppress_warnings = ["ref.python"]  # fields of one name in several classes

nb_execution_mode = "off"  # outputs are those that tests compare
nb_ipywidgets_js: dict[str, object] = {}  # a widget without a kernel would need scripts of a CDN
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
mathjax_path = "mathjax/tex-chtml.js"
mathjax3_config = {"options": {"enableMenu": False}}  # its speech is fetched from a CDN

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"exclude-members": "set"}  # Matplotlib's, in its own markup
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # fields are documented once, where their class is

html_theme = "sphinx_book_theme"
html_title, html_favicon = "xaiutils", "style/icon.svg"
html_context = {"default_mode": "light"}
html_static_path, html_css_files, html_js_files = ["style"], ["book.css"], ["menus.js"]
html_extra_path = ["static"]  # the way in from the root
html_show_sphinx = False
html_theme_options = theme_options(repository())

api_pages(ROOT / "docs" / "api")
references(ROOT / "notebooks", ROOT / "xaiutils", ROOT / "docs" / "references.md")


def setup(app: Sphinx) -> None:
    """Before the theme makes its buttons. Mermaid, which GitHub draws, would need a script here."""
    app.add_lexer("mermaid", TextLexer)
    app.connect("html-page-context", no_edit, priority=100)
