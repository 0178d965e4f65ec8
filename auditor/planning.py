"""Makes the plan: every choice fixed, and what can be said beforehand of the outcome."""

from collections.abc import Sequence
from pathlib import Path

from auditor import __version__, decoys, registry, statistics
from auditor.check import Check
from auditor.data import CONTROL_CONCEPTS, EXAMPLES_PER_CONCEPT, AuditData
from auditor.inputs import Inputs
from auditor.lineup import Lineup
from auditor.plan import Execution, Plan, PlannedCheck, PlannedModel, Prospect
from auditor.policy import Policy, load_policy
from auditor.randomness import derive_seed
from auditor.spec import AuditSpec
from auditor.statistics import Spread
from auditor.verdict import REFERENCES_FOR_A3

GAPS = (8.6, 10.0, 15.0)


def make_plan(
    spec: AuditSpec,
    lineup: Lineup,
    inputs: Inputs | None,
    data: AuditData | None,
    checks: Sequence[Check],
    *,
    base: Path,
    command: str,
) -> Plan:
    """Fix everything.

    Args:
        spec: the request.
        lineup: models, with their layout where they can be run.
        inputs: example sets as gathered; None for a bare pair of checkpoints.
        data: the same, split.
        checks: what will be run, in order.
        base: folder of audit.toml.
        command: what to type to repeat the audit.
    """
    policy = load_policy(spec.audit.policy, base)
    models = _models(spec, lineup, data)
    return Plan(
        auditor_version=__version__,
        task="classification" if data is not None else "weights",
        request=spec.request.kind,
        goal=spec.request.goal,
        classes=data.classes if data is not None else spec.request.classes,
        n_classes=data.n_classes if data is not None else 0,
        class_names=spec.data.class_names,
        expect=spec.audit.expect,
        seed=spec.audit.seed,
        models=tuple(models),
        data=inputs.planned if inputs is not None and data is not None else (),
        architecture_digest=lineup.architecture_digest,
        architecture=lineup.architecture.name if lineup.architecture is not None else None,
        preprocessing=data.retain.preprocessing.model_dump(mode="json") if data is not None else {},
        layers=lineup.layout.layers if lineup.layout is not None else (),
        checks=tuple(_planned(check, spec, policy) for check in checks),
        execution=Execution(
            device=spec.audit.device,
            dtype=spec.audit.dtype,
            threads=spec.audit.threads,
            batch_size=spec.audit.batch_size,
        ),
        policy=policy,
        prospect=prospect(spec, policy, models, data, [check.name for check in checks]),
        notes=inputs.notes if inputs is not None else (),
        command=command,
    )


def _models(spec: AuditSpec, lineup: Lineup, data: AuditData | None) -> list[PlannedModel]:
    """Original, references, decoys, and the unlearned model last: the bar is set before it is looked at."""
    given = lineup.planned
    made = []
    if data is not None and lineup.layout is not None:
        made = decoys.planned(spec.request.kind, given[0].digest, data.digest, spec.audit.seed)
        if lineup.layout.head is None:
            made = [model for model in made if not model.name.startswith("head_")]
    return [given[0], *given[2:], *made, given[1]]


def _planned(check: Check, spec: AuditSpec, policy: Policy) -> PlannedCheck:
    return PlannedCheck(
        name=check.name,
        provider=registry.provider(check.name),
        family=check.family,
        may=check.may,
        primary=check.name in policy.primaries.get(spec.request.kind, ()),
        settings=check.settings_type().model_dump(mode="json"),
        seed=derive_seed(spec.audit.seed, check.name),
    )


def prospect(
    spec: AuditSpec, policy: Policy, models: Sequence[PlannedModel], data: AuditData | None, checks: Sequence[str]
) -> Prospect:
    """What can be said before anything is scored."""
    k = sum(model.role == "reference" for model in models)
    smallest = _smallest_residue(k, len(data.forget_eval)) if data is not None else None
    obstacles = _obstacles(spec, policy, k, data, checks, smallest)
    chances = {}
    if k >= 2:
        bars = policy.thresholds
        chances = {
            f"{gap:g}": statistics.pass_probability(
                k,
                gap,
                n_primaries=len(policy.primaries.get(spec.request.kind, ())) or 1,
                max_resolution=bars.max_resolution,
                tau_deleted=bars.deleted,
                tau_over=bars.over,
            )
            for gap in GAPS
        }
    return Prospect(
        smallest_residue=smallest,
        pass_probability=chances,
        deleted_in_reach=not obstacles,
        obstacles=tuple(obstacles),
    )


def _smallest_residue(k: int, n_eval: int) -> float | None:
    """Resolution at the smallest spread, 1/n_eval, and a gap of 1: no audit of these inputs resolves less."""
    if k < 2:
        return None
    return statistics.resolution(1.0, Spread(value=1.0 / n_eval, degrees=k - 1, n_references=k))


def _obstacles(
    spec: AuditSpec,
    policy: Policy,
    k: int,
    data: AuditData | None,
    checks: Sequence[str],
    smallest: float | None,
) -> list[str]:
    if data is None:
        return ["an architecture, a forget set and a retain set: without them only weights can be compared"]
    found = []
    if k < REFERENCES_FOR_A3:
        found.append(
            f"{k} references, DELETED needs {REFERENCES_FOR_A3} (five recommended): "
            "`audit reference` trains them from the retain set"
        )
    missing = [name for name in policy.primaries.get(spec.request.kind, ()) if name not in checks]
    found += [f"the primary check {name} is not planned: add it to audit.checks" for name in missing]
    if spec.request.kind == "sample" and data.holdout is None:
        found.append("a holdout set, distributed like the forget samples and never trained on: data.holdout")
    if spec.request.goal == "concept":
        found += _concept_obstacles(spec, data)
    if smallest is not None and smallest > policy.thresholds.max_resolution:
        found.append(
            f"{len(data.forget_eval)} forget examples to measure on resolve at best ρ = {smallest:.2f}, "
            f"clearing needs {policy.thresholds.max_resolution:.2f}: more forget examples or more references"
        )
    return found


def _concept_obstacles(spec: AuditSpec, data: AuditData) -> list[str]:
    if spec.request.kind != "class":
        return ["goal concept asks for a class to be forgotten: set request.kind to class, or request.goal to data"]
    n = len(data.control_concepts)
    if n >= CONTROL_CONCEPTS:
        return []
    return [
        f"goal concept needs a null from {CONTROL_CONCEPTS} or more never-trained control concepts with "
        f"{EXAMPLES_PER_CONCEPT} examples or more each, and there are {n}: data.control, labelled by concept; "
        "goal data can be decided without"
    ]
