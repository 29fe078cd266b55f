"""The default data: a Speech Commands tree of synthetic speech, generated on this machine by the engines of `voices`.

A speaker is one fixed combination of a voice, speed, size, level and noise floor. Equal settings give equal trees, byte
for byte, as long as the libraries and the processor are the same.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from speech_commands_kws.audio.writing import write_wav
from speech_commands_kws.data.speech_tree import (
    SPEECH_COMMANDS_PATTERN,
    TRAIN,
    SpeechTree,
    assign_splits,
    audio_paths,
    words_and_speakers,
    write_split_lists,
)
from speech_commands_kws.data.synthesis.clips import SEEDS, Babble, Chunk, Line, Take, run_chunks
from speech_commands_kws.data.synthesis.language import (
    ENGLISH,
    common_words,
    lines_of,
    unknown_words,
)
from speech_commands_kws.data.synthesis.near_misses import OtherWords, choose_others
from speech_commands_kws.data.synthesis.noise import coloured_noise, mains_hum, set_level
from speech_commands_kws.data.synthesis.speakers import (
    Person,
    Speaker,
    Voices,
    cast_person,
    check_casting,
    origins_of,
    settings_of_voices,
    speaker_name,
    speaking,
)
from speech_commands_kws.data.words import check_words
from speech_commands_kws.errors import (
    check_number,
    check_positive,
    check_range,
    check_texts,
    check_whole,
)
from speech_commands_kws.files.whole_folder import make_whole
from speech_commands_kws.labels import BACKGROUND_NOISE

# Raise it when equal settings give another tree than before.
GENERATOR = 3
FACTS_FILE = "synthetic.json"
HASH_DIGITS = 8
# Streams of random numbers, independent of that of the speakers' voices.
TAKES_STREAM, NOISE_STREAM, LEVEL_STREAM = 1, 2, 3


@dataclass(frozen=True)
class SyntheticSource:
    """Which words are spoken, by whom and how.

    Pairs are the lowest and highest of a uniform draw for each speaker. The `*_jitter` are how far
    a take may be from its speaker's speed (as a share) and level. Who speaks, `Casting` explains; speakers
    get names that the published rule puts into their split. `accents` are espeak-ng's languages by
    which it is decided what sounds alike.

    `near_misses` words that sound like it are spoken for each keyword, those of `near_miss_candidates` within
    `near_miss_distance`; 0 speaks none. Candidates, `unknown_words` and a `babble_text` of None are common words of the
    `language`.
    """

    parent: str
    words: Sequence[str]
    unknown_words: Sequence[str] | None
    speakers: int
    takes_per_word: int
    unknown_per_speaker: int
    accents: Sequence[str]
    voices: Mapping[str, Voices]
    shares: Mapping[str, float]
    held_out: str | None
    speed: Sequence[float]
    size: Sequence[float]
    level_db: Sequence[float]
    floor_db: Sequence[float]
    floor_colour: Sequence[float]
    position: Sequence[float]
    speed_jitter: float
    level_jitter_db: float
    sample_rate: int
    clip_seconds: float
    noise_seconds: float
    noise_colours: dict[str, float]
    noise_level_db: float
    hum_hz: Sequence[float]
    hum_level_db: float
    babbles: int
    babble_voices: int
    babble_level_db: float
    babble_text: str | None
    speakers_per_chunk: int
    seed: int
    # Runs from before there were any have no settings for them.
    near_misses: int = 0
    near_misses_per_speaker: int = 0
    near_miss_distance: float = 0.0
    near_miss_candidates: Sequence[str] | None = None
    language: str = ENGLISH

    def __post_init__(self) -> None:
        check_texts(words=self.words, accents=self.accents)
        check_casting(self)
        self._add_words_of_the_language()
        check_words(words=self.words, unknown_words=self.unknown_words)
        check_words(near_miss_candidates=self.near_miss_candidates)
        check_whole(takes_per_word=self.takes_per_word, speakers_per_chunk=self.speakers_per_chunk)
        check_whole(
            0,
            unknown_per_speaker=self.unknown_per_speaker,
            near_misses=self.near_misses,
            near_misses_per_speaker=self.near_misses_per_speaker,
            babbles=self.babbles,
            seed=self.seed,
        )
        check_whole(sample_rate=self.sample_rate, babble_voices=self.babble_voices)
        check_positive(clip_seconds=self.clip_seconds)
        check_number(1, noise_seconds=self.noise_seconds)
        check_number(0, 1, speed_jitter=self.speed_jitter)
        check_range(0, 1, position=self.position)
        check_range(floor_db=self.floor_db, floor_colour=self.floor_colour)

    def _add_words_of_the_language(self) -> None:
        others = unknown_words(self.language)
        given = {
            "unknown_words": others,
            "babble_text": " ".join(lines_of(others)),
            "near_miss_candidates": common_words(self.language),
        }
        for name, words in given.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, words)  # before anybody has read the frozen field

    def prepare(self) -> SpeechTree:
        """Make the tree `<parent>/synthetic-<hash of the settings>` unless it is there.

        Raises KwsError where an engine that speaks is missing.
        """
        root = Path(self.parent).absolute() / f"synthetic-{settings_hash(self)}"
        if not root.is_dir():
            origins = origins_of(self)
            make_whole(root, lambda part: write_tree(self, origins, part))
        facts = json.loads((root / FACTS_FILE).read_text(encoding="utf-8"))
        near = tuple(chain.from_iterable(facts["near_misses"].values()))
        return SpeechTree(root, made_by=facts["made_by"], near_misses=near)


def settings_hash(source: SyntheticSource) -> str:
    """Names the tree: equal for equal settings, wherever the tree lies."""
    return hashlib.sha1(json.dumps(settings(source)).encode()).hexdigest()[:HASH_DIGITS]


def settings(source: SyntheticSource) -> dict[str, Any]:
    """All that decides about the content of the tree, as plain data."""
    candidates = source.near_miss_candidates
    if candidates == common_words(source.language):
        candidates = hashlib.sha1(" ".join(candidates).encode()).hexdigest()
    facts = {"parent": None, "generator": GENERATOR, "near_miss_candidates": candidates}
    given = {**asdict(source), "voices": settings_of_voices(source), **facts}
    del given["language"]  # is in accents, words and voices
    return given


def cast_speaker(source: SyntheticSource, number: int) -> Speaker:
    """The speaker of that number, the same however many there are."""
    person, split = cast_person(source, number)
    generator = np.random.default_rng([source.seed, number, LEVEL_STREAM])
    return Speaker(
        name=speaker_name(source.seed, number, split),
        person=person,
        level_db=generator.uniform(*source.level_db),
        floor_db=generator.uniform(*source.floor_db),
        floor_colour=generator.uniform(*source.floor_colour),
    )


def words_to_say(source: SyntheticSource, number: int, others: OtherWords) -> list[str]:
    """Every keyword `takes_per_word` times, then the speaker's shares of the other words.

    These go round, so that each is said about as often.
    """
    return [
        *(word for word in source.words for _ in range(source.takes_per_word)),
        *share(others.unknown, number, source.unknown_per_speaker),
        *share(others.near_in_turn, number, source.near_misses_per_speaker),
    ]


def share(words: Sequence[str], number: int, count: int) -> list[str]:
    """The speaker's `count` words of a list that goes round."""
    first = number * count
    return [words[(first + i) % len(words)] for i in range(count if words else 0)]


def plan_takes(source: SyntheticSource, number: int, others: OtherWords) -> list[Take]:
    """All clips of one speaker, in the order in which they are spoken."""
    speaker = cast_speaker(source, number)
    generator = np.random.default_rng([source.seed, number, TAKES_STREAM])
    spoken: Counter[str] = Counter()
    takes = []
    for word in words_to_say(source, number, others):
        takes.append(
            Take(
                path=f"{word}/{speaker.name}_nohash_{spoken[word]}.wav",
                line=line_of(source, word, speaker.person, generator),
                position=generator.uniform(*source.position),
                level_db=speaker.level_db + source.level_jitter_db * generator.uniform(-1, 1),
                floor_db=speaker.floor_db,
                floor_colour=speaker.floor_colour,
                noise_seed=int(generator.integers(SEEDS)),
            )
        )
        spoken[word] += 1
    return takes


def line_of(
    source: SyntheticSource, text: str, person: Person, generator: np.random.Generator
) -> Line:
    """The text as the person says it this time."""
    speed = person.speed * (1 + source.speed_jitter * generator.uniform(-1, 1))
    return Line(text, replace(person, speed=speed), int(generator.integers(SEEDS)))


def plan_babbles(source: SyntheticSource) -> list[Babble]:
    """Background recordings of training voices that talk at once."""
    people = [cast_person(source, number) for number in range(source.speakers)]
    trained = [person for person, split in people if split == TRAIN]
    generator = np.random.default_rng([source.seed, NOISE_STREAM])
    return [
        Babble(
            path=f"{BACKGROUND_NOISE}/babble_{i}.wav",
            lines=[
                line_of(source, source.babble_text, trained[chosen], generator)
                for chosen in generator.choice(len(trained), source.babble_voices)
            ],
            seconds=source.noise_seconds,
            level_db=source.babble_level_db,
            seed=int(generator.integers(SEEDS)),
        )
        for i in range(source.babbles)
    ]


def plan_chunks(source: SyntheticSource, root: Path, others: OtherWords) -> list[Chunk]:
    """Work for one process each; the same chunks however many processes there are."""
    clip_samples = round(source.clip_seconds * source.sample_rate)
    chunk = partial(Chunk, str(root), speaking(source), source.sample_rate, clip_samples)
    numbers, size = range(source.speakers), source.speakers_per_chunk
    groups = [numbers[i : i + size] for i in numbers[::size]]
    spoken = [[take for i in group for take in plan_takes(source, i, others)] for group in groups]
    return [chunk(takes, []) for takes in spoken] + [
        chunk([], [babble]) for babble in plan_babbles(source)
    ]


def write_tree(source: SyntheticSource, origins: Mapping[str, str], root: Path) -> None:
    """Fill the empty folder `root`, with a progress bar; `origins` are those of the engines."""
    write_noise(source, root)
    others = choose_others(
        words=source.words,
        unknown_words=source.unknown_words,
        candidates=source.near_miss_candidates,
        accents=source.accents,
        count=source.near_misses,
        farthest=source.near_miss_distance,
    )
    facts = {
        "description": "Synthetic speech, not recordings of people.",
        "made_by": ", ".join(origins.values()),
        "settings": settings(source),
        "near_misses": others.near,
        "speakers": [asdict(cast_speaker(source, number)) for number in range(source.speakers)],
    }
    (root / FACTS_FILE).write_text(json.dumps(facts, indent=1), encoding="utf-8")
    run_chunks(plan_chunks(source, root, others))
    write_lists(root)


def write_lists(root: Path) -> None:
    """The split lists, in the published form; they say what the rule says."""
    paths, _ = audio_paths(root, SPEECH_COMMANDS_PATTERN)
    words, speakers = words_and_speakers(paths, SPEECH_COMMANDS_PATTERN)
    write_split_lists(root, paths, assign_splits(SpeechTree(root), paths, words, speakers))


def write_noise(source: SyntheticSource, root: Path) -> None:
    """Coloured noise and mains hum; the babble is spoken with the clips."""
    samples = round(source.noise_seconds * source.sample_rate)
    generator = np.random.default_rng([source.seed, NOISE_STREAM])
    folder = root / BACKGROUND_NOISE
    for name, colour in source.noise_colours.items():
        noise = coloured_noise(samples, colour, source.sample_rate, generator)
        write_wav(
            folder / f"{name}.wav", set_level(noise, source.noise_level_db), source.sample_rate
        )
    for mains_hz in source.hum_hz:
        hum = mains_hum(samples, mains_hz, source.sample_rate, generator)
        path = folder / f"mains_hum_{mains_hz:g}_hz.wav"
        write_wav(path, set_level(hum, source.hum_level_db), source.sample_rate)
