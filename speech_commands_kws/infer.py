"""Name the words in recordings: `kws infer clip.wav folder "clips/*.flac" -`."""

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from speech_commands_kws.assembly.engine import engine_of, find_model
from speech_commands_kws.cli.launch import (
    CONFIG_DIR,
    EXECUTION_WHITELIST,
    build,
    hiding_passwords,
    names_given,
    run_answering,
)
from speech_commands_kws.errors import KwsError, ReportedError, check_choice, display_name
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.inference.backends.triton import MODEL_NAME
from speech_commands_kws.inference.batch import BatchInference, ListeningInference
from speech_commands_kws.inference.listener import KeywordListener
from speech_commands_kws.inference.locate import streaming_file
from speech_commands_kws.inference.predictions import write_csv, write_json, write_table
from speech_commands_kws.inference.spotter import KeywordSpotter
from speech_commands_kws.inference.streaming import StreamingModel

WRITERS = {"table": write_table, "json": write_json, "csv": write_csv}


def run(cfg: DictConfig) -> float:
    """Write the predictions to standard output; return how many windows, or recordings of a listener, were scored.

    Raises:
        ReportedError: some recordings could not be used; each was named on standard error, the predictions for the
            others are written.
    """
    names = names_given(
        cfg.input,
        "nothing to listen to: name files, folders, patterns or -, as in `kws infer clip.wav`",
    )
    check_choice(WRITERS, format=cfg.format)
    if cfg.url is not None and not engine_of(cfg.backend).is_server:
        raise KwsError(
            f"url={cfg.url} is the address of a server: add backend=triton or backend=triton_grpc"
        )
    model = model_of(cfg)
    if cfg.model is None and not isinstance(model, Path):
        print(f"model: {display_name(model)}", file=sys.stderr)
    inference = inference_of(cfg, model)
    if cfg.windows:
        answers = inference.predictions(names)
    else:
        answers = inference.events(names)
    WRITERS[cfg.format](answers, sys.stdout)
    if inference.long and cfg.format == "table":
        sys.stdout.write(f"{inference.note}\n")
    if inference.recordings.failures:
        raise ReportedError(
            f"{inference.recordings.failures} names or recordings could not be used"
        )
    return float(inference.scored)


def inference_of(cfg: DictConfig, model: Path | str) -> BatchInference | ListeningInference:
    """What answers: of long recordings the streaming model, if this one is, or beside this one lies one."""
    backend = build(cfg.backend)
    engine = backend(model)
    listens = isinstance(engine, OnnxBackend) and not cfg.windows
    if listens and engine.info.streaming:
        return ListeningInference(KeywordListener(StreamingModel(model, backend)))
    spotter = KeywordSpotter(model, lambda _: engine, cfg.hop_seconds, cfg.top_k, cfg.batch_size)
    if listens and streaming_file(model).is_file():
        beside = StreamingModel(streaming_file(model), backend)
        return ListeningInference(KeywordListener(beside, spotter.sample_rate), spotter)
    return BatchInference(spotter, OmegaConf.to_container(cfg.detector))


def model_of(cfg: DictConfig) -> Path | str:
    """The file of the model asked for, or its name where a server has it."""
    if engine_of(cfg.backend).is_server:
        return cfg.model or MODEL_NAME
    return find_model(cfg, released=True)


@hiding_passwords
@hydra.main(config_path=CONFIG_DIR, config_name="infer", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg: DictConfig) -> None:
    run_answering(run, cfg)


if __name__ == "__main__":
    main()
