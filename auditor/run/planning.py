"""Makes the plan: every choice fixed, and what can be said beforehand of the outcome."""

from collections.abc import Container, Sequence
from pathlib import Path

from auditor import __version__
from auditor.checks import registry
from auditor.checks.check import AnyCheck, Room
from auditor.checks.sets import CONTROL_CONCEPTS, ExampleSet, Sets
from auditor.errors import SpecError
from auditor.inference import nulls, statistics
from auditor.inference.assurance import REFERENCES_FOR_A3, subjects_lack
from auditor.inference.statistics import Spread
from auditor.inference.top_items import holdout_lack
from auditor.models import fingerprints
from auditor.models.lineup import Lineup
from auditor.models.memory import device_bytes, weights_fit
from auditor.models.saved_autoencoder import saved_autoencoder
from auditor.randomness import derive_seed
from auditor.records.access import allows
from auditor.records.base import Frozen
from auditor.records.plan import Execution, Feasibility, Plan, PlannedCheck, PlannedModel
from auditor.records.policy import Domain, Policy, load_policy
from auditor.records.road import NO_REFERENCE
from auditor.records.spec import AuditSpec
from auditor.run import roads
from auditor.run.choosing import needed, not_given
from auditor.tasks import registry as tasks
from auditor.tasks.classification.sets import EXAMPLES_PER_CONCEPT
from auditor.tasks.task import AnyMaterial

_OR = " or "
MODELS_HELD = 2
"""Models in memory at a time: the original, and the one that is measured."""


def make_plan(
    spec: AuditSpec,
    lineup: Lineup,
    material: AnyMaterial,
    checks: Sequence[AnyCheck],
    *,
    base: Path,
    command: str,
    frozen: Plan | None = None,
) -> Plan:
    """Fix everything.

    Args:
        spec: the request.
        lineup: models.
        material: sets and structure.
        checks: what will be run, in order.
        base: folder of audit.toml.
        command: what to type to repeat the audit.
        frozen: the plan that is carried out again: what it decided by the memory of its device is not decided anew.

    Raises:
        SpecError: an autoencoder is named that cannot be used, or an assignment is stated that cannot be.
    """
    # Left unsaid, an audit would rest on references where its user believes that it rests on a draw.
    if spec.assignment.kind is not None and material.assignment is None:
        raise SpecError(
            "assignment.kind is for facts, or listed samples of images, that a model was taught: it needs data.forget, "
            "data.retain and data.holdout, and for images models.architecture; take [assignment] out of the request"
        )
    if spec.models.neither and material.assignment is None:
        raise SpecError(
            "models.neither says how hard each subject is where chance held subjects out, and no [assignment] says "
            "so: leave it out, or name models of the original's recipe in models.references"
        )
    policy = load_policy(spec.audit.policy, base)
    data = material.data
    request = data.request
    settings = _settings(checks, spec, lineup, material, base, frozen)
    asked = {name for check in checks for name in check.decoys_of(settings[check.name])}
    models = _models(lineup, material, asked)
    return Plan(
        auditor_version=__version__,
        task=material.task,
        request=request,
        goal=spec.request.goal,
        classes=data.classes,
        n_classes=data.n_classes,
        class_names=spec.data.class_names,
        expect=spec.audit.expect,
        seed=spec.audit.seed,
        models=tuple(models),
        data=material.planned,
        assignment=material.assignment,
        architecture_digest=lineup.architecture_digest,
        architecture=lineup.architecture.name if lineup.architecture is not None else None,
        preprocessing=material.preprocessing,
        layers=material.layers,
        offers=material.offers,
        checks=tuple(_planned(check, material.task, request, spec, policy, settings[check.name]) for check in checks),
        nulls=nulls.planned(),
        execution=Execution(
            device=spec.audit.device,
            dtype=spec.audit.dtype,
            threads=spec.audit.threads,
            batch_size=spec.audit.batch_size,
            gradient_checkpointing=spec.audit.gradient_checkpointing,
        ),
        policy=policy,
        domain=_domain(spec, request, policy, lineup, material),
        feasibility=feasibility(spec, request, policy, models, material, [check.name for check in checks]),
        notes=(*fingerprints.notes(lineup.planned, lineup.made, _digest_of_retain(material)), *material.notes),
        command=command,
        # Where the files go is no part of what is asked: elsewhere it is the same plan.
        asked=spec.without_folders(),
    )


def _domain(spec: AuditSpec, request: str, policy: Policy, lineup: Lineup, material: AnyMaterial) -> Domain | None:
    if not material.runnable:
        return None
    n_forget = next(item.n_examples for item in material.planned if item.name == "forget")
    declared, goal = spec.audit.domain, spec.request.goal
    divided = material.assignment
    # Rates of drawn assignments say nothing of declared ones.
    null_kind = "references" if divided is None else "holdout" if divided.by_chance else "declared holdout"
    return policy.domain_of(declared, material.task, request, goal, lineup.n_parameters, n_forget, null_kind)


def _digest_of_retain(material: AnyMaterial) -> str | None:
    return next((item.digest for item in material.planned if item.name == "retain"), None)


def _models(lineup: Lineup, material: AnyMaterial, asked: Container[str]) -> list[PlannedModel]:
    """Original, references, decoys, and the unlearned model last: the bar is set before it is looked at."""
    subject = [model for model in lineup.planned if model.role == "unlearned"]
    decoys = [*material.decoys, *(decoy for decoy in material.decoys_on_request if decoy.name in asked)]
    return [*(model for model in lineup.planned if model.role != "unlearned"), *decoys, *subject]


def _settings(
    checks: Sequence[AnyCheck],
    spec: AuditSpec,
    lineup: Lineup,
    material: AnyMaterial,
    base: Path,
    frozen: Plan | None,
) -> dict[str, Frozen]:
    """Of every check, with what depends on the device decided once and for all."""
    divided = material.assignment
    # Under a draw references are no null, and checks that have one of their own need it (docs/verdict.md).
    by_chance = divided is not None and divided.by_chance
    k = 0 if by_chance else sum(model.role == "reference" for model in lineup.planned)
    autoencoder = saved_autoencoder(spec.models, base, readable=tasks.load(material.task).reads_autoencoders)
    before = {} if frozen is None else {planned.name: planned.settings for planned in frozen.checks}
    weights, room = material.weight_bytes or lineup.weight_bytes, device_bytes(spec.audit.device)

    def fits(copies: int) -> bool:
        return weights_fit(MODELS_HELD + copies, weights, room)

    room_here = Room(fits=fits, width=material.width, access=spec.audit.access)
    return {
        check.name: check.fitted(check.planned_settings(k, autoencoder), room_here, before.get(check.name, {}))
        for check in checks
    }


def _planned(
    check: AnyCheck, task: str, request: str, spec: AuditSpec, policy: Policy, settings: Frozen
) -> PlannedCheck:
    return PlannedCheck(
        name=check.name,
        role=check.role,
        provider=registry.provider(check.name, task),
        family=check.family,
        may=check.may,
        access=needed(check, check.access_of(settings), spec.models.guard is not None),
        primary_for=_primary_for(check.name, policy, request),
        settings=settings.model_dump(mode="json"),
        # From its name: leaving a check out changes no other's random choices.
        seed=derive_seed(spec.audit.seed, check.name),
    )


def _primary_for(check: str, policy: Policy, request: str) -> str | None:
    families = policy.primaries.get(request, {})
    return next((family for family, names in families.items() if check in names), None)


def feasibility(
    spec: AuditSpec,
    request: str,
    policy: Policy,
    models: Sequence[PlannedModel],
    material: AnyMaterial,
    checks: Sequence[str],
) -> Feasibility:
    """What can be said before anything is scored."""
    k, neither = (sum(model.role == role for model in models) for role in ("reference", "neither"))
    families = policy.primaries.get(request, {})
    missing = [_OR.join(names) for names in families.values() if not set(names) & set(checks)]
    # Where chance assigned the holdout, references say only how hard a subject is, and their spread bounds nothing.
    by_references = material.runnable and material.assignment is None
    smallest = _smallest_residue(k, len(material.data.forget_eval)) if by_references else None
    obstacles = _obstacles(spec, policy, k, material, missing, smallest)
    chances = {}
    # Where nothing clears, how a true retrain fares is of no use to anybody.
    if k >= 2 and by_references and material.unproven is None:
        clearing = roads.clearing_of(policy)
        chances = {
            f"{gap:g}": statistics.pass_probability(k, gap, n_primaries=len(families) or 1, clearing=clearing)
            for gap in roads.GAPS
        }
    divided = material.assignment
    return Feasibility(
        smallest_residue=smallest,
        pass_probability=chances,
        roads=() if divided is None else roads.assumed(divided, policy, len(families) or 1, k, neither),
        deleted_in_reach=not obstacles,
        obstacles=tuple(obstacles),
    )


def _smallest_residue(k: int, n_eval: int) -> float | None:
    """Resolution at the smallest spread, 1/n_eval, and a gap of 1: no audit of these inputs resolves less."""
    # One reference has no spread.
    if k < 2:
        return None
    return statistics.resolution(1.0, Spread(value=1.0 / n_eval, degrees=k - 1, n_references=k))


def _obstacles(
    spec: AuditSpec,
    policy: Policy,
    k: int,
    material: AnyMaterial,
    missing: Sequence[str],
    smallest: float | None,
) -> list[str]:
    if not material.runnable:
        return [material.lacks, *_no_interval(material, k)]
    found = [] if material.unproven is None else [material.unproven]
    divided = material.assignment
    if divided is not None:
        lack = subjects_lack(divided)
        found += [] if lack is None else [lack]
        if not divided.by_chance and not k:
            found.append(f"that forget and holdout are alike is declared: {NO_REFERENCE}")
    elif k < REFERENCES_FOR_A3:
        found.append(
            f"{k} references, DELETED needs {REFERENCES_FOR_A3} (five recommended): "
            "`audit reference` trains them from the retain set"
        )
    found += _not_planned(missing, spec, material)
    if material.data.request == "sample" and material.data.holdout is None:
        found.append("a holdout set, distributed like the forget samples and never trained on: data.holdout")
    if material.data.request == "sample" and material.data.holdout is not None:
        # Both halves: an item is kept or not, whichever half it fell into.
        n_forget = len(material.data.forget_attack) + len(material.data.forget_eval)
        lack = holdout_lack(n_forget, len(material.data.holdout))
        found += [] if lack is None else [lack]
    if spec.request.goal == "concept":
        found += _concept_obstacles(material.data)
    # The best case already is too coarse, so that no score could change it.
    if smallest is not None and smallest > policy.thresholds.deleted:
        found.append(
            f"{len(material.data.forget_eval)} forget examples to measure on resolve at best ρ = {smallest:.2f}, "
            f"clearing needs {policy.thresholds.deleted:.2f}: more forget examples or more references"
        )
    return found


def _not_planned(missing: Sequence[str], spec: AuditSpec, material: AnyMaterial) -> list[str]:
    """What keeps each primary check out of the plan: no way to run it, too little access, or a list without it."""
    held, guarded = spec.audit.access, spec.models.guard is not None
    known = {check.name: check for check in tasks.checks_of(tasks.load(material.task))}
    found = []
    for names in missing:
        able = [known[name] for name in names.split(_OR) if name in known]
        lacks = [words for c in able if (words := not_given(c, material.offers, spec.models.task))]
        allowed = [c for c in able if allows(held, needed(c, c.access, guarded))]
        if material.offers is not None and not able:
            found.append(f"a primary check {names}, which the task {material.task} does not have: it never clears here")
        elif lacks and len(lacks) == len(able):
            found.append(f"the primary check {names} {lacks[0]}: add the method")
        elif held == "training" or allowed:
            found.append(f"the primary check {names} is not planned: add it to audit.checks")
        else:
            found.append(f"more access than to {held}, with which {names} cannot run: audit.access")
    return found


def _no_interval(material: AnyMaterial, k: int) -> list[str]:
    """What logged answers lack to be held against anything; bare weights are held against nothing."""
    few = len(material.data.forget_eval) > 0 and k < 2
    words = f"two references or more, to show what a model answers that never saw the forget set: there are {k}"
    return [words] if few else []


def _concept_obstacles(data: Sets[ExampleSet]) -> list[str]:
    if data.request != "class":
        return ["goal concept is decided for requests of kind class alone; goal data can be decided"]
    n = len(data.control_concepts)
    if n >= CONTROL_CONCEPTS:
        return []
    return [
        f"goal concept needs a null from {CONTROL_CONCEPTS} or more never-trained control concepts with "
        f"{EXAMPLES_PER_CONCEPT} examples or more each, and there are {n}: data.control, labelled by concept; "
        "goal data can be decided without"
    ]
