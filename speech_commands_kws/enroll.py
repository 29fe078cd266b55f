"""Add a keyword to an exported model by a few recordings: `kws enroll word=lights clips=recordings/lights`."""

from dataclasses import replace
from pathlib import Path

import hydra
import onnx
from omegaconf import DictConfig

from speech_commands_kws.assembly.engine import find_model
from speech_commands_kws.assembly.enrolment import (
    embeddings_of,
    enrolled_clips,
    enrolled_paths,
    other_words,
    spoken_embeddings,
    varied,
)
from speech_commands_kws.assembly.release import output_file
from speech_commands_kws.cli.launch import (
    CONFIG_DIR,
    EXECUTION_WHITELIST,
    build,
    hiding_passwords,
    run_answering,
)
from speech_commands_kws.data.speech_tree import SPEECH_COMMANDS_PATTERN, words_and_speakers
from speech_commands_kws.data.words import check_words, spoken_form
from speech_commands_kws.errors import KwsError, check_whole, display_name
from speech_commands_kws.files.atomic import replacing, write_whole
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.inference.model_info import ModelInfo
from speech_commands_kws.packaging.enrolment import (
    Spoken,
    embedder,
    find_classifier,
    starting_row,
    with_label,
)
from speech_commands_kws.packaging.model_card import enrolled_card, enrolment_note
from speech_commands_kws.tracking.runs import here


def run(cfg: DictConfig) -> float:
    """Write the model with the new keyword and a card; return the recall of the recordings."""
    check_words(word=[cfg.word])
    check_whole(variants=cfg.variants, most_of_a_word=cfg.most_of_a_word)
    check_whole(0, seed=cfg.seed)
    enrolment = build(cfg.enrolment)
    path = find_model(cfg)
    info = OnnxBackend(path).info
    check_model(info, path, cfg.word)
    default = path.with_name(f"{path.stem}_{cfg.word.replace(' ', '_')}{path.suffix}")
    output = output_file(cfg.output, default)
    paths = enrolled_paths(cfg.clips)
    model = onnx.load(path)
    classifier = find_classifier(model, path)
    embed, start = embedder(model, classifier), starting_row(classifier, info)
    variants = varied(
        enrolled_clips(paths, info, cfg.silent_db), cfg.variants, build(cfg.effects), cfg.seed
    )
    clips = embed(variants.reshape(-1, info.clip_samples)).reshape(*variants.shape[:2], -1)
    others = embeddings_of(other_words(cfg, path, info), info, embed)
    spoken, spoken_by = Spoken(others[:0], others[:0]), None
    if enrolment.spoken_share:
        tree = build(cfg.data.source).prepare()
        spoken, spoken_by = spoken_embeddings(tree, cfg.word, info, embed), tree.made_by
    recall, false_accepts = enrolment.measure(clips, spoken, others, classifier, start)
    row = enrolment.row(clips.reshape(-1, clips.shape[-1]), spoken, others, classifier, start)
    names = [f"{each.parent.name}/{each.name}" for each in paths]
    _, speakers = words_and_speakers(names, SPEECH_COMMANDS_PATTERN)
    facts = {
        "recordings": len(paths),
        "speakers": len(set(speakers)),
        "synthetic_voices": len(spoken.word),
        "spoken_by": spoken_by,
        "recall": recall,
        "false_accepts": false_accepts,
        "other_clips": len(others),
    }
    enrolled = {**info.training.get("enrolled", {}), cfg.word: facts}
    info = replace(
        info, labels=(*info.labels, cfg.word), training={**info.training, "enrolled": enrolled}
    )
    changed = with_label(model, classifier, *row)
    onnx.helper.set_model_props(changed, info.to_metadata())
    with replacing(output) as partial_file:
        onnx.save(changed, partial_file)
    write_whole(output.with_suffix(".md"), enrolled_card(output, info, path.with_suffix(".md")))
    print(
        f"{display_name(here(output))}: {display_name(cfg.word)} added as class {len(info.labels)}"
    )
    print(enrolment_note(facts))
    return recall


def check_model(info: ModelInfo, path: Path, word: str) -> None:
    """Raises KwsError where the word cannot be added to the model."""
    if info.streaming:
        raise KwsError(
            f"{path} listens to a stream, to which no keyword can be added: give the model.onnx beside it"
        )
    if spoken_form(word) in map(spoken_form, info.labels):
        raise KwsError(f"{word} is a label of {path} already: {', '.join(info.labels)}")


@hiding_passwords
@hydra.main(config_path=CONFIG_DIR, config_name="enroll", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg: DictConfig) -> None:
    run_answering(run, cfg)


if __name__ == "__main__":
    main()
