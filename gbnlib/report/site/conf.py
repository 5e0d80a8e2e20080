"""Sphinx configuration of the report. It reads and shows; nothing is executed, nothing comes from the network."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path

from gbnlib.report.site import abbreviations, folding, foreign_markup, runs, safe

HERE = Path(__file__).parent
REPORT = json.loads((HERE / "report.json").read_text(encoding="utf-8"))
SCALE = REPORT["scale"]

# Reading notebooks imports jsonschema, which spends seconds on a grammar for international URLs, unless it is absent.
sys.modules.setdefault("rfc3987_syntax", None)

project = "Train longer, generalize better: a reproduction"
html_title = f"Train longer, generalize better: reproduction, scale {SCALE}"
language = "en"
extensions = [
    "myst_nb",
    "sphinx_design",
    "sphinx_copybutton",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
]
exclude_patterns = ["files", "layout", "pieces", "runs", "static"]
templates_path = ["layout"]

# Pages and notebooks
nb_execution_mode = "off"
nb_merge_streams = True
nb_ipywidgets_js = {}  # the default loads RequireJS and a widget manager from a CDN
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_disable_syntax = ["html_block", "html_inline"]
myst_heading_anchors = 3
suppress_warnings = [
    "misc.highlighting_failure",  # code that no lexer knows, such as a magic, is shown without colours
    "mystnb.unknown_mime_type",  # every output also has a plain-text form
    "ref.python",  # a name exported by two packages is documented in both
]

# API pages
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_google_docstring = False

# Look
html_theme = "pydata_sphinx_theme"
html_static_path = ["static"]
html_favicon = "static/favicon.svg"
html_css_files = ["report.css", "columns.css"]
html_js_files = ["print.js", ("chart.js", {"defer": "defer"}), ("equations.js", {"defer": "defer"})]
html_copy_source = False
html_use_index = False
html_domain_indices = False
html_show_search_summary = False  # it fetches pages, which browsers refuse for a report opened from disk
html_sidebars = {"index": [], "guide": [], "benchmarks": [], "runs/*": []}
html_context = {"default_mode": "auto", "report": REPORT}
html_theme_options = {
    "logo": {"text": f"Train longer, generalize better · {SCALE}"},
    "navbar_align": "left",
    "navigation_with_keys": True,
    "search_bar_text": "Search the report",
    "secondary_sidebar_items": ["page-toc"],
    "show_toc_level": 2,
    "footer_start": ["colophon"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}

# MathJax: of the 24 MB of the offline package, the report needs one script and its fonts. Its menu would load the rest.
MATHJAX = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax"
MATHJAX_FILES = ("tex-chtml.js", "output/chtml/fonts/woff-v2")
mathjax_path = "mathjax/tex-chtml.js"
mathjax3_config = {
    "options": {"enableMenu": False},
    "tex": {"packages": {"[-]": ["autoload", "require"]}},  # what they load is not shipped, such as links in equations
}


def setup(app):
    """Clean the pages as they are read; copy MathJax after they are written."""
    foreign_markup.ignore()
    safe.install(app)
    folding.install(app)
    app.connect("doctree-read", abbreviations.explain)
    app.connect("html-collect-pages", lambda app: runs.collected(Path(app.srcdir)))
    app.connect("build-finished", copy_mathjax)


def copy_mathjax(app, failure):
    """Copy what the equations need into the built report."""
    for name in MATHJAX_FILES if failure is None else ():
        target = Path(app.outdir) / "_static" / "mathjax" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (MATHJAX / name).is_dir() else shutil.copyfile
        copy(MATHJAX / name, target)
