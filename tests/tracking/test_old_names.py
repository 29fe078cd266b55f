"""Targets that saved configurations name, and where they lie today."""

from importlib import import_module

import pytest
from hydra.utils import instantiate

from speech_commands_kws.cli.launch import EXECUTION_WHITELIST
from speech_commands_kws.data.sources.synthetic import SyntheticSource
from speech_commands_kws.data.synthesis.talk import SyntheticTalk
from speech_commands_kws.tracking.old_names import MOVED, renamed


@pytest.mark.parametrize("target", MOVED.values())
def test_every_new_name_is_there(target: str) -> None:
    module, _, name = target.rpartition(".")
    assert hasattr(import_module(module), name)


def test_old_targets_are_replaced_at_any_depth_and_nothing_else() -> None:
    old, new = next(iter(MOVED.items()))
    node = {"data": [{"_target_": old, "note": old}], "other": {"_target_": "torch.optim.SGD"}}
    assert renamed(node) == {
        "data": [{"_target_": new, "note": old}],
        "other": {"_target_": "torch.optim.SGD"},
    }


def test_voices_of_babble_are_no_synthetic_ones() -> None:
    babble = {"voices": [1, 8], "snr_db": [-5, 20]}
    assert renamed({"babble": babble}) == {"babble": babble}


# As a run recorded them when espeak-ng was the only engine.
OLD_VOICES = {
    "_convert_": "all",
    "parent": "data",
    "words": ["yes"],
    "voices": [f"m{i}" for i in range(10)],
    "accents": ["en-us"],
    "pitch": [25, 75],
    "pitch_range": [30, 70],
    "rate": [140, 210],
    "level_db": [-32, -14],
    "sample_rate": 16000,
    "seed": 0,
}
OLD_SOURCE = {
    "unknown_words": ["bed"],
    "speakers": 20,
    "takes_per_word": 1,
    "unknown_per_speaker": 1,
    "floor_db": [-75, -45],
    "floor_colour": [0, 2],
    "position": [0.2, 0.8],
    "pitch_jitter": 5,
    "rate_jitter": 0.08,
    "level_jitter_db": 3,
    "clip_seconds": 1.0,
    "noise_seconds": 2.0,
    "noise_colours": {"white_noise": 0.0},
    "noise_level_db": -18,
    "hum_hz": [50],
    "hum_level_db": -28,
    "babbles": 0,
    "babble_voices": 2,
    "babble_level_db": -24,
    "babble_text": "hello",
    "speakers_per_chunk": 10,
}
OLD_TALK = {
    "text_file": None,
    "turn_lines": [2, 6],
    "pause_seconds": [0.2, 1.0],
    "block_seconds": 300.0,
    "text_shares": [0.3, 0.1, 0.6],
    "hours": [1.0, 0.0],
}


@pytest.mark.parametrize(
    ("target", "settings", "kind", "speakers", "pitch_jitter"),
    [
        ("data.synthetic.SyntheticSource", OLD_SOURCE, SyntheticSource, 20, 5),
        ("data.synthesis.talk.SyntheticTalk", OLD_TALK, SyntheticTalk, 100, 0),
    ],
)
def test_synthetic_speech_of_old_runs_is_still_that_of_espeak(
    target, settings, kind, speakers, pitch_jitter
) -> None:
    node = {"_target_": f"speech_commands_kws.{target}", **OLD_VOICES, **settings}
    today = instantiate(renamed({"source": node}), _execution_whitelist_=EXECUTION_WHITELIST)
    source = today["source"]
    assert isinstance(source, kind)
    assert source.speed == [0.8, 1.2] and source.size == [1, 1] and source.speakers == speakers
    engine = source.voices["espeak"]
    assert engine.variants == OLD_VOICES["voices"] and engine.pitch_jitter == pitch_jitter
    assert renamed(renamed(node)) == renamed(node)
