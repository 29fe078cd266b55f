"""Runs the server for `kws serve`, and ends all of it where `kws serve` is killed, at whatever moment.

    python watcher.py EXIT_SECONDS MEMORY_PREFIX FOLDER COMMAND …

Standard input is a pipe that the program which started this holds open. It leads the process group of the server.
"""

import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")


def main() -> None:
    """Return never: when the server or standard input has ended, the group is killed, this process too."""
    exit_seconds, memory_prefix, folder, *command = sys.argv[1:]
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    ended, _, _ = select.select([sys.stdin, os.pidfd_open(server.pid)], [], [])
    if sys.stdin in ended:
        server.terminate()  # it answers what it was asked before
        try:
            server.wait(float(exit_seconds))
        except subprocess.TimeoutExpired:
            pass
        shutil.rmtree(folder, ignore_errors=True)
    for region in SHARED_MEMORY.glob(f"{memory_prefix}*"):
        region.unlink(missing_ok=True)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
