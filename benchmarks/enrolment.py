"""A keyword added to a trained model: how well it is heard of whom, and how often other words are taken for it.

Protocol
    RUN was trained on words of Speech Commands of which WORDS are none. For each of these and each number of recordings
    some people are drawn who said it two times more often at least: of the validation split, whom RUN has not heard,
    where there are any, else of the training split. The rest of their clips of the word, and those of the validation
    split, are for measuring; nothing is of the test split. Ways to add the word:

    enroll       as `kws enroll` does it; SETTINGs are its own
    recordings   the same without synthetic voices (enrolment.spoken_share=0)
    voices       by the synthetic voices alone
    templates    the nearest recording by dynamic time warping (Berndt and Clifford 1994, "Using dynamic time warping to
                 find patterns in time series") of the frames that the network averages, by the cosine distance
    nearest      the nearest recording by the cosine distance of the averaged frames
    trained      `kws train init=RUN` of the recordings, each 20 times, and 40 training clips of each word of RUN
    classifier   the same with freeze=backbone

    All take a clip for the word above a threshold that the same share (enrolment.false_accepts) of other words exceeds:
    clips of RUN's words by half of the validation speakers. The other half tells how many really do, of RUN's words and
    of those that RUN has not heard either. Given are means over the people drawn, in brackets half of the
    95 % interval by the spread between them.

    python benchmarks/enrolment.py RUN SPEECH [METHOD...] [draws=3] [recordings=3,5,10] [words=yes,no] [SETTING=VALUE]

RUN has a model.onnx (`kws export`), SPEECH is data/speech_commands_v0.02 or like it. All but the trainings unless
methods are named; WORDS are the ten commands unless some are. Synthetic speech and trainings are left in
RUN/enrolments. Prints a table, and JSON on the last line.
"""

import json
import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table
from scipy.spatial.distance import cdist

from speech_commands_kws.assembly.enrolment import (
    BATCH_SIZE,
    enrolled_clips,
    spoken_embeddings,
    varied,
)
from speech_commands_kws.cli.launch import CONFIG_DIR, build
from speech_commands_kws.data.speech_tree import (
    SPEECH_COMMANDS_PATTERN,
    TESTING_LIST,
    TRAIN,
    VALIDATION,
    VALIDATION_LIST,
    SpeechTree,
    assign_splits,
    audio_paths,
    words_and_speakers,
)
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.inference.model_info import INPUT
from speech_commands_kws.labels import BACKGROUND_NOISE
from speech_commands_kws.models.checkpoint import load_spotter
from speech_commands_kws.packaging.enrolment import Spoken, find_classifier, lead, starting_row

METHODS = ("enroll", "recordings", "voices", "templates", "nearest")
OPTIONS = {
    "draws": "3",
    "recordings": "3,5,10",
    "words": "yes,no,up,down,left,right,on,off,stop,go",
}
LEFT_TO_MEASURE = 2
POOLED = 4  # frames of a template that are averaged
EACH_RECORDING, EACH_WORD = 20, 40
TRAINING = [
    *("data=folder", "task=all_folders", "augment=robust", "frontend.f_max=4000", "logger=none"),
    *("backbone.dropout=0.0", "optimizer.weight_decay=5e-4", "trainer.max_epochs=5"),
]
CLASSIFIER_ALONE = "freeze=backbone"
POOLING = ("Squeeze", "ReduceMean", "GlobalAveragePool", "Flatten", "Reshape")
HEADS = {
    "own": "the voice",
    "people": "other people",
    "own_wrong": "the voice's other words",
    "known_wrong": "others' known words",
    "new_wrong": "others' new words",
}


@dataclass(frozen=True)
class Draw:
    """A word enrolled by a person.

    Attributes:
        clips: numbers of the recordings.
        heard: whether the network was trained on other words of this person.
    """

    word: str
    voice: str
    clips: tuple[int, ...]
    heard: bool


class People:
    """The clips of the validation speakers, and of all who were drawn, with what the network makes of them."""

    def __init__(self, speech: Path, model: Path, words: Sequence[str], options: dict[str, str]):
        paths, _ = audio_paths(speech, SPEECH_COMMANDS_PATTERN)
        said, voices = words_and_speakers(paths, SPEECH_COMMANDS_PATTERN)
        splits = np.array(assign_splits(SpeechTree(speech), paths, said, voices))
        self.speech = speech
        self.info = OnnxBackend(model).info
        self.paths = np.array([speech / path for path in paths])
        self.said, self.voices = np.array(said), np.array(voices)
        self.known = np.isin(self.said, self.info.labels)
        self.training, self.validation = splits == TRAIN, splits == VALIDATION
        counts = map(int, options["recordings"].split(","))
        self.draws = {
            count: [
                draw for word in words for draw in self.drawn(word, count, int(options["draws"]))
            ]
            for count in counts
        }
        drawn = {draw.voice for draws in self.draws.values() for draw in draws}
        used = np.flatnonzero(self.validation | np.isin(self.voices, sorted(drawn)))
        self.place = {clip: i for i, clip in enumerate(used)}
        self.used = used
        self.waveforms = enrolled_clips(self.paths[used], self.info, -np.inf)
        speakers = np.unique(self.voices[self.validation])
        self.for_threshold = np.isin(self.voices, speakers[::2])

    def drawn(self, word: str, count: int, draws: int) -> list[Draw]:
        found = []
        for split in (self.validation, self.training):
            clips = defaultdict(list)
            for i in np.flatnonzero(split & (self.said == word)):
                clips[self.voices[i]].append(i)
            able = sorted(
                name for name, own in clips.items() if len(own) >= count + LEFT_TO_MEASURE
            )
            generator = random.Random(f"{word} {count}")
            for name in generator.sample(able, min(draws - len(found), len(able))):
                chosen = tuple(random.Random(f"{word} {name}").sample(clips[name], count))
                found.append(Draw(word, name, chosen, split is self.training))
        return found

    def figures(self, draw: Draw, scores: np.ndarray, share: float) -> dict[str, float]:
        """Shares of clips taken for the word by the scores of all used clips (higher is nearer)."""
        said, voices = self.said[self.used], self.voices[self.used]
        is_word, is_voice = said == draw.word, voices == draw.voice
        people = self.validation[self.used] & ~is_voice
        known, setting = self.known[self.used], self.for_threshold[self.used]
        taken = scores > np.quantile(scores[people & known & setting], 1 - share)
        enrolled = np.isin(self.used, draw.clips)
        groups = {
            "own": is_voice & is_word & ~enrolled,
            "people": people & is_word,
            "own_wrong": is_voice & ~is_word,
            "known_wrong": people & known & ~setting,
            "new_wrong": people & ~known & ~is_word & ~setting,
        }
        return {name: float(taken[group].mean()) for name, group in groups.items()}


def output_of(model: onnx.ModelProto, tensor: str) -> Callable[[np.ndarray], np.ndarray]:
    """From waveforms (n, T) to a tensor of the graph."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.output[:]
    changed.graph.output.append(onnx.ValueInfoProto(name=tensor))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        changed.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def run(waveforms: np.ndarray) -> np.ndarray:
        starts = range(0, len(waveforms), BATCH_SIZE)
        pieces = [waveforms[i : i + BATCH_SIZE] for i in starts]
        return np.concatenate([session.run(None, {INPUT: piece})[0] for piece in pieces])

    return run


class Network:
    """What the trained network makes of the clips of `people`.

    Attributes:
        embeddings: (n, E).
        frames: (n, F, E), those that are averaged to an embedding, averaged over `POOLED` of them, of length 1.
    """

    def __init__(self, people: People, path: Path, cfg: DictConfig):
        model = onnx.load(path)
        self.cfg, self.people = cfg, people
        self.classifier = find_classifier(model, path)
        self.start = starting_row(self.classifier, people.info)
        makers = {name: node for node in model.graph.node for name in node.output}
        (node,) = (each for each in model.graph.node if self.classifier.names[0] in each.input)
        inputs = [node.input[0]]
        while inputs[-1] in makers and makers[inputs[-1]].op_type in POOLING:
            inputs.append(makers[inputs[-1]].input[0])
        self.hear = output_of(model, inputs[-1])
        self.embeddings, self.frames = self.heard(people.waveforms)

    def heard(self, waveforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        frames = self.hear(waveforms)
        frames = frames.reshape(len(frames), self.classifier.weight.shape[1], -1)
        embeddings = frames.mean(axis=-1, dtype=float)
        frames = frames[..., : frames.shape[-1] // POOLED * POOLED]
        frames = frames.reshape(*frames.shape[:2], -1, POOLED).mean(axis=-1).transpose(0, 2, 1)
        lengths = np.linalg.norm(frames, axis=-1, keepdims=True)
        return embeddings, frames / np.maximum(lengths, 1e-9)

    def enroll(self, draw: Draw, spoken_share: float | None = None) -> np.ndarray:
        """Scores of all clips by the row of `kws enroll`; `spoken_share` takes the place of the configured one."""
        others = self.embeddings[self.setting(draw)]
        enrolment = build(self.cfg.enrolment)
        if spoken_share is not None:
            enrolment = replace(enrolment, spoken_share=spoken_share)
        word = self.recorded(draw) if enrolment.spoken_share < 1 else others[:0]
        spoken = (
            self.spoken(draw.word) if enrolment.spoken_share else Spoken(others[:0], others[:0])
        )
        weights, _ = enrolment.row(word, spoken, others, self.classifier, self.start)
        return lead(weights, self.embeddings, self.classifier)

    @cache
    def recorded(self, draw: Draw) -> np.ndarray:
        """(n, E) of the recordings and of their changed copies."""
        waveforms = self.people.waveforms[[self.people.place[i] for i in draw.clips]]
        seed = random.Random(draw.voice).getrandbits(32)
        clips = varied(waveforms, self.cfg.variants, build(self.cfg.effects), seed)
        return self.heard(clips.reshape(-1, clips.shape[-1]))[0]

    @cache
    def spoken(self, word: str) -> Spoken:
        cfg = OmegaConf.merge(self.cfg, {"word": word})
        tree = build(cfg.data.source).prepare()
        return spoken_embeddings(tree, word, self.people.info, lambda clips: self.heard(clips)[0])

    def setting(self, draw: Draw) -> np.ndarray:
        """Which of the clips are the others that `kws enroll` is given."""
        people = self.people
        others = people.known & people.validation & people.for_threshold
        return (others & (people.voices != draw.voice))[people.used]

    def nearest(self, draw: Draw) -> np.ndarray:
        places = [self.people.place[i] for i in draw.clips]
        distances = cdist(self.embeddings, self.embeddings[places], "cosine")
        return -distances.min(axis=1)

    def templates(self, draw: Draw) -> np.ndarray:
        places = [self.people.place[i] for i in draw.clips]
        distances = [warped(self.frames[place], self.frames) for place in places]
        return -np.min(distances, axis=0)


def warped(template: np.ndarray, clips: np.ndarray) -> np.ndarray:
    """(n,) distances of clips (n, F, E) from a template (F, E) along the best warping path."""
    steps = 1 - np.einsum("ie,nje->ijn", template, clips, optimize=True)
    n_frames = len(template)
    sums = np.full((n_frames + 1, n_frames + 1, len(clips)), np.inf, dtype=np.float32)
    sums[0, 0] = 0
    for i in range(n_frames):
        for j in range(n_frames):
            before = np.minimum(np.minimum(sums[i, j + 1], sums[i + 1, j]), sums[i, j])
            sums[i + 1, j + 1] = before + steps[i, j]
    return sums[-1, -1]


def trained(network: Network, run: Path, settings: Sequence[str], draw: Draw) -> np.ndarray:
    """Scores of all clips by a training that goes on from the run."""
    people = network.people
    name = f"{'_'.join(['trained', *settings])}_{draw.word}_{draw.voice}_{len(draw.clips)}"
    folder = run / "enrolments" / name.replace("=", "_")
    checkpoint = folder / "checkpoints" / "last.ckpt"
    if not (folder / "done").exists():
        root = write_folder(people, draw, folder.with_name(f"{folder.name}_data"))
        arguments = [
            *TRAINING,
            *settings,
            f"data.root={root}",
            f"init={run}",
            f"folder={folder}",
            f"paths.root={root.parent}",
        ]
        program = [sys.executable, "-m", "speech_commands_kws.train", *arguments]
        subprocess.run(program, stdout=sys.stderr, check=True)
        (folder / "done").touch()
    spotter, facts = load_spotter(checkpoint)
    with torch.inference_mode():
        pieces = [spotter(batch) for batch in torch.from_numpy(people.waveforms).split(BATCH_SIZE)]
    logits = torch.cat(pieces).numpy()
    place = facts["labels"].index(draw.word)
    return logits[:, place] - np.delete(logits, place, axis=1).max(axis=1)


def write_folder(people: People, draw: Draw, folder: Path) -> Path:
    """Links to what is trained on: the recordings, and clips of the words that the network knows."""
    chosen, held_out = [(i, EACH_RECORDING) for i in draw.clips], []
    for word in people.info.labels:
        of_word = people.said == word
        chosen += [(i, 1) for i in np.flatnonzero(of_word & people.training)[:EACH_WORD]]
        setting = of_word & people.validation & people.for_threshold & (people.voices != draw.voice)
        held_out += list(np.flatnonzero(setting))
    for i, times in [*chosen, *((i, 1) for i in held_out)]:
        path = people.paths[i]
        for k in range(times):
            link = (
                folder
                / path.parent.name
                / (path.name if times == 1 else f"{draw.voice}_nohash_{i}{k:02}.wav")
            )
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    noise = folder / BACKGROUND_NOISE
    noise.symlink_to(people.speech / BACKGROUND_NOISE)
    names = [f"{people.paths[i].parent.name}/{people.paths[i].name}" for i in held_out]
    (folder / VALIDATION_LIST).write_text("\n".join(names), encoding="utf-8")
    (folder / TESTING_LIST).touch()
    return folder


def spread(values: Sequence[float]) -> str:
    half = 1.96 * np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return f"{np.mean(values):.1%} ({half:.1%})"


def main() -> None:
    run, speech, *words = sys.argv[1:]
    run, speech = Path(run).absolute(), Path(speech).absolute()
    named = [word.partition("=") for word in words if "=" in word]
    options = OPTIONS | {name: value for name, _, value in named if name in OPTIONS}
    settings = ["=".join((name, value)) for name, _, value in named if name not in OPTIONS]
    with initialize_config_dir(CONFIG_DIR):
        cfg = compose("enroll", ["word=lights", f"paths.root={run / 'enrolments'}", *settings])
    model = run / "model.onnx"
    people = People(speech, model, options["words"].split(","), options)
    network = Network(people, model, cfg)
    methods = {
        "enroll": network.enroll,
        "recordings": partial(network.enroll, spoken_share=0.0),
        "voices": partial(network.enroll, spoken_share=1.0),
        "templates": network.templates,
        "nearest": network.nearest,
        "trained": partial(trained, network, run, []),
        "classifier": partial(trained, network, run, [CLASSIFIER_ALONE]),
    }
    table = Table(title="share of clips taken for the word")
    for head in ("recordings", "people", "method", *HEADS.values()):
        table.add_column(head, justify="left" if head == "method" else "right")
    found = []
    for count, draws in people.draws.items():
        for method in [word for word in words if "=" not in word] or METHODS:
            figures = [
                people.figures(draw, methods[method](draw), cfg.enrolment.false_accepts)
                for draw in draws
            ]
            heard = sum(draw.heard for draw in draws)
            shares = [spread([each[name] for each in figures]) for name in HEADS]
            table.add_row(str(count), f"{len(draws)}, {heard} heard", method, *shares)
            found.append({"recordings": count, "method": method, "figures": figures})
    Console(width=160).print(table)
    print(json.dumps({**options, "settings": settings, "found": found}))


if __name__ == "__main__":
    main()
