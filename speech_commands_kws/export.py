"""Export a trained spotter to ONNX: `kws export [run=latest|FOLDER] [quantize=int8|fp16] [register=true] [web=FOLDER]`.

`backend=tensorrt` builds a TensorRT plan of an exported ONNX file.
"""

import logging
from pathlib import Path

import hydra
from omegaconf import DictConfig

from speech_commands_kws.assembly.engine import engine_of
from speech_commands_kws.assembly.registration import register, required_record
from speech_commands_kws.assembly.release import (
    build_release,
    build_streaming,
    build_variant,
    check_settings,
    copy_registered,
    output_file,
    write_card,
    write_streaming_card,
)
from speech_commands_kws.assembly.run_data import find_checkpoint, load_trained, recorded_split
from speech_commands_kws.assembly.tensorrt import export_plan
from speech_commands_kws.cli.launch import (
    CONFIG_DIR,
    EXECUTION_WHITELIST,
    build,
    hiding_passwords,
    run_command,
)
from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.inference.backends.tensorrt import TensorRTBackend
from speech_commands_kws.inference.locate import REGISTERED, streaming_file
from speech_commands_kws.packaging.triton_repository import fill_repository
from speech_commands_kws.packaging.web_page import check_site, write_site
from speech_commands_kws.tracking import recording, runs

LOG = logging.getLogger(__name__)


def run(cfg: DictConfig) -> float:
    """Write the model file; returns its largest difference from the trained module, or a copied file's size.

    A plan is compared with its ONNX file instead.
    """
    check_settings(cfg)
    site = None if cfg.web is None else Path(str(cfg.web)).expanduser()
    if site:
        check_site(site)
    if str(cfg.model).startswith(REGISTERED):
        return copy_registered(cfg)
    engine = engine_of(cfg.backend)
    if engine is TensorRTBackend:
        return export_plan(cfg)
    if engine is not OnnxBackend:
        raise KwsError("an export is for backend=onnx or backend=tensorrt: choose one of them")
    if cfg.model is not None:
        raise KwsError(
            f"model={cfg.model} is neither an address models:/... to copy nor, with backend=tensorrt, a file to build "
            "a plan of: leave it out, and choose what is exported with run= or checkpoint="
        )
    folder, checkpoint = find_checkpoint(cfg)
    output = output_file(cfg.output, folder / runs.MODEL_FILE)
    record = required_record(folder) if cfg.register else None
    temperature = build(cfg.temperature)
    variant = build(cfg.quantize) if cfg.quantize else None
    triton = build(cfg.triton) if cfg.get("triton") else None
    spotter, info = load_trained(folder, checkpoint)
    saved = runs.read_config(folder)
    split = recorded_split(saved, info)
    # Beside the model, because the folder of the run is an input here, as DVC sees it.
    with runs.log_file(output.with_suffix(".log")):
        model = build_release(cfg, temperature, spotter, info, split, output)
        clip_models, files = [model.path], []
        if spotter.streams:
            streaming = build_streaming(cfg, spotter, model, streaming_file(output))
            files = [streaming, write_streaming_card(streaming)]
    try:
        if variant:
            clip_models.append(build_variant(cfg, variant, model, split, saved))
    finally:  # a model whose variant was refused has its card too
        card = write_card(cfg, model, split)
    if triton:
        fill_repository(triton, [*clip_models, *files[:1]])
    if site:
        write_site(site, [*files[:1], *clip_models])
        LOG.info("%s: a site of static files, which listens in a browser", site)
    figures = {} if record else model.figures
    recording.log_to_run(folder, [*clip_models, *files, card], "model", figures)
    if record:
        register(cfg, record, checkpoint, model, split, saved)
    return model.difference


@hiding_passwords
@hydra.main(config_path=CONFIG_DIR, config_name="export", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg: DictConfig) -> float | None:
    return run_command(run, cfg)


if __name__ == "__main__":
    main()
