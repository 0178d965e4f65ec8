"""Published benchmarks of language models: which of their files are which set, and which check draws their metrics."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from auditor.errors import SpecError
from auditor.records.draft import Line
from auditor.records.spec import AuditSpec
from auditor.tasks.causal_lm.readers import read_facts

_QUESTIONS = "Question: {prompt}\nAnswer: {answer}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """One set of a benchmark.

    Attributes:
        files: patterns below the folder, the best first.
        n: facts that it was published with; None where that is not known.
    """

    files: tuple[str, ...]
    n: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Benchmark:
    """What `audit init` takes over from a benchmark.

    Attributes:
        title: name, and where it is described.
        sets: by field of ``[data]``.
        template: how question and answer are joined where no chat template is used.
        metrics: what the benchmark calls its numbers, by the check that draws them.
        goal: of the request.
    """

    title: str
    sets: Mapping[str, Split]
    template: str
    metrics: Mapping[str, str]
    goal: str = "data"


BENCHMARKS: Mapping[str, Benchmark] = {
    "tofu-forget10": Benchmark(
        title="TOFU (arXiv 2401.06121), forget10",
        sets={
            # With wrong answers and other wordings, without which there is no truth ratio.
            "forget": Split(files=("forget10_perturbed.*", "forget10.*", "forget10/*"), n=400),
            "retain": Split(files=("retain90.*", "retain90/*"), n=3600),
            "holdout": Split(files=("holdout10.*", "holdout10/*"), n=400),
        },
        template=_QUESTIONS,
        metrics={
            "outputs": "forget_Q_A_Prob, forget_Q_A_ROUGE, forget_truth_ratio, exact_memorization, extraction_strength",
            "membership": "mia_loss, mia_min_k, mia_min_k_plus_plus, mia_zlib, privleak",
        },
    ),
    "muse-news": Benchmark(
        title="MUSE-News (arXiv 2407.06460), knowmem",
        sets={
            "forget": Split(files=("knowmem/forget_qa.*", "knowmem/forget_qa-*"), n=100),
            "retain": Split(files=("knowmem/retain_qa.*", "knowmem/retain_qa-*"), n=100),
        },
        template=_QUESTIONS,
        metrics={"outputs": "forget_knowmem_ROUGE, retain_knowmem_ROUGE (its utility)"},
    ),
    "wmdp-bio": Benchmark(
        title="WMDP (arXiv 2403.03218), bio",
        sets={
            "forget": Split(files=("wmdp-bio/test*", "bio_questions.json", "wmdp-bio.*"), n=1273),
            "retain": Split(files=("mmlu.*", "mmlu/test*", "mmlu/all/test*", "all/test*"), n=14042),
        },
        template=_QUESTIONS,
        metrics={"outputs": "acc (multiple choice)", "relearning": "relearning"},
        goal="concept",
    ),
    "rwku": Benchmark(
        title="RWKU (arXiv 2406.10890), questions and answers (level 2)",
        sets={
            "forget": Split(files=("forget_level2.*", "forget_level2/test*"), n=2879),
            "retain": Split(files=("neighbor_level2.*", "neighbor_level2/test*")),
        },
        template=_QUESTIONS,
        metrics={"outputs": "forget QA, neighbor QA (ROUGE-L recall)"},
    ),
}
"""By the name that `audit init --benchmark` takes."""


def asked_by(name: str, folder: Path) -> dict[str, dict[str, object]]:
    """The fields of audit.toml that a benchmark decides, by section.

    Args:
        name: of the benchmark.
        folder: of its files, as published.

    Raises:
        SpecError: the folder holds no forget set of it, or a set in several files.
    """
    benchmark = BENCHMARKS[name]
    found = {field: _file(split, folder) for field, split in benchmark.sets.items()}
    if found["forget"] is None:
        tried = ", ".join(benchmark.sets["forget"].files)
        raise SpecError(f"{folder} holds no forget set of {benchmark.title}: none of {tried} is there; name its folder")
    return {
        "data": {**{field: str(path) for field, path in found.items() if path}, "template": benchmark.template},
        "request": {"kind": "facts", "goal": benchmark.goal},
    }


def _file(split: Split, folder: Path) -> Path | None:
    for pattern in split.files:
        matches = sorted(path for path in folder.glob(pattern) if path.is_file())
        if len(matches) > 1:
            raise SpecError(
                f"{folder / pattern} are {len(matches)} files; join them into one, or remove what is no data"
            )
        if matches:
            return matches[0]
    return None


def lines(name: str, spec: AuditSpec, base: Path) -> Iterator[Line]:
    """What stands in the drafted file of it, beside what the files say by themselves."""
    benchmark = BENCHMARKS[name]
    for field, split in benchmark.sets.items():
        source = getattr(spec.data, field)
        n = None if source is None or split.n is None else len(read_facts(source, base))
        if n is not None and n != split.n:
            # The same names stand for other splits in copies that people pass on.
            why = f"{n} facts, and {benchmark.title} has {split.n} here: is it another split of that name?"
            yield Line(field=f"data.{field}", value=source, why=why)
    why = f"of {benchmark.title}; for a model that was tuned in a chat template set chat_template instead"
    yield Line(field="data.template", value=spec.data.template, why=why)
    yield Line(field="request.goal", value=spec.request.goal, why=f"of {benchmark.title}")
    called = "; ".join(f"{names} are drawn by {check}" for check, names in benchmark.metrics.items())
    why = f"every check runs unless you name some, which can keep DELETED out of reach. The benchmark's own: {called}"
    yield Line(field="audit.checks", value=tuple(benchmark.metrics), why=why, open=True)
