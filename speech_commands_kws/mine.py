"""Keep the worst false alarms of a streaming model as clips for the next training: `kws mine input=FOLDER`."""

import logging
from itertools import chain
from pathlib import Path

import hydra
from omegaconf import DictConfig

from speech_commands_kws.assembly.streaming import find_streaming
from speech_commands_kws.audio.locate import STANDARD_INPUT, recordings
from speech_commands_kws.cli.launch import (
    CONFIG_DIR,
    EXECUTION_WHITELIST,
    hiding_passwords,
    names_given,
    run_answering,
)
from speech_commands_kws.cli.terminal import progress
from speech_commands_kws.errors import KwsError, display_name
from speech_commands_kws.evaluation.streaming.alarm_rates import SECONDS_PER_HOUR
from speech_commands_kws.evaluation.streaming.mining import AlarmMiner, known_places, write_alarms
from speech_commands_kws.evaluation.streaming.transcripts import spellings_of, without_keywords
from speech_commands_kws.files.atomic import make_writable
from speech_commands_kws.inference.streaming import StreamingModel
from speech_commands_kws.labels import keywords_of
from speech_commands_kws.tracking.runs import here

LOG = logging.getLogger(__name__)


def run(cfg: DictConfig) -> float:
    """Write the clips, after an interruption those found by then, and a line about them; return alarms an hour."""
    found, folder = recordings_of(cfg.input), Path(str(cfg.output)).expanduser()
    model = StreamingModel(find_streaming(cfg))
    found = without_keywords(found, spellings_of(keywords_of(model.info.labels), cfg.homophones))
    paths = list(chain.from_iterable(found.values()))
    kept_around = cfg.before_seconds, cfg.after_seconds
    miner = AlarmMiner(
        model, cfg.threshold, cfg.worst, *kept_around, cfg.block_seconds, known_places(folder)
    )
    make_writable(folder)
    try:
        for path in progress(paths, doing="listening"):
            miner.hear(path)
    finally:
        if miner.seconds:
            write_alarms(miner.kept, folder, miner.rate)
            print(summary(miner, cfg.threshold, folder))
            warn_of_keywords(miner, cfg.sure, folder)
    return miner.alarms.total() / miner.seconds * SECONDS_PER_HOUR if miner.seconds else 0.0


def recordings_of(names: object) -> dict[Path, list[Path]]:
    """Recordings by folder: that named, or that in which those of a name lie. Standard input has no place to name."""
    found: dict[Path, list[Path]] = {}
    for name in names_given(names, "expected sound without keywords, got none: add input=FOLDER"):
        if name == STANDARD_INPUT:
            raise KwsError("expected files or folders of recordings as input, got standard input")
        paths = list(recordings(name))
        above = (paths[0], *paths[0].parents)
        shared = (place for place in above if all(path.is_relative_to(place) for path in paths))
        folder = Path(name) if Path(name).is_dir() else next(shared)
        found.setdefault(folder, []).extend(paths)
    return found


def warn_of_keywords(miner: AlarmMiner, sure: DictConfig, folder: Path) -> None:
    """Doubt that the sound is without keywords. A model that has heard clips alone is wrong as often without them."""
    count = sum(score > sure.score for score in miner.scores)
    rate = count / miner.seconds * SECONDS_PER_HOUR
    if rate > sure.an_hour and miner.model.info.training.get("streams"):
        LOG.warning(
            "%.0f false alarms an hour have a score above %s, as where the keywords are said: listen to the clips in "
            "%s, and delete those of keywords before you train",
            rate,
            sure.score,
            display_name(here(folder)),
        )


def summary(miner: AlarmMiner, threshold: float, folder: Path) -> str:
    hours, count = miner.seconds / SECONDS_PER_HOUR, miner.alarms.total()
    keywords = ", ".join(
        f"{display_name(keyword)} {found}" for keyword, found in miner.alarms.most_common()
    )
    kept = f"{len(miner.kept)} new in {display_name(here(folder))}"
    if miner.kept:
        kept += f", scores from {miner.kept[-1].score:.2f} to {miner.kept[0].score:.2f}"
    which = f" ({keywords})" if keywords else ""
    return f"{hours:.2f} h: {count} false alarms above {threshold}{which}, {count / hours:.1f} an hour; {kept}"


@hiding_passwords
@hydra.main(config_path=CONFIG_DIR, config_name="mine", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg: DictConfig) -> None:
    run_answering(run, cfg)


if __name__ == "__main__":
    main()
