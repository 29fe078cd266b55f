"""The repository for MkDocs: pages, and the files that they link to, where the repository has them."""

import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent.parent
TARGET = re.compile(r"""(?:\]\(|src=")([^)"#\s]+)""")
PICTURE = ".png"
PAGE = ".md"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that `extra.pages` names and what they link to; what is missing there, MkDocs tells."""
    pages = {path for pattern in config.extra["pages"] for path in ROOT.glob(pattern)}
    linked = {target for page in pages for target in targets(page)}
    for path in sorted(pages | linked):
        file = File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path))
        # Browsers would save the text of other files, not show it.
        if path.suffix not in (PAGE, PICTURE):
            file.dest_uri += ".txt"
        files.append(file)
    return files


def targets(page: Path) -> Iterator[Path]:
    """The files of the repository that a page links to."""
    for target in TARGET.findall(page.read_text(encoding="utf-8")):
        path = (page.parent / target).resolve()
        if path.is_file() and path.is_relative_to(ROOT):
            yield path
