"""The command line. Heavy modules load inside the commands, so that help is instant."""

import errno
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from auditor import __version__
from auditor.cli.ask import ask
from auditor.cli.assign import assign, canary
from auditor.cli.canonical import canonical
from auditor.cli.compare import compare
from auditor.cli.demo import demo
from auditor.cli.diff import diff
from auditor.cli.discover import discover
from auditor.cli.doctor import doctor
from auditor.cli.examples import examples
from auditor.cli.export import export
from auditor.cli.init import init
from auditor.cli.listing import list_checks
from auditor.cli.pack import pack
from auditor.cli.plan import plan
from auditor.cli.reference import reference
from auditor.cli.render import render
from auditor.cli.scan import scan
from auditor.cli.sequence import sequence
from auditor.cli.sign import sign
from auditor.cli.sweep import sweep
from auditor.cli.verify import verify
from auditor.cli.work import work
from auditor.cli.zoo import zoo
from auditor.errors import AuditError, UsageError
from auditor.run.executors.forked import Crash

EXAMPLES = (
    "audit init original.pt unlearned.pt --forget forget.npz --retain retain.npz",
    "audit compare --dry-run",
    "audit compare",
)
# The \b in it keeps click from wrapping the lines below.
EXIT_CODES = """
\b
Exit codes:
  0    the expected outcome, no flag; verify: everything holds; diff: the same outcome
  1    another decided outcome, or a flag, whatever else could not run; verify: something does not hold;
       doctor: something is lacking
  2    the request cannot be carried out as asked
  3    no flag, and inconclusive or a planned check could not run; verify: something could not be checked;
       reference --until-resolved: not resolved; discover: nothing stands out
  4    an input file was refused as unsafe
  5    an error inside the auditor
  130  interrupted; finished scores are kept
"""


class _Group(click.Group):
    """Maps the error tree to exit codes, once."""

    # Any: what comes after the arguments is handed on, with the types that click declares.
    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> NoReturn:
        # The arguments as typed, for the command that the report prints.
        # Left to itself, click would exit with codes of its own before the tree is mapped.
        extra |= {"standalone_mode": False, "obj": list(sys.argv[1:] if args is None else args)}
        try:
            sys.exit(super().main(args, *rest, **extra) or 0)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except AuditError as error:
            _complain(str(error))
            sys.exit(error.exit_code)
        except (click.Abort, KeyboardInterrupt):
            click.echo("audit: interrupted; finished scores are kept, the same command goes on from there", err=True)
            # As a shell reports a command that was interrupted.
            sys.exit(128 + signal.SIGINT)
        # A full disk or a folder that is closed to the user is no fault of the auditor.
        except OSError as error:
            _complain(_sentence(error))
            sys.exit(UsageError.exit_code)
        except Exception as error:  # noqa: BLE001 - the error tree is mapped to exit codes here and nowhere else
            # A crash in the child carries the traceback of where it happened; ours shows the watching alone.
            text = str(error) if isinstance(error, Crash) else traceback.format_exc().rstrip()
            click.echo(text, err=True)
            click.echo(
                "audit: this is a fault of the auditor, not of your input; please report the lines above", err=True
            )
            sys.exit(AuditError.exit_code)


def _complain(sentence: str) -> None:
    """One line on standard error; what a stranger's file put into it moves no cursor and reorders no text."""
    from auditor.reports.formats import clean

    click.echo(f"audit: {clean(sentence)}", err=True)


def _sentence(error: OSError) -> str:
    said = f"cannot open or write {error.filename or 'a file'}: {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{said}; free some space, finished scores are kept and the same command goes on from there"
    return said


@click.group(
    cls=_Group, epilog=examples(*EXAMPLES) + "\n" + EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="audit")
def main() -> None:
    """Audit machine unlearning: was the knowledge deleted, or only suppressed?"""


for command in (
    ask,
    assign,
    canary,
    canonical,
    compare,
    demo,
    diff,
    discover,
    doctor,
    export,
    init,
    list_checks,
    pack,
    plan,
    reference,
    render,
    scan,
    sequence,
    sign,
    sweep,
    verify,
    work,
    zoo,
):
    main.add_command(command)
