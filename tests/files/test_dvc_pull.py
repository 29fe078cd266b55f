"""DVC brings what a pointer tracks: from a remote, or from the address in the pointer."""

import logging
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dvc_repositories import dvc, git, import_pointer, make_repository
from web_server import Site, served

from speech_commands_kws.data.fetch.fetch import fetch_folder
from speech_commands_kws.errors import KwsError
from speech_commands_kws.files import dvc as dvc_files
from speech_commands_kws.files.dvc import ensure_present, has_google_key, pull

CLIP = b"a clip"
pytestmark = pytest.mark.integration  # commands of DVC's take seconds


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that tracks a folder and a model, pushed to a remote in a folder."""
    repository = make_repository(tmp_path_factory.mktemp("origin") / "repository")
    (repository / "clips/yes").mkdir(parents=True)
    (repository / "clips/yes/a.wav").write_bytes(CLIP)
    (repository / "model.onnx").write_bytes(b"a model")
    dvc(repository, "remote", "add", "--default", "storage", str(repository.parent / "storage"))
    dvc(repository, "add", "clips", "model.onnx")
    dvc(repository, "push")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "clips")
    return repository


@pytest.fixture
def clone(origin: Path, tmp_path: Path) -> Path:
    git(tmp_path, "clone", "--quiet", str(origin), "clone")
    return tmp_path / "clone"


def test_a_clone_pulls_what_is_asked_for(
    clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(clone)
    assert ensure_present("clips/yes/a.wav").read_bytes() == CLIP
    assert not Path("model.onnx").exists()
    assert ensure_present(clone / "model.onnx").read_bytes() == b"a model"
    assert capsys.readouterr().out == ""  # where answers go


def test_a_folder_may_be_pulled_from_elsewhere(clone: Path, tmp_path: Path) -> None:
    fetch_folder(clone / "clips", None)
    assert (clone / "clips/yes/a.wav").read_bytes() == CLIP


def test_what_the_pointer_does_not_hold(clone: Path) -> None:
    with pytest.raises(KwsError, match="b.wav does not exist, and .*clips.dvc does not hold it"):
        ensure_present(clone / "clips/yes/b.wav")


def test_a_remote_that_has_lost_it(clone: Path) -> None:
    dvc(clone, "remote", "add", "--force", "--default", "storage", str(clone / "empty"))
    with pytest.raises(KwsError, match="DVC cannot pull .*clips.dvc: ") as caught:
        pull(clone / "clips.dvc")
    assert "\n" not in str(caught.value)


def test_a_pointer_outside_of_any_repository(tmp_path: Path) -> None:
    (tmp_path / "a.wav.dvc").write_text("outs:\n- path: a.wav\n")
    with pytest.raises(KwsError, match="DVC cannot pull .*a.wav.dvc: you are not inside of a DVC"):
        pull(tmp_path / "a.wav.dvc")


def test_without_dvc(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dvc.repo", None)
    monkeypatch.setitem(sys.modules, "dvc.exceptions", None)
    with pytest.raises(KwsError, match=r"needs DVC: dvc is not installed: pip install .*\[data\]"):
        pull(clone / "clips.dvc")


def test_another_dvc_command_is_waited_for(
    clone: Path, told: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dvc_files, "LOOK_SECONDS", 0.1)
    program = (
        "import sys, time; from pathlib import Path; from dvc.repo import Repo\n"
        "with Repo(sys.argv[1]).lock:\n"
        "    print('held', flush=True)\n"
        "    while not Path(sys.argv[2]).exists(): time.sleep(0.01)"
    )
    command = [sys.executable, "-c", program, str(clone), told]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with caplog.at_level(logging.WARNING, "speech_commands_kws"):
            pull(clone / "clips.dvc")
    assert (clone / "clips/yes/a.wav").read_bytes() == CLIP
    assert "another DVC command is at work here: waiting for it" in caplog.messages
    assert holder.returncode == 0


def test_a_dvc_command_that_does_not_end_is_not_waited_for_for_ever(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dvc.repo import Repo

    monkeypatch.setattr(dvc_files, "WAIT_SECONDS", 0.0)
    with Repo(str(clone)).lock:
        with pytest.raises(KwsError, match="Unable to acquire lock"):
            pull(clone / "clips.dvc")


def test_two_processes_pull_once(clone: Path) -> None:
    program = (
        "import logging, sys; from speech_commands_kws.files.dvc import ensure_present\n"
        "logging.basicConfig(level=logging.INFO); ensure_present(sys.argv[1])"
    )
    command = [sys.executable, "-c", program, str(clone / "clips")]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    logs = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], logs
    assert sum("dvc:pulling" in log for log in logs) == 1


# Google Drive


def test_a_google_drive_without_a_key_is_refused_at_once(clone: Path) -> None:
    dvc(clone, "remote", "add", "--default", "drive", "gdrive://folder")
    start = time.monotonic()
    with pytest.raises(KwsError, match="'drive' is a Google Drive without a key: `dvc remote mod"):
        pull(clone / "clips.dvc")
    assert time.monotonic() - start < 20


@pytest.mark.parametrize(
    ("remote", "variable", "has_key"),
    [
        ({}, "", False),
        ({"gdrive_use_service_account": True}, "", False),
        (
            {
                "gdrive_use_service_account": True,
                "gdrive_service_account_json_file_path": "missing.json",
            },
            "",
            False,
        ),
        (
            {
                "gdrive_use_service_account": True,
                "gdrive_service_account_json_file_path": "key.json",
            },
            "",
            True,
        ),
        ({"gdrive_service_account_json_file_path": "key.json"}, "", False),
        ({"gdrive_user_credentials_file": "key.json"}, "", True),
        ({}, "{}", True),
    ],
)
def test_what_counts_as_a_key(
    remote: dict, variable: str, has_key: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("key.json").touch()
    monkeypatch.setenv("GDRIVE_CREDENTIALS_DATA", variable)
    assert has_google_key(remote) is has_key


# Pointers to published files


def test_a_published_file_comes_without_a_remote(tmp_path: Path) -> None:
    """Not even a remote on a Google Drive without a key is asked."""
    repository = make_repository(tmp_path / "repository")
    dvc(repository, "remote", "add", "--default", "drive", "gdrive://folder")
    target = repository / "data/clips.tar.gz"
    with served(Site({"clips.tar.gz": CLIP})) as site:
        pointer = import_pointer(target, f"{site.address}/clips.tar.gz", site.etag, len(CLIP))
        written = pointer.read_text()
        assert ensure_present(target).read_bytes() == CLIP
    assert pointer.read_text() == written


def test_another_file_under_the_address_is_not_taken(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repository")
    target = repository / "clips.tar.gz"
    with served(Site({"clips.tar.gz": CLIP}, etag='"newer"')) as site:
        import_pointer(target, f"{site.address}/clips.tar.gz", '"older"', len(CLIP))
        with pytest.raises(KwsError, match="neither a remote nor the address in it has it"):
            ensure_present(target)
    assert not target.exists()


def test_all_pointers_in_data_are_pushed(tmp_path: Path) -> None:
    """DVC passes over pointers in a folder that git is told to ignore, and says that all is well."""
    repository, remote = make_repository(tmp_path / "here"), tmp_path / "remote"
    project = Path(__file__).resolve().parents[2]
    for name in (".gitignore", "data/.gitignore"):
        (repository / name).parent.mkdir(exist_ok=True)
        shutil.copy(project / name, repository / name)
    (repository / "data/recordings").mkdir()
    (repository / "data/recordings/clip.wav").write_text("a clip")
    dvc(repository, "remote", "add", "--default", "storage", str(remote))
    dvc(repository, "add", "data/recordings")
    dvc(repository, "push")
    assert {path.read_text() for path in remote.rglob("*") if path.is_file()} >= {"a clip"}
    dvc(repository, "gc", "--workspace", "--force")
    kept = (repository / ".dvc/cache").rglob("*")
    assert "a clip" in {path.read_text() for path in kept if path.is_file()}
    assert git(repository, "status", "--porcelain", "data/recordings/clip.wav") == ""
