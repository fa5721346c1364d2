"""The site of the documentation builds without a warning, and a browser loads nothing of it from another host."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from deploy.docs_site.links import rewritten, site_path
from tests.docs.pages import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

#: Attributes whose address a browser loads by itself; it follows others when a reader clicks.
LOADED = {
    *(("src", tag) for tag in ("script", "img", "iframe", "source", "video", "audio", "embed")),
    *(("srcset", tag) for tag in ("img", "source")),
    ("href", "link"),
    ("data", "object"),
    ("poster", "video"),
}
FOREIGN = re.compile(r"(?:https?:)?//[\w-]+\.[\w.-]+")
IN_CSS = re.compile(rf"(?:url\(\s*|@import\s+)[\"']?({FOREIGN.pattern})")
#: What the theme's script can load from elsewhere, and why it does not.
NOT_REACHED = {
    "https://unpkg.com/resize-observer-polyfill": "every browser since 2020 has a ResizeObserver",
    "https://api.github.com": "mkdocs.yml names no repository",
    "https://clipboardjs.com": "in a comment",
}


class Page(HTMLParser):
    """The foreign addresses that a page loads, and its security policy."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.foreign: list[str] = []
        self.policy: str | None = None
        self.feed(text)
        self.foreign += IN_CSS.findall(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if ("http-equiv", "Content-Security-Policy") in attrs:
            self.policy = dict(attrs)["content"]
        self.foreign += [
            value
            for name, value in attrs
            if (name, tag) in LOADED and value and FOREIGN.search(value)
        ]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    """Neither a tag nor a style names one, and the policy of each page has the browser refuse it."""
    pages = {file: Page(file.read_text(encoding="utf-8")) for file in site.rglob("*.html")}

    assert len(pages) > 60
    assert {file: page.foreign for file, page in pages.items() if page.foreign} == {}
    policies = {page.policy for page in pages.values()}
    assert policies == {"default-src 'self' 'unsafe-inline'; img-src 'self' data:"}


def test_no_style_or_script_loads_anything_from_another_host(site: Path) -> None:
    """Fonts are the system's, and diagrams are drawn by the Mermaid of the site."""
    styles = {file.name: IN_CSS.findall(file.read_text()) for file in site.rglob("*.css")}
    [theme] = site.glob("assets/javascripts/bundle.*.min.js")
    code = theme.read_text(encoding="utf-8")

    assert styles
    assert [name for name, foreign in styles.items() if foreign] == []
    named = set(re.findall(r"https?://[\w.-]+\.[a-z]+(?:/[\w@./-]*\w)?", code))
    assert {each for each in named if not each.startswith(tuple(NOT_REACHED))} == set()
    assert 'new URL("assets/javascripts/mermaid.min.js",__md_scope)' in code
    assert (site / "assets/javascripts/mermaid.min.js").stat().st_size > 1_000_000
    assert 'class="mermaid"' in (site / "concepts" / "index.html").read_text()


def test_every_page_of_docs_is_on_the_site(site: Path) -> None:
    """The build warns of a page that the navigation leaves out, and its warnings are errors."""
    sources = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]

    missing = [each for each in sources if not (site / place(each)).is_file()]

    assert missing == []


def place(source: Path) -> Path:
    folder = source.parent if source.name == "README.md" else source.with_suffix("")
    return folder / "index.html"


@pytest.mark.parametrize(
    ("file", "link", "on_site"),
    [
        ("docs/concepts.md", "guarantees.md", "guarantees.md"),
        ("docs/howto/a.md", "../../README.md#five-minutes", "../repository/README.md#five-minutes"),
        ("docs/howto/a.md", "../../examples/retail", "../repository/examples/retail/README.md"),
        ("README.md", "docs/concepts.md", "../concepts.md"),
        ("sdk/README.md", "https://example.org/a.md", "https://example.org/a.md"),
        ("docs/concepts.md", "#retry", "#retry"),
    ],
)
def test_links_lead_to_the_same_file_on_the_site(file: str, link: str, on_site: str) -> None:
    """A link is written for the repository, and rewritten where the site has its file elsewhere."""
    assert rewritten(f"See [it]({link}).", file) == f"See [it]({on_site})."


def test_code_is_not_rewritten() -> None:
    """What looks like a link in a block of code stays as it is."""
    code = "```python\nnames[0](../README.md)\n```"

    assert rewritten(code, "docs/concepts.md") == code
    assert site_path("docs/concepts.md") == "concepts.md"
