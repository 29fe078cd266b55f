"""False alarms of a streaming model on sound without keywords, kept as clips that the next training hears.

Legend: T samples.
"""

import csv
from collections import Counter
from heapq import nlargest
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import numpy as np

from speech_commands_kws.audio.takes import keep
from speech_commands_kws.audio.writing import INT16_SCALE, to_int16
from speech_commands_kws.errors import KwsError, check_positive, check_whole
from speech_commands_kws.evaluation.streaming.streams import blocks_of, readable
from speech_commands_kws.files.atomic import write_whole
from speech_commands_kws.inference.detector import MS_PER_SECOND, Detector, Event
from speech_commands_kws.inference.listener import detector_settings
from speech_commands_kws.inference.streaming import StreamingModel

TABLE = "false_alarms.csv"
COLUMNS = ("clip", "recording", "second", "keyword", "score")


class FalseAlarm(NamedTuple):
    """Where a keyword was heard: in which recording, at which second it was most probable, and how probable.

    Attributes:
        clip: the sound around it, int16 (T,).
    """

    recording: str
    second: float
    keyword: str
    score: float
    clip: np.ndarray


class AlarmMiner:
    """Listens to recordings, and keeps the worst false alarms.

    Args:
        threshold: from which probability on a keyword counts; the rest of the detector is that of the model.
        worst: so many are kept.
        before_seconds, after_seconds: of the sound around an alarm; of two that share more than half of it the worse
            one is kept.
        block_seconds: the model begins anew after so much of a recording.
        known: recordings and seconds of earlier alarms, which are counted and not kept again.

    Attributes:
        seconds: of sound heard.
        alarms: their number by keyword.
        scores: the highest probability of each.
        kept: the worst ones, the worst first.

    Raises:
        SettingError: a value out of its range.
    """

    def __init__(
        self,
        model: StreamingModel,
        threshold: float,
        worst: int,
        before_seconds: float,
        after_seconds: float,
        block_seconds: float,
        known: dict[str, list[float]],
    ) -> None:
        check_whole(worst=worst)
        check_positive(before_seconds=before_seconds, after_seconds=after_seconds)
        check_positive(block_seconds=block_seconds)
        settings = detector_settings(model.info.detector, threshold, model.model)
        self.detector = Detector.from_settings(model.info.labels, model.frame_ms, settings)
        self.model, self.worst, self.known = model, worst, known
        self.before, self.after = before_seconds, after_seconds
        self.rate = model.info.sample_rate
        self.block_samples = round(block_seconds * self.rate)
        self.seconds = 0.0
        self.alarms: Counter[str] = Counter(dict.fromkeys(self.detector.thresholds, 0))
        self.scores: list[float] = []
        self.kept: list[FalseAlarm] = []

    def hear(self, path: Path) -> None:
        """A recording, as far as it can be read."""
        begin = 0.0
        for block in blocks_of(readable(path, self.rate), self.block_samples):
            if len(block) >= self.model.hop_samples:
                found = self._found(block, str(path.absolute()), begin)
                self.kept = nlargest(self.worst, [*self.kept, *found], key=score_of)
            begin += len(block) / self.rate
            self.seconds += len(block) / self.rate

    def _found(self, block: np.ndarray, recording: str, begin: float) -> list[FalseAlarm]:
        """The alarms in a block that begins at a second of its recording, but those at a known place."""
        rows = self.model.rows(block)
        self.detector.reset()
        events = self.detector(rows)
        self.alarms.update(event.keyword for event in events)
        alarms = [self._alarm(event, rows, block, recording, begin) for event in events]
        self.scores += map(score_of, alarms)
        taken, found = list(self.known.get(recording, ())), []
        for alarm in sorted(alarms, key=score_of, reverse=True):
            if all(abs(alarm.second - second) > (self.before + self.after) / 2 for second in taken):
                taken.append(alarm.second)
                found.append(alarm)
        return found

    def _alarm(
        self, event: Event, rows: np.ndarray, block: np.ndarray, recording: str, begin: float
    ) -> FalseAlarm:
        """An alarm at its highest probability, which may come after the decision."""
        frames = MS_PER_SECOND / self.model.frame_ms
        first, column = round(event.start * frames), self.detector.labels.index(event.keyword)
        scores = rows[first:, column]
        is_over = scores < self.detector.off[column]
        scores = scores[: is_over.argmax()] if is_over.any() else scores
        second = (first + int(scores.argmax()) + 1) / frames
        start = max(round((second - self.before) * self.rate), 0)
        clip = to_int16(block[start : round((second + self.after) * self.rate)])
        return FalseAlarm(recording, begin + second, event.keyword, float(scores.max()), clip)


def score_of(alarm: FalseAlarm) -> float:
    return alarm.score


def known_places(folder: Path) -> dict[str, list[float]]:
    """Recordings and seconds of the alarms that `write_alarms` has put into a folder, those whose clip is gone too.

    Raises:
        KwsError: the table is no such table.
    """
    places: dict[str, list[float]] = {}
    try:
        for row in table_of(folder):
            places.setdefault(row["recording"], []).append(float(row["second"]))
    except (KeyError, TypeError, ValueError) as error:
        raise KwsError(
            f"{folder / TABLE} is damaged ({error}): remove it, or choose another folder"
        ) from None
    return places


def table_of(folder: Path) -> list[dict[str, str]]:
    path = folder / TABLE
    if not path.is_file():
        return []
    return list(csv.DictReader(StringIO(path.read_text(encoding="utf-8"))))


def write_alarms(alarms: list[FalseAlarm], folder: Path, sample_rate: int) -> None:
    """Write `<folder>/<keyword>_nohash_<k>.wav` for each alarm, and its place into the table beside them."""
    rows = table_of(folder)
    for alarm in alarms:
        path = keep(alarm.clip / INT16_SCALE, sample_rate, folder, alarm.keyword)
        place = alarm.recording, f"{alarm.second:.2f}", alarm.keyword, f"{alarm.score:.4f}"
        rows.append(dict(zip(COLUMNS, (path.name, *place), strict=True)))
    text = StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(folder / TABLE, text.getvalue())
