"""Settings of export, quantisation and serving that make no sense are one line before anything is done."""

import pytest
from omegaconf import OmegaConf

from speech_commands_kws.cli.launch import checked
from speech_commands_kws.errors import KwsError

COUNT, NATURAL = "a whole number of 1 or more", "a whole number of 0 or more"
PORT, SHARE = "a whole number from 1 to 65535", "a number from 0 to 1"
POSITIVE, NOT_NEGATIVE = "a number above 0", "a number of 0 or more"
COUNTS = "a list, each a whole number of 1 or more, at least one"
BAD = {
    COUNT: (
        "parity.clips=0 latency.repeats=0 card.bins=x card.worst=-1 batch_size=0 opset=x "
        "quantize.calibration_clips=-1 triton.instances=0 triton.versions_kept=-1 "
        "triton.max_batch_size=x watch.faults=0 watch.looks=0 server.exit_seconds=0.5"
    ),
    NATURAL: "latency.warm_up=-1 triton.queue_delay_us=x watch.restarts=-1 server.log_verbose=-1",
    PORT: "server.http_port=0 server.grpc_port=65536 server.metrics_port=x",
    SHARE: "detection.false_alarm_rate=2 quantize.gate.agreement=5 quantize.gate.accuracy_loss=-1",
    POSITIVE: (
        "parity.tolerance=0 parity.tolerance=.inf detection.hop_seconds=-1 watch.every_seconds=x "
        "watch.start_seconds=0 watch.timeout_seconds=.nan container.cpus=-1"
    ),
    NOT_NEGATIVE: "registration.gate.latency_ms=-1 registration.gate.accuracy_loss=x",
    COUNTS: "parity.batch_sizes=[] parity.batch_sizes=2 parity.batch_sizes=[1,0]",
}
SETTINGS = [(setting, demand) for demand, texts in BAD.items() for setting in texts.split()]


@pytest.mark.parametrize(("setting", "demand"), SETTINGS)
def test_a_setting_that_makes_no_sense_is_one_line(setting: str, demand: str) -> None:
    key, _, value = setting.partition("=")
    with pytest.raises(KwsError) as mistake:
        checked(lambda cfg: None, OmegaConf.from_dotlist([f"{key}={value}"]))
    assert str(mistake.value).startswith(f"{key} must be {demand}, got ")
