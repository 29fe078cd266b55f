"""A study that threads share, each as if it were a process: it opens a connection of its own."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from speech_commands_kws.errors import KwsError
from speech_commands_kws.sweeps.study import OWNER, SEEN, SharedStudy, load_trial, open_storage

WORKERS = 4
RATE = {"rate": optuna.distributions.FloatDistribution(0, 1)}


def study_in(folder: Path, **changes) -> SharedStudy:
    settings = {
        "name": "test",
        "address": f"journal:///{folder}/study.log",
        "directions": ["maximize"],
        "lost_after_seconds": 30,
        "heartbeat_seconds": 5,
        "attempts": 2,
    }
    return SharedStudy(**settings | changes)


def test_processes_that_begin_at_once_share_a_new_storage(tmp_path):
    begin = threading.Barrier(WORKERS)

    def open_new(number):
        begin.wait()
        return open_storage(f"sqlite:///{tmp_path}/{number}.db").get_all_studies()

    with ThreadPoolExecutor(WORKERS) as pool:
        for number in range(5):
            assert list(pool.map(open_new, [number] * WORKERS)) == [[]] * WORKERS


def test_a_trial_in_a_database_of_one_file_is_claimed_by_one_process(tmp_path):
    begin = threading.Barrier(WORKERS)

    def work(_):
        study = study_in(tmp_path, address=f"sqlite:///{tmp_path}/study.db")
        begin.wait()
        study.prepare(8)
        return list(iter(partial(study.claim, 8), None))

    with ThreadPoolExecutor(WORKERS) as pool:
        claimed = sum(pool.map(work, range(WORKERS)), [])
    assert len(claimed) == len(set(claimed)) == 8


def test_processes_that_begin_at_once_lose_no_point_of_a_grid(tmp_path):
    space = {"rate": optuna.distributions.CategoricalDistribution(range(6))}
    begin = threading.Barrier(WORKERS)

    def work(_):
        study = study_in(tmp_path)
        begin.wait()
        study.prepare(6)
        drawn = []
        while (trial_id := study.claim(6)) is not None:
            study.set_params(trial_id, {"rate": study.storage.get_trial(trial_id).number})
            trial = study.sampled(trial_id, optuna.samplers.RandomSampler(), space)
            drawn.append(trial.params["rate"])
        return drawn

    with ThreadPoolExecutor(WORKERS) as pool:
        drawn = list(pool.map(work, range(WORKERS)))
    assert sorted(sum(drawn, [])) == list(range(6))


def test_a_lost_trial_is_taken_over_by_one(tmp_path, monkeypatch):
    study = study_in(tmp_path, attempts=3)
    study.prepare(1)
    lost = study.claim(1)
    study.heartbeat([lost])
    assert study.claim(1) is None
    study.storage.set_trial_user_attr(lost, SEEN, 0.0)

    def sign_as_another(_):
        study.storage.set_trial_user_attr(lost, OWNER, ["elsewhere", 1])

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(time, "sleep", sign_as_another)
        assert study.claim(1) is None
    study.storage.set_trial_user_attr(lost, SEEN, 0.0)
    assert study.claim(1) == lost


def test_a_trial_is_begun_so_often_and_then_fails(tmp_path: Path) -> None:
    study = study_in(tmp_path, address=f"sqlite:///{tmp_path}/studies.db")
    study.prepare(1)
    trial_id = study.claim(1)
    study.storage.set_trial_user_attr(trial_id, OWNER, ["elsewhere", 1])
    assert study.claim(1) is None  # another machine's process, not silent for long
    study.lost_after_seconds = 0
    assert study.claim(1) == trial_id
    study.storage.set_trial_user_attr(trial_id, OWNER, ["elsewhere", 1])
    assert study.claim(1) is None, "it has just been seen"
    assert study.claim(1) is None
    (trial,) = study.trials(1)
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs["reason"] == "its process was killed, 2 times"


@pytest.mark.parametrize("seconds", [-3600, 40, 3600])
def test_the_clock_of_another_machine_says_nothing(tmp_path, seconds, monkeypatch) -> None:
    ours, others = study_in(tmp_path), study_in(tmp_path)
    ours.prepare(1)
    trial_id = others.claim(1)
    others.storage.set_trial_user_attr(trial_id, OWNER, ["elsewhere", 1])
    now = time.monotonic()
    for beat in range(5):
        others.storage.set_trial_user_attr(trial_id, SEEN, time.time() + seconds + beat)
        monkeypatch.setattr(time, "monotonic", lambda: now + 20 * beat)
        assert ours.claim(1) is None, "it lives"
    monkeypatch.setattr(time, "monotonic", lambda: now + 111)
    assert ours.claim(1) == trial_id, "it is silent"


def test_a_journal_goes_on_after_a_line_that_was_cut_off(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    study.prepare(1)
    with (tmp_path / "study.log").open("a") as journal:
        journal.write('{"op_code":4,"worker_id"')
    again = study_in(tmp_path)
    again.prepare(2)
    assert len(study_in(tmp_path).trials(2)) == 2


def test_a_released_trial_costs_no_attempt(tmp_path: Path) -> None:
    study = study_in(tmp_path, attempts=1)
    study.prepare(1)
    trial_id = study.claim(1)
    study.release(trial_id)
    assert study.claim(1) == trial_id


def test_a_heartbeat_is_written_while_trials_run(tmp_path: Path) -> None:
    study = study_in(tmp_path, heartbeat_seconds=0.01)
    study.prepare(1)
    trial_id = study.claim(1)
    study.storage.set_trial_user_attr(trial_id, SEEN, 0.0)
    with study.kept_alive([trial_id]):
        deadline = time.monotonic() + 10
        while not study.trials(1)[0].user_attrs[SEEN]:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_parameters_are_drawn_once(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    study.prepare(2)
    first = study.sampled(study.claim(2), optuna.samplers.RandomSampler(0), RATE)
    again = study.sampled(first._trial_id, optuna.samplers.RandomSampler(1), RATE)
    assert again.params == first.params
    study.study.tell(first.number, 0.5)
    second_id = study.claim(2)
    study.set_params(second_id, first.params)
    second = study.sampled(second_id, optuna.samplers.RandomSampler(2), RATE)
    assert study.duplicate_of(second, 2).number == first.number


def test_another_search_or_direction_needs_another_name(tmp_path: Path) -> None:
    study_in(tmp_path).check_space(RATE, {"width": 1})
    assert list(study_in(tmp_path).check_space(RATE, {"width": 1})) == ["rate"]
    with pytest.raises(KwsError, match="expected the search that the study test began with"):
        study_in(tmp_path).check_space(RATE, {"width": 2})
    with pytest.raises(KwsError, match="expected the objectives"):
        study_in(tmp_path, directions=["minimize"])


def test_a_running_trial_is_found_by_its_number(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    study.prepare(1)
    trial_id = study.claim(1)
    trial = load_trial("test", f"journal:///{tmp_path}/study.log", 0, None)
    assert trial._trial_id == trial_id
