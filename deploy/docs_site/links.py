"""Links between the pages of docs/ and those elsewhere in the repository.

Pages link as GitHub wants it: by their places in the repository. MkDocs sees docs/ alone. So a file of another folder
has a place below `repository/` on the site, and links are rewritten for these places.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)(?=[#)])")
_FENCED = re.compile(r"^(```.*?^```)$", re.MULTILINE | re.DOTALL)


def site_path(file: str) -> str:
    """The place on the site of a file of the repository: its source path in MkDocs."""
    return file.removeprefix("docs/") if file.startswith("docs/") else f"repository/{file}"


def repository_path(source_path: str) -> str:
    """The file of the repository at this place of the site."""
    if source_path.startswith("repository/"):
        return source_path.removeprefix("repository/")
    return f"docs/{source_path}"


def rewritten(markdown: str, file: str) -> str:
    """The page with its links to files of the repository as they are on the site."""
    here = posixpath.dirname(site_path(file))

    def on_site(link: re.Match[str]) -> str:
        return posixpath.relpath(site_path(_target(file, link[1])), here or ".")

    return "".join(
        part if part.startswith("```") else _LINK.sub(on_site, part)
        for part in _FENCED.split(markdown)
    )


def files_elsewhere() -> list[str]:
    """The files outside docs/ that docs/ links to, directly or by another page."""
    seen: set[str] = set()
    open_ = [path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")]
    while open_:
        file = open_.pop()
        for target in _targets(file) if file.endswith(".md") else ():
            is_elsewhere = not target.startswith("docs/") and (ROOT / target).is_file()
            if is_elsewhere and target not in seen:
                seen.add(target)
                open_.append(target)
    return sorted(seen)


def _targets(file: str) -> Iterator[str]:
    for part in _FENCED.split((ROOT / file).read_text(encoding="utf-8")):
        if not part.startswith("```"):
            yield from (_target(file, link) for link in _LINK.findall(part))


def _target(file: str, link: str) -> str:
    """What the link leads to: a file, or the page of a folder."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(file), link))
    page = f"{target}/README.md"
    return page if (ROOT / page).is_file() else target
