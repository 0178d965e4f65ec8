"""Every check of this distribution keeps the contract, in every task; and what is asked of our own beside it."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from auditor.attacks.relearning.drawn import AttackRange
from auditor.attacks.soft_prompt.attack import PromptRange
from auditor.checks import registry
from auditor.checks.check import Check
from auditor.checks.contract import N_REFERENCES, Case, CheckContract, Measured
from auditor.checks.subject import Features, lacking
from auditor.probes.sae_restoration.sparse_autoencoder import TrainingSettings
from auditor.records.policy import load_policy, shipped
from auditor.tasks import registry as tasks
from auditor.tasks.causal_lm.decoys import recipes as text_decoys
from auditor.tasks.classification.decoys import recipes as decoys
from auditor.tasks.custom.decoys import recipes as custom_decoys

ROOT = Path(__file__).parents[2]
# The worlds of the contract are networks; those of logs and answers are held to it in tests/probes and tests/audits.
RUN = [task for task in tasks.names() if not lacking(tasks.load(task).subject_type, (Features,))]
CASES = [(name, task) for task in sorted(RUN, reverse=True) for name in registry.names(task)]
TOLD = ("answers", "evaluation-logs")
LOGGED = [(check.name, task) for task in TOLD for check in tasks.checks_of(tasks.load(task))]
# Of what is drawn: more would change no answer of the contract, and take minutes.
SHORT = AttackRange(steps=(12, 12), shots=(2, 4), learning_rate=(1e-3, 2e-3), forget_share=(0.2, 0.4))
NAMES = AttackRange(steps=(12, 12), shots=(2, 4), learning_rate=(0.2, 0.4), forget_share=(0.5, 0.9))
PROMPTS = PromptRange(steps=(12, 12), shots=(2, 4), learning_rate=(0.03, 0.1), forget_share=(0.5, 0.9), length=(4, 16))
ROUGH = TrainingSettings(steps=60)
FEWER: dict[tuple[str, str], dict[str, Any]] = {
    ("direction_ablation", "causal-lm"): {"random_directions": 40},
    ("relearning", "causal-lm"): {"attacks": 1, "drawn": SHORT},
    ("relearning", "classification"): {"attacks": 1},
    ("slow_relearning", "causal-lm"): {"attacks": 1, "drawn": SHORT},
    ("slow_relearning", "classification"): {"attacks": 1},
    ("soft_prompt", "causal-lm"): {"attacks": 1, "drawn": PROMPTS},
    ("name_embeddings", "causal-lm"): {"attacks": 1, "drawn": NAMES},
    ("slow_relearning", "custom"): {"attacks": 1},
    ("slow_relearning", "clip"): {"attacks": 1},
    ("relearning", "clip"): {"attacks": 1},
    ("slow_relearning", "vision-language"): {"attacks": 1, "drawn": SHORT},
    ("relearning", "vision-language"): {"attacks": 1},
    ("slow_relearning", "gan"): {"attacks": 1},
    ("relearning", "gan"): {"attacks": 1},
    ("relearning", "custom"): {"attacks": 1},
    ("relearning", "recommender"): {"attacks": 1},
    ("slow_relearning", "recommender"): {"attacks": 1},
    ("slow_relearning", "diffusion"): {"attacks": 1, "drawn": SHORT},
    ("relearning", "diffusion"): {"attacks": 1, "drawn": SHORT},
    ("textual_inversion", "diffusion"): {"attacks": 1},
    ("recognition", "diffusion"): {"drawn": 8, "kept": 4, "steps": 4},
    ("sae_restoration", "causal-lm"): {"n_seeds": 1, "control_draws": 2, "training": ROUGH},
    ("sae_restoration", "classification"): {"n_seeds": 1, "control_draws": 2, "training": ROUGH},
}
IN_BOTH_TASKS = ("outputs", "membership", "quantization", "relearning", "slow_relearning")
BY_SUBJECT = (
    *(
        (name, "causal-lm")
        for name in (*IN_BOTH_TASKS, "logit_lens", "few_shot", "elicitation", "soft_prompt", "name_embeddings")
    ),
    *((name, "classification") for name in (*IN_BOTH_TASKS, "feature_membership")),
)
BORROWED = {(name, task) for name, task in CASES if registry.load(name, task).tasks not in ((), (task,))}
"""Checks of a task that has them from another: they are documented where they are written for."""
DOCUMENTED = [case for case in (*CASES, *LOGGED) if case not in BORROWED]
AT_ONCE = ("causal-lm", "classification", "custom")
"""Tasks whose checks are held to it whenever tests are run; those that rest on `custom` are with what is slow."""
PARAMETERS = [
    pytest.param(case, id=f"{case[1]}-{case[0]}", marks=() if case[1] in AT_ONCE else pytest.mark.slow)
    for case in CASES
]
every_check = pytest.mark.parametrize(("name", "task"), DOCUMENTED, ids=[f"{task}-{name}" for name, task in DOCUMENTED])


def case_of(name: str, task: str, *, assigned: bool = False) -> Case:
    check = registry.load(name, task)
    settings = check.planned_settings(N_REFERENCES).model_copy(update=FEWER.get((name, task)))
    return Case(check=check, task=task, settings=settings, assigned=assigned)


class TestEveryCheck(CheckContract):
    @pytest.fixture(scope="class", params=PARAMETERS)
    @classmethod
    def case(cls, request: pytest.FixtureRequest) -> Case:
        return case_of(*request.param)


class TestChecksBySubject(TestEveryCheck):
    """Those that measure forget and holdout subjects on one model, where chance divided them."""

    @pytest.fixture(scope="class", params=BY_SUBJECT, ids=lambda case: f"{case[1]}-{case[0]}")
    @classmethod
    def case(cls, request: pytest.FixtureRequest) -> Case:
        return case_of(*request.param, assigned=True)

    def test_every_model_is_measured_by_subject(self, measured: Measured) -> None:
        for score in measured.scores.values():
            rescaled = measured.check.rescale(measured.scores["original"], [])(score)
            assert rescaled.sides(measured.check.choose(measured.scores["original"], [])) is not None


@every_check
class TestOwnChecks:
    def test_file_entry_point_and_class_carry_one_name(self, name: str, task: str) -> None:
        kind = type(registry.load(name, task))
        module = sys.modules[kind.__module__]
        path = Path(str(module.__file__))
        assert name in (path.stem, path.parent.name)
        assert kind.name == name
        assert kind.__name__.lower() == name.replace("_", "")
        checks = [o for o in vars(module).values() if isinstance(o, type) and issubclass(o, Check) and o is not Check]
        assert [o for o in checks if o.__module__ == module.__name__] == [kind]

    def test_says_itself_how_much_of_a_model_it_needs(self, name: str, task: str) -> None:
        """Left to the default it would stand in the last row, whatever it looks at."""
        kinds = type(registry.load(name, task)).__mro__
        assert any("access" in vars(kind) for kind in kinds[: kinds.index(Check)])

    def test_stands_in_the_documentation(self, name: str, task: str) -> None:
        check = registry.load(name, task)
        section = section_of(name, task)
        rights = {"clear": "May clear and accuse", "accuse": "May accuse", "inform": "Informs"}
        assert rights[check.may] in section
        for need in set(check.needs) - {"forget", "retain"}:
            assert need in section
        if task == "classification" and len(check.requests) == 1:
            assert f"requests of kind `{check.requests[0]}` only" in " ".join(section.split())


def section_of(name: str, task: str) -> str:
    page = tasks.load(task).page
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    section = text.partition(f"\n## `{name}`\n")[2].partition("\n## ")[0]
    assert section, f"docs/{page} has no section on {name}"
    return section


@pytest.mark.parametrize("task", tasks.names())
def test_the_documentation_holds_no_check_that_is_not_there(task: str) -> None:
    page = (ROOT / "docs" / tasks.load(task).page).read_text(encoding="utf-8")
    there = sorted(check.name for check in tasks.checks_of(tasks.load(task)) if (check.name, task) in DOCUMENTED)
    assert sorted(line[4:-1] for line in page.splitlines() if line.startswith("## `")) == there


def test_every_primary_of_a_shipped_policy_is_a_check_that_may_clear() -> None:
    for policy in map(load_policy, shipped()):
        for request, families in policy.primaries.items():
            task = "causal-lm" if request == "facts" else "classification"
            for check in (registry.load(name, task) for names in families.values() for name in names):
                assert check.may == "clear"
                assert request in check.requests


def test_models_of_any_kind_have_a_primary_of_every_family_for_a_class_alone() -> None:
    """Of listed samples no check looks behind the scores, so that no shipped policy can clear them."""
    there = {name for name in registry.names("custom") if registry.load(name, "custom").may == "clear"}
    for policy in map(load_policy, shipped()):
        assert all(set(names) & there for names in policy.primaries["class"].values())
        assert not set(policy.primaries["sample"]["representation"]) & there


@pytest.mark.parametrize("task", RUN)
def test_every_decoy_is_assigned_to_some_check(task: str) -> None:
    assigned = {decoy for name in registry.names(task) for decoy in registry.load(name, task).decoys}
    made = {
        "classification": partial(decoys.planned, "class"),
        "causal-lm": text_decoys.planned,
    }
    assert {model.name for model in made.get(task, custom_decoys.planned)("", "", 0)} <= assigned
