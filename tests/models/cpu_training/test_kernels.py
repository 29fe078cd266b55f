"""Same seed, same digits: loops that were just compiled round as those do that were compiled before."""

import os
import subprocess
import sys

import pytest

# The stem alone, which compiles in seconds; the norms of all other passes call the same loops.
STEP = """
import hashlib
import torch
from speech_commands_kws.models.bc_resnet import BCResNet
from speech_commands_kws.models.cpu_training.passes import StemPass
from speech_commands_kws.models.thread_team import ThreadTeam
from speech_commands_kws.models.cpu_training.workspace import Workspace

torch.manual_seed(0)
stem = BCResNet(4, 40, 1, 5, 0.1, fast_training=True).stem
found = StemPass(stem, ThreadTeam(), Workspace()).forward(torch.randn(16, 1, 40, 101))
print(hashlib.sha256(found.scale.tobytes() + found.shift.tobytes()).hexdigest())
"""


@pytest.mark.integration
def test_the_first_training_and_later_ones_compute_the_same_digits(tmp_path):
    def step() -> str:
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", STEP], env=environment, check=True, capture_output=True
        )
        return done.stdout.decode()

    first = step()
    compiled = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")}
    assert compiled
    assert step() == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")} == compiled
