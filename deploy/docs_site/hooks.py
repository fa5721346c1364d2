"""What MkDocs calls; see https://www.mkdocs.org/user-guide/configuration/#hooks."""

import shutil
import sys
from pathlib import Path

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

sys.path.insert(0, str(Path(__file__).parents[2]))

from deploy.docs_site.links import ROOT, files_elsewhere, repository_path, rewritten, site_path
from deploy.docs_site.mermaid_script import mermaid_script

_SCRIPTS = Path("assets", "javascripts")
_FOREIGN = '"https://unpkg.com/mermaid@11/dist/mermaid.min.js"'
# `__md_scope` is the address of the site's root, which each page of the theme sets.
_OWN = 'new URL("assets/javascripts/mermaid.min.js",__md_scope).href'


def on_files(files, config):
    for file in files_elsewhere():
        files.append(File.generated(config, site_path(file), abs_src_path=str(ROOT / file)))
    return files


def on_page_markdown(markdown, page, config, files):  # noqa: ARG001 - called by name
    return rewritten(markdown, repository_path(page.file.src_uri))


def on_post_build(config):
    """The theme loads Mermaid on pages that have a diagram; let it take ours."""
    folder = Path(config.site_dir, _SCRIPTS)
    [bundle] = folder.glob("bundle.*.min.js")
    code = bundle.read_text(encoding="utf-8")
    if code.count(_FOREIGN) != 1:
        raise PluginError(f"{bundle.name} does not load {_FOREIGN} once; see {__file__}")
    bundle.write_text(code.replace(_FOREIGN, _OWN), encoding="utf-8")
    for map_ in Path(config.site_dir).rglob("*.map"):
        map_.unlink()
    shutil.copyfile(mermaid_script(), folder / "mermaid.min.js")
