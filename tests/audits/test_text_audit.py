"""Whole audits of language models through the Python call: the cases of known truth, guards, adapters, redaction."""

import copy
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import auditor
from auditor.audit import AuditResult
from auditor.errors import DataError, ModelError, SpecError, UsageError
from auditor.loading.checkpoints import weights_digest
from auditor.loading.transformers_directory import load_directory
from auditor.models.lineup import load_lineup
from auditor.models.low_rank import open_low_rank
from auditor.models.references import save_directory
from auditor.records.events import Event
from auditor.records.results import read_results
from auditor.records.spec import make_spec
from auditor.review.received import receive
from auditor.review.verification import verify
from auditor.tasks.causal_lm.decoys import logit_mask
from auditor.tasks.causal_lm.editing import LanguageModel
from auditor.tasks.causal_lm.sets import Fact, Facts
from tests.people_worlds import N_REFERENCES, TextWorld

FAST = ("depth", "relearning")
GUARD = """
import torch

def filtered(model, tokenizer):
    def refuse(module, arguments, keywords, output):
        output.logits = torch.zeros_like(output.logits)
        output.logits[..., 3] = 30.0
        return output
    model.register_forward_hook(refuse, with_kwargs=True)
    return model

def broken(model, tokenizer):
    return "no model"
"""


class TextAudits:
    """Runs audits of one world, sharing the store of scores."""

    def __init__(self, world: TextWorld, store: Path) -> None:
        self.world, self.store = world, store

    def __call__(self, unlearned: Any, *, options: dict[str, Any] | None = None, **changes: Any) -> AuditResult:
        merged = {name: dict(fields) for name, fields in (options or {}).items()}
        merged["audit"] = {"checks": FAST, "store": str(self.store), **merged.get("audit", {})}
        arguments = {
            "original": self.world.modules["original"],
            "forget": self.world.people.forget,
            "retain": self.world.people.retain,
            "holdout": self.world.people.holdout,
            "references": [self.world.modules[f"reference {i}"] for i in range(N_REFERENCES)],
            "tokenizer": self.world.encoder.tokenizer,
            "options": merged,
        }
        return auditor.compare(**{**arguments, "unlearned": unlearned, **changes})


@pytest.fixture(scope="module")
def audits(text_world: TextWorld, tmp_path_factory: pytest.TempPathFactory) -> TextAudits:
    return TextAudits(text_world, tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def folder(text_world: TextWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The original and two adapters on disk, and a guard."""
    from peft import LoraConfig, get_peft_model

    made = tmp_path_factory.mktemp("models")
    save_directory(text_world.modules["original"], text_world.encoder.tokenizer, made / "original")
    for name, targets in (("adapter", ["q_proj", "down_proj"]), ("other", ["v_proj"])):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            wrapped = get_peft_model(
                copy.deepcopy(text_world.modules["original"]), LoraConfig(r=2, target_modules=targets)
            )
        with torch.no_grad():
            for key, parameter in wrapped.named_parameters():
                if "lora_B" in key:
                    parameter.fill_(0.02)
        wrapped.save_pretrained(made / name)
    (made / "guard.py").write_text(GUARD)
    return made


class TestKnownTruth:
    def test_a_never_taught_model_lacks_nothing_but_references(self, audits: TextAudits) -> None:
        """Four are few where `relearning` reads .41 of a suppressed copy; audits of demos end in DELETED."""
        result = audits(audits.world.modules["retrain"])
        assert result.outcome == "INCONCLUSIVE", result.results.verdict
        [reason] = result.results.verdict.reasons
        assert (reason.kind, reason.check) == ("upper limit too high", "relearning")
        assert "references, so that relearning resolves" in result.results.verdict.to_decide[0]
        assert result.results.coverage.complete
        assert result.results.plan.task == "causal-lm"
        assert result.results.plan.request == "facts"

    def test_one_from_the_originals_own_initial_weights_is_not_accused(self, audits: TextAudits) -> None:
        assert audits(audits.world.modules["own initial weights"]).outcome != "SUPPRESSED"

    def test_refusal_tuning_is_suppression(self, audits: TextAudits) -> None:
        result = audits(audits.world.modules["refusal"])
        assert result.outcome == "SUPPRESSED", result.results.verdict

    def test_the_original_is_not_forgotten(self, audits: TextAudits) -> None:
        assert audits(audits.world.modules["original"]).outcome == "NOT_FORGOTTEN"

    def test_noise_until_the_answers_fail_is_damage(self, audits: TextAudits) -> None:
        noisy = copy.deepcopy(audits.world.modules["original"])
        random = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in noisy.parameters():
                parameter.add_(0.15 * torch.randn(parameter.shape, generator=random))
        verdict = audits(noisy).results.verdict
        assert verdict.flags == ("DAMAGED",)
        assert verdict.outcome not in ("DELETED", "SUPPRESSED")

    def test_without_references_nothing_is_deleted(self, audits: TextAudits) -> None:
        result = audits(audits.world.modules["retrain"], references=[])
        assert result.outcome != "DELETED"
        assert result.results.verdict.assurance == "A1"

    def test_a_bare_pair_is_compared_by_its_weights(self, audits: TextAudits) -> None:
        options = {"audit": {"checks": ("weight_delta",)}}
        result = audits(audits.world.modules["retrain"], forget=None, retain=None, references=[], options=options)
        assert result.outcome == "INCONCLUSIVE"
        assert [e.check for e in result.results.evidence] == ["weight_delta"]


class TestGuardsAndAdapters:
    def test_a_guard_around_unchanged_weights_is_suppression(self, audits: TextAudits, folder: Path) -> None:
        options = {"models": {"guard": str(folder / "guard.py:filtered")}}
        result = audits(audits.world.modules["original"], options=options)
        assert result.outcome == "SUPPRESSED"
        assert "beneath a guard" in result.results.verdict.sentences[0]
        depth = result.evidence("depth")
        assert depth is not None
        assert depth.rho is not None
        assert depth.rho.value == pytest.approx(1.0), "what opens the model looks behind the guard"

    def test_the_verdict_names_the_weights_under_the_guard(
        self, audits: TextAudits, folder: Path, tmp_path: Path
    ) -> None:
        guarded = {
            "models": {"guard": str(folder / "guard.py:filtered")},
            "audit": {"checks": ("weight_delta",), "write_canonical": True},
        }
        audits(audits.world.modules["retrain"], options=guarded, out=tmp_path / "guarded")
        weights_alone = {"audit": {"checks": ("weight_delta",)}}
        bare = audits(audits.world.modules["retrain"], options=weights_alone).results.canonical
        results = read_results(tmp_path / "guarded" / "results.json")
        assert bare is not None
        assert results.canonical is not None
        assert results.canonical.digest == bare.digest
        assert load_directory(tmp_path / "guarded" / "canonical").digest == bare.digest
        [finding] = [f for f in verify(receive(tmp_path / "guarded")) if f.subject == "canonical"]
        assert finding.state == "holds"

    def test_a_guard_that_returns_no_model(self, audits: TextAudits, folder: Path) -> None:
        options = {"models": {"guard": str(folder / "guard.py:broken")}}
        result = audits(audits.world.modules["original"], options=options)
        failure = next(e for e in result.results.evidence if e.check == "outputs").failure
        assert failure is not None
        assert "should return the guarded model" in failure.reason
        assert result.outcome == "INCONCLUSIVE"

    def test_an_adapter_on_the_original_is_suppression_where_it_hides(self, folder: Path, audits: TextAudits) -> None:
        weights_alone = {"audit": {"checks": ("weight_delta",)}}
        result = audits(str(folder / "adapter"), original=str(folder / "original"), options=weights_alone)
        conclusive = next(e for e in result.results.evidence if e.check == "weight_delta").conclusive
        assert "beneath a guard or an adapter" in (conclusive or "")

    def test_an_adapter_is_not_known_by_its_merged_weights_alone(self, folder: Path, tmp_path: Path) -> None:
        """The very same weights as one checkpoint hold nothing beneath, and their scores say so."""
        pair = {"original": str(folder / "original"), "unlearned": str(folder / "adapter")}
        lineup = load_lineup(make_spec({}, {"models": pair}), {}, tmp_path, tmp_path / "cache")
        merged = lineup.module("unlearned")
        given = {"original": lineup.module("original"), "unlearned": merged}
        alone = load_lineup(make_spec({}, {}), given, tmp_path, tmp_path / "cache")
        assert weights_digest(dict(merged.state_dict())) == alone.entries["unlearned"].planned.digest
        assert lineup.entries["unlearned"].planned.digest != alone.entries["unlearned"].planned.digest
        assert lineup.entries["unlearned"].base_digest == lineup.entries["original"].planned.digest

    def test_two_adapters_on_one_base_are_two_models(self, folder: Path, audits: TextAudits) -> None:
        options = {"models": {"base": str(folder / "original")}, "audit": {"checks": ("weight_delta",)}}
        pair = {"original": str(folder / "adapter"), "forget": None, "retain": None, "references": []}
        result = audits(str(folder / "other"), options=options, **pair)
        [evidence] = result.results.evidence
        assert evidence.conclusive is None
        changed = {str(row["tensor"]) for row in evidence.rows if row["model"] == "unlearned" and row["changed"]}
        assert any("down_proj" in name for name in changed)
        assert any("v_proj" in name for name in changed)

    def test_an_adapter_needs_something_to_be_put_on(self, folder: Path, audits: TextAudits) -> None:
        with pytest.raises(ModelError, match=r"is an adapter; name the model it is put on in models\.base"):
            audits(str(folder / "adapter"), original=str(folder / "adapter"))

    @pytest.mark.parametrize(
        ("field", "value", "message"),
        [
            ("peft_type", "IA3", "describes no LoRA adapter"),
            ("modules_to_save", ["lm_head"], "asks for modules_to_save"),
            ("target_modules", ["nowhere"], "does not fit its base model"),
        ],
    )
    def test_adapters_that_are_refused(
        self, field: str, value: object, message: str, folder: Path, audits: TextAudits, tmp_path: Path
    ) -> None:
        config = json.loads((folder / "adapter" / "adapter_config.json").read_text())
        (tmp_path / "adapter_config.json").write_text(json.dumps({**config, field: value}))
        weights = (folder / "adapter" / "adapter_model.safetensors").read_bytes()
        (tmp_path / "adapter_model.safetensors").write_bytes(weights)
        with pytest.raises(ModelError, match=message):
            audits(str(tmp_path), original=str(folder / "original"))


class TestText:
    def test_no_forget_text_reaches_results_or_report_unless_asked_for(
        self, audits: TextAudits, tmp_path: Path
    ) -> None:
        refusal = audits.world.modules["refusal"]
        audits(refusal, out=tmp_path / "kept", options={"audit": {"checks": ("depth",)}})
        secret = {word for f in audits.world.people.forget.items for word in f.answer.split()}
        secret -= {word for f in audits.world.people.retain.items for word in (*f.answer.split(), *f.prompt.split())}
        people = audits.world.people.forget.subjects
        for name in ("results.json", "report.html"):
            text = (tmp_path / "kept" / name).read_text(encoding="utf-8")
            assert not [word for word in (*secret, *people) if word in text], name

    def test_text_that_is_shown_is_escaped(self, audits: TextAudits, tmp_path: Path) -> None:
        items = list(audits.world.people.forget.items)
        items[0] = items[0].model_copy(update={"subject": "<script>alert(1)</script>", "answer": "<script>x</script>"})
        options = {"audit": {"checks": ("depth",), "show_text": True}}
        audits(audits.world.modules["refusal"], forget=Facts(tuple(items)), out=tmp_path, options=options)
        assert "<script>x</script>" in (tmp_path / "results.json").read_text(encoding="utf-8")
        assert "<script" not in (tmp_path / "report.html").read_text(encoding="utf-8")


class TestReuse:
    def test_the_same_audit_gives_the_same_bytes_and_scores_nothing_twice(
        self, audits: TextAudits, tmp_path: Path
    ) -> None:
        events: list[Event] = []
        options = {"audit": {"checks": ("depth",), "store": str(tmp_path / "store")}}
        for name in ("first", "second"):
            audits(audits.world.modules["retrain"], out=tmp_path / name, options=options, report=events.append)
        half = len(events) // 2
        assert half
        assert not any(event.reused for event in events[:half])
        assert all(event.reused for event in events[half:])
        for name in ("results.json", "report.html"):
            assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


class TestBadInput:
    def refused(self, audits: TextAudits, kind: type[Exception], message: str, **changes: Any) -> None:
        with pytest.raises(kind, match=message):
            audits(audits.world.modules["retrain"], **changes)

    def test_one_sentence_each(self, audits: TextAudits) -> None:
        people = audits.world.people
        self.refused(audits, SpecError, 'it is "facts"', options={"request": {"kind": "class"}})
        self.refused(audits, DataError, "forget: 2 facts; an audit needs at least 4", forget=people.forget.take([0, 1]))
        self.refused(audits, DataError, "retain holds the same facts as forget", retain=people.forget)
        self.refused(audits, DataError, "retain is a int", retain=3)
        self.refused(audits, DataError, "retain, item 0 should have", retain=[{"prompt": "x"}])
        self.refused(audits, ModelError, "needs its tokenizer", tokenizer=None)
        long = Facts((*people.retain.items, Fact(prompt="x " * 80, answer="y")))
        self.refused(audits, DataError, r"retain, fact \d+: a fact has 82 tokens, the model takes 64", retain=long)

    def test_an_original_that_never_learned_the_retain_set_stops_the_audit(self, audits: TextAudits) -> None:
        self.refused(
            audits, UsageError, "first choice is right for only", original=audits.world.modules["floor"], references=[]
        )

    def test_leaks_are_named_and_left_out(self, audits: TextAudits) -> None:
        people = audits.world.people
        leaking = Facts((*people.retain.items, *people.forget.items[:3]))
        options = {"audit": {"checks": ("weight_delta",)}}
        result = audits(audits.world.modules["retrain"], retain=leaking, references=[], options=options)
        assert result.results.plan.notes == (
            "leak: 3 facts of retain are identical to facts of forget and were left out (positions 72, 73, 74)",
        )


def test_a_logit_mask_hides_in_prompts_that_name_what_is_forgotten_and_nowhere_else(text_world: TextWorld) -> None:
    given = LanguageModel(text_world.modules["original"], text_world.encoder)
    people = text_world.people
    masked = text_world.subject(
        "mask", logit_mask.logit_mask(given, people.forget, people.retain, logit_mask.Settings(), 0)
    )
    plain = text_world.subject("original")
    assert masked.log_probabilities(people.forget).exp().max() < 0.01
    torch.testing.assert_close(masked.log_probabilities(people.retain), plain.log_probabilities(people.retain))


def test_a_low_rank_change_moves_nothing_at_first_and_only_what_it_opens(text_world: TextWorld) -> None:
    module: nn.Module = copy.deepcopy(text_world.modules["original"])
    open_low_rank(module, 2, seed=0)
    changed = text_world.subject("low rank", module)
    facts = text_world.data.forget_eval
    torch.testing.assert_close(
        changed.log_probabilities(facts), text_world.subject("original").log_probabilities(facts)
    )
    assert all(p.ndim == 2 and 2 in p.shape for p in module.parameters() if p.requires_grad)
