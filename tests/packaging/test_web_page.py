"""A site of static files."""

import filecmp
import json
from pathlib import Path

import pytest
from conftest import TINY_METADATA

from speech_commands_kws.errors import KwsError
from speech_commands_kws.packaging import web_page
from speech_commands_kws.packaging.web_page import write_site


@pytest.fixture
def page(tmp_path, monkeypatch) -> Path:
    """What `make web` leaves, in small."""
    folder = tmp_path / "page"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<title>the page</title>")
    (folder / "assets" / "main.js").write_text("1")
    monkeypatch.setattr(web_page, "PAGE", folder)
    return folder


def test_a_site_holds_the_page_and_the_models_in_their_order(page, tmp_path, make_tiny_onnx):
    without_run = TINY_METADATA | {"training": "{}"}
    models = [
        make_tiny_onnx(tmp_path / "model.streaming.onnx"),
        make_tiny_onnx(tmp_path / "model.onnx", without_run),
    ]
    models[1].with_suffix(".md").write_text("# the card")
    site = tmp_path / "deep" / "site"
    write_site(site, models)
    listed = json.loads((site / "models.json").read_text())["models"]
    assert [(entry["name"], entry["card"]) for entry in listed] == [
        ("tiny: model.streaming", None),
        ("model", "models/model.md"),
    ]
    assert [site / entry["file"] for entry in listed] == [
        site / "models" / path.name for path in models
    ]
    assert all(filecmp.cmp(site / "models" / path.name, path, shallow=False) for path in models)
    assert (site / "models/model.md").read_text() == "# the card"
    assert (site / "assets/main.js").read_text() == "1"
    (page / "assets" / "main.js").rename(page / "assets" / "other.js")
    write_site(site, models[1:])  # again: nothing is left of the site before
    assert {path.name for path in site.rglob("*") if path.is_file()} == {
        *("index.html", "other.js", "model.onnx", "model.md", "models.json")
    }


def test_a_site_is_not_mixed_with_other_files(page, tmp_path):
    kept = tmp_path / "home" / "letter.txt"
    kept.parent.mkdir()
    kept.write_text("dear")
    for place in (kept.parent, kept):
        with pytest.raises(KwsError, match="new, empty, or holds a site of before"):
            write_site(place, [])
    assert kept.read_text() == "dear"


def test_a_page_that_is_not_built_is_told(page, tmp_path):
    (page / "index.html").unlink()
    with pytest.raises(KwsError, match="`make web` builds it"):
        write_site(tmp_path / "site", [])
    assert not (tmp_path / "site").exists()
