"""Audits that may not use all of the unlearned model: what runs, what is refused, and what they end in."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

import auditor
from auditor.audit import AuditResult
from auditor.errors import SpecError
from auditor.probes.outputs.text import Outputs, Settings
from auditor.rouge import rouge_l_recall
from tests.command_line import audit
from tests.people_worlds import N_REFERENCES, TextWorld


@pytest.fixture
def all_checks(fresh: Path) -> Path:
    """The tiny world, its request without a list of checks."""
    config = fresh / "audit.toml"
    config.write_text(config.read_text().replace('checks = ["cka"]', ""))
    return fresh


def compared(**run: Any) -> AuditResult:
    return auditor.compare(config="audit.toml", options={"audit": run})


def planned(result: AuditResult) -> set[str]:
    return {check.name for check in result.results.plan.checks}


def test_an_audit_of_samples_runs_what_needs_no_more_and_says_why_the_rest_is_left_out(all_checks: Path) -> None:
    result = compared(access="samples")
    assert planned(result) == {"outputs"}
    left = {item.check: item.reason for item in result.results.coverage.not_planned}
    assert left["few_shot"] == "needs access to weights, and the audit was held to samples"
    assert left["relearning"] == "needs access to training, and the audit was held to samples"
    assert result.results.canonical is None
    assert not result.results.plan.feasibility.deleted_in_reach
    assert any("more access than to samples" in words for words in result.results.plan.feasibility.obstacles)


def test_what_a_list_of_checks_leaves_out_is_not_blamed_on_access(fresh: Path) -> None:
    obstacles = compared(access="weights", checks=("cka",)).results.plan.feasibility.obstacles
    assert "the primary check few_shot or depth is not planned: add it to audit.checks" in obstacles
    assert "more access than to weights, with which relearning cannot run: audit.access" in obstacles


def test_weights_run_everything_but_training(fresh: Path) -> None:
    found = planned(compared(access="weights", checks=("cka", "few_shot")))
    assert found == {"outputs", "weight_delta", "cka", "few_shot"}


def test_a_check_asked_for_by_name_that_needs_more_is_refused(fresh: Path) -> None:
    with pytest.raises(SpecError, match=r"relearning needs access to training, and audit\.access = .logits."):
        compared(access="logits", checks=("relearning",))


def test_nothing_to_run_is_refused(fresh: Path) -> None:
    done = audit("compare", "original.safetensors", "unlearned.safetensors", "--access", "samples", "--checks", "cka")
    assert done.exit_code == 2
    assert "cka needs access to weights" in done.stderr


def test_the_command_line_says_what_is_left_out(all_checks: Path) -> None:
    shown = audit("compare", "--access", "logits", "--dry-run")
    assert shown.exit_code == 0, shown.output
    assert "held to logits: checks that need more of the unlearned model are left out" in shown.output
    assert "DELETED is out of reach" in shown.output


class TestText:
    def test_outputs_held_to_samples_are_what_is_generated(self, text_world: TextWorld) -> None:
        subject = text_world.subject("refusal")
        score = Outputs().score(subject, None, text_world.data, Settings(generated_alone=True), 0)
        facts = text_world.data.forget
        said = text_world.subject("refusal").generate(facts, 48)
        by_hand = [rouge_l_recall(fact.answer, text) for fact, text in zip(facts.items, said, strict=True)]
        assert score.readings["ROUGE-L"].examples == tuple(by_hand)
        assert list(score.readings) == ["ROUGE-L"]
        assert score.retain_accuracy is not None
        assert score.retain_accuracy > 0.9
        assert "probability" not in score.model_dump_json().replace("no probability", "")

    def test_its_cost_is_as_stated(self, text_world: TextWorld) -> None:
        subject, settings = text_world.subject("refusal"), Settings(generated_alone=True)
        data = dataclasses.replace(text_world.data, holdout=None)
        Outputs().score(subject, None, data, settings, 0)
        assert subject.passes.examples == Outputs().workload(data, settings, 2).forward

    @pytest.mark.parametrize(("access", "checks"), [("samples", ("outputs",)), ("logits", ("membership",))])
    def test_a_never_taught_model_is_not_deleted_by_what_it_says(
        self, text_world: TextWorld, access: str, checks: tuple[str, ...], tmp_path: Path
    ) -> None:
        result = self.audited(text_world, "retrain", tmp_path, access=access, checks=checks)
        assert result.outcome == "INCONCLUSIVE"
        assert result.verdict.reasons[0].kind == "too little access"
        settings = {check.name: check.settings for check in result.results.plan.checks}
        assert settings["outputs"]["generated_alone"] is (access == "samples")
        assert settings.get("membership", {"gradient_facts": 0})["gradient_facts"] == 0

    def test_samples_are_enough_to_see_that_nothing_was_forgotten(self, text_world: TextWorld, tmp_path: Path) -> None:
        result = self.audited(text_world, "original", tmp_path, access="samples", checks=("outputs",))
        assert result.outcome == "NOT_FORGOTTEN"

    def audited(self, world: TextWorld, name: str, folder: Path, **run: Any) -> AuditResult:
        return auditor.compare(
            world.modules["original"],
            world.modules[name],
            forget=world.people.forget,
            retain=world.people.retain,
            holdout=world.people.holdout,
            references=[world.modules[f"reference {i}"] for i in range(N_REFERENCES)],
            tokenizer=world.encoder.tokenizer,
            options={"audit": {"store": str(folder / "store"), **run}},
        )
