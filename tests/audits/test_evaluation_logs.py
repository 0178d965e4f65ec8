"""Whole audits of evaluation logs: of real ones of 7-billion-parameter models, and of ones whose truth is made."""

import json
import re
from pathlib import Path

import pytest

import auditor
from auditor.audit import AuditResult
from auditor.errors import DataError, SpecError, UsageError
from auditor.records.spec import AuditSpec
from auditor.run.preparing import prepare
from tests.command_line import audit
from tests.logged_worlds import Logged, open_unlearning, write_open_unlearning, write_tofu
from tests.report_page import Page

DATA = Path(__file__).parents[3] / "shared" / "data" / "tofu-logs"
real = pytest.mark.skipif(not DATA.is_dir(), reason="needs published logs of Llama-2-7B on TOFU (../shared/data)")
ANSWERS_ALONE = "no model was run: this audit saw what the models answered, and nothing of what their weights hold"
NEVER_TAUGHT = tuple(Logged(knows=0.0, seed=seed) for seed in range(1, 6))


def world(folder: Path, unlearned: Logged, references: tuple[Logged, ...] = NEVER_TAUGHT) -> AuditResult:
    """The audit of one model in open-unlearning's format, the original in the same."""
    pair = [write_open_unlearning(folder / name, m) for name, m in (("full", Logged(knows=1.0)), ("other", unlearned))]
    drawn = [write_open_unlearning(folder / f"retain_{i}", model) for i, model in enumerate(references)]
    return auditor.compare(*pair, references=drawn, out=folder / "out", config=_store(folder))


def _store(folder: Path) -> Path:
    path = folder / "audit.toml"
    path.write_text(f'[audit]\nstore = "{folder / "store"}"\n')
    return path


def published(name: str) -> str:
    return str(DATA / f"llama2-7b-{name}")


@real
def test_a_model_that_knows_all_authors_has_not_forgotten_them(tmp_path: Path) -> None:
    result = auditor.compare(
        published("full_wd0"),
        published("full_wd0.01"),
        references=[published("retain90_wd0"), published("retain90_wd0.01")],
        out=tmp_path / "out",
        config=_store(tmp_path),
    )
    assert (result.outcome, result.verdict.assurance, result.verdict.bound) == ("NOT_FORGOTTEN", "A2", None)
    rho = result.evidence("outputs").rho
    assert rho is not None
    assert rho.value == pytest.approx(1.0, abs=0.01)
    quality = result.evidence("truth_ratio").controls
    # TOFU's own number: far from the retrained models, which lie with each other.
    assert quality["unlearned"]["forget quality, log10 of p"] < -10
    assert quality["reference 1"]["forget quality, log10 of p"] > -1


@real
def test_a_model_that_never_saw_them_is_not_accused(tmp_path: Path) -> None:
    """The second reference is made of both retrained models, question by question: there are two published."""
    for name in ("eval_log_forget.json", "eval_log.json"):
        one, two = (json.loads((Path(published(f"retain90_{wd}")) / name).read_text()) for wd in ("wd0", "wd0.01"))
        both = {c: {k: (one if int(k) % 2 else two)[c][k] for k in one[c]} for c in one}
        (tmp_path / "both").mkdir(exist_ok=True)
        (tmp_path / "both" / name).write_text(json.dumps(both))
    result = auditor.compare(
        published("full_wd0"),
        published("retain90_wd0"),
        references=[published("retain90_wd0.01"), str(tmp_path / "both")],
        out=tmp_path / "out",
        config=_store(tmp_path),
    )
    assert (result.outcome, result.verdict.accusers, result.verdict.flags) == ("INCONCLUSIVE", (), ())
    assert result.verdict.sentences[0] == ANSWERS_ALONE


@real
def test_one_retrained_model_is_none_to_hold_against(tmp_path: Path) -> None:
    result = auditor.compare(
        published("full_wd0"),
        published("full_wd0.01"),
        references=[published("retain90_wd0")],
        out=tmp_path / "out",
        config=_store(tmp_path),
    )
    assert (result.outcome, result.verdict.accusers) == ("INCONCLUSIVE", ())
    assert any(wish.startswith("two references or more") for wish in result.verdict.to_decide)


def test_a_retrain_with_five_references_is_never_deleted(tmp_path: Path) -> None:
    """At the highest assurance, where the rules would allow everything."""
    result = world(tmp_path, Logged(knows=0.0, seed=9))
    assert (result.outcome, result.verdict.assurance) == ("INCONCLUSIVE", "A3")
    assert result.verdict.sentences[0] == ANSWERS_ALONE
    rho = result.evidence("outputs").rho
    assert rho is not None
    assert abs(rho.value) < 0.1
    page = Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8")).text
    assert "No model was run: this audit saw what the models answered" in page
    assert "no comparison of answers can show a deletion" in page
    assert "deletion included" not in page
    assert "SHA-256 of the weights" not in page
    assert "The weights of both models and nothing else" not in page
    assert "in memory" not in page


def test_answers_that_are_gone_while_right_ones_are_preferred_are_suppressed(tmp_path: Path) -> None:
    """By the same rule as every check beside the outputs."""
    result = world(tmp_path, Logged(knows=0.0, prefers=0.9, seed=9))
    assert (result.outcome, result.verdict.accusers) == ("SUPPRESSED", ("truth_ratio",))


def test_half_of_the_knowledge_is_not_forgotten(tmp_path: Path) -> None:
    assert world(tmp_path, Logged(knows=0.5, seed=9)).outcome == "NOT_FORGOTTEN"


def test_a_model_that_lost_what_it_should_keep_is_damaged(tmp_path: Path) -> None:
    result = world(tmp_path, Logged(knows=0.0, kept=0.6, seed=9))
    assert (result.outcome, result.verdict.flags) == ("INCONCLUSIVE", ("DAMAGED",))


def test_the_policy_of_a_user_cannot_let_answers_clear(tmp_path: Path) -> None:
    policy = (Path(auditor.__file__).parent / "policies" / "default.toml").read_text(encoding="utf-8")
    loose, changed = re.subn(
        r"(?<=\[primaries\.facts\]\n).*?\n\n", 'behaviour = ["truth_ratio"]\n\n', policy, flags=re.DOTALL
    )
    assert changed == 1
    (tmp_path / "loose.toml").write_text(loose, encoding="utf-8")
    (tmp_path / "audit.toml").write_text('[audit]\npolicy = "loose.toml"\n')
    for i, model in enumerate((Logged(knows=1.0), Logged(knows=0.0, seed=9), *NEVER_TAUGHT)):
        write_open_unlearning(tmp_path / f"m{i}", model)
    result = auditor.compare(
        "m0", "m1", references=[f"m{i}" for i in range(2, 7)], out=tmp_path / "out", config=tmp_path / "audit.toml"
    )
    assert [choice.check for choice in result.results.primaries] == ["truth_ratio"]
    assert result.evidence("truth_ratio").powered
    assert result.outcome == "INCONCLUSIVE"
    assert result.verdict.sentences[0] == ANSWERS_ALONE


def test_no_check_reads_weights_where_there_are_none(tmp_path: Path) -> None:
    """Two equal logs are no unchanged weights: weight_delta would say so."""
    result = world(tmp_path, Logged(knows=1.0))
    assert [e.check for e in result.results.evidence] == ["outputs", "truth_ratio"]
    assert result.outcome == "NOT_FORGOTTEN"
    assert "the unlearned model holds the same logged numbers as the original: was one file given twice?" in (
        result.results.plan.notes
    )
    reasons = {item.check: item.reason for item in result.results.coverage.not_planned}
    assert reasons["weight_delta"] == "needs the models themselves"
    assert reasons["relearning"] == "needs the models themselves and forget and retain sets"


def test_both_formats_may_stand_side_by_side_and_give_the_same(tmp_path: Path) -> None:
    """And the same audit twice gives the same bytes."""
    models = {"full": Logged(knows=1.0), "other": Logged(knows=0.3, seed=9), "a": NEVER_TAUGHT[0], "b": NEVER_TAUGHT[1]}
    for name, model in models.items():
        write_open_unlearning(tmp_path / "one" / name, model)
        (write_tofu if name in ("full", "a") else write_open_unlearning)(tmp_path / "two" / name, model)
    found = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        for out in ("out", "again"):
            done = auditor.compare("full", "other", references=["a", "b"], out=folder / out, config=_store(folder))
            found.append(done.evidence("outputs").rho)
    assert {rho.shown for rho in found if rho is not None} == {found[0].shown if found[0] is not None else None}
    for name in ("results.json", "report.html", "scores.json"):
        assert (tmp_path / "two/out" / name).read_bytes() == (tmp_path / "two/again" / name).read_bytes()


def _prepared(folder: Path, **request: object) -> None:
    prepare(AuditSpec.model_validate({"models": {"original": "full", "unlearned": "other"}, **request}), folder, {})


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    write_open_unlearning(tmp_path / "full", Logged(knows=1.0))
    write_tofu(tmp_path / "other", Logged(knows=0.0, seed=9))
    return tmp_path


def test_other_numbers_of_questions_are_refused(pair: Path) -> None:
    write_open_unlearning(pair / "fewer", Logged(knows=0.0, n=20))
    with pytest.raises(DataError, match=r"fewer is about 20 and not 40, so other forget questions than the original's"):
        _prepared(pair, models={"original": "full", "unlearned": "fewer"})


def test_questions_of_another_split_are_known_by_their_answers(pair: Path) -> None:
    """Their numbers are the same: 0 to 39."""
    table = open_unlearning(Logged(knows=0.0))
    for row in list(table["forget_Q_A_ROUGE"]["value_by_index"].values())[:7]:
        row["ground_truth"] += " Otherwise."
    (pair / "split.json").write_text(json.dumps(table))
    with pytest.raises(DataError, match=r"split.json is about other \(7 of 40 have another right answer\) forget"):
        _prepared(pair, models={"original": "full", "unlearned": "split.json"})


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"data": {"forget": "f.jsonl"}}, "leave out data.forget"),
        ({"models": {"original": "full", "unlearned": "other", "base": "full"}}, "leave out models.base"),
        ({"request": {"kind": "sample"}}, 'request.kind = "sample", and evaluation logs are about facts'),
        ({"request": {"goal": "concept"}}, "needs the models themselves"),
        ({"models": {"original": "full", "unlearned": "weights.safetensors"}}, "give logs of all models, or the"),
    ],
)
def test_what_logs_leave_no_use_for_is_refused(pair: Path, request_: dict[str, object], words: str) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"a": torch.ones(2)}, pair / "weights.safetensors")
    with pytest.raises(SpecError, match=words):
        _prepared(pair, **request_)


def test_a_log_given_twice_is_no_second_reference(pair: Path) -> None:
    models = {"original": "full", "unlearned": "other", "references": ["full/TOFU_EVAL.json"]}
    with pytest.raises(SpecError, match="holds the same logged numbers as full; references have to be trained apart"):
        _prepared(pair, models=models)


def test_an_original_that_knows_nothing_stops_the_audit(tmp_path: Path) -> None:
    for name, model in (("full", Logged(knows=0.0, kept=-1.0)), ("other", Logged(knows=0.0, seed=2))):
        write_open_unlearning(tmp_path / name, model)
    with pytest.raises(UsageError, match=r"retain questions a mean probability of 0\.0"):
        auditor.compare("full", "other", out=None, config=_store(tmp_path))


def test_the_command_line_plans_audits_and_verifies(pair: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pair)
    references = []
    for i, model in enumerate(NEVER_TAUGHT[:2]):
        write_tofu(pair / f"retain_{i}", model)
        references += ["--reference", f"retain_{i}"]
    dry = audit("compare", "full", "other", *references, "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert "read from evaluation logs: what the models answered and how probable the right answers were" in dry.stdout
    assert "DELETED is out of reach" in dry.stdout
    done = audit("compare", "full/TOFU_EVAL.json", "other/eval_log_forget.json", *references)
    assert done.exit_code == 3, done.output
    assert ANSWERS_ALONE in done.stdout
    again = audit("verify", "audit-out", "--files", ".", "--rerun")
    # A model of two files is none that one digest could be held against.
    assert again.exit_code == 3, again.output
    assert "original (full/TOFU_EVAL.json): is the file that was audited" in again.stdout
    assert "verdict: is INCONCLUSIVE again" in again.stdout
    assert "Nothing is wrong so far" in again.stdout


def test_checks_are_chosen_by_name_and_misspelt_ones_named(pair: Path) -> None:
    def chosen(*checks: str) -> list[str]:
        spec = {"models": {"original": "full", "unlearned": "other"}, "audit": {"checks": checks}}
        return [item.name for item in prepare(AuditSpec.model_validate(spec), pair, {}).plan.checks]

    assert chosen("truth_ratio") == ["outputs", "truth_ratio"]
    # What needs the models is listed as left out, as where it was not asked for.
    assert chosen("depth") == ["outputs"]
    with pytest.raises(SpecError, match="there is no check called 'truth_ratios'; did you mean truth_ratio"):
        chosen("truth_ratios")


def test_init_asks_for_no_architecture(pair: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pair)
    done = audit("init", "full", "other")
    assert done.exit_code == 0, done.output
    written = (pair / "audit.toml").read_text()
    assert "an evaluation log" in written
    assert "architecture" not in written


def test_the_list_of_extensions_names_the_task() -> None:
    assert "  evaluation-logs   unlearning-auditor" in audit("list", "--extensions").stdout
