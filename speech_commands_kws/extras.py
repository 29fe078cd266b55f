"""Which optional part of the installation brings a package that is missing."""

from speech_commands_kws.errors import KwsError

DISTRIBUTION = "speech-commands-kws"
PACKAGES_OF_EXTRAS = {
    "train": (
        "hydra_plugins lightning librosa matplotlib mlflow onnx onnxscript optuna pyroomacoustics torch torchaudio "
        "torchmetrics"
    ),
    "synthetic": "espeakng_loader",
    "record": "sounddevice",
    "serve": "tritonclient",
    "data": "dvc",
    "gdrive": "dvc_gdrive",
    "tensorrt": "cuda tensorrt",
}


def missing_package(error: ModuleNotFoundError) -> KwsError:
    """The same news for a user: what to install. Any other failing import is a bug and stays "
    "one."""
    package = (error.name or "").partition(".")[0]
    for extra, packages in PACKAGES_OF_EXTRAS.items():
        if package in packages.split():
            return KwsError(f'{package} is not installed: pip install "{DISTRIBUTION}[{extra}]"')
    raise error
