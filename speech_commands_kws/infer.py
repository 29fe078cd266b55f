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
    run_answering,
)
from speech_commands_kws.errors import KwsError, ReportedError, check_choice, display_name
from speech_commands_kws.inference.backends.triton import MODEL_NAME
from speech_commands_kws.inference.batch import BatchInference
from speech_commands_kws.inference.predictions import (
    write_csv,
    write_json,
    write_table,
    write_windows,
)
from speech_commands_kws.inference.spotter import KeywordSpotter

WRITERS = {
    "table": write_table,
    "windows": write_windows,
    "json": write_json,
    "csv": write_csv,
}


def run(cfg: DictConfig) -> float:
    """Write the predictions to standard output; return how many windows were scored.

    Raises:
        ReportedError: some recordings could not be used; each was named on standard error, the predictions for the
            others are written.
    """
    names = input_names(cfg.input)
    check_choice(WRITERS, format=cfg.format)
    if cfg.url is not None and not engine_of(cfg.backend).is_server:
        raise KwsError(
            f"url={cfg.url} is the address of a server: add backend=triton or backend=triton_grpc"
        )
    model = model_of(cfg)
    if cfg.model is None and not isinstance(model, Path):
        print(f"model: {display_name(model)}", file=sys.stderr)
    spotter = KeywordSpotter(
        model,
        backend=build(cfg.backend),
        hop_seconds=cfg.hop_seconds,
        top_k=cfg.top_k,
        batch_size=cfg.batch_size,
    )
    inference = BatchInference(spotter)
    predictions, write = inference.predictions(names), WRITERS[cfg.format]
    if write is write_table:
        info = spotter.backend.info
        threshold = info.detection.get("threshold", 0.0)
        write_table(predictions, sys.stdout, threshold, info.threshold_note)
    else:
        write(predictions, sys.stdout)
    if inference.failures:
        raise ReportedError(f"{inference.failures} names or recordings could not be used")
    return float(inference.scored)


def model_of(cfg: DictConfig) -> Path | str:
    """The file of the model asked for, or its name where a server has it."""
    if engine_of(cfg.backend).is_server:
        return cfg.model or MODEL_NAME
    return find_model(cfg)


def input_names(names: object) -> list[str]:
    """The value of `input` in the configuration, one name or a list, as a list."""
    names = OmegaConf.to_object(names) if OmegaConf.is_config(names) else names
    names = names if isinstance(names, list) else [names]
    if names in ([], [None]):
        raise KwsError(
            "nothing to listen to: name files, folders, patterns or -, as in `kws infer clip.wav`"
        )
    return [str(name) for name in names]


@hiding_passwords
@hydra.main(config_path=CONFIG_DIR, config_name="infer", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg: DictConfig) -> None:
    run_answering(run, cfg)


if __name__ == "__main__":
    main()
