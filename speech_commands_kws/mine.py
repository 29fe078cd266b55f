"""Keep the worst false alarms of a streaming model as clips for the next training: `kws mine input=FOLDER`."""

from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from speech_commands_kws.assembly.streaming import find_streaming
from speech_commands_kws.audio.locate import recordings
from speech_commands_kws.cli.launch import (
    CONFIG_DIR,
    EXECUTION_WHITELIST,
    hiding_passwords,
    run_answering,
)
from speech_commands_kws.cli.terminal import progress
from speech_commands_kws.errors import KwsError, display_name
from speech_commands_kws.evaluation.streaming.alarm_rates import SECONDS_PER_HOUR
from speech_commands_kws.evaluation.streaming.mining import AlarmMiner, known_places, write_alarms
from speech_commands_kws.inference.streaming import StreamingModel
from speech_commands_kws.tracking.runs import here


def run(cfg: DictConfig) -> float:
    """Write the clips, after an interruption those found by then, and a line about them; return alarms an hour."""
    paths, folder = recordings_of(cfg.input), Path(str(cfg.output)).expanduser()
    model = StreamingModel(find_streaming(cfg))
    kept_around = cfg.before_seconds, cfg.after_seconds
    miner = AlarmMiner(
        model, cfg.threshold, cfg.worst, *kept_around, cfg.block_seconds, known_places(folder)
    )
    try:
        for path in progress(paths, doing="listening"):
            miner.hear(path)
    finally:
        if miner.seconds:
            write_alarms(miner.kept, folder, miner.rate)
            print(summary(miner, cfg.threshold, folder))
    return miner.alarms.total() / miner.seconds * SECONDS_PER_HOUR if miner.seconds else 0.0


def recordings_of(names: object) -> list[Path]:
    """The recordings in one file or folder or in several; no standard input, which has no place to name."""
    names = OmegaConf.to_object(names) if OmegaConf.is_config(names) else [names]
    if names in ([], [None]):
        raise KwsError("expected sound without keywords, got none: add input=FOLDER")
    found = [path for name in names for path in recordings(str(name)) if isinstance(path, Path)]
    if not found:
        raise KwsError("expected files or folders of recordings as input, got standard input")
    return found


def summary(miner: AlarmMiner, threshold: float, folder: Path) -> str:
    hours, count = miner.seconds / SECONDS_PER_HOUR, miner.alarms.total()
    keywords = ", ".join(
        f"{display_name(keyword)} {found}" for keyword, found in miner.alarms.most_common()
    )
    kept = f"{len(miner.kept)} new in {display_name(here(folder))}"
    if miner.kept:
        kept += f", scores from {miner.kept[-1].score:.2f} to {miner.kept[0].score:.2f}"
    return f"{hours:.2f} h: {count} false alarms above {threshold} ({keywords}), {count / hours:.1f} an hour; {kept}"


@hiding_passwords
@hydra.main(config_path=CONFIG_DIR, config_name="mine", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg: DictConfig) -> None:
    run_answering(run, cfg)


if __name__ == "__main__":
    main()
