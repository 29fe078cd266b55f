import shutil
from pathlib import Path

import pytest

from speech_commands_kws.errors import KwsError
from speech_commands_kws.tracking.mlflow_run import (
    MlflowRun,
    begin_run,
    client_of,
    read_record,
    write_record,
)
from speech_commands_kws.tracking.mlflow_store import sqlite_uri


@pytest.fixture(scope="module")
def uri(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return sqlite_uri(Path(shutil.copy(empty_store, tmp_path_factory.mktemp("store"))))


def test_a_run_begins_with_its_name_and_tags(uri) -> None:
    record, client = begin_run(uri, "kws-test", "a run", {"tag": "value"}), client_of(uri)
    run = client.get_run(record.run_id)
    assert (run.info.run_name, run.info.status) == ("a run", "RUNNING")
    assert run.data.tags["tag"] == "value" and run.data.tags["mlflow.user"]
    assert run.info.start_time == round(record.began * 1000)
    other = begin_run(uri, "kws-test", "another run", {})
    assert client.get_run(other.run_id).info.experiment_id == run.info.experiment_id


def test_a_record_that_was_cut_is_one_clear_error(tmp_path) -> None:
    write_record(tmp_path, MlflowRun("sqlite:///a.db", "abc"))
    path = tmp_path / "mlflow.json"
    path.write_text(path.read_text()[:20])
    with pytest.raises(KwsError, match="mlflow.json is damaged: remove it"):
        read_record(tmp_path)


def test_a_folder_remembers_its_run(tmp_path) -> None:
    assert read_record(tmp_path) is None
    for record in (MlflowRun("http://there", "ab12", 17.5), MlflowRun("http://there", "ab12")):
        write_record(tmp_path / "run", record)
        assert read_record(tmp_path / "run") == record


def test_a_copied_folder_does_not_add_to_the_run_of_the_original(tmp_path, caplog) -> None:
    folder, record = tmp_path / "run", MlflowRun("http://there", "ab12")
    write_record(folder, record)
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert read_record(copy) is None and read_record(folder) == record
    assert f"{copy} is a copy of {folder}, whose MLflow run is left as it is" in caplog.text
    link = tmp_path / "link"
    link.symlink_to(folder)
    assert read_record(link) == record
    own = MlflowRun("http://there", "cd34")
    write_record(copy, own)  # as a training that goes on in it does
    assert read_record(copy) == own and read_record(folder) == record


def test_a_moved_folder_and_a_store_that_was_copied_with_it_keep_their_run(tmp_path) -> None:
    store = sqlite_uri(tmp_path / "plots/mlflow.db")
    write_record(tmp_path / "plots/run", MlflowRun(store, "ab12"))
    shutil.copytree(tmp_path / "plots", tmp_path / "other")
    assert read_record(tmp_path / "other/run").tracking_uri == sqlite_uri(
        tmp_path / "other/mlflow.db"
    )
    (tmp_path / "plots/run").rename(tmp_path / "plots/moved")
    assert read_record(tmp_path / "plots/moved") == MlflowRun(store, "ab12")
