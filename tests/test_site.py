"""The documentation as a site: built without a warning, no link is broken, nothing is loaded from the network."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import speech_commands_kws

ROOT = Path(__file__).resolve().parent.parent
RENDERED = re.compile(r"^::: (\S+)", re.MULTILINE)
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
IMPORTED = re.compile(r"^from (speech_commands_kws\S*) import (.+)$", re.MULTILINE)
# What a browser fetches by itself, and the attribute that says from where.
LOADED = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src"}
# In a style sheet. What the theme's program would fetch for a diagram is tested by its class.
STYLE_ADDRESS = re.compile(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//")
DIAGRAM = "mermaid"


class Page(HTMLParser):
    """What a page names, links to and loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.names, self.links, self.loaded, self.classes = set(), [], [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.names.add(values.get("id"))
        self.classes.update((values.get("class") or "").split())
        if address := values.get(LOADED.get(tag, "")):
            self.loaded.append(address)
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    folder = tmp_path_factory.mktemp("docs") / "site"
    options = ["--config-file", "docs/site/mkdocs.yml", "--site-dir", folder]
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", *options],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return {path: Page(path) for path in folder.rglob("*.html") if path.name != "404.html"}


def broken(page: Path, address: str, site: dict[Path, Page]) -> bool:
    """Whether an address in a page leads to no file, or to no place in one."""
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return False
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    names = site[target].names if target in site else set()
    return not target.is_file() or bool(parts.fragment and unquote(parts.fragment) not in names)


def test_every_link_leads_somewhere(site: dict[Path, Page]) -> None:
    addresses = [
        (path, address) for path, page in site.items() for address in page.links + page.loaded
    ]
    assert len(addresses) > 1000
    assert broken(next(iter(site)), "missing.html", site) and broken(*addresses[0][:1], "#no", site)
    assert [
        (path.name, address) for path, address in addresses if broken(path, address, site)
    ] == []


def test_nothing_is_loaded_from_the_network(site: dict[Path, Page]) -> None:
    for path, page in site.items():
        assert [address for address in page.loaded if "//" in address] == [], path.name
        assert DIAGRAM not in page.classes, path.name
    folder = next(path for path in site if path.name == "index.html").parent
    styles = list(folder.rglob("*.css"))
    assert styles
    assert [path.name for path in styles if STYLE_ADDRESS.search(path.read_text("utf-8"))] == []


def public_names() -> Iterator[str]:
    """What the package exports, the modules in the pages about Python, and what the documentation imports."""
    yield from names_of(speech_commands_kws, speech_commands_kws.__all__)
    for page in (ROOT / "docs" / "api").glob("*.md"):
        for name in RENDERED.findall(page.read_text("utf-8")):
            module = import_module(name)
            yield from names_of(module, module.__all__)
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("**/*.md")]:
        for block in PYTHON_BLOCK.findall(page.read_text("utf-8")):
            for module, names in IMPORTED.findall(block):
                yield from names_of(import_module(module), names.split(", "))


def names_of(module: object, names: list[str]) -> Iterator[str]:
    """Where they are defined."""
    for name in names:
        yield f"{getattr(getattr(module, name), '__module__', module.__name__)}.{name}"


def test_every_public_name_has_its_place(site: dict[Path, Page]) -> None:
    places = set().union(*(page.names for page in site.values()))
    names = set(public_names())
    assert "speech_commands_kws.inference.spotter.KeywordSpotter" in names
    assert sorted(names - places) == []
