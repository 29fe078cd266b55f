"""Put trained models into the package, for its wheel: `kws bundle clip_run=RUN stream_run=RUN`."""

from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from speech_commands_kws.assembly.bundle import bundled
from speech_commands_kws.cli.launch import (
    CONFIG_DIR,
    EXECUTION_WHITELIST,
    hiding_passwords,
    run_answering,
)
from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.locate import MODEL_FILE, STREAMING_FILE
from speech_commands_kws.inference.released import WEIGHTS
from speech_commands_kws.packaging.bundle import check_gate, write_bundle
from speech_commands_kws.tracking import runs


def run(cfg: DictConfig) -> float:
    """Write the folder of models; return how many."""
    if cfg.clip_run is None and cfg.stream_run is None:
        raise KwsError(
            "nothing to bundle: name the runs, as in `kws bundle clip_run=RUN stream_run=RUN`"
        )
    licences = OmegaConf.to_container(cfg.licences)
    models = [
        bundled(runs.choose_run(run, cfg.paths.runs), name, cfg.evaluation, licences)
        for run, name in ((cfg.clip_run, MODEL_FILE), (cfg.stream_run, STREAMING_FILE))
        if run is not None
    ]
    not_for_use = cfg.not_for_use or None  # an empty reason is none
    if not_for_use is None:
        for model in models:
            check_gate(model, **cfg.gate)
    output = WEIGHTS if cfg.output is None else Path(str(cfg.output)).expanduser()
    write_bundle(output, models, not_for_use)
    for model in models:
        print(f"{runs.here(output / model.path.name)}: {model.path.stat().st_size:,} bytes")
    return float(len(models))


@hiding_passwords
@hydra.main(config_path=CONFIG_DIR, config_name="bundle", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg: DictConfig) -> float | None:
    return run_answering(run, cfg)


if __name__ == "__main__":
    main()
