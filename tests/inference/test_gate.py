import numpy as np
import pytest

from speech_commands_kws.errors import SettingError
from speech_commands_kws.inference.gate import EnergyGate

RATE, CALL, SECONDS = 16000, 1600, 0.1
SETTINGS = {
    "above_db": 6.0,
    "rise_db_per_second": 1.0,
    "quietest_db": -70.0,
    "hold_seconds": 0.25,
}


def open_calls(levels_db: list[float], **changed: float) -> list[bool]:
    """Whether a gate is open for a tenth of a second at each level (dBFS)."""
    gate = EnergyGate(**(SETTINGS | changed))
    return [gate(at_level(level), SECONDS) for level in levels_db]


def at_level(level_db: float) -> np.ndarray:
    signs = np.where(np.arange(CALL) % 2, 1, -1)
    return (10 ** (level_db / 20) * signs).astype(np.float32)


def test_it_opens_for_what_is_louder_and_stays_open_for_a_while() -> None:
    calls = [-50.0] * 10 + [-43.0] + [-50.0] * 5
    opened = [True] * 2 + [False] * 8 + [True] * 3 + [False] * 3
    assert open_calls(calls) == opened
    assert open_calls([-50.0] * 10 + [-45.0] + [-50.0] * 5)[2:] == [False] * 14


def test_the_background_falls_at_once_and_rises_slowly() -> None:
    assert open_calls([-30.0] * 5 + [-50.0] * 5 + [-40.0])[-2:] == [False, True]
    # Ten seconds later 10 dB more are the background.
    fan = open_calls([-50.0] * 5 + [-40.0] * 100)
    assert all(fan[5:40]) and not any(fan[60:])


def test_nothing_quieter_than_its_lowest_background_opens_it() -> None:
    assert not any(open_calls([-200.0] * 5 + [-65.0] * 5)[3:])
    assert open_calls([-200.0] * 5 + [-63.0])[-1]


def test_another_stream_begins_open() -> None:
    gate = EnergyGate(**SETTINGS)
    assert [gate(at_level(-50), SECONDS) for _ in range(4)][-1] is False
    gate.reset()
    assert gate(at_level(-80), SECONDS)


@pytest.mark.parametrize("sample", [np.nan, np.inf])
def test_what_is_no_number_opens_it_and_is_forgotten(sample: float) -> None:
    gate = EnergyGate(**SETTINGS)
    calls = [at_level(-50)] * 4 + [np.full(CALL, sample, np.float32)] + [at_level(-50)] * 4
    with np.errstate(all="ignore"):
        opened = [gate(call, SECONDS) for call in calls]
    assert opened == [True, True, False, False, True, True, True, False, False]


@pytest.mark.parametrize(
    "changed", [{"above_db": 0}, {"rise_db_per_second": 0}, {"quietest_db": None}]
)
def test_settings_out_of_range_are_refused(changed: dict) -> None:
    with pytest.raises(SettingError, match=next(iter(changed))):
        EnergyGate(**(SETTINGS | changed))
