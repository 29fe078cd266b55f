import shutil

import numpy as np
import pytest
import soundfile
from hydra import compose, initialize_config_dir
from tone_trainings import built
from tones import make_tree

from speech_commands_kws.assembly.module import build_streams
from speech_commands_kws.audio.writing import write_wav
from speech_commands_kws.cli.launch import CONFIG_DIR
from speech_commands_kws.errors import KwsError


@pytest.mark.parametrize("augment, warned", [("recipe", True), ("robust", True), ("none", False)])
def test_training_without_noise_recordings_is_told(tmp_path, caplog, augment, warned):
    tree = make_tree(tmp_path / "tree", takes=2)
    shutil.rmtree(tree / "_background_noise_")
    more = ["task.silence=false", f"augment={augment}"]
    if augment == "robust":
        more.append("augment.waveform.steps.reverberation.rooms.rooms=2")
    built(tree, tmp_path, *more)
    assert ("no background noise to train with" in caplog.text) is warned


def test_noise_shorter_than_a_clip_is_trained_with(tmp_path):
    tree = make_tree(tmp_path / "tree", takes=2)
    hiss, rate = soundfile.read(tree / "_background_noise_" / "hiss.wav")
    soundfile.write(tree / "_background_noise_" / "hiss.wav", hiss[:4_000], rate)
    noise = dict(built(tree, tmp_path, "augment=recipe").named_buffers())["waveform_augment.noise"]
    assert len(noise) == 16_000 and noise[:4_000].equal(noise[4_000:8_000])


def test_clips_too_short_for_the_network_are_one_clear_error(tree, tmp_path):
    wanted = "do not take clips of 160 samples .*change clip_seconds, frontend"
    with pytest.raises(KwsError, match=wanted):
        built(tree, tmp_path, "clip_seconds=0.01")


def test_one_batch_for_an_epoch_is_said(tree, tmp_path, caplog):
    built(tree, tmp_path, "loader.batch_size=1000")
    assert "one batch holds all clips of an epoch" in caplog.text


def test_its_facts_say_what_it_takes_and_where_it_comes_from(tree, tmp_path):
    module = built(tree, tmp_path, "seed=5", "augment.noise_held_out=0.2")
    wanted = {"sample_rate": 16000, "clip_samples": 16000, "seed": 5, "noise_held_out": 0.2}
    assert module.facts.items() >= wanted.items()
    assert module.facts["data_description"] == "recordings from a folder"
    assert module.facts["data_made_by"] is None
    assert module.facts["labels"] == ["_silence_", "_unknown_", "yes", "no"]
    assert module.facts["backbone"]["name"] == "BCResNet"
    assert module.facts["parameters"] == sum(each.numel() for each in module.spotter.parameters())


def test_streams_need_a_backbone_that_listens_to_them(tree, tmp_path):
    with pytest.raises(KwsError, match="add backbone=bc_resnet_streaming"):
        built(tree, tmp_path, "streams=default")


def test_facts_of_a_training_on_streams_tell_its_negatives_apart(tree, tmp_path):
    write_wav(tmp_path / "talk/one.wav", np.full(16_000, 0.25), 16_000)
    small = ["backbone=bc_resnet_streaming_small", "experiment=streams", "init=null"]
    given = [*small, f"streams.negatives={tmp_path}/talk"]
    first = built(tree, tmp_path, *given).facts["streams_fingerprint"]
    write_wav(tmp_path / "talk/one.wav", np.full(16_000, 0.5), 16_000)
    assert built(tree, tmp_path, *given).facts["streams_fingerprint"] != first


def test_streams_of_synthetic_speech_lie_over_talk_that_is_made_once(tmp_path):
    pytest.importorskip("espeakng_loader", reason="the extra `synthetic` is not installed")

    def speech(*given):
        talk = [
            "data.talk.accents=[en-us]",
            "data.talk.block_seconds=8",
            "data.talk.hours=[0.005,0]",
        ]
        overrides = [f"paths.root={tmp_path}", "name=test", "streams=default", *talk, *given]
        with initialize_config_dir(CONFIG_DIR):
            cfg = compose("train", overrides)
        return build_streams(cfg, ["_unknown_", "yes"]).speech

    heard = speech()
    (folder,) = (tmp_path / "data/corpora").iterdir()
    assert len(heard) == 16 * 16_000 and len(list(folder.rglob("*.wav"))) == 2
    (folder / "train/0001.wav").unlink()
    assert len(speech()) == 8 * 16_000
    shutil.rmtree(folder / "train")
    write_wav(folder / "other/one.wav", heard[: 5 * 16_000].numpy() / 2**15, 16_000)
    assert len(speech(f"streams.negatives={folder}/other")) == 5 * 16_000
    assert len(speech("data.talk=null")) == 0
