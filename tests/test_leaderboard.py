"""`kws leaderboard` on a local store and on a real server."""

import csv
import io
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient
from mlflow_servers import Server, free_address

from speech_commands_kws.commands import main
from speech_commands_kws.tracking.mlflow_store import sqlite_uri

ACCURACY = "best_validation_accuracy"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
FINGERPRINT = "fedcba9876543210"
WIDTHS = {1: 2_480_000, 2: 7_500_000, 8: 86_600_000}


def record_runs(uri: str) -> None:
    """A sweep of three trials, and a training that failed; and another, empty, experiment."""
    client = MlflowClient(uri)
    client.create_experiment("empty")
    experiment = client.create_experiment("speech-commands-kws")
    sweep = client.create_run(experiment, run_name="12_sweep")
    client.log_param(sweep.info.run_id, "sweep.name", "12")
    for number, (width, cost) in enumerate(WIDTHS.items()):
        tags = {"mlflow.parentRunId": sweep.info.run_id, "mlflow.source.git.commit": COMMIT}
        tags |= {"git.dirty": "true" if number else "false"}
        tags |= {"data": "tones", "data_fingerprint": FINGERPRINT}
        run = client.create_run(experiment, tags=tags, run_name=f"{number}_12_sweep")
        figures, sizes = {ACCURACY: 0.9 + number / 100}, {
            "multiply_adds": cost,
            "parameters": 9232 * width,
        }
        if width == 2:
            figures["onnx_latency_ms"] = 1.25
        if width == 1:  # as version 0.1 recorded them
            figures, sizes = figures | sizes, {}
        metrics = [Metric(name, value, 0, 0) for name, value in figures.items()]
        settings = {"backbone.width": width, "optimizer.lr": 0.1 / (number + 1), "seed": 0}
        settings |= {"name": f"run{number}", "paths.root": f"/{number}"} | sizes
        params = [Param(name, str(value)) for name, value in settings.items()]
        client.log_batch(run.info.run_id, metrics, params)
        client.set_terminated(run.info.run_id, "FINISHED")
    failed = client.create_run(experiment, run_name="[red]failed")
    client.set_terminated(failed.info.run_id, "FAILED")


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """A folder with a local store."""
    root = tmp_path_factory.mktemp("here")
    (root / "plots").mkdir()
    shutil.copy(empty_store, root / "plots/mlflow.db")
    record_runs(sqlite_uri(root / "plots/mlflow.db"))
    return root


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    record_runs(server.address)
    yield server
    server.kill()


Ask = Callable[..., tuple[int, str, list[str]]]


@pytest.fixture(params=["local", pytest.param("server", marks=pytest.mark.integration)])
def ask(request, tmp_path, monkeypatch, capsys) -> Ask:
    """Runs `kws leaderboard`: exit status, standard output, lines of complaint."""
    if request.param == "local":
        monkeypatch.chdir(request.getfixturevalue("local"))
        address = free_address()
    else:
        monkeypatch.chdir(tmp_path)
        address = request.getfixturevalue("server").address

    def call(*arguments: str) -> tuple[int, str, list[str]]:
        given = ["kws", "leaderboard", f"tracking_uri={address}", *arguments]
        monkeypatch.setattr(sys, "argv", given)
        capsys.readouterr()  # what MLflow said when the store was made
        try:
            status = main()
        except SystemExit as stop:
            status = stop.code
        output, complaints = capsys.readouterr()
        return status, output, complaints.splitlines()

    return call


def test_json_has_all_that_is_known_the_best_first(ask: Ask) -> None:
    status, output, complaints = ask("format=json")
    rows = json.loads(output)
    assert (status, complaints) == (0, [])
    assert [row["run"] for row in rows] == ["2_12_sweep", "1_12_sweep", "0_12_sweep", "[red]failed"]
    second = rows[1]
    assert second.pop("run_id") and second.pop("started").endswith("Z")
    assert second == {
        "place": 2,
        "run": "1_12_sweep",
        ACCURACY: 0.91,
        "backbone.width": 2,
        "optimizer.lr": 0.05,
        "multiply_adds": 7_500_000,
        "parameters": 18_464,
        "onnx_latency_ms": 1.25,
        "data": "tones",
        "data_fingerprint": FINGERPRINT,
        "commit": COMMIT,
        "dirty": True,
        "sweep": "12_sweep",
        "status": "FINISHED",
    }
    assert (rows[3][ACCURACY], rows[3]["status"], rows[3]["sweep"]) == (None, "FAILED", None)


def test_runs_that_learnt_other_keywords_are_told_apart(local, tmp_path, monkeypatch, capsys):
    root = shutil.copytree(local, tmp_path / "copy")
    monkeypatch.chdir(root)
    client = MlflowClient(sqlite_uri(root / "plots/mlflow.db"))
    for run in client.search_runs(
        client.get_experiment_by_name("speech-commands-kws").experiment_id
    ):
        client.set_tag(run.info.run_id, "labels", "a" if run.info.run_name == "2_12_sweep" else "b")
        client.log_param(run.info.run_id, "data.words", f"['one', '{run.info.run_name[0]}']")
    given = ["kws", "leaderboard", f"tracking_uri={free_address()}", "columns=[data.words]"]
    monkeypatch.setattr(sys, "argv", given)
    main()
    output, complaints = capsys.readouterr()
    assert "these runs have learnt 2 different lists of keywords" in complaints
    assert " one, 2 " in output


def test_the_table_is_short_and_marks_changed_code(ask: Ask, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    _, output, _ = ask()
    head, below = output.split(" ──", 1)
    assert head.startswith("4 of 4 runs of speech-commands-kws by best_validation_accuracy, in ")
    words = "place run width lr parameters data commit status best validation accuracy latency ms"
    assert set(words.split()) <= set(head.split()) and "sweep" not in head.split()
    lines = [line.split() for line in below.splitlines()[1:] if line.strip()]
    assert lines[0] == [
        *("1", "2_12_sweep", "0.92", "8", "0.03333", "86,600,000", "73,856"),
        *("tones", "01234567*"),
    ]
    assert lines[1] == ["fedcba98"] and lines[4][-1] == "01234567"
    assert lines[6] == ["4", "[red]failed", "FAILED"]
    assert lines[7] == "* with changes that were not committed".split()


def test_csv_filter_columns_and_top(ask: Ask) -> None:
    arguments = ["format=csv", "top=1", "columns=[seed,git.dirty]", "backbone.width <= 2"]
    _, output, _ = ask(*arguments)
    (row,) = csv.DictReader(io.StringIO(output))
    assert (row["run"], row["seed"], row["git.dirty"]) == ("1_12_sweep", "0", "true")
    assert "optimizer.lr" not in row
    _, output, _ = ask("format=csv", "metric=multiply_adds", "descending=false", "top=1")
    assert output.splitlines()[1].startswith("1,0_12_sweep,2480000,1,0.1,9232,")


def test_what_has_no_room_in_a_terminal_is_named_below_the_table(ask: Ask, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    _, output, _ = ask()
    assert "No room for multiply_adds, parameters, onnx_latency_ms, data, commit: format" in output
    head = output.partition(" ──")[0].split()
    assert {"width", "lr", "status"} <= set(head) and "latency" not in head


def test_the_picture_shows_all_that_the_filter_keeps(ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "new" / "runs.png"
    status, _, complaints = ask(f"picture={path}", "top=1")
    assert status == 0 and complaints == [f"picture: {path}"]
    assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["experiment_name=nope"], "there is Default, empty, speech-commands-kws: choose one with"),
        (["experiment_name=empty"], "no run in the experiment empty of "),
        (["metric=status"], f"metric=status is not a number: choose from {ACCURACY}, multiply"),
        (["metric=accuracy"], f"choose from {ACCURACY}, multiply_adds, onnx_latency_ms, param"),
        (["columns=[optimizer.lrs]"], "no run has optimizer.lrs, asked for by columns=: choose"),
        (["optimizer.lrs > 1"], "asked for by where=: choose from optimizer.lr"),
        (["optimizer.lr > 1"], "none of the 4 runs meets where='optimizer.lr > 1'"),
        (["optimizer.lr"], "expected where='NAME SIGN VALUE"),
        ([""], "expected where='NAME SIGN VALUE"),
        (["@x"], "expected where='NAME SIGN VALUE"),
        (["data > 1"], "'data > 1' needs numbers on both sides"),
        (["columns=[1]"], "columns must be a list of texts"),
        (["top=0"], "top must be"),
        (["format=xml"], "format must be one of table, json, csv, got xml"),
        (["columns=seed"], "columns must be a list"),
        (["picture=runs.txt"], "picture must be a file .png or .svg or .pdf, got 'runs.txt'"),
        (["picture=/proc/runs/x.png"], "cannot write /proc/runs/x.png (No such file or directory)"),
        (["status = FAILED", "picture=x.png"], "for a picture, got none"),
    ],
)
def test_what_cannot_be_answered_is_one_line(ask: Ask, arguments, reason) -> None:
    status, _, complaints = ask(*arguments)
    assert status == 1
    (line,) = complaints
    assert line.startswith("error: ") and reason in line


def test_without_a_store_none_is_made(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["kws", "leaderboard", f"tracking_uri={free_address()}"])
    with pytest.raises(SystemExit):
        main()
    assert "found none (no such file): train first" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
