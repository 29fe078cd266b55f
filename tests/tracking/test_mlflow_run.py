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
