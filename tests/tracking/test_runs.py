import json
import logging
import os
import warnings
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from speech_commands_kws.errors import KwsError
from speech_commands_kws.tracking import runs


def make_run(folder, age: float = 0, checkpoint: str = "best.ckpt"):
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").touch()
    path = folder / "checkpoints" / checkpoint
    path.touch()
    for file in (path, folder / "config.yaml"):
        os.utime(file, (1e9 - age, 1e9 - age))
    return folder


def write_history(folder, *accuracies: float):
    rows = [{"epoch": i, "validation_accuracy": found} for i, found in enumerate(accuracies)]
    (folder / "history.json").write_text(json.dumps([*rows, {"epoch": len(rows)}]))


def test_two_runs_of_one_second_have_folders_of_their_own(tmp_path):
    folders = [runs.make_run_folder(tmp_path, "test") for _ in range(3)]
    assert len(set(folders)) == 3 and all(folder.is_dir() for folder in folders)


def test_latest_is_the_one_trained_last_also_within_a_sweep(tmp_path):
    make_run(tmp_path / "old", age=50)
    newest = make_run(tmp_path / "new", age=10)
    make_run(tmp_path / "sweep" / "0", age=20)
    (tmp_path / "empty").mkdir()
    assert runs.find_run("latest", tmp_path) == newest
    make_run(tmp_path / "sweep" / "1")
    assert runs.find_run("latest", tmp_path).parent == tmp_path / "sweep"


def test_of_a_sweep_the_best_trial_is_meant(tmp_path):
    trials = [
        make_run(tmp_path / "sweep" / str(i), age=10 - i, checkpoint="last.ckpt") for i in range(4)
    ]
    write_history(trials[1], 0.2, 0.9)
    write_history(trials[2], 0.5)
    write_history(trials[3])
    make_run(tmp_path / "single", age=50)
    assert runs.find_run("latest", tmp_path) == trials[1]
    assert runs.find_run("sweep", tmp_path) == runs.find_run(tmp_path / "sweep", "x") == trials[1]
    assert runs.find_run("sweep/2", tmp_path) == trials[2]
    assert runs.find_run_to_resume("latest", tmp_path) == tmp_path / "sweep" / "3"
    write_history(trials[3], 0.9)
    assert runs.find_run("latest", tmp_path) == trials[1], "of equal ones the first"


def test_a_run_that_ended_before_its_first_checkpoint_is_not_mistaken_for_another(tmp_path):
    older = make_run(tmp_path / "older", checkpoint="last.ckpt")
    assert runs.find_run_to_resume("latest", tmp_path) == older
    (tmp_path / "newer").mkdir()
    (tmp_path / "newer" / "config.yaml").touch()
    for run in ("latest", "newer"):
        with pytest.raises(KwsError, match="newer ended before its first checkpoint"):
            runs.find_run_to_resume(run, tmp_path)
    assert runs.find_run("latest", tmp_path) == older, "it is the newest that can be used"


def test_a_run_by_its_path(tmp_path):
    folder = make_run(tmp_path / "some run")
    assert runs.find_run(str(folder), tmp_path / "elsewhere") == folder


def test_a_run_by_the_name_that_records_know(tmp_path):
    folder = make_run(tmp_path / "12_sweep" / "0")
    assert runs.find_run("12_sweep/0", tmp_path) == runs.find_run("0_12_sweep", tmp_path) == folder


@pytest.mark.parametrize("run, message", [("latest", "train first"), ("nowhere", "run=nowhere")])
def test_no_such_run_is_one_clear_error(tmp_path, run, message):
    with pytest.raises(KwsError, match=message):
        runs.find_run(run, tmp_path)


def test_checkpoint_of_a_run(tmp_path):
    folder = make_run(tmp_path / "run", checkpoint="last.ckpt")
    assert runs.checkpoint_of(folder, "best.ckpt", "last.ckpt").name == "last.ckpt"
    with pytest.raises(KwsError, match="best.ckpt"):
        runs.checkpoint_of(folder, "best.ckpt")


@pytest.mark.parametrize("run", [None, 5])
def test_a_run_by_what_is_no_name_is_one_clear_error(tmp_path, run):
    with pytest.raises(KwsError, match=f"run={run}"):
        runs.find_run(run, tmp_path)


@pytest.mark.parametrize(
    "content", [b"{", b"", b"a: 1", b"[1]", b"\xff\xfe\x00", b"data: {}\nloader: 1"]
)
def test_a_damaged_configuration_is_one_clear_error(tmp_path, content):
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(KwsError, match="config.yaml is damaged or another one"):
        runs.read_config(tmp_path)


def test_the_configuration_of_a_run(tmp_path):
    (tmp_path / "config.yaml").write_text("data: {name: x}\nloader: {seed: 1}\n")
    assert runs.read_config(tmp_path).loader.seed == 1


def test_log_goes_into_the_folder_while_the_run_lasts(tmp_path):
    logging.getLogger().setLevel(logging.INFO)
    with runs.log_file(tmp_path / "log.txt"):
        logging.getLogger("a").info("inside")
    logging.getLogger("a").info("outside")
    text = (tmp_path / "log.txt").read_text()
    assert "inside" in text and "outside" not in text


def test_a_warning_of_a_library_goes_into_the_log_and_not_to_the_terminal(tmp_path, recwarn, capfd):
    with runs.log_file(tmp_path / "log.txt"):
        warnings.warn("an old interface", FutureWarning)
    assert "an old interface" in (tmp_path / "log.txt").read_text()
    assert len(recwarn) == 0 and capfd.readouterr().err == ""
    warnings.warn("after the run", UserWarning)
    assert [str(found.message) for found in recwarn] == ["after the run"]


def test_what_was_chosen_is_said_in_one_line(tmp_path, capsys, monkeypatch):
    trials = [make_run(tmp_path / "sweep" / str(i), age=i) for i in range(2)]
    write_history(trials[1], 0.2, 0.875)
    (trials[1] / "log.txt").write_text("2026-02-03 04:05:06,007 INFO a\nand more\n")
    for run in ("latest", "sweep"):
        assert runs.choose_run(run, tmp_path) == trials[1]
        line = f"run: {trials[1]}, trained until 2026-02-03 04:05, best validation accuracy 87.5%\n"
        assert capsys.readouterr().err == line
    assert runs.choose_run("sweep/0", tmp_path) == trials[0]
    assert capsys.readouterr().err == "", "it was named"
    assert runs.summary(trials[0]).endswith("not finished")
    monkeypatch.chdir(tmp_path)
    assert runs.summary(trials[0]).startswith("sweep/0, trained until ")


def test_an_export_is_named_and_a_newer_run_that_is_better_or_of_other_data(tmp_path, capsys):
    old, new = make_run(tmp_path / "old", age=50), make_run(tmp_path / "new")
    write_history(old, 0.5)
    model, better = old / "model.onnx", f"; newer, better, but not exported: {new}, trained until"
    other = f"; newer, trained on other data and not exported: {new}, trained until"
    for age, accuracy, data, newer in (
        *((-1, 0.75, "a", ""), (10, 0.75, "a", better)),
        *((10, 0.5, "a", ""), (10, 0.25, "b", other)),
    ):
        for folder, name in ((old, "a"), (new, data)):
            (folder / "config.yaml").write_text(f"data: {{name: {name}}}\nloader: {{seed: 1}}\n")
            os.utime(folder / "config.yaml", (1e9 - 50, 1e9 - 50))
        write_history(new, accuracy)
        model.touch()
        os.utime(model, (1e9 - age, 1e9 - age))
        runs.say_export(model, tmp_path)
        line = capsys.readouterr().err
        assert line.startswith(f"model: {model}, exported 2001-09-09 ")
        assert "best validation accuracy 50.0%" in line
        assert (newer in line) and ("newer" in line) == bool(newer)


def test_a_copy_is_as_old_as_its_log_says(tmp_path):
    old, new = make_run(tmp_path / "old", age=-100), make_run(tmp_path / "new", age=100)
    for folder, hour in ((old, 4), (new, 5)):
        (folder / "log.txt").write_text(f"2026-02-03 0{hour}:05:06,007 INFO a\n")
    assert runs.find_run("latest", tmp_path) == new


@pytest.mark.parametrize("name", ["one", "sweep/3"])
def test_the_paths_of_a_run_follow_the_folder_of_its_project(tmp_path, name):
    saved = {
        "paths": {"root": "/old", "runs": "/old/plots/runs"},
        "data": {"root": "/old/data", "other": ["/older/a", "/mnt/old/b", "/old"]},
        "loader": {"cache": "/old/data/packed", "seed": 1},
        "storage": "sqlite:////old/plots/studies.db",
    }
    folder = tmp_path / "plots/runs" / name
    folder.mkdir(parents=True)
    OmegaConf.save(OmegaConf.create(saved), folder / "config.yaml")
    config = runs.read_config(folder)
    assert config.data == {
        "root": f"{tmp_path}/data",
        "other": ["/older/a", "/mnt/old/b", str(tmp_path)],
    }
    assert config.loader.cache == f"{tmp_path}/data/packed"
    assert config.storage == f"sqlite:///{tmp_path}/plots/studies.db"


def test_a_run_taken_out_of_its_project_finds_it_where_it_was_or_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder, there = tmp_path / "taken", tmp_path / "project"
    for root in (there, Path("/gone")):
        saved = {"paths": {"root": str(root), "runs": f"{root}/plots/runs"}, "loader": {"seed": 1}}
        folder.mkdir(exist_ok=True)
        saved["data"] = {"root": f"{root}/data"}
        OmegaConf.save(OmegaConf.create(saved), folder / "config.yaml")
        there.mkdir(exist_ok=True)
        here = there if root == there else tmp_path
        assert runs.read_config(folder).data.root == f"{here}/data"


def test_the_log_has_no_passwords(tmp_path):
    with runs.log_file(tmp_path / "log.txt"):
        logging.getLogger("a").error("at http://anna:secret@host")
    assert "http://anna:***@host" in (tmp_path / "log.txt").read_text()


@pytest.mark.parametrize("more", [None, "mlflow.json", "checkpoints/last.ckpt"])
def test_the_folder_of_a_run_goes_unless_something_was_recorded_or_trained(
    more: str | None, tmp_path: Path
) -> None:
    folder = runs.make_run_folder(tmp_path, "refused")
    for name in filter(None, (runs.CONFIG_FILE, runs.LOG_FILE, "plots/augmentations.png", more)):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    runs.remove_unused(folder)
    assert folder.exists() == (more is not None)
