"""What `torchrun` does, for two processes on this machine: both run the same program, each knowing its rank."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path


def run_two(program: str, *arguments: Path) -> list[list[str]]:
    """The words that either process printed; fails unless both end well."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
                   "OMP_NUM_THREADS": "1", "PYTHONPATH": root}
    processes = [subprocess.Popen([sys.executable, "-c", program, *map(str, arguments)], stdout=subprocess.PIPE,
                                  text=True, cwd=root, env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)})
                 for rank in range(2)]
    said = [process.communicate(timeout=240)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    return said
