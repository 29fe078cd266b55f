import numpy as np
import pytest
import torch

from speech_commands_kws.data.packed import SILENT_ROW, PackedClips
from speech_commands_kws.data.training_batches import (
    ResidentClips,
    TrainingClips,
    as_waveforms,
    fits,
)

CPU = torch.device("cpu")


@pytest.fixture
def packed() -> PackedClips:
    generator = np.random.default_rng(0)
    clips = generator.integers(-(2**15), 2**15, (5, 16), dtype=np.int16)
    return PackedClips([f"yes/{i}.wav" for i in range(5)], clips, {}, [], {}, "")


def test_clips_on_the_device_are_those_of_the_memory_map(packed, monkeypatch):
    monkeypatch.setattr("speech_commands_kws.data.training_batches.CLIPS_AT_ONCE", 2)
    rows = np.array([4, SILENT_ROW, 0, 4])
    mapped, targets = TrainingClips(packed, np.arange(5), 7)[rows]
    assert torch.equal(ResidentClips(packed, CPU)[torch.from_numpy(rows)], mapped)
    assert np.array_equal(as_waveforms(mapped)[[0, 2]], packed.waveforms(rows[[0, 2]]))
    assert targets.tolist() == [4, 7, 0, 4] and mapped[1].abs().max() == 0 < mapped[0].abs().max()


@pytest.mark.parametrize(("share", "fit"), [(2, False), (3, True)])
def test_clips_fit_into_half_of_a_gpu_alone(packed, monkeypatch, share, fit):
    free = packed.clips.nbytes * share
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, free))
    assert fits(packed, torch.device("cuda")) is fit
    assert not fits(packed, CPU)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_clips_on_a_gpu_are_those_of_the_memory_map(packed):
    device = torch.device("cuda")
    rows = torch.tensor([3, SILENT_ROW], device=device)
    found = ResidentClips(packed, device)[rows]
    assert found.device.type == "cuda"
    assert np.array_equal(found[0].cpu(), packed.clips[3])
