"""Listen in a browser: `kws demo [model.onnx] [port=8765] [browser=false]`."""

import signal
import webbrowser
from pathlib import Path
from tempfile import TemporaryDirectory

import hydra
from omegaconf import DictConfig

from speech_commands_kws.assembly.engine import find_model
from speech_commands_kws.cli.launch import (
    CONFIG_DIR,
    EXECUTION_WHITELIST,
    hiding_passwords,
    run_answering,
)
from speech_commands_kws.cli.terminal import say
from speech_commands_kws.errors import check_flag, check_whole
from speech_commands_kws.inference.locate import streaming_file
from speech_commands_kws.packaging.web_page import check_page, write_site
from speech_commands_kws.serving.web_page import serve_site

LARGEST_PORT = 65535


def run(cfg: DictConfig) -> float:
    """Serve the page until Ctrl-C or SIGTERM; return the number of models that it offers."""
    check_flag(browser=cfg.browser)
    check_whole(0, LARGEST_PORT, port=cfg.port)
    check_page()
    model = find_model(cfg, released=True)
    models = [path for path in (streaming_file(model), model) if path.is_file()]
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    with TemporaryDirectory(prefix="kws-page-") as folder:
        site = Path(folder) / "site"
        write_site(site, models)
        try:
            serve_site(site, cfg.port, lambda address: announce(address, cfg.browser))
        except KeyboardInterrupt:
            pass
    return float(len(models))


def announce(address: str, browser: bool) -> None:
    say(f"listening in the browser: {address} (Ctrl-C ends it; sound does not leave the browser)")
    say("for any static host: kws export web=FOLDER")
    if browser and not webbrowser.open(address):
        say("no browser was found here: open the address in one")


@hiding_passwords
@hydra.main(config_path=CONFIG_DIR, config_name="demo", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg: DictConfig) -> float | None:
    return run_answering(run, cfg)


if __name__ == "__main__":
    main()
