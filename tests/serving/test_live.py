import numpy as np
import pytest

from speech_commands_kws.errors import KwsError
from speech_commands_kws.serving.live import LiveServer, Pieces

RATE = 16_000
SETTINGS = {
    "host": "127.0.0.1",
    "port": 0,
    "most_connections": 1,
    "message_bytes": 1000,
    "waiting_bytes": 1000,
    "idle_seconds": 1,
    "thresholds": None,
    "call_ms": 100,
}


@pytest.mark.parametrize("chunk", [1, 319, 320, 321, 16_000, 16_001, 50_000])
def test_pieces_are_the_sound_none_is_long_and_only_the_last_is_short(chunk: int) -> None:
    sound, pieces = np.arange(50_000), Pieces(RATE)
    given = [
        piece
        for start in range(0, len(sound), chunk)
        for piece in pieces(sound[start : start + chunk])
    ]
    due = sum(map(len, given))
    assert len(sound) - due < 320
    given += pieces.rest()
    np.testing.assert_array_equal(np.concatenate(given), sound)
    assert max(map(len, given)) <= RATE
    assert len(given) < 2 + len(sound) / 320
    assert pieces.rest() == []


@pytest.mark.parametrize(
    ("setting", "value"),
    [("port", 65_536), ("most_connections", 0), ("message_bytes", 0.5), ("idle_seconds", 0)],
)
def test_a_setting_out_of_its_range_is_refused(setting: str, value: float) -> None:
    with pytest.raises(KwsError, match=f"^{setting} must be"):
        LiveServer(**SETTINGS | {setting: value})
