"""Limits that a process puts on itself, for good, before it looks at a stranger's file."""

import resource
import sys
from pathlib import Path

# Storages, contiguous copies and serialised bytes coexist for a moment; tied weights are written twice.
MEMORY_FACTOR = 8
MEMORY_BASE_BYTES = 256 * 2**20
OUTPUT_FACTOR = 2
OUTPUT_BASE_BYTES = 8 * 2**20
# The limit counts from the process's start: the fixed part covers what it has to import first.
CPU_SECONDS = 60
BYTES_PER_CPU_SECOND = 10 * 2**20


def cpu_seconds(file_bytes: int) -> int:
    """Processor time a process may use for a file of that size."""
    return CPU_SECONDS + file_bytes // BYTES_PER_CPU_SECOND


def limit_this_process(file_bytes: int) -> dict[str, int]:
    """Limit this process for good, and return the limits by name, in bytes, seconds or counts.

    What is open stays open and nothing more can be opened: no file and no connection. That holds wherever
    resource limits do, without privileges or namespaces; only a process with ``CAP_SYS_RESOURCE`` (root) could
    raise them again. Address space is limited on Linux only, to what is mapped by now plus a share for the file.
    """
    wanted = {
        "RLIMIT_CORE": 0,
        # No process and no thread may be started.
        "RLIMIT_NPROC": 0,
        "RLIMIT_FSIZE": OUTPUT_FACTOR * file_bytes + OUTPUT_BASE_BYTES,
        "RLIMIT_CPU": cpu_seconds(file_bytes),
    }
    if sys.platform == "linux":
        # What torch has mapped by now differs between machines, and is no part of the file's allowance.
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        wanted["RLIMIT_AS"] = mapped + MEMORY_BASE_BYTES + MEMORY_FACTOR * file_bytes
    # The last: /proc/self/statm could not be opened after it.
    wanted["RLIMIT_NOFILE"] = 0
    return {name: _lower(getattr(resource, name), value) for name, value in wanted.items()}


def _lower(kind: int, value: int) -> int:
    _, hard = resource.getrlimit(kind)
    allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
    # The hard limit too: a soft one alone could be raised again by the process itself.
    resource.setrlimit(kind, (allowed, allowed))
    return allowed
