import numpy as np
import pytest
from omegaconf import OmegaConf

from speech_commands_kws.assembly.run_data import recorded_split, sample_evenly
from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.model_info import ModelInfo

SOURCE = "speech_commands_kws.data.sources.folder.FolderSource"


def test_recordings_that_have_moved_are_one_clear_error(tmp_path):
    settings = {"test_root": None, "words": None, "pattern": "x", "hint": "set data.root"}
    settings |= {"validation_speakers": [], "test_speakers": []}
    settings |= {"validation_percent": 10, "test_percent": 10}
    source = {"_target_": SOURCE, "root": str(tmp_path / "gone"), **settings}
    loader = {"silence_volume": 1.0, "cache": str(tmp_path), "seed": 0}
    saved = OmegaConf.create({"data": {"source": source}, "loader": loader})
    with pytest.raises(KwsError, match="gone.*correct their place in the run's config.yaml"):
        recorded_split(saved, ModelInfo(("yes", "no"), 16_000, 16_000, {}, {}))


def test_clips_are_sampled_evenly():
    class Clips:
        def __len__(self):
            return 9

        def waveforms(self, part):
            return np.arange(9)[part, None]

    assert sample_evenly(Clips(), 3).ravel().tolist() == [0, 4, 8]
    assert len(sample_evenly(Clips(), 100)) == 9
