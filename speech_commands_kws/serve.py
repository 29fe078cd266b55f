"""Serve a model by Triton, `kws serve [model=FILE | repository=FOLDER] [mode=container]`, or live: `mode=websocket`,
or `mode=wyoming` for Home Assistant."""

import signal
from importlib import import_module
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from speech_commands_kws.assembly.engine import find_model
from speech_commands_kws.cli.launch import (
    CONFIG_DIR,
    EXECUTION_WHITELIST,
    build,
    hiding_passwords,
    run_answering,
)
from speech_commands_kws.cli.terminal import say
from speech_commands_kws.errors import KwsError, check_choice
from speech_commands_kws.inference.locate import STREAMING_FILE, streaming_file
from speech_commands_kws.packaging.triton_repository import (
    MODEL_FILES,
    fill_repository,
    models_in,
)

EMBEDDED, CONTAINER = "embedded", "container"
# Live sound without Triton, and the package that each needs.
LIVE = {"websocket": "aiohttp", "wyoming": "wyoming"}
MODES = (EMBEDDED, CONTAINER, *LIVE)
EMBEDDED_FILES = (MODEL_FILES["onnxruntime"],)


def run(cfg: DictConfig) -> float:
    """Serve until Ctrl-C or SIGTERM; return the number of restarts."""
    check_choice(MODES, mode=cfg.mode)
    if cfg.mode == CONTAINER:
        build(cfg.container).run(*served_models(cfg))
        return 0.0
    if cfg.mode in LIVE:
        serve_streams(cfg)
        return 0.0
    server, supervisor = build(cfg.server), build(cfg.supervisor)
    server.check_ports()  # first: a server that runs already would load what is put into the repository
    repository, names = served_models(cfg)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    say(f"the server's log: {server.log_file}")
    supervisor.run(server, repository, names, say)
    return float(supervisor.restarted)


def serve_streams(cfg: DictConfig) -> None:
    """Listen to the streams of clients until Ctrl-C or SIGTERM; nothing of Triton is used."""
    if cfg.repository is not None or cfg.names is not None:
        raise KwsError(f"repository= and names= are Triton's: mode={cfg.mode} takes model=")
    import_module(LIVE[cfg.mode])  # where it is missing, the message says what to install
    build(cfg[cfg.mode]).run(find_model(cfg, STREAMING_FILE, released=True), say)


def served_models(cfg: DictConfig) -> tuple[Path, list[str]]:
    """The repository, filled where that is asked for, and the names of its models.

    Raises:
        KwsError: there is no model to serve.
    """
    if cfg.repository is None:
        if cfg.names is not None:
            raise KwsError("names= chooses among the models of repository=: give repository= too")
        model = find_model(cfg, released=True)
        triton = build(cfg.triton)
        files = [path for path in (model, streaming_file(model)) if path.is_file()]
        entries = fill_repository(triton, files, build(cfg.backend))
        for path in entries.values():
            say(f"served file: {path}")
        return Path(triton.repository).expanduser(), list(entries)
    if cfg.model is not None:
        raise KwsError("repository= is served as it is: leave model= out, or repository=")
    repository = Path(str(cfg.repository)).expanduser()
    files = EMBEDDED_FILES if cfg.mode == EMBEDDED else tuple(MODEL_FILES.values())
    there = models_in(repository, files)
    chosen = cfg.names if OmegaConf.is_list(cfg.names) else [cfg.names]
    names = there if cfg.names is None else [str(name) for name in chosen]
    if not names or not set(names) <= set(there):
        raise KwsError(
            f"expected {', '.join(names) or 'a model'} with {' or '.join(files)} in {repository}, "
            f"found {', '.join(there) or 'none'}: `kws export triton=repository triton.repository={repository}` "
            "puts one there"
        )
    return repository, names


@hiding_passwords
@hydra.main(config_path=CONFIG_DIR, config_name="serve", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg: DictConfig) -> float | None:
    return run_answering(run, cfg)


if __name__ == "__main__":
    main()
