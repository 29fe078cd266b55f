import fnmatch

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from test_configs import primary_names

from speech_commands_kws.cli.launch import CONFIG_DIR, checked
from speech_commands_kws.cli.settings import DEMANDS, check_settings, settings_in
from speech_commands_kws.errors import KwsError

STEPS = "augment.waveform.steps"


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("resume='no'", "resume must be true or false, got 'no'"),
        ("resume=1", "resume must be true or false, got 1"),
        ("resume=null", "resume must be true or false, got None"),
        ("loader.batch_size=0", "loader.batch_size must be a whole number of 1 or more, got 0"),
        ("loader.batch_size=1.5", "loader.batch_size must be a whole number of 1 or more, got 1.5"),
        ("loader.resident=maybe", "loader.resident must be true or false, got 'maybe'"),
        ("trainer.max_epochs=true", "trainer.max_epochs must be a whole number of 1 or more"),
        ("seed=abc", "seed must be a whole number from 0 to 4294967295, got 'abc'"),
        ("seed=-1", "seed must be a whole number from 0 to 4294967295, got -1"),
        ("seed=99999999999", "seed must be a whole number from 0 to 4294967295, got 99999999999"),
        ("optimizer.lr=abc", "optimizer.lr must be a number above 0, got 'abc'"),
        ("optimizer.lr=.nan", "optimizer.lr must be a number above 0, got nan"),
        ("optimizer.momentum=1", "optimizer.momentum must be a number of 0 or more and below 1"),
        ("clip_seconds=0", "clip_seconds must be a number from 0.01 to 600, got 0"),
        ("optimizer.weight_decay=-1", "optimizer.weight_decay must be a number of 0 or more"),
        ("label_smoothing=2", "label_smoothing must be a number from 0 to 1, got 2"),
        ("name=a/b", "name must be a name for a folder, without /, got 'a/b'"),
        ("name=null", "name must be a name for a folder, without /, got None"),
        ("loader.cache=''", "loader.cache must be a path (in quotes where it looks like a number)"),
        ("data.root=3", "data.root must be a path"),
        ("data.words=[]", "data.words must be a list, each a text"),
        ("data.words=yes", "data.words must be a list"),
        ("data.words=[yes,true]", "data.words must be a list, each a text (in quotes where"),
        ("data.test_speakers=theo", "data.test_speakers must be a list, each a name, got 'theo'"),
        ("data.validation_percent=101", "data.validation_percent must be a number from 0 to 100"),
        ("data.pattern=5", "data.pattern must be a regular expression, got 5"),
        ("augment.waveform=null", "augment.waveform must be a group of settings, got None"),
        (f"{STEPS}.gain.share=-0.5", f"{STEPS}.gain.share must be a number from 0 to 1, got -0.5"),
        (f"{STEPS}.gain.share=null", f"{STEPS}.gain.share must be a number from 0 to 1, got None"),
        (f"{STEPS}.noise.snr_db=[25,-5]", f"{STEPS}.noise.snr_db must be [lowest, highest], each"),
        (f"{STEPS}.noise.snr_db=10", f"{STEPS}.noise.snr_db must be [lowest, highest], each"),
        (f"{STEPS}.bit_depth.bits=[12,7]", f"{STEPS}.bit_depth.bits must be [lowest, highest]"),
        (f"{STEPS}.band_limit.low_hz=[0,400]", f"{STEPS}.band_limit.low_hz must be [lowest"),
        (f"{STEPS}.speed.factors=[0]", f"{STEPS}.speed.factors must be a list, each a number from"),
        (f"{STEPS}.pitch.semitones=[]", f"{STEPS}.pitch.semitones must be a list, each a number"),
        (f"{STEPS}.reverberation.rooms.rooms=0", f"{STEPS}.reverberation.rooms.rooms must be a"),
        ("augment.waveform.noise_snr_db=[20,0]", "augment.waveform.noise_snr_db must be [lowest"),
        ("augment.noise_held_out=1", "augment.noise_held_out must be a number of 0 or more and"),
        ("augment.mixup.shares={1: 2}", "augment.mixup.shares must be a table of a number above 0"),
        ("augment.mixup.shares=0.3", "augment.mixup.shares must be a table of a number above 0 to"),
        ("augment.spectrogram.time_width=-1", "augment.spectrogram.time_width must be a whole"),
        ("robustness.rooms.rooms=0", "robustness.rooms.rooms must be a whole number of 1 or more"),
        ("robustness.held_out=0", "robustness.held_out must be a number above 0 and at most 1"),
        ("robustness.clips=1.5", "robustness.clips must be a whole number of 0 or more, got 1.5"),
        ("robustness.snr_db=[]", "robustness.snr_db must be a list, each a number, at least one"),
        ("robustness.rt60_seconds=[0]", "robustness.rt60_seconds must be a list, each a number"),
        (
            "data.source.pitch=[200,10]",
            "data.source.pitch must be [lowest, highest], each a number",
        ),
        ("data.spoken.source.speakers=x", "data.spoken.source.speakers must be a whole number of"),
        ("data.source.download.attempts=0", "data.source.download.attempts must be a whole number"),
        ("limits.silent_db=loud", "limits.silent_db must be a number, got 'loud'"),
    ],
)
def test_a_setting_that_does_not_fit_is_one_line(setting: str, expected: str) -> None:
    with pytest.raises(KwsError) as mistake:
        checked(lambda cfg: None, OmegaConf.from_dotlist([setting]))
    assert str(mistake.value).startswith(expected)
    assert "\n" not in str(mistake.value)


@pytest.mark.parametrize(
    "setting",
    [
        "resume=false",
        "seed=0",
        "loader.batch_size=1",
        "loader.resident=null",
        "optimizer.lr=3e-4",
        "optimizer.lr=1",
        "name=a b",
        "data.test_speakers=[theo,7]",
        "data.root=???",
        f"{STEPS}.gain=null",
        f"{STEPS}.gain.gain_db=[6,6]",
    ],
)
def test_a_setting_that_fits_passes(setting: str) -> None:
    assert checked(lambda cfg: "answer", OmegaConf.from_dotlist([setting])) == "answer"


def test_the_message_names_what_was_set_and_not_what_follows_from_it() -> None:
    cfg = OmegaConf.create({"frontend": {"sample_rate": "${sample_rate}"}, "sample_rate": 1})
    with pytest.raises(KwsError, match="^sample_rate must be"):
        check_settings(cfg)


def test_every_demand_is_on_a_setting_that_there_is() -> None:
    """A key that was renamed would otherwise no longer be looked at."""
    choices = [(name,) for name in primary_names() if name != "pipeline"]
    choices += [
        ("train", "augment=robust", "data=mixed", "optimizer=adamw", "backbone=ds_cnn"),
        ("train", "data=speech_commands", "sweep=optuna"),
        ("export", "quantize=int8"),
    ]
    keys = {key for choice in choices for key, _ in settings_in(raw(*choice))}
    patterns = [pattern for _, patterns in DEMANDS for pattern in patterns.split()]
    assert len(patterns) > 100
    unused = [pattern for pattern in patterns if not fnmatch.filter(keys, pattern)]
    assert unused == []


def raw(primary: str, *overrides: str) -> dict:
    with initialize_config_dir(CONFIG_DIR):
        return OmegaConf.to_container(compose(primary, list(overrides)))
