"""What no client sends, what it says instead, and which addresses it takes."""

import re

import numpy as np
import pytest
from triton_stand_in import INFO

from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.backends.triton_requests import (
    ServedModel,
    checked_address,
)

SERVED = ServedModel(INFO, 4, {"waveform": (400,), "state": (3, 2)})
CLIPS = np.zeros((2, 400), np.float32)
STATES = np.zeros((2, 3, 2), np.float32)


def test_clips_as_the_model_takes_them_may_be_sent() -> None:
    SERVED.check(CLIPS)
    SERVED.check(np.zeros((4, 400), np.float32))


@pytest.mark.parametrize(
    ("clips", "complaint"),
    [
        (CLIPS[0], "float32 clips (B, 400), got float32 (400,)"),
        (CLIPS[:, :-1], "float32 clips (B, 400), got float32 (2, 399)"),
        (CLIPS.astype(np.float64), "got float64 (2, 400)"),
        (CLIPS.astype(np.int16), "got int16 (2, 400)"),
        (CLIPS[:0], "1 to 4 clips, got 0"),
        (np.zeros((5, 400), np.float32), "1 to 4 clips, got 5"),
        (np.full((1, 400), np.nan, np.float32), "NaN or infinite"),
        (np.full((1, 400), np.inf, np.float32), "NaN or infinite"),
    ],
)
def test_anything_else_is_refused(clips: object, complaint: str) -> None:
    with pytest.raises(KwsError, match=re.escape(complaint)):
        SERVED.check(clips)


@pytest.mark.parametrize(
    ("waveform", "state", "complaint"),
    [
        (
            CLIPS,
            np.zeros((2, 3, 1), np.float32),
            "a state of float32 (2, 3, 2), got float32 (2, 3, 1)",
        ),
        (CLIPS, STATES[:1], "a state of float32 (2, 3, 2), got float32 (1, 3, 2)"),
        (CLIPS[:, :-1], STATES, "a waveform of float32 (2, 400), got float32 (2, 399)"),
        (CLIPS.astype(np.float64), STATES, "a waveform of float32 (2, 400), got float64"),
        (CLIPS[:0], STATES[:0], "1 to 4 streams, got 0"),
    ],
)
def test_sound_and_states_that_do_not_fit_are_refused(waveform, state, complaint: str) -> None:
    SERVED.check_step(CLIPS, STATES)
    with pytest.raises(KwsError, match=re.escape(complaint)):
        SERVED.check_step(waveform, state)


def test_facts_come_from_the_servers_configuration() -> None:
    parameters = {key: {"string_value": value} for key, value in INFO.to_metadata().items()}
    # As gRPC writes whole numbers, and as HTTP does.
    inputs = [{"name": "waveform", "dims": ["400"]}, {"name": "state", "dims": [3, 2]}]
    config = {"max_batch_size": 4, "parameters": parameters, "input": inputs}
    assert ServedModel.from_config(config, "here") == SERVED
    with pytest.raises(KwsError, match="kws_x at there is not a keyword spotter"):
        ServedModel.from_config({"max_batch_size": 4, "input": []}, "the model kws_x at there")


def test_addresses() -> None:
    assert checked_address(None, "http") == ("127.0.0.1:8000", "http")
    assert checked_address(None, "grpc") == ("127.0.0.1:8001", "grpc")
    assert checked_address("[::1]:9000", "http") == ("[::1]:9000", "http")
    assert checked_address("grpc://host:8001", "http") == ("host:8001", "grpc")
    assert checked_address("http://host:8000", "grpc") == ("host:8000", "http")
    for bad in (
        "https://127.0.0.1:8000",
        "http://127.0.0.1:8000/v2",
        "127.0.0.1",
        ":8000",
        "host:",
        "host:8000/v2",
        "host:65536",
        "a:0",
    ):
        with pytest.raises(KwsError, match="url must be host:port"):
            checked_address(bad, "http")
