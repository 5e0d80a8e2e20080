"""What a page may hold and load: the content is cleaned as it is read, and each page names what it allows.

The content is text when it gets here; this is the second line, for whatever a notebook or a docstring still brings.
HTML that the report itself makes is in files of its own, `pieces/*.html`, which a page names: they are not cleaned.
"""

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from bs4 import BeautifulSoup
from bs4.element import PreformattedString
from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx import addnodes

#: Elements and attributes of the tables that notebooks show; of other elements only the words are kept.
KEPT = {
    *("table", "caption", "colgroup", "col", "thead", "tbody", "tfoot", "tr", "th", "td"),
    *("p", "div", "span", "b", "strong", "i", "em", "code", "pre", "br", "sub", "sup"),
}
ATTRIBUTES = {"class", "colspan", "rowspan", "scope"}
DROPPED = {"script", "style", "template", "iframe", "object", "noscript"}

# Only what lies beside the page, and no code but the files and the lines that the theme put there.
# MathJax and the theme set styles, which load nothing from elsewhere either.
POLICY = (
    "default-src 'none'; script-src 'self' {hashes}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; form-action 'self'; base-uri 'none'"
)
INLINE_SCRIPT = re.compile(r"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)


class Piece(Directive):
    """`{piece} NAME` stands for the HTML in `pieces/NAME.html`, of which no notebook can write any."""

    required_arguments = 1

    def run(self):
        """Leave a place that `clean` fills."""
        name = re.sub(r"[^\w-]", "", self.arguments[0])
        return [nodes.raw("", "", format="html", piece=name)]


def install(app):
    """Clean every document as it is read; give every page its policy."""
    bodies = {}
    app.add_directive("piece", Piece)
    app.connect("doctree-read", clean, priority=1)  # before Sphinx collects the files that a document names
    app.connect(
        "html-page-context", lambda app, page, template, context, doctree: bodies.update({page: context.get("body")})
    )
    app.connect("build-finished", lambda app, failure: failure or write_policies(app, bodies))


def clean(app, doctree):
    """Take out of a document what could run or load anything from outside the report."""
    for raw in list(doctree.findall(nodes.raw)):
        html = _piece(app, raw["piece"]) if "piece" in raw else clean_html(raw.astext())
        raw.replace_self(nodes.raw("", html, format="html") if "html" in raw["format"] else [])
    for kind, attribute in ((nodes.image, "uri"), (addnodes.download_reference, "reftarget")):
        for node in list(doctree.findall(kind)):
            if not _is_ours(app, node[attribute]):
                node.replace_self(nodes.inline("", node.get("alt") or node.astext()))


def _piece(app, name: str) -> str:
    """Return a piece of the report's own HTML; '' where there is none of that name."""
    path = Path(app.srcdir) / "pieces" / f"{name}.html"
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def clean_html(html: str) -> str:
    """Return the tables and words of a piece of HTML."""
    soup = BeautifulSoup(html, "html.parser")
    for string in soup.find_all(string=lambda string: isinstance(string, PreformattedString)):  # such as comments
        string.extract()
    for tag in soup.find_all(DROPPED):
        tag.decompose()
    for tag in soup.find_all(lambda tag: tag.name not in KEPT):
        tag.unwrap()
    for tag in soup.find_all(True):
        tag.attrs = {name: value for name, value in tag.attrs.items() if name in ATTRIBUTES}
    return str(soup)


def _is_ours(app, target: str) -> bool:
    """Tell whether a file lies among the sources or what was made of them."""
    if ":" in target or target.startswith("//"):
        return False
    _, file = app.env.relfn2path(target, app.env.docname)
    return any(
        Path(file).resolve().is_relative_to(Path(root).resolve()) for root in (app.srcdir, Path(app.outdir).parent)
    )


def write_policies(app, bodies):
    """Write into each page what it may load and run, told from the page without its content."""
    for page, body in bodies.items():
        file = Path(app.builder.get_outfilename(page))
        html = file.read_text(encoding="utf-8")
        scripts = INLINE_SCRIPT.findall(html.replace(body, "") if body else html)
        digests = sorted({b64encode(sha256(script.encode()).digest()).decode() for script in scripts})
        policy = POLICY.format(hashes=" ".join(f"'sha256-{digest}'" for digest in digests))
        meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        file.write_text(html.replace("<head>", f"<head>\n    {meta}", 1), encoding="utf-8")
