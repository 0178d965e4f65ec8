"""Child processes that look at a stranger's files: how they are started and what they say in the end."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

from auditor.loading.tensors import plain

_KEPT_VARIABLES = ("HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "VIRTUAL_ENV")


def run_module(module: str, paths: Sequence[Path], seconds: float) -> subprocess.CompletedProcess[str]:
    """Run a module of this program on some files, with a deadline and next to nothing of the environment.

    Raises:
        subprocess.TimeoutExpired: it took longer than ``seconds``, and was ended.
    """
    return subprocess.run(
        _command(module, *map(os.fspath, paths)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=seconds,
        env=_environment(),
        text=True,
        # What it prints may quote the file, no byte of which may fail in this process.
        errors="replace",
        check=False,
    )


def start_module(module: str, pipe: Connection, errors: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a module of this program that stays, with next to nothing of the environment.

    Args:
        module: its full name; its one argument is the number of the pipe's file.
        pipe: the end of a pipe that the module talks through.
        errors: where its standard error goes.
    """
    return subprocess.Popen(
        _command(module, str(pipe.fileno())),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        env=_environment(),
        pass_fds=[pipe.fileno()],
    )


def _command(module: str, *arguments: str) -> list[str]:
    # -P: nothing is imported from the working directory, which may be a stranger's.
    return [sys.executable, "-P", "-m", module, *arguments]


def _environment() -> dict[str, str]:
    """Keep of the environment where things are, and nothing that changes how the child reads."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    # A relative entry, and an empty one, would stand for the working directory.
    places = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if os.path.isabs(place)]
    # Reading a file needs no network and no GPU.
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    return {**kept, **offline, "PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1"}


def last_reply(child: subprocess.CompletedProcess[str]) -> dict[str, object]:
    """The JSON object on the last line of its output; empty where there is none."""
    lines = child.stdout.splitlines()
    try:
        reply = json.loads(lines[-1]) if lines else {}
    # It may have died in the middle of a line.
    except ValueError:
        return {}
    return reply if isinstance(reply, dict) else {}


def last_words(status: int, errors: str) -> str:
    """How a process ended, for a person.

    Args:
        status: its exit status, or minus the number of the signal that ended it.
        errors: its standard error.

    >>> last_words(-9, ""), last_words(3, "")
    ('signal SIGKILL', 'exit status 3')
    """
    if status < 0:
        return f"signal {signal.Signals(-status).name}"
    lines = errors.strip().splitlines()
    return plain(lines[-1], 300) if lines else f"exit status {status}"
