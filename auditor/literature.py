"""The page of the literature: every paper that a check or an entry of the zoo carries, and those that nothing does.

What is built stands in the registries and is read off them; the rest stands in :mod:`auditor.papers`.
"""

from collections.abc import Iterator

from auditor.checks import registry
from auditor.checks.check import AnyCheck
from auditor.papers import NAMES, NOT_BUILT, NotBuilt
from auditor.tasks import registry as tasks
from auditor.zoo.catalogue import Entry, entries

_NO_PAPER = "none"
_DISTRIBUTION = "unlearning-auditor"


def page() -> str:
    """``docs/literature.md``, whole."""
    return "\n".join(
        [
            _HEAD,
            *_table("## Checks", _COLUMNS, sorted(_checks())),
            *_table(
                "## Unlearners of the zoo",
                _COLUMNS,
                sorted([*map(_entry, entries()), *(_formula(*row) for row in _FORMULAS)]),
            ),
            *_table("## Commands", _COLUMNS, sorted(_COMMANDS)),
            *_table("## Not built", ("paper", "what of it", "state"), sorted(map(_missing, NOT_BUILT))),
        ]
    )


_COLUMNS = ("paper", "what it is here", "state", "evidence")
_FORMULAS = (
    ("arXiv 1606.00709", "flat", "text", "its bound of an f-divergence"),
    ("arXiv 1312.6114", "laf", "vision", "the autoencoders of its representations"),
    ("arXiv 2207.00112", "loku", "text", "the nearest low-rank matrix, its rows weighted"),
    ("arXiv 2306.01708", "merged", "text", "how two changes become one"),
    ("arXiv 1607.00133", "private", "text", "the clipped and noisy gradient of its base"),
    ("arXiv 1905.02383", "private", "text", "what the steps of its base come to together"),
    ("arXiv 2202.05262", "rocr", "text", "the least change of a map that gives one key another value"),
)
"""What entries of the zoo take from a second paper: paper, entry, its task, what."""
_COMMANDS = (
    (
        "SoK intent (Ren et al. 2025) ([2506.09227](https://arxiv.org/abs/2506.09227))",
        "`audit list --taxonomy`: what every method means to do, and what every check looks at",
        "command",
        "[taxonomy.md](taxonomy.md)",
    ),
    (
        "survey taxonomy (Nguyen et al. 2022) ([2209.02299](https://arxiv.org/abs/2209.02299))",
        "`audit list --taxonomy`: what every method rests on",
        "command",
        "[taxonomy.md](taxonomy.md)",
    ),
    (
        "What was unlearned? (model diffing)",
        "`audit discover`: classes or subjects by how far the two models' answers differ",
        "command",
        "[command-line.md](command-line.md)",
    ),
    (
        "ALU",
        "`audit ask`: agents and others that can only be asked, audited by what they say",
        "command",
        "[answers.md](answers.md)",
    ),
    (
        "MUSE ([2407.06460](https://arxiv.org/abs/2407.06460))",
        "`audit sequence`: requests one after the other, every checkpoint held to all before it",
        "command",
        "[command-line.md](command-line.md)",
    ),
)
"""What is no check, since it comes before an audit or puts several together."""
_HEAD = """# The literature

Written by `audit list --literature` from the registries of checks and of the zoo: which paper is what here, in which
state, and where its evidence is. A check carries a paper's idea inside the same calibration as every other (references
or holdout as null, decoys, resolution); a *form* is one reading, step or way of asking among several of a check. What a
zoo entry leaves in a model is for audits to say ([validity.md](validity.md)).
"""


def _table(heading: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    yield f"{heading}\n"
    yield f"| {' | '.join(columns)} |"
    yield f"|{' --- |' * len(columns)}"
    yield from (f"| {' | '.join(cells)} |" for cells in rows)
    yield ""


def _checks() -> Iterator[tuple[str, ...]]:
    """A row for each source of each check, and one for a check that has none."""
    for task in map(tasks.load, tasks.names()):
        for check in tasks.checks_of(task):
            # Of a task that borrows it from another, whose page it stands on.
            if check.tasks and task.name not in check.tasks:
                continue
            # What another package brings is no part of this page, wherever it is written.
            if registry.provider(check.name, task.name).split()[0] != _DISTRIBUTION:
                continue
            where = f"[{task.page}]({task.page}#{check.name})"
            if not check.sources:
                yield "–", _own(check), "check", where
            for source in check.sources:
                state = f"form of `{check.name}`" if source.part else "check"
                yield named(source.paper), f"`{check.name}`: {source.here}", state, where


def _own(check: AnyCheck) -> str:
    return f"`{check.name}`: {check.summary[0].lower()}{check.summary[1:-1]}"


def _entry(entry: Entry) -> tuple[str, ...]:
    paper = "–" if entry.paper == _NO_PAPER else named(entry.paper)
    kind = "an adversary" if entry.adversary else f"truth {entry.truth}"
    return paper, f"`{entry.name}` ({entry.task}): {entry.family}; {kind}", "zoo entry", "[zoo.md](zoo.md)"


def _formula(paper: str, name: str, task: str, what: str) -> tuple[str, ...]:
    return named(paper), f"`{name}` ({task}): {what}", f"form of `{name}`", "[zoo.md](zoo.md)"


def _missing(item: NotBuilt) -> tuple[str, ...]:
    return named(item.paper), item.what, f"not built: {item.why}"


def named(paper: str) -> str:
    """A paper by its name, with a link where it has a number.

    >>> named("arXiv 2511.04934")
    'Leak@k ([2511.04934](https://arxiv.org/abs/2511.04934))'
    """
    if not paper.startswith("arXiv "):
        return paper
    number = paper.removeprefix("arXiv ")
    return f"{NAMES[paper]} ([{number}](https://arxiv.org/abs/{number}))"
