"""The whole loop in a child process that can be killed, so that what hangs or dies costs one check, not the audit.

The process that the user started only watches: it loads nothing heavy, so that the child can be forked from it. A unit
of work that exceeds the time limit, or takes the process down, is given up with a reason; the next child goes on from
the store of scores.
"""

import os
import signal
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess

from auditor.errors import AuditError, UsageError
from auditor.records.events import Begun, Event, Planned, Unit

LOADING = "loading models and data"
SCORING = "scoring"
_SECONDS_TO_STOP = 3.0
# A job is a closure, which no other way to start a process could hand over.
_FORK = get_context("fork")

Lost = Mapping[Unit, str]
"""Why units were given up."""
Message = Planned | Begun | Event
Tell = Callable[[Message], None]
Job = Callable[[Tell, Lost], None]


class Crash(Exception):
    """The child met a fault of the auditor; the message is its traceback."""


@dataclass(frozen=True)
class _Ended:
    """The child's last message: how the job ended.

    Attributes:
        error: what it raised; None where it was finished.
    """

    error: BaseException | None


@dataclass(frozen=True)
class _Death:
    """A child that ended without a last message.

    Attributes:
        during: the unit, or the stage in words.
        reason: one clause whose subject is the unit.
    """

    during: Unit | str
    reason: str


def supervise(job: Job, *, seconds: float, hear: Tell) -> None:
    """Carry out a job in a child process, and again without the unit at which the child hung or died.

    Args:
        job: called in the child with a function to report progress with and the units given up so far.
        seconds: how long one unit, or loading or concluding, may take.
        hear: told of all that the job reports.

    Raises:
        UsageError: the child hung or died outside of a unit.
        Crash: a fault of the auditor in the child.
        Exception: :class:`AuditError` or :class:`OSError`, as the job raised it.
        KeyboardInterrupt: from the terminal; the child is gone by then.
    """
    lost: dict[Unit, str] = {}
    while (death := _run(job, lost, seconds, hear)) is not None:
        # There is no unit to leave out, and to try again would end in the same way.
        if isinstance(death.during, str):
            raise UsageError(f"{death.during} could not be finished: it {death.reason}")
        lost[death.during] = death.reason


def _run(job: Job, lost: Lost, seconds: float, hear: Tell) -> _Death | None:
    ours, theirs = _FORK.Pipe()
    child = _FORK.Process(target=_child, args=(job, lost, theirs, ours))
    child.start()
    # Held by this process too, it would keep the pipe open when the child is gone.
    theirs.close()
    try:
        during = _watch(child, ours, seconds, hear)
        if during is None:
            return None
        # No message means death or silence: a child that is still there took too long.
        overdue = not connection.wait([child.sentinel], 0)
        if overdue:
            os.kill(_number(child), signal.SIGINT)
    except KeyboardInterrupt:
        os.kill(_number(child), signal.SIGINT)
        raise
    finally:
        # Asked, it removes its temporary files; then it goes, whether or not it does, with all that it has started.
        connection.wait([child.sentinel], _SECONDS_TO_STOP)
        _kill(child)
        child.join()
        ours.close()
    late = f"took longer than {seconds:g} s (audit.time_limit) and was stopped"
    return _Death(during, late if overdue else _how_it_ended(child.exitcode))


def _watch(child: ForkProcess, pipe: Connection, seconds: float, hear: Tell) -> Unit | str | None:
    """Pass on what the child reports; what it was at when it died or took too long, None once the job is done."""
    during: Unit | str = LOADING
    while (message := _next_message(child, pipe, seconds)) is not None:
        if isinstance(message, _Ended):
            if message.error is not None:
                raise message.error
            return None
        during = Unit(check=message.check, model=message.model) if isinstance(message, Begun) else SCORING
        hear(message)
    return during


def _next_message(child: ForkProcess, pipe: Connection, seconds: float) -> Message | _Ended | None:
    """What the child says next; None where it died or nothing came in time."""
    # Its death is waited for as well: what it has started may hold the pipe open after it.
    if pipe in connection.wait([pipe, child.sentinel], seconds):
        with suppress(EOFError, OSError):
            message: Message | _Ended = pipe.recv()
            return message
    return None


def _how_it_ended(code: int | None) -> str:
    """In words.

    >>> _how_it_ended(3)
    'ended its process with exit status 3'
    """
    assert code is not None, "it has been waited for"
    if code >= 0:
        return f"ended its process with exit status {code}"
    if -code == signal.SIGKILL:
        return "had its process killed (SIGKILL), as the system does when memory runs out"
    return f"brought its process down ({signal.Signals(-code).name})"


def _number(child: ForkProcess) -> int:
    assert child.pid is not None, "it was started"
    return child.pid


def _kill(child: ForkProcess) -> None:
    """With whatever it has started; it has not been waited for, so that its number is not yet another's."""
    # It may have died before it had a group of its own.
    with suppress(ProcessLookupError):
        os.killpg(_number(child), signal.SIGKILL)
    os.kill(_number(child), signal.SIGKILL)


def _child(job: Job, lost: Lost, pipe: Connection, parents_end: Connection) -> None:
    """The child's whole life. Its group is its own, so that it can be killed with all that it has started."""
    os.setpgrp()
    # A background shell starts what it runs deaf to this signal, by which the watching process asks the child to end.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Held here too, it would keep this process from noticing that the other has ended.
    parents_end.close()
    threading.Thread(target=_end_with_parent, args=(pipe,), daemon=True).start()
    try:
        job(pipe.send, lost)
        pipe.send(_Ended(None))
    except KeyboardInterrupt:
        pipe.send(_Ended(KeyboardInterrupt()))
    # These are for a person, and their types decide the exit code; they arrive as they were raised.
    except (AuditError, OSError) as error:
        pipe.send(_Ended(error))
    except Exception:  # noqa: BLE001 - it has to reach the process that reports it
        pipe.send(_Ended(Crash(traceback.format_exc().rstrip())))


def _end_with_parent(pipe: Connection) -> None:
    """The supervisor sends nothing: what ends the wait is its end, however it came."""
    with suppress(EOFError, OSError):
        pipe.recv_bytes()
    # The whole group: what a check has started must not outlive the audit either.
    os.killpg(os.getpgrp(), signal.SIGKILL)
