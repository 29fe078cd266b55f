"""A long recording through `kws listen` as if it were said now: does it keep pace, and hear the same as in one go?

Protocol
    `kws listen RECORDING format=json` runs as a process of its own, and what it writes is read line by line.
    At one and at two thirds of the recording it is stopped for STOPPED_SECONDS, as a laptop that sleeps. Its CPU time
    and resident memory are read READINGS times on the way. Then it runs again with speed=0, and the events of both are
    compared. Lateness is when an event's line came after its time in the sound, less that of the event that came
    soonest, since it is not known when the first sample was heard; events of the catching up behind a stop are left
    out.

    python benchmarks/listen_real_time.py MODEL RECORDING [THRESHOLD] [STOPPED_SECONDS]     JSON on the last line
"""

import json
import subprocess
import sys
import threading
import time
from importlib.metadata import version
from statistics import median

import psutil
import soundfile

READINGS = 12
MEBIBYTE = 2**20
CATCHING_UP_SECONDS = 10.0


def command(model: str, recording: str, threshold: str, speed: int) -> list[str]:
    said = {"input": recording, "model": model, "thresholds": threshold, "speed": speed}
    settings = [f"{name}={value}" for name, value in said.items()]
    return [sys.executable, "-m", "speech_commands_kws.listen", *settings, "format=json"]


def heard(event: dict[str, object]) -> tuple[object, ...]:
    return event["keyword"], event["time"], event["score"]


def watch(process: psutil.Process, seconds: float, stopped: float, facts: dict) -> None:
    """Read memory and CPU time on the way, and stop the process twice."""
    facts |= {"rss_mib": [], "cpu_seconds": [], "stops": []}
    begin = time.monotonic()
    for number in range(READINGS):
        time.sleep(max(begin + (number + 1) * seconds / READINGS - time.monotonic(), 0))
        if not process.is_running():
            return
        facts["rss_mib"].append(round(process.memory_info().rss / MEBIBYTE, 1))
        used = process.cpu_times()
        facts["cpu_seconds"].append(round(used.user + used.system, 1))
        if stopped and number + 1 in (READINGS // 3, 2 * READINGS // 3):
            process.suspend()
            facts["stops"].append(time.time())
            time.sleep(stopped)
            process.resume()


def main() -> None:
    model, recording, *given = sys.argv[1:]
    threshold, stopped = [*given, *["0.5", "20"][len(given) :]]
    seconds = soundfile.info(recording).duration
    facts: dict = {"seconds": seconds, "stopped_seconds": float(stopped)}
    listening = subprocess.Popen(
        command(model, recording, threshold, 1), stdout=subprocess.PIPE, text=True
    )
    watcher = threading.Thread(
        target=watch,
        args=(psutil.Process(listening.pid), seconds, float(stopped), facts),
        daemon=True,
    )
    watcher.start()
    live = [(time.time(), json.loads(line)) for line in listening.stdout]
    if listening.wait():
        raise SystemExit(f"kws listen ended with status {listening.returncode}")
    again = subprocess.run(
        command(model, recording, threshold, 0), stdout=subprocess.PIPE, text=True, check=True
    )
    at_once = [json.loads(line) for line in again.stdout.splitlines()]

    came_after = [
        came - event["time"]
        for came, event in live
        if not any(
            0 <= came - stop <= float(stopped) + CATCHING_UP_SECONDS for stop in facts["stops"]
        )
    ]
    late = [round(each - min(came_after), 3) for each in came_after]
    third = len(late) // 3
    facts |= {
        "events": len(live),
        "same_events": list(map(heard, (event for _, event in live))) == list(map(heard, at_once)),
        "late_seconds_first_third": median(late[:third]) if third else None,
        "late_seconds_last_third": median(late[-third:]) if third else None,
        "latest_seconds": max(late, default=None),
        "onnxruntime": version("onnxruntime"),
    }
    for key, value in facts.items():
        print(f"{key:24} {value}")
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
