"""The report's first screen: what came out, why, how sure, and what to do next, for every outcome."""

import re
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.checks import registry
from auditor.inference import case
from auditor.records.evidence import ContrastRow, DecoyResult, Evidence, Interval
from auditor.records.plan import PlannedAssignment
from auditor.records.results import Results
from auditor.records.spec import AuditSpec
from auditor.records.verdict import Assurance, Outcome, Reason, ReasonKind, Verdict
from auditor.reports import document, formats, sentence
from auditor.reports.html import render
from auditor.reports.not_accusing import not_accusing
from auditor.reports.opening import Opening
from auditor.reports.places import place
from auditor.reports.titles import TITLES, titles
from tests import report_samples as samples
from tests.made_records import DOMAIN
from tests.report_page import Page

OUTCOMES = get_args(Outcome)
UNEXPLAINED = ("ρ", "τ", "s̃", "ν", "α", "null", "primary", "decoy", "holm")


def opening(results: Results) -> Opening:
    return document.build(results).top


def plain(words: str) -> str:
    return words.replace("\u00a0", " ")


def changed(outcome: Outcome, evidence: tuple[Evidence, ...] | None = None, **verdict: object) -> Results:
    base = samples.sample(outcome)
    update: dict[str, object] = {"verdict": base.verdict.model_copy(update=verdict)}
    return base.model_copy(update=update | ({} if evidence is None else {"evidence": evidence}))


SENTENCES: dict[Outcome, str] = {
    "NOT_FORGOTTEN": (
        "Asked directly, the model shows 93 % of what the original knew. Of 5 models that never saw the forget set, "
        "none gave more than 0 %."
    ),
    "SUPPRESSED": (
        "Asked directly, the model shows 0 % of what the original knew. Yet given one forgotten example, a simple "
        "probe of the model's inner features found 88 % of what the original knew. Of 5 models that never saw the "
        "forget set, none gave more than 10 %."
    ),
    "NOT_DELETED": (
        "Retraining a copy on a few of the forgotten examples brought back 88 % of what the original knew. Of 5 models "
        "that never saw the forget set, none gave more than 10 %. Whether the outputs hide it stays open: they may "
        "show anything from −20 % to 30 %."
    ),
    "DELETED": (
        "The checks that this rests on found 0 % to 5 % of what the original knew. Of 5 models that never saw the "
        "forget set, none gave more than 10 %. None of these checks leaves room for more than 20 %."
    ),
    "INCONCLUSIVE": (
        "Given one forgotten example, a simple probe of the model's inner features found 36 % of what the original "
        "knew. A deletion has to rest on that check, few_shot, and here it could not show that it would see what is "
        "hidden. So it cannot clear this model. One more reason stands under “Why”."
    ),
}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_one_sentence_says_what_decided(outcome: Outcome) -> None:
    assert plain(sentence.sentence(samples.sample(outcome))) == SENTENCES[outcome]


def test_a_bound_that_is_more_than_its_upper_limit_says_by_what_it_is_counted() -> None:
    results = samples.sample("DELETED")
    weak = DecoyResult(rho=Interval(value=0.5, low=0.4, high=0.6), p_value=1e-4, detected=True)
    counted = tuple(
        e.model_copy(update={"decoys": {**e.decoys, "gradient_ascent": weak}}) if e.check == "relearning" else e
        for e in results.evidence
    )
    verdict = results.verdict.model_copy(update={"bound": 0.4})
    shown = plain(sentence.sentence(results.model_copy(update={"evidence": counted, "verdict": verdict})))
    assert shown.endswith(
        "None of these checks leaves room for more than 40 %. That is the limit of relearning, 20 %, counted by the "
        "50 % that it shows of a fully suppressed copy."
    )


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_the_first_screen_holds_the_literal_outcome_and_no_word_that_needs_a_glossary(outcome: Outcome) -> None:
    page = Page(render(samples.sample(outcome))).text
    top = page[: page.index("Why, in the verdict’s own terms")]
    assert f" {outcome} " in top
    first = opening(samples.sample(outcome))
    # What would settle it is the verdict's own advice, for whoever ran the audit.
    steps = [step.words for step in first.steps] if outcome != "INCONCLUSIVE" else []
    said = " ".join([first.headline, first.sentence, *first.sure, *steps]).lower()
    assert [word for word in UNEXPLAINED if word in said] == []


def test_where_chance_divided_the_subjects_the_sentence_needs_no_reference() -> None:
    base = samples.sample("SUPPRESSED")
    rows = (ContrastRow(model="unlearned", forget=0.5, holdout=0.1, difference=0.4),)
    found = tuple(e.model_copy(update={"reference_rho": {}, "contrast": rows}) for e in base.evidence)
    divided = PlannedAssignment(kind="random", n_forget=24, n_holdout=24, commitment=None)
    plan = base.plan.model_copy(update={"assignment": divided})
    verdict = base.verdict.model_copy(update={"assurance": "A3r"})
    results = base.model_copy(update={"evidence": found, "plan": plan, "verdict": verdict})
    first = opening(results)
    assert plain(first.sentence).endswith("With nothing left it would have been 0 %, and by chance up to 9 %.")
    assert first.sure[1].startswith(
        "The comparison: the model with itself, 24 subjects that it was taught, 24 that chance kept from it."
    )
    assert all(row.strip.dots == () for row in first.axis.rows)
    assert "Grey dots" not in render(results), "there are none"


def test_where_only_a_check_s_own_null_accuses_its_rarity_is_said() -> None:
    base = samples.sample("SUPPRESSED")
    update = {"reference_rho": {}, "resolution": None, "p_trace": 0.0001, "null_kind": "internal"}
    results = base.model_copy(update={"evidence": tuple(e.model_copy(update=update) for e in base.evidence)})
    assert sentence.sentence(results).endswith("With nothing left, chance gives as much in 1 of 10,000 cases.")


def test_equal_weights_are_said_in_words_where_nothing_was_measured() -> None:
    words = "the weights are identical to the original's: nothing was deleted from them"
    weights = samples.cka(samples.knowledge("NOT_DELETED")).model_copy(
        update={"check": "weight_delta", "conclusive": words, "scores": None}
    )
    reason = Reason(kind="finding", check="weight_delta", sentence=f"weight_delta: {words}")
    results = changed("NOT_DELETED", (weights,), reasons=(reason,), assurance="A0")
    assert sentence.sentence(results) == (
        "The weights are identical to the original's: nothing was deleted from them. What its outputs show was not "
        "measured."
    )
    assert "No check could place this model" in render(results)


@pytest.mark.parametrize("kind", get_args(ReasonKind))
def test_an_open_outcome_is_explained_whatever_stood_in_the_way(kind: ReasonKind) -> None:
    results = changed("INCONCLUSIVE", reasons=(samples.reason(kind, "relearning", "words of its own"),))
    said = plain(sentence.sentence(results))
    assert said
    assert "{" not in said
    about_nothing = changed("INCONCLUSIVE", reasons=(Reason(kind=kind, sentence="Words of its own."),))
    assert sentence.sentence(about_nothing)


def test_a_number_is_the_same_number_in_sentence_axis_table_and_bound() -> None:
    """24.12 % was once 25 % in the headline and 0.24 in the table."""
    base = samples.sample("DELETED")
    rho = Interval(value=0.0449, low=-0.1551, high=0.2412)
    found = tuple(e.model_copy(update={"rho": rho}) if e.check == "relearning" else e for e in base.evidence)
    results = base.model_copy(
        update={"evidence": found, "verdict": base.verdict.model_copy(update={"bound": rho.high})}
    )
    page = plain(Page(render(results)).text)
    assert "no more than 25 %" in page
    assert "leaves room for more than 25 %" in page
    assert "4 % −16 % to 25 %" in page
    assert "0.04 [−0.16, 0.25]" in page
    assert "(the highest is 25 %)" in page
    assert case.show(rho) == "0.04 [-0.16, 0.25]", "as the verdict's own sentences have it"
    assert "24 %" not in page
    assert "0.24" not in page


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-3, 3))
def test_limits_are_never_shown_narrower_than_they_are(value: float, low: float, high: float) -> None:
    shown = Interval(value=value, low=low, high=high).shown
    assert shown[1] <= low + 1e-9
    assert shown[2] >= high - 1e-9
    assert max(low - shown[1], shown[2] - high) < 0.01 + 1e-9
    assert plain(formats.percent(shown[2])) == f"{round(100 * shown[2])} %".replace("-", "−"), "percent loses nothing"


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_outcome_says_what_to_do_next_with_a_command(outcome: Outcome) -> None:
    steps = opening(samples.sample(outcome)).steps
    assert any(step.command.startswith("audit ") for step in steps)
    assert all(step.words.endswith((".", "!")) or step.words[0].isupper() for step in steps)


def test_next_steps_name_the_files_of_this_audit() -> None:
    commands = [step.command for step in opening(samples.sample("DELETED")).steps]
    assert commands[-1] == "audit verify FOLDER --key PUBLIC.pem"
    form = samples.sample("DELETED").model_copy(update={"canonical": {"digest": "d" * 64, "zeroed": 0}})
    first, *_ = opening(form).steps
    assert first.words.startswith("Within that limit nothing found here speaks against releasing it")
    assert first.command == "audit canonical deleted.pt --out deploy.safetensors"
    assert [step.command for step in opening(samples.sample("SUPPRESSED")).steps][-1] == (
        "audit compare original.pt NEXT.pt"
    )
    undecided = opening(samples.sample("INCONCLUSIVE")).steps
    assert undecided[0].words.startswith("Do not release this model as one that has forgotten")
    assert undecided[1].words.startswith("More forget examples, so that few_shot sees through the decoy")
    assert undecided[-1].command == samples.sample("INCONCLUSIVE").plan.command


def test_models_in_memory_have_no_path_to_type() -> None:
    base = samples.sample("SUPPRESSED")
    models = tuple(m.model_copy(update={"source": None}) for m in base.plan.models)
    plan = base.plan.model_copy(update={"models": models, "command": "auditor.compare(...)"})
    assert opening(base.model_copy(update={"plan": plan})).steps[-1].command == "auditor.compare(...)"


def test_how_sure_quotes_a_measured_rate_or_says_that_there_is_none() -> None:
    base = samples.sample("DELETED")
    assert opening(base).sure == (
        "No check's upper limit, of 95\u00a0% confidence each, leaves more than 20\u00a0%; a deletion needs less than "
        "50\u00a0%.",
        "The comparison: 5 models trained without what was to be forgotten. That is the best of four kinds (assurance "
        "A3, of A0 to A3), which grade the comparison and not the answer.",
        "Not known: how often such verdicts are wrong, since that was not measured on audits like this one.",
    )
    rates = {
        "DELETED": "models that had not forgotten were called DELETED in 0 of 60 (at most 4.9 % at 95 % confidence).",
        "SUPPRESSED": "deleted models were accused in 1 of 40",
        "INCONCLUSIVE": "deleted models were left open in",
    }
    for outcome, words in rates.items():
        found = samples.sample(outcome)  # type: ignore[arg-type]  # keys are outcomes
        inside = found.plan.model_copy(update={"domain": DOMAIN})
        assert words in opening(found.model_copy(update={"plan": inside})).sure[-1]


def test_who_says_so_and_when_or_how_to_state_it() -> None:
    base = samples.sample("DELETED")
    assert opening(base).signed == (
        "Date: 2026-01-31",
        "Responsible: A. Auditor, Audit House",
        f"Auditor 0.1.0, policy default {base.plan.policy.version}",
    )
    unsigned = base.model_copy(update={"plan": base.plan.model_copy(update={"asked": AuditSpec()})})
    assert opening(unsigned).signed[:3] == (
        "Date: not stated",
        "Responsible: not stated",
        "State them by `[responsible]` in audit.toml",
    )


def test_primaries_stand_open_others_are_folded_and_informational_ones_come_last() -> None:
    source = render(samples.sample("SUPPRESSED"))
    ranks = re.findall(r'<details class="check (\w+)"( open)?>\n<summary><h3[^>]*>([^\n]*?)</h3>', source)
    names = [name.replace("<wbr>", "") for _, _, name in ranks]
    assert [rank for rank, _, _ in ranks] == sorted(
        (rank for rank, _, _ in ranks), key=("first", "other", "last").index
    )
    assert {name for name, (_, open_, _) in zip(names, ranks, strict=True) if open_} == {
        "few_shot",
        "relearning",
        "slow_relearning",
    }
    assert names[-1] == "cka"
    assert "<script" not in source


def test_an_accuser_that_is_no_primary_stands_open_too() -> None:
    reason = samples.reason("accuses", "sae_restoration", "ρ = 0.88 [0.57, 1.19], above 0.25")
    source = render(changed("SUPPRESSED", reasons=(reason,)))
    assert re.search(r'<details class="check first" open>\n<summary><h3[^>]*>sae_<wbr>restoration', source)


def test_no_resolution_is_printed_where_a_check_cannot_resolve_anything() -> None:
    base = samples.sample("DELETED")
    found = tuple(e.model_copy(update={"resolution": 115.71}) if e.check == "membership" else e for e in base.evidence)
    page = render(base.model_copy(update={"evidence": found}))
    assert "115.71" not in page
    assert "none: it cannot tell all of the knowledge from nothing" in page


def test_no_words_in_a_figure_are_turned_and_layers_say_where_they_stand() -> None:
    source = render(samples.sample("SUPPRESSED"))
    assert "rotate(" not in source
    assert "conv3 (3 of 4)" in source
    blocks = [f"model.layers.{i}" for i in range(12)]
    assert place("model.layers.10", blocks) == "block 11 of 12"
    assert place("model.layers.1", blocks) == "block 2 of 12", "and not the eleventh"


def test_only_what_decides_is_red() -> None:
    source = render(samples.sample("DELETED"))
    page = source[source.index("<body>") :]
    assert "var(--alarm)" not in page, "figures use the colours of roles"
    assert '"axis-row accuses"' not in page
    assert 'class="bad"' not in page


@pytest.mark.parametrize("task", ["classification", "causal-lm"])
def test_every_check_declares_how_its_sentence_begins(task: str) -> None:
    for check in registry.load_all(None, task):
        assert check.finds[0].isupper(), check.name
        assert not check.finds.endswith((".", " ")), check.name


def test_a_verdict_without_reasons_has_a_sentence() -> None:
    base = samples.sample("INCONCLUSIVE")
    assert sentence.sentence(
        base.model_copy(update={"verdict": Verdict(outcome="INCONCLUSIVE", assurance="A0", reasons=())})
    )


def test_how_sure_says_first_how_far_from_the_line_the_answer_lies() -> None:
    first = {outcome: plain(opening(samples.sample(outcome)).sure[0]) for outcome in OUTCOMES}
    assert first["INCONCLUSIVE"] == "Not sure: this audit can say neither."
    assert first["SUPPRESSED"] == (
        "By the check that shows most at least 80 % is left, with 95 % confidence for that check; to accuse, it has to "
        "be more than 25 %, corrected for the number of checks."
    )
    assert first["NOT_DELETED"].startswith("By the check that shows most at least 73 % is left")
    assert first["NOT_FORGOTTEN"].startswith("The comparison: 5 models")


def test_every_row_of_the_axis_says_its_part() -> None:
    parts = {o: {row.check: row.part for row in opening(samples.sample(o)).axis.rows} for o in OUTCOMES}
    assert parts["SUPPRESSED"]["few_shot"] == "decided this"
    assert parts["SUPPRESSED"]["slow_relearning"] == "not needed"
    assert parts["SUPPRESSED"]["outputs"] == "what a user sees"
    assert parts["DELETED"]["relearning"] == "decided this"
    assert parts["INCONCLUSIVE"]["few_shot"] == "cannot clear"
    assert parts["INCONCLUSIVE"]["relearning"] == "has to clear"


def test_a_check_from_which_the_bound_comes_sets_the_limit() -> None:
    base = samples.sample("DELETED")
    bound = Reason(kind="highest upper limit", check="slow_relearning", sentence="the highest upper limit")
    found = changed("DELETED", reasons=(*base.verdict.reasons, bound))
    assert {row.check: row.part for row in opening(found).axis.rows}["slow_relearning"] == "sets the limit"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"request": "class", "classes": (3,)}, "to be forgotten: class 3 (60 examples)"),
        ({"request": "class", "classes": (3, 5)}, "to be forgotten: classes 3, 5 (60 examples)"),
        ({"request": "sample", "classes": ()}, "to be forgotten: 60 listed examples"),
        ({"request": "facts", "classes": ()}, "to be forgotten: 60 facts"),
    ],
)
def test_the_first_line_says_what_was_to_be_forgotten(changes: dict[str, object], words: str) -> None:
    base = samples.sample("SUPPRESSED")
    data = tuple(d.model_copy(update={"n_examples": 60}) if d.name == "forget" else d for d in base.plan.data)
    plan = base.plan.model_copy(update={"data": data, "class_names": (), **changes})
    assert words in Page(render(base.model_copy(update={"plan": plan}))).text


def test_bare_weights_were_asked_to_forget_nothing() -> None:
    base = samples.sample("INCONCLUSIVE")
    assert opening(base.model_copy(update={"plan": base.plan.model_copy(update={"data": ()})})).asked == ""


def above_the_bar(outcome: Outcome = "INCONCLUSIVE", **changes: object) -> Results:
    """An audit in which one check's whole interval lies above the threshold to accuse, and which accuses nobody."""
    base = samples.sample(outcome)
    high: dict[str, object] = {"rho": Interval(value=0.6, low=0.31, high=0.9), "p_value": 0.03}
    found = tuple(
        e.model_copy(update=high | changes) if e.check == "sae_restoration" else e.model_copy(update={"p_value": 0.5})
        for e in base.evidence
    )
    trace = samples.reason("trace", "sae_restoration", "ρ = 0.60 [0.31, 0.90], above 0 by more than chance")
    return changed(outcome, found, reasons=(trace,), flags=())


def evidence_of(results: Results, check: str) -> Evidence:
    found = results.of(check)
    assert found is not None
    return found


def test_an_interval_above_the_threshold_that_does_not_accuse_is_explained_under_an_open_verdict() -> None:
    """An audit of listed samples once had “[0.31, 0.90]” beside “too little to accuse”, with 0.25 as the threshold."""
    results = above_the_bar()
    said = plain(sentence.sentence(results))
    assert "too little" not in said
    assert "at least 31 %, and yet it decides nothing: of many checks one may read so high by luck" in said
    page = plain(Page(render(results)).text)
    words = (
        "Its whole interval lies above 25 %, and yet it does not accuse: the interval is that of this check alone, and "
        "of many checks one may read so high by luck. Its p-value, 0.03, is not small enough when corrected for the "
        "number of checks."
    )
    why = page[page.index("Why, in the verdict’s own terms") : page.index("Contents")]
    assert words in why
    assert page.count(words) == 2, "in the check's own section, too"


def test_why_a_high_interval_does_not_accuse_depends_on_what_kept_it_from_that() -> None:
    assert "nothing tells how often chance alone gives as much" in render(above_the_bar(p_value=None))
    damaged = above_the_bar(family="tampering")
    damaged = damaged.model_copy(update={"verdict": damaged.verdict.model_copy(update={"flags": ("DAMAGED",)})})
    assert "the model is damaged, and what an attack brings back from damage says nothing" in render(damaged)
    for harmless in ({"may": "inform"}, {"role": "outputs"}, {"rho": Interval(value=0.6, low=0.25, high=0.9)}):
        results = above_the_bar(**harmless)
        assert not_accusing(evidence_of(results, "sae_restoration"), results) == ""
    accused = samples.sample("SUPPRESSED")
    assert not_accusing(evidence_of(accused, "few_shot"), accused) == "", "since it does"


def test_outputs_without_a_scale_were_asked_all_the_same() -> None:
    words = "no interval: even a whole copy of the original's knowledge would be lost"
    results = changed("INCONCLUSIVE", reasons=(samples.reason("outputs unknown", "outputs", words),))
    said = sentence.sentence(results)
    assert said.startswith("What the outputs show says nothing here: by them even the original cannot be told from")
    nobody = changed("INCONCLUSIVE", (), reasons=(samples.reason("outputs unknown", "outputs", "not measured"),))
    assert sentence.sentence(nobody).startswith("Nobody could ask the model anything")


def test_kept_items_are_to_be_forgotten_and_not_to_be_measured_again() -> None:
    results = changed("INCONCLUSIVE", reasons=(samples.reason("items kept", "membership", "single items were kept"),))
    assert opening(results).steps[1].words.startswith("Unlearn again until those few examples are gone")


def test_no_two_rows_of_the_axis_stand_under_one_heading() -> None:
    for outcome in OUTCOMES:
        rows = document.axis_of(samples.sample(outcome)).rows
        assert len({row.title for row in rows}) == len(rows)
    first = {row.check: row.title for row in opening(samples.sample("SUPPRESSED")).axis.rows}
    assert first["relearning"] == "Retrained briefly"
    assert first["slow_relearning"] == "Retrained for long"


def test_checks_of_another_package_are_told_apart_by_their_names() -> None:
    base = samples.unknown_check(samples.knowledge("SUPPRESSED"))
    two = [base, base.model_copy(update={"check": "acme_other"}), samples.few_shot(samples.knowledge("SUPPRESSED"))]
    assert titles(two) == (
        "What can be read from inside the model (acme_residue)",
        "What can be read from inside the model (acme_other)",
        "Read by a simple probe",
    )
    assert titles(two[:1]) == ("What can be read from inside the model",)


@pytest.mark.parametrize("task", ["classification", "causal-lm", "custom"])
def test_every_check_has_a_heading_of_its_own(task: str) -> None:
    names = {check.name for check in registry.load_all(None, task)}
    assert names <= set(TITLES)
    assert len(set(TITLES.values())) == len(TITLES)


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (
            "SUPPRESSED",
            "9 checks in all: 2 decided this, 1 showed what a user sees, 2 were not needed, 2 could not clear, 1 could "
            "not run and 1 only informs.",
        ),
        (
            "DELETED",
            "9 checks in all: 3 decided this, 2 were not needed, 2 could not clear, 1 could not run and 1 only "
            "informs.",
        ),
        (
            "INCONCLUSIVE",
            "9 checks in all: 2 left this open, 3 decided nothing, 2 could not clear, 1 could not run and 1 only "
            "informs.",
        ),
    ],
)
def test_the_first_screen_counts_all_checks_and_links_them(outcome: Outcome, words: str) -> None:
    assert opening(samples.sample(outcome)).tally == words
    assert f'{words} <a href="#axis">All on one axis</a>' in render(samples.sample(outcome))


def test_every_group_of_checks_has_a_title_with_its_number() -> None:
    page = Page(render(samples.sample("SUPPRESSED"))).text
    places = [
        page.index(w) for w in ("What the verdict rests on (3)", "What else was looked at (5)", "What only informs (1)")
    ]
    assert places == sorted(places)


def test_a_level_of_assurance_stands_on_its_scale() -> None:
    for level in get_args(Assurance):
        results = changed("INCONCLUSIVE", assurance=level)
        page = render(results)
        assert f"Assurance {level}, on a scale from A0 to A3" in page
        assert page.count("(this audit)") == 1
        assert re.search(rf'<li class="here"><b>{level}</b> [^<]*\(this audit\)', page)
        assert "A0 to A3" in " ".join(opening(results).sure)


def test_the_page_describes_itself_to_what_shows_links() -> None:
    [words] = [
        a["content"] for a in Page(render(samples.sample("SUPPRESSED"))).all("meta") if a.get("name") == "description"
    ]
    assert words == f"SUPPRESSED: {sentence.sentence(samples.sample('SUPPRESSED'))}"


def test_a_folded_check_that_only_informs_says_what_it_measured() -> None:
    [cka] = [c for c in document.build(samples.sample("DELETED")).checks if c.evidence.check == "cka"]
    assert cka.brief == "Compared each layer's features with the original's by debiased linear CKA."
    assert cka.standing == "informs, decides nothing"
