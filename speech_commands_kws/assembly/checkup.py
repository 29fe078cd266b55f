"""What of an installation is there and works: checks, each of which gives a line, whatever it meets.

Nothing slow is imported: the versions of packages are those of their metadata, and only libraries that often fail to
load are loaded. What a check needs is imported in it, so that a broken package has a line of its own and ends no other.
"""

import getpass
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from configparser import Error as ConfigError
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from http.client import HTTPException
from importlib import import_module
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from speech_commands_kws.errors import DISTRIBUTION, KwsError, summarize_error

OK, MISSING, BROKEN = "ok", "missing", "broken"
BASE = ""  # the name of the packages without which nothing works, among the extras
PACKAGE = Path(__file__).parents[1]
GB = 10**9
# What the import of a compiled package raises where its library, or that of another one, does not fit.
IMPORT_FAULTS = (ImportError, OSError, AttributeError, ValueError)
THREAD_LIBRARIES = ("OMP", "MKL", "OPENBLAS", "NUMBA")
THREAD_VARIABLES = tuple(f"{library}_NUM_THREADS" for library in THREAD_LIBRARIES)
# By which kernels for floats and for 8 bits are chosen, as Linux names them (x86_64, arm64).
CPU_FEATURES = (
    *(
        "avx",
        "avx2",
        "fma",
        "avx512f",
        "avx512_vnni",
        "avx_vnni",
        "avx512_bf16",
        "amx_bf16",
        "amx_int8",
    ),
    *("asimd", "asimddp", "i8mm", "sve"),
)
CPU_INFO, MEMORY_INFO = Path("/proc/cpuinfo"), Path("/proc/meminfo")
GROUP_ROOT, OWN_GROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
MEMORY_LINE = re.compile(r"^(MemTotal|MemAvailable): +(\d+) kB$", re.MULTILINE)
BYTES_PER_KB = 1024  # of Linux's table
LOOPBACK = ("localhost", "127.0.0.1", "::1")
ASKS_FOR_LOGIN = (401, 403)
NVIDIA_SMI = "nvidia-smi"
GPU_FACTS = ("--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")


@dataclass(frozen=True)
class Line:
    """What a check found: `status` is ok, missing (which is optional) or broken; `cure` says what to do."""

    name: str
    status: str
    detail: str
    cure: str = ""


@dataclass(frozen=True)
class Places:
    """Where to look, as the settings of a command have it.

    Attributes:
        root: of the checkout, or the working folder.
        data, runs: folders, which need not be there yet.
        triton: of the server's own Python environment.
        tracking_uri: MLflow's, without a password; None: no server is asked for.
        wait_seconds: for a server or a program, at most.
        least_free_gb: free space below which a disk is called broken.
    """

    root: Path
    data: Path
    runs: Path
    triton: Path
    tracking_uri: str | None
    wait_seconds: float
    least_free_gb: float


Check = Callable[[Places], Line]


def check_up(places: Places) -> Iterator[Line]:
    """A line of each check, without what is private."""
    for name, check in checks().items():
        try:
            line = check(places)
        # Of the machine: a file that cannot be read, a package that cannot be imported.
        except (ImportError, OSError) as error:
            line = Line(name, BROKEN, reason(error), "see the other lines, or report it")
        yield replace(line, detail=private(line.detail))


def checks() -> dict[str, Check]:
    extras = {f"extra {name}": partial(extra, name) for name in extra_names()}
    return {
        "python": python,
        "package": package,
        "base packages": partial(extra, BASE),
        "soundfile": partial(imported, "soundfile", "__libsndfile_version__"),
        "soxr": partial(imported, "soxr", "__libsoxr_version__"),
        "onnxruntime": onnxruntime,
        **extras,
        "processor": processor,
        "threads": threads,
        "memory": memory,
        "gpu": gpu,
        "portaudio": portaudio,
        "microphone": microphone,
        "espeak-ng": espeak,
        "browser page": page,
        "triton": triton,
        "mlflow server": mlflow_server,
        "dvc remote": dvc_remote,
        "data folder": partial(folder, "data"),
        "runs folder": partial(folder, "runs"),
        "export": export,
    }


def private(text: str) -> str:
    """A text without the home folder, the user's name and the name of the machine."""
    machine = platform.node()
    names = dict.fromkeys((machine, machine.partition(".")[0]), "<machine>")
    with suppress(OSError, KeyError, ImportError):  # a user who has no name
        names[getpass.getuser()] = "<user>"
    with suppress(RuntimeError):  # or no home
        home = Path.home()
        if home != home.parent:
            text = re.sub(rf"{re.escape(str(home))}(?![\w.-])", "~", text)
    for name, shown in names.items():
        if name and name not in LOOPBACK:
            text = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", shown, text)
    return text


def reason(error: BaseException) -> str:
    """What an error of the system says, without the file that it names."""
    return getattr(error, "strerror", None) or summarize_error(error)


def python(_: Places) -> Line:
    system = " ".join((platform.system(), platform.machine(), *platform.libc_ver())).strip()
    return Line("python", OK, f"{platform.python_version()}, {system}")


def package(_: Places) -> Line:
    try:
        return Line("package", OK, f"{DISTRIBUTION} {version(DISTRIBUTION)} in {PACKAGE}")
    except PackageNotFoundError:
        detail = f"{PACKAGE} was not installed"
        return Line("package", BROKEN, detail, "make setup, or pip install . in the checkout")


def extra_names() -> list[str]:
    """None where this package was not installed."""
    with suppress(PackageNotFoundError):
        return sorted(metadata(DISTRIBUTION).get_all("Provides-Extra", []))
    return []


def extra(name: str, _: Places) -> Line:
    """Whether the packages of an extra are there, in versions that fit, by their metadata."""
    from packaging.requirements import Requirement  # which onnxruntime brings

    title = f"extra {name}" if name else "base packages"
    what = f'"{DISTRIBUTION}[{name}]"' if name else DISTRIBUTION
    there, absent, wrong = [], [], []
    for requirement in map(Requirement, requires(DISTRIBUTION) or []):
        asking = [
            each
            for each in (BASE, name)
            if requirement.marker is None or requirement.marker.evaluate({"extra": each})
        ]
        if asking[:1] != [name]:  # none, or the base already
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            absent.append(requirement.name)
            continue
        there.append(f"{requirement.name} {found}")
        if not requirement.specifier.contains(found, prereleases=True):
            wrong.append(f"{requirement.name} {found} is not {requirement.specifier}")
    faults = wrong + [f"no {each}" for each in absent]
    detail = ", ".join(faults or there) if there else "not installed"
    if not faults:
        return Line(title, OK, detail)
    status = BROKEN if wrong or name == BASE else MISSING
    return Line(title, status, detail, f"make setup, or pip install {what}")


def imported(name: str, library: str, _: Places) -> Line:
    """A package that loads a library of its own when it is imported."""
    try:
        found = getattr(import_module(name), library)
    except IMPORT_FAULTS as error:
        return Line(name, BROKEN, reason(error), f"pip install --force-reinstall {name}")
    return Line(name, OK, f"{version(name)}, {library.strip('_')} {found}")


def onnxruntime(_: Places) -> Line:
    try:
        from speech_commands_kws.inference.backends.onnx import import_onnxruntime

        engine = import_onnxruntime()
        found = ", ".join((engine.__version__, *engine.get_available_providers()))
    except IMPORT_FAULTS as error:
        cure = "pip install --force-reinstall onnxruntime numpy"
        return Line("onnxruntime", BROKEN, reason(error), cure)
    return Line("onnxruntime", OK, found)


def processor(_: Places) -> Line:
    facts: dict[str, str] = {}
    if CPU_INFO.is_file():
        pairs = (line.partition(":") for line in CPU_INFO.read_text("utf-8").splitlines())
        facts = {key.strip(): value.strip() for key, _, value in pairs}
    flags = facts.get("flags", facts.get("Features", "")).split()
    features = [name for name in CPU_FEATURES if name in flags]
    model = facts.get("model name") or platform.processor() or platform.machine()
    affinity = getattr(os, "sched_getaffinity", None)  # of Linux
    cores = f"{os.cpu_count()} cores"
    if affinity:
        cores += f", {len(affinity(0))} for this process"
    shares = [int(quota) / int(period) for quota, period in group_limits("cpu.max")]
    if shares:
        cores += f", a container's limit of {min(shares):g}"
    return Line("processor", OK, f"{model}; {cores}; {' '.join(features)}".rstrip("; "))


def group_limits(file: str) -> list[list[str]]:
    """What a file of the control groups (version 2) around this process limits."""
    if not OWN_GROUP.is_file():
        return []
    # 0::/user.slice/…, as seen from the root of the groups.
    paths = re.findall(r"^0::/(.*)$", OWN_GROUP.read_text("utf-8"), re.MULTILINE)
    own = GROUP_ROOT / (paths[0] if paths else "")
    files = [folder / file for folder in (own, *own.parents) if folder.is_relative_to(GROUP_ROOT)]
    values = [each.read_text("utf-8").split() for each in files if each.is_file()]
    return [value for value in values if value[0] != "max"]


def threads(_: Places) -> Line:
    given = [f"{name}={os.environ[name]}" for name in THREAD_VARIABLES if name in os.environ]
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    given = given or ["no limit set"]
    return Line("threads", OK, ", ".join(filter(None, (*given, load))))


def memory(_: Places) -> Line:
    table = MEMORY_INFO.read_text("utf-8") if MEMORY_INFO.is_file() else ""
    kilobytes = {name: int(number) for name, number in MEMORY_LINE.findall(table)}
    parts = [
        f"{in_gb(BYTES_PER_KB * kilobytes[name])} {what}"
        for name, what in (("MemTotal", "in all"), ("MemAvailable", "available"))
        if name in kilobytes
    ]
    limits = [int(value[0]) for value in group_limits("memory.max")]
    if limits:
        parts.append(f"a container's limit of {in_gb(min(limits))}")
    return Line("memory", OK, ", ".join(parts) or "unknown on this system")


def in_gb(count: float) -> str:
    return f"{count / GB:.1f} GB"


def gpu(places: Places) -> Line:
    if shutil.which(NVIDIA_SMI) is None:
        cure = "nothing needs one; with one, install NVIDIA's driver"
        return Line("gpu", MISSING, f"no {NVIDIA_SMI}", cure)
    try:
        done = subprocess.run(
            [NVIDIA_SMI, *GPU_FACTS], capture_output=True, text=True, timeout=places.wait_seconds
        )
        fault = "" if done.returncode == 0 else (done.stdout + done.stderr).strip()
    except subprocess.TimeoutExpired:
        fault = f"no answer in {places.wait_seconds:g} s"
    if fault:
        return Line(
            "gpu", BROKEN, f"{NVIDIA_SMI}: {summarize_error(fault)}", "reinstall the driver"
        )
    return Line("gpu", OK, "; ".join(done.stdout.splitlines()))


def portaudio(_: Places) -> Line:
    """The library of the extra `record`, which on Linux is not in its package."""
    try:
        import sounddevice
    except ModuleNotFoundError:
        cure = f'pip install "{DISTRIBUTION}[record]"'
        return Line("portaudio", MISSING, "no sounddevice, which loads it", cure)
    except OSError as error:
        cure = "install it (Debian, Ubuntu: apt install libportaudio2)"
        return Line("portaudio", BROKEN, reason(error), cure)
    return Line("portaudio", OK, sounddevice.get_portaudio_version()[1])


def microphone(places: Places) -> Line:
    """The default one, without its name, which is often a person's."""
    if portaudio(places).status != OK:
        return Line("microphone", MISSING, "no portaudio", "see above")
    import sounddevice

    try:
        facts = sounddevice.query_devices(kind="input")
    except (ValueError, sounddevice.PortAudioError) as error:
        cure = "plug one in; python -m sounddevice lists what there is"
        return Line("microphone", MISSING, summarize_error(error), cure)
    rate, channels = round(facts["default_samplerate"]), facts["max_input_channels"]
    return Line("microphone", OK, f"the default one has {rate} Hz, {channels} channels")


def espeak(_: Places) -> Line:
    """Whether synthetic speech can be made: the library starts and has its data."""
    try:
        from speech_commands_kws.data.synthesis.espeak import Espeak, require_espeak

        try:
            require_espeak()
        except KwsError:
            cure = f'pip install "{DISTRIBUTION}[synthetic]"'
            return Line("espeak-ng", MISSING, "no espeakng-loader", cure)
        engine = Espeak()
        variants = len(list((engine.data_path / "voices" / "!v").iterdir()))
    except (KwsError, *IMPORT_FAULTS) as error:
        cure = "pip install --force-reinstall espeakng-loader"
        return Line("espeak-ng", BROKEN, reason(error), cure)
    return Line("espeak-ng", OK, f"{version('espeakng-loader')}, {variants} voices")


def page(_: Places) -> Line:
    from speech_commands_kws.packaging.web_page import PAGE, check_page

    try:
        check_page()
    except KwsError:
        return Line("browser page", MISSING, f"none in {PAGE.parent}", "make web in the checkout")
    return Line("browser page", OK, str(PAGE))


def triton(places: Places) -> Line:
    if (needed := extra("serve", places)).status != OK:
        return Line("triton", MISSING, f"no {needed.name}", "see above")
    from speech_commands_kws.serving.environment import ServerEnvironment, is_ready

    if is_ready(ServerEnvironment(places.triton)):
        return Line("triton", OK, str(places.triton))
    state = "an outdated one" if places.triton.is_dir() else "no environment"
    return Line("triton", MISSING, f"{state} in {places.triton}", "kws serve makes it, on Linux")


def mlflow_server(places: Places) -> Line:
    """Whether something answers as MLflow does; its address is told only where it is this machine's."""
    uri = places.tracking_uri or ""
    if urlsplit(uri).scheme not in ("http", "https"):
        return Line("mlflow server", OK, "none is asked for: runs are recorded in files")
    where = "here" if urlsplit(uri).hostname in LOOPBACK else "on another machine"
    try:
        where += f", at port {urlsplit(uri).port}"
        with urlopen(f"{uri.rstrip('/')}/health", timeout=places.wait_seconds) as answer:
            fault = "" if answer.read(len(b"OK")) == b"OK" else "something else answers"
    except HTTPError as error:
        fault = "" if error.code in ASKS_FOR_LOGIN else f"something else answers ({error.code})"
    except URLError as error:
        # No text: of a certificate, it has the name of the machine.
        fault = getattr(error.reason, "strerror", None) or type(error.reason).__name__
    except (OSError, ValueError, HTTPException) as error:
        fault = type(error).__name__
    if fault:
        cure = "start it as the README shows; without it, runs are recorded in plots/mlflow.db"
        return Line("mlflow server", MISSING, f"{where}: {fault}", cure)
    return Line("mlflow server", OK, where)


def dvc_remote(places: Places) -> Line:
    """The default remote of the repository; of its address only the kind."""
    config = ConfigParser(interpolation=None)
    files = [places.root / ".dvc" / name for name in ("config", "config.local")]
    try:
        config.read(files, encoding="utf-8")
    except ConfigError as error:
        return Line("dvc remote", BROKEN, type(error).__name__, "repair .dvc/config")
    name = config.get("core", "remote", fallback=None)
    if name is None:
        cure = "make data-remote; without one, data are downloaded from their publisher"
        return Line("dvc remote", MISSING, "none is set", cure)
    url = config.get(f"'remote \"{name}\"'", "url", fallback=None)
    if url is None:
        return Line("dvc remote", BROKEN, "the one that is set has no address", "make data-remote")
    return Line("dvc remote", OK, urlsplit(url).scheme or "a folder")


def folder(name: str, places: Places) -> Line:
    """Whether a folder, which need not be there yet, can be written, and the space left on its disk."""
    path: Path = getattr(places, name)
    there = next(each for each in (path.absolute(), *path.absolute().parents) if each.is_dir())
    space = shutil.disk_usage(there)
    detail = f"{path}: {in_gb(space.free)} free of {in_gb(space.total)}"
    if not os.access(there, os.W_OK):
        cure = f"give access, or set paths.{name}="
        return Line(f"{name} folder", BROKEN, f"{detail}, and it cannot be written", cure)
    if space.free < places.least_free_gb * GB:
        return Line(f"{name} folder", BROKEN, detail, f"make room, or set paths.{name}=")
    return Line(f"{name} folder", OK, detail)


def export(places: Places) -> Line:
    """The newest model of clips and the newest of streams, or those that came with the package."""
    from speech_commands_kws.inference import locate
    from speech_commands_kws.inference.released import has_released

    found = []
    for name in (locate.MODEL_FILE, locate.STREAMING_FILE):
        try:
            model = locate.newest_export(places.runs, name)
            when = datetime.fromtimestamp(locate.exported_at(model))
            found.append(f"{model} of {when:%Y-%m-%d %H:%M}")
        except KwsError:
            found += [f"the package's {name}"] * has_released(name)
    if found:
        return Line("export", OK, ", ".join(found))
    return Line("export", MISSING, f"none below {places.runs}", "kws train, then kws export")
