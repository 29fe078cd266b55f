"""`kws serve`: which models, and, where its environment has been made, the real server under what befalls servers."""

import asyncio
import http.client
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import TINY_LABELS, TINY_METADATA, burst
from hydra import compose, initialize_config_dir
from streaming_models import lively_sound, streaming_file

from speech_commands_kws import KeywordListener, KeywordSpotter, commands, serve
from speech_commands_kws.cli.launch import CONFIG_DIR, build
from speech_commands_kws.errors import KwsError, missing_package
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.inference.backends.triton import TritonBackend, TritonClient
from speech_commands_kws.inference.streaming import StreamingModel
from speech_commands_kws.packaging.onnx_export import write_metadata
from speech_commands_kws.packaging.triton_repository import fill_repository
from speech_commands_kws.serving.environment import ServerEnvironment, is_ready
from speech_commands_kws.serving.server import TritonServer, check_port
from speech_commands_kws.serving.watcher import SHARED_MEMORY

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".tools" / "triton"
DOCUMENTATION = ROOT / "docs" / "serving.md"
NO_RETRIES = {"retries": 0, "timeout_seconds": 60.0}
CLIENTS = 16


def configured(folder: Path, *overrides: str):
    with initialize_config_dir(CONFIG_DIR):
        return compose("serve", [f"paths.root={folder}", *overrides])


# Which models


def test_a_model_is_put_into_a_repository_of_its_own(tmp_path: Path, tiny_onnx: Path) -> None:
    repository, names = serve.served_models(configured(tmp_path, f"model={tiny_onnx}"))
    assert (repository, names) == (tmp_path / "plots" / "model_repository", ["kws_onnx"])
    assert (repository / "kws_onnx/1/model.onnx").read_bytes() == tiny_onnx.read_bytes()


def test_the_form_for_streams_beside_a_model_is_served_too(tmp_path: Path, make_tiny_onnx) -> None:
    streams = TINY_METADATA | {"streaming": '{"hop_samples": 160, "state_shape": [1, 2]}'}
    model = make_tiny_onnx(tmp_path / "model.onnx")
    stream = make_tiny_onnx(tmp_path / "model.streaming.onnx", streams)
    repository, names = serve.served_models(configured(tmp_path, f"model={model}"))
    assert names == ["kws_onnx", "kws_stream"]
    assert (repository / "kws_stream/1/model.onnx").read_bytes() == stream.read_bytes()
    assert serve.served_models(configured(tmp_path, f"model={stream}"))[1] == ["kws_stream"]


def test_a_second_server_leaves_the_models_of_the_first_alone(
    tmp_path: Path, tiny_onnx: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = f"server.http_port={taken.getsockname()[1]}"
        with pytest.raises(KwsError, match="cannot be had"):
            serve.run(configured(tmp_path, f"model={tiny_onnx}", port))
    assert not (tmp_path / "plots").exists()


def test_a_repository_is_served_as_it_is(tmp_path: Path, tiny_onnx: Path) -> None:
    serve.served_models(configured(tmp_path, f"model={tiny_onnx}"))
    repository = tmp_path / "plots" / "model_repository"
    (repository / "kws_trt" / "1").mkdir(parents=True)
    (repository / "kws_trt/1/model.plan").touch()
    given = f"repository={repository}"
    assert serve.served_models(configured(tmp_path, given))[1] == ["kws_onnx"]
    everything = serve.served_models(configured(tmp_path, given, "mode=container"))[1]
    assert everything == ["kws_onnx", "kws_trt"]
    with pytest.raises(KwsError, match="expected kws_trt with model.onnx .*found kws_onnx"):
        serve.served_models(configured(tmp_path, given, "names=[kws_trt]"))
    assert serve.served_models(configured(tmp_path, given, "names=kws_onnx"))[1] == ["kws_onnx"]
    for names in ("[5]", "5"):
        with pytest.raises(KwsError, match="expected 5 with model.onnx .*found kws_onnx"):
            serve.served_models(configured(tmp_path, given, f"names={names}"))
    with pytest.raises(KwsError, match="names= chooses among the models of repository="):
        serve.served_models(configured(tmp_path, "names=[kws_onnx]"))
    with pytest.raises(KwsError, match="leave model= out"):
        serve.served_models(configured(tmp_path, given, f"model={tiny_onnx}"))


def test_without_a_model_one_line_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(KwsError, match="train and export first"):
        serve.run(configured(tmp_path))
    with pytest.raises(KwsError, match="found none: `kws export triton=repository"):
        serve.run(configured(tmp_path, f"repository={tmp_path}"))
    with pytest.raises(KwsError, match="mode must be one of .*, websocket, wyoming, got x"):
        serve.run(configured(tmp_path, "mode=x"))
    for mode in ("websocket", "wyoming"):
        with pytest.raises(KwsError, match="no exported model.streaming.onnx under"):
            serve.run(configured(tmp_path, f"mode={mode}"))
        for setting in (f"repository={tmp_path}", "names=[kws_onnx]"):
            with pytest.raises(KwsError, match=f"are Triton's: mode={mode} takes model="):
                serve.run(configured(tmp_path, f"mode={mode}", setting))


def test_the_containers_command_is_printed(
    tmp_path: Path, tiny_onnx: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serve.run(configured(tmp_path, "mode=container", f"model={tiny_onnx}"))
    words = shlex.split(capsys.readouterr().out)
    volume = f"--volume={tmp_path}/plots/model_repository/kws_onnx:/models/kws_onnx:ro"
    assert words[:2] == ["docker", "run"] and volume in words


async def of_websocket(address: str, end: Callable[[], None]) -> None:
    """A client is told that the server ends."""
    aiohttp = pytest.importorskip("aiohttp", reason="needs the extra `serve`")
    async with aiohttp.ClientSession() as session, session.ws_connect(address) as connection:
        assert (await connection.receive_json())["sample_rate"] == 16_000
        end()
        assert (await connection.receive()).data == 1001


async def of_wyoming(address: str, end: Callable[[], None]) -> None:
    client = pytest.importorskip("wyoming.client", reason="needs the extra `wyoming`")
    from wyoming.info import Describe

    async with client.AsyncClient.from_uri(address) as connection:
        await connection.write_event(Describe().event())
        assert (await connection.read_event()).type == "info"
        end()
        assert await connection.read_event() is None


@pytest.mark.parametrize(
    ("mode", "use", "lacking"),
    [("websocket", of_websocket, "wyoming"), ("wyoming", of_wyoming, "aiohttp")],
)
def test_streams_are_listened_to_by_the_command_without_triton(
    tmp_path: Path, mode: str, use: Callable, lacking: str
) -> None:
    """SIGTERM ends it as Ctrl-C does; what the other mode needs is not there."""
    program = f"import sys; sys.modules |= dict.fromkeys(['tritonclient', {lacking!r}])"
    program += "\nfrom speech_commands_kws.serve import main; main()"
    settings = [f"mode={mode}", f"model={streaming_file(tmp_path)}", f"{mode}.port=0"]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *settings],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = process.stderr.readline()
        address = re.fullmatch(r"listening at (\w+://127.0.0.1:.+); Ctrl-C ends\n", said)[1]
        asyncio.run(use(address, partial(process.send_signal, signal.SIGTERM)))
        assert process.communicate(timeout=60)[1] == "stopping\n"
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("mode", "package", "extra"),
    [("websocket", "aiohttp", "serve"), ("wyoming", "wyoming", "wyoming")],
)
def test_without_its_package_one_line_says_what_to_install(
    tmp_path: Path, mode: str, package: str, extra: str, monkeypatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError) as missing:
        serve.run(configured(tmp_path, f"mode={mode}"))
    assert f"{package} is not installed: " in str(missing_package(missing.value))
    assert f"[{extra}]" in str(missing_package(missing.value))


# The real server


def free_ports() -> list[str]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    numbers = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    kinds = ("http", "grpc", "metrics")
    return [f"server.{kind}_port={number}" for kind, number in zip(kinds, numbers)]


@pytest.fixture
def needs_the_server() -> None:
    if not is_ready(ServerEnvironment(ENVIRONMENT)):
        pytest.skip(f"{ENVIRONMENT} has not been made: `make triton` makes it, in a minute")
    pytest.importorskip("tritonclient", reason="needs the extra `serve`")


@pytest.fixture
def server(needs_the_server, tmp_path: Path, tiny_onnx: Path) -> Iterator[TritonServer]:
    """Serves `kws_onnx` and `short_queue`, which takes one clip at a time and lets few wait."""
    settings = [f"server.environment={ENVIRONMENT}", "server.log_verbose=1"]
    cfg = configured(tmp_path, *settings, *free_ports())
    model, info = build(cfg.triton), OnnxBackend(tiny_onnx).info
    model.fill(tiny_onnx, info)
    replace(model, name="short_queue", queue_size=2, max_batch_size=1).fill(tiny_onnx, info)
    server, supervisor = build(cfg.server), build(cfg.supervisor)
    try:
        supervisor.begin(server, Path(model.repository), ["kws_onnx", "short_queue"])
        yield server
    finally:
        server.stop()


def post(url: str, name: str, body: bytes) -> tuple[int, str]:
    return post_to(url, f"/v2/models/{name}/infer", body)


def post_to(url: str, path: str, body: bytes = b"") -> tuple[int, str]:
    with closing(http.client.HTTPConnection(url, timeout=30)) as connection:
        connection.request("POST", path, body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def body(name: str = "waveform", samples: int = 16_000, datatype: str = "FP32") -> bytes:
    tensor = {"name": name, "shape": [1, samples], "datatype": datatype, "data": [0] * samples}
    return json.dumps({"inputs": [tensor]}).encode()


def of_many(url: str, name: str, requests: int, stop: threading.Event | None = None, **patience):
    """What CLIENTS threads get: how often an answer, a 503, or whatever else went wrong."""

    def ask(_: int) -> Counter:
        counts: Counter = Counter()
        with TritonClient(url, name, **patience) as client:
            while counts.total() < requests and not (stop and stop.is_set()):
                try:
                    probabilities, _ = client.infer(clip)
                    counts[TINY_LABELS[probabilities.argmax()]] += 1
                except KwsError as error:
                    counts["503" if "[503]" in str(error) else str(error)] += 1
        return counts

    clip = burst("yes")[None]
    with ThreadPoolExecutor(CLIENTS) as pool:
        return sum(pool.map(ask, range(CLIENTS)), Counter())


@pytest.mark.integration
def test_the_server_answers_like_the_model_and_survives_what_comes(
    server: TritonServer, tiny_onnx: Path, tmp_path: Path, burst_wav: Callable[..., Path]
) -> None:
    noise = np.random.default_rng(0).uniform(-1, 1, (70, 16_000)).astype(np.float32)
    expected = OnnxBackend(tiny_onnx)(noise)
    for protocol, url in (("http", server.http_url), ("grpc", server.grpc_url)):
        backend = TritonBackend("kws_onnx", url=url, protocol=protocol)  # 70: more than one batch
        assert backend.info == OnnxBackend(tiny_onnx).info
        for values, wanted in zip(backend(noise), expected, strict=True):
            np.testing.assert_allclose(values, wanted, atol=1e-6)
        spotter = KeywordSpotter("kws_onnx", backend=lambda _: backend)
        assert spotter(burst_wav("no.flac", "no", 44_100))[0].label == "no"
        assert backend.client.is_healthy()
    refused = {
        "wrong length": post(server.http_url, "kws_onnx", body(samples=99)),
        "wrong name": post(server.http_url, "kws_onnx", body(name="audio")),
        "wrong type": post(server.http_url, "kws_onnx", body(datatype="INT64")),
        "no such model": post(server.http_url, "other", body()),
    }
    assert {reason: status // 100 for reason, (status, _) in refused.items()} == dict.fromkeys(
        refused, 4
    )
    log = Path(server.log_file).read_text()
    for reason in ("unexpected shape for input", "INT64"):
        assert re.search(f"Infer failed: .*{reason}", log)
    # The first two would end this release.
    tensor = {"name": "waveform", "shape": [2**40, 16_000], "datatype": "FP32", "data": [0]}
    nested = b'{"inputs": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    for bad in (json.dumps({"inputs": [tensor]}).encode(), nested, b"garbage"):
        assert post(server.http_url, "kws_onnx", bad)[0] == 400
    assert not server.has_ended()
    assert post_to(server.http_url, "/v2/repository/models/kws_onnx/unload")[0] == 403
    assert post(server.http_url, "kws_onnx", body())[0] == 200

    burst("no").astype("<f4").tofile(tmp_path / "clip.f32")
    best = json.loads(said_by(["bash"], "bash", server.http_url, tmp_path))["outputs"][0]["data"][0]
    assert best.endswith(":3:no")
    if shutil.which("node"):
        program = ["node", "--input-type=module"]
        assert said_by(program, "javascript", server.http_url, tmp_path).startswith("no ")


def said_by(program: list[str], language: str, url: str, folder: Path) -> str:
    """The output of the example of docs/serving.md in a language, against a server of our own."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", DOCUMENTATION.read_text(), re.M | re.S)
    example = next(block for block in blocks if "/v2/models" in block)
    return subprocess.run(
        program,
        input=example.replace("127.0.0.1:8000", url),
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout


@pytest.mark.integration
def test_overload_is_answered_503_and_a_new_version_comes_without_a_failure(
    server: TritonServer, tmp_path: Path, make_tiny_onnx: Callable[..., Path]
) -> None:
    assert of_many(server.http_url, "kws_onnx", 20, **NO_RETRIES) == {"yes": 20 * CLIENTS}
    hurried = of_many(server.http_url, "short_queue", 20, **NO_RETRIES)
    assert set(hurried) == {"yes", "503"}
    patient = of_many(server.http_url, "short_queue", 5, retries=12, timeout_seconds=30)
    assert patient == {"yes": 5 * CLIENTS}

    labels = {"labels": json.dumps(TINY_LABELS[::-1])}
    second = make_tiny_onnx(tmp_path / "second.onnx", TINY_METADATA | labels)
    model = build(configured(tmp_path).triton)
    by_grpc = TritonClient(server.grpc_url, protocol="grpc")
    assert TINY_LABELS[by_grpc.infer(burst("yes")[None])[0].argmax()] == "yes"
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        url = server.http_url
        counts = pool.submit(of_many, url, "kws_onnx", 10_000, stop=stop, **NO_RETRIES)
        time.sleep(0.5)
        model.fill(second, OnnxBackend(second).info)
        assert server.reload("kws_onnx") is None
        time.sleep(0.5)
        stop.set()
        # The third column is that of another label now, which clients that have been there before notice.
        assert set(counts.result()) == {"yes", "_unknown_"}
    with by_grpc:
        assert TINY_LABELS[by_grpc.infer(burst("yes")[None])[0].argmax()] == "_unknown_"
    with closing(http.client.HTTPConnection(server.http_url)) as connection:
        connection.request("GET", "/v2/models/kws_onnx")
        assert json.loads(connection.getresponse().read())["versions"] == ["2"]


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come in time"
        time.sleep(0.1)


def descendants(pid: int) -> list[int]:
    """The processes below one, the outer first."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == pid:
            found += [int(stat.parent.name), *descendants(int(stat.parent.name))]
    return found


@pytest.mark.integration
@pytest.mark.parametrize("seconds", [0, 0.1, 0.5])
def test_the_command_killed_while_its_server_starts_leaves_nothing_behind(
    needs_the_server, tmp_path: Path, tiny_onnx: Path, seconds: float
) -> None:
    settings = [f"server.environment={ENVIRONMENT}", *free_ports()]
    command = [sys.executable, "-m", "speech_commands_kws.serve", f"model={tiny_onnx}"]
    variables = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    process = subprocess.Popen([*command, *settings], cwd=tmp_path, env=variables)
    try:
        wait_until(lambda: descendants(process.pid))
        group = descendants(process.pid)[0]
        time.sleep(seconds)
    finally:
        process.kill()
        process.wait()
    wait_until(lambda: not processes_of(group))
    assert not [*SHARED_MEMORY.glob(f"kws_{process.pid}_*"), *tmp_path.glob("kws_*")]


def processes_of(group: int) -> list[str]:
    return subprocess.run(
        ["pgrep", "-g", str(group)], capture_output=True, text=True
    ).stdout.split()


@pytest.mark.integration
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_the_command_brings_a_dead_backend_back_and_leaves_nothing_behind(
    needs_the_server, tmp_path: Path, tiny_onnx: Path, end: signal.Signals
) -> None:
    ports = free_ports()
    command = [sys.executable, "-m", "speech_commands_kws.serve", f"model={tiny_onnx}"]
    settings = [f"server.environment={ENVIRONMENT}", "supervisor.every_seconds=0.5"]
    said = tmp_path / "said.txt"
    with said.open("w") as stream:
        process = subprocess.Popen(
            [*command, *settings, *ports],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stderr=stream,
        )
    try:
        wait_until(lambda: "serving" in said.read_text() or process.poll() is not None)
        regions = list(SHARED_MEMORY.glob(f"kws_{process.pid}_*"))
        assert process.poll() is None and regions
        if end == signal.SIGINT:
            for blow in (signal.SIGKILL, signal.SIGSTOP):
                os.kill(descendants(process.pid)[2], blow)  # a backend of two
                wait_until(lambda: "is up again" in said.read_text())
                assert "the process of a backend has ended or was stopped" in said.read_text()
                said.write_text("")
            http_port = ports[0].partition("=")[2]
            assert post(f"127.0.0.1:{http_port}", "kws_onnx", body())[0] == 200
        children = descendants(process.pid)
        assert len(children) >= 3
        process.send_signal(end)
        assert process.wait(30) == (0 if end == signal.SIGINT else -signal.SIGKILL)
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))
    finally:
        process.kill()
    assert list(SHARED_MEMORY.glob(f"kws_{process.pid}_*")) == []
    for port in ports:
        check_port(int(port.partition("=")[2]))


# Streams


@pytest.fixture(scope="module")
def exported_stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return streaming_file(tmp_path_factory.mktemp("stream"))


@pytest.fixture
def stream_model(tmp_path: Path, exported_stream: Path) -> Path:
    return shutil.copy(exported_stream, tmp_path)


@pytest.fixture
def streams(
    needs_the_server, tmp_path: Path, tiny_onnx: Path, stream_model: Path
) -> Iterator[TritonServer]:
    """Serves both forms, and `one_waits`, which scores one stream at a time and lets one more wait."""
    cfg = configured(tmp_path, f"server.environment={ENVIRONMENT}", *free_ports())
    entry, info = build(cfg.triton), OnnxBackend(stream_model).info
    names = [*fill_repository(entry, [tiny_onnx, stream_model]), "one_waits"]
    replace(entry, name="one_waits", queue_size=1, max_batch_size=1).fill(stream_model, info)
    server = build(cfg.server)
    try:
        build(cfg.supervisor).begin(server, Path(entry.repository), names)
        yield server
    finally:
        server.stop()


def end_at_once(server: TritonServer) -> None:
    group = server.process.pid
    server.kill()
    wait_until(lambda: not processes_of(group))  # which hold its ports


def start_again(server: TritonServer, repository: Path) -> None:
    supervisor = build(configured(repository.parent.parent).supervisor)
    supervisor.begin(server, repository, ["kws_stream"])


def served(url: str, name: str = "kws_stream", **patience) -> StreamingModel:
    return StreamingModel(name, partial(TritonBackend, url=url, **patience))


def heard(listener: KeywordListener, sound: np.ndarray) -> list[tuple[str, float]]:
    events = [*listener(sound), *listener.finish()]
    return [(event.keyword, round(event.time, 6)) for event in events]


@pytest.mark.integration
def test_a_stream_has_the_same_events_by_the_server_which_may_be_started_again_meanwhile(
    streams: TritonServer, tmp_path: Path, stream_model: Path, monkeypatch, capsys
) -> None:
    sound = np.append(lively_sound(6), np.zeros(1000, np.float32))  # its end is less than a request
    expected = heard(KeywordListener(stream_model, thresholds=0.35), sound)
    assert len(expected) >= 3
    urls = [f"http://{streams.http_url}", f"grpc://{streams.grpc_url}"]
    for url in urls:
        listener = KeywordListener(served(url), thresholds=0.35)
        assert heard(listener, sound) == heard(listener, sound) == expected
        with pytest.raises(KwsError, match="kws_onnx answers for clips.*kws_stream of a server"):
            served(url, "kws_onnx")

    soundfile.write(tmp_path / "talk.wav", sound, 16_000, subtype="FLOAT")
    given = [str(tmp_path / "talk.wav"), "speed=0", "thresholds=0.35", "format=json"]
    monkeypatch.setattr(sys, "argv", ["kws", "listen", *given, f"url={urls[0]}"])
    assert commands.main() == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(event["keyword"], round(event["time"], 6)) for event in told] == expected

    listeners = [KeywordListener(served(url, retries=60), thresholds=0.35) for url in urls]
    with ThreadPoolExecutor() as pool:
        halves = [listener(sound[:40_000]) for listener in listeners]
        end_at_once(streams)
        answers = [pool.submit(heard, listener, sound[40_000:]) for listener in listeners]
        start_again(streams, tmp_path / "plots" / "model_repository")
        for half, answer in zip(halves, answers, strict=True):
            first = [(event.keyword, round(event.time, 6)) for event in half]
            assert first + answer.result() == expected
    assert capsys.readouterr().err.count("trying again") == len(urls)


@pytest.mark.integration
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_no_stream_goes_on_with_another_model(
    streams: TritonServer, tmp_path: Path, stream_model: Path, protocol: str
) -> None:
    url = f"{protocol}://{getattr(streams, f'{protocol}_url')}"
    sound = lively_sound(6)
    entry = build(configured(tmp_path).triton)
    repository = Path(entry.repository)

    listener = KeywordListener(served(url, retries=60))
    listener(sound[:16_000])
    other = OnnxBackend(stream_model).info
    other = replace(other, training={"run": "another"})
    write_metadata(other, stream_model)
    fill_repository(entry, [stream_model])
    assert streams.reload("kws_stream") is None
    with pytest.raises(KwsError, match="version 1 no longer as kws_stream.* begin them anew"):
        listener(sound[16_000:])

    # The same number of a version, of another model.
    listener = KeywordListener(served(url, retries=60))
    listener(sound[:16_000])
    shutil.rmtree(repository / "kws_stream")
    write_metadata(replace(other, training={"run": "a third"}), stream_model)
    fill_repository(entry, [stream_model])
    (repository / "kws_stream" / "1").rename(repository / "kws_stream" / "2")
    end_at_once(streams)
    start_again(streams, repository)
    with pytest.raises(KwsError, match="another model than .* as kws_stream.* begin them anew"):
        listener(sound[16_000:])
    assert heard(KeywordListener(served(url), thresholds=0.35), sound)


@pytest.mark.integration
def test_streams_beyond_the_queue_are_refused_and_none_is_answered_wrongly(
    streams: TritonServer, stream_model: Path
) -> None:
    local, sound = StreamingModel(stream_model), lively_sound(6)
    expected = local.rows(sound, [10] * 60)

    def listen(_: int) -> Counter:
        model = served(f"grpc://{streams.grpc_url}", "one_waits", **NO_RETRIES)
        state, counts = model.initial_state(), Counter()
        for i in range(60):
            chunk = sound[np.newaxis, i * 1600 : (i + 1) * 1600]
            try:
                rows, state = model(chunk, state)
            except KwsError as error:
                refused = "maximum queue size" in str(error)
                return counts + Counter(["refused" if refused else str(error)])
            close = np.allclose(rows[0], expected[i * 10 : (i + 1) * 10], atol=1e-5)
            counts["right" if close else "wrong"] += 1
        return counts

    with ThreadPoolExecutor(CLIENTS) as pool:
        assert set(sum(pool.map(listen, range(CLIENTS)), Counter())) == {"right", "refused"}
