"""Addresses of registered models, and the files that they become."""

import shutil
from pathlib import Path

import mlflow
import pytest
from mlflow_servers import free_address
from registrations import NAME, Store, export_of, new_store, register_there

from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.locate import locate_model
from speech_commands_kws.tracking.registry_fetch import fetch_model


@pytest.fixture(scope="module")
def store(tmp_path_factory, empty_store: Path, tiny_onnx: Path) -> Store:
    """One version, the candidate and champion."""
    store = new_store(tmp_path_factory.mktemp("one") / "plots", empty_store)
    register_there(store, export_of(tiny_onnx, store))
    return store


def fetch(address: str, store: Store, cache: Path, tracking_uri: str | None = None) -> Path:
    return fetch_model(address, tracking_uri, store.folder, cache, probe_seconds=1.5)


@pytest.mark.parametrize("which", ["/1", "@candidate", "@champion"])
def test_versions_and_aliases_are_fetched(which, store, tiny_onnx, tmp_path) -> None:
    path = fetch(f"models:/{NAME}{which}", store, tmp_path)
    assert path.read_bytes() == tiny_onnx.read_bytes()
    assert path.parent.parent == tmp_path / NAME and path.parent.name.startswith("1_")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [
        path
    ], "nothing else is left"


def test_where_no_server_answers_the_local_store_is_asked(store, tmp_path, caplog) -> None:
    assert fetch(f"models:/{NAME}/1", store, tmp_path, free_address()).is_file()
    assert not caplog.records


def test_a_fetched_file_is_not_fetched_again(store, tmp_path, monkeypatch) -> None:
    first = fetch(f"models:/{NAME}@champion", store, tmp_path)
    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", None)
    assert fetch(f"models:/{NAME}/1", store, tmp_path) == first


def test_the_address_of_mlflow_is_left_as_it_was(store, tmp_path) -> None:
    before = mlflow.get_tracking_uri()
    fetch(f"models:/{NAME}/1", store, tmp_path)
    assert mlflow.get_tracking_uri() == before != store.uri


def test_the_first_versions_of_two_stores_are_told_apart(
    store, tmp_path, empty_store, make_tiny_onnx
) -> None:
    other = new_store(tmp_path / "other", empty_store)
    model = make_tiny_onnx(tmp_path / "other.onnx", scale=3.0)
    register_there(other, export_of(model, other))
    files = [fetch(f"models:/{NAME}/1", each, tmp_path / "cache") for each in (store, other)]
    assert files[0].read_bytes() != files[1].read_bytes() == model.read_bytes()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (f"models:/{NAME}@best", f"there is models:/{NAME} with @candidate .version 1., @champion"),
        (f"models:/{NAME}/7", f"no models:/{NAME}/7 in sqlite"),
        ("models:/nobody@champion", "no models:/nobody@champion in .*kws export register=true"),
        (f"models:/{NAME}", "expected models:/<name>@<alias> or models:/<name>/<version>, got"),
        (f"models:/{NAME}/latest", "expected models:/<name>@<alias>"),
        (f"models:{NAME}@champion", "expected models:/<name>@<alias>"),
        ("models:/a b'; --/1", "no models:/a b'"),
    ],
)
def test_an_address_without_a_model_is_one_clear_line(address, reason, store, tmp_path) -> None:
    with pytest.raises(KwsError, match=reason) as why:
        fetch(address, store, tmp_path)
    assert "\n" not in str(why.value)


def test_without_any_store_none_is_made(tmp_path) -> None:
    with pytest.raises(KwsError, match="expected an MLflow store at http.* or at sqlite"):
        fetch_model("models:/a@b", free_address(), tmp_path / "plots", tmp_path / "cache", 1.5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("harm", ["changed", "lost"])
def test_a_file_that_is_not_the_registered_one_is_refused(
    harm, tmp_path, empty_store, tiny_onnx
) -> None:
    store = new_store(tmp_path / "plots", empty_store)
    register_there(store, export_of(tiny_onnx, store))
    (kept,) = store.folder.rglob("model.onnx")
    kept.write_bytes(b"else") if harm == "changed" else shutil.rmtree(kept.parent)
    reason = "SHA-256 differs" if harm == "changed" else "holds no model.onnx that can be fetched"
    with pytest.raises(KwsError, match=reason):
        fetch(f"models:/{NAME}/1", store, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.onnx"))


def test_an_address_goes_to_the_registry_and_a_file_does_not(tiny_onnx, tmp_path) -> None:
    asked = []

    def fetched(address: str) -> Path:
        asked.append(address)
        return tiny_onnx

    assert locate_model("models:/a@b", tmp_path, fetched) == tiny_onnx
    assert locate_model(tiny_onnx, tmp_path, fetched) == tiny_onnx
    assert asked == ["models:/a@b"]
    with pytest.raises(KwsError, match="does not exist"):
        locate_model("models/a@b", tmp_path, fetched)
