"""Scores into evidence: which null, which power, which decoys."""

import dataclasses

import numpy as np
import pytest

from auditor.inference.combine import combine
from auditor.inference.compared import CheckScores
from auditor.inference.statistics import fieller, pooled_spread
from auditor.probes.outputs.images import Outputs
from auditor.records.evidence import Evidence
from auditor.records.policy import PriorSpread, load_policy
from auditor.records.score import Reading, Score
from tests.made_records import NULLS

POLICY = load_policy("default")


def score(value: float, *, n: int = 100, **extra: object) -> Score:
    return Score.model_validate(
        {"check": "outputs", "readings": {"it": Reading(value=value)}, "n_examples": n, **extra}
    )


def lineup(
    unlearned: Score, references: tuple[float, ...] = (0.48, 0.5, 0.51, 0.49, 0.52), **extra: object
) -> CheckScores:
    parts = {
        "original": score(0.9),
        "unlearned": unlearned,
        "references": {f"reference {i}": score(v) for i, v in enumerate(references)},
        "drawn": {},
        "perturbed": {},
        "decoys": {},
    }
    return CheckScores(**{**parts, **extra})  # type: ignore[arg-type]


def test_rho_and_its_limits_follow_the_formula() -> None:
    found = combine(Outputs(), lineup(score(0.6)), POLICY, NULLS, population=False)
    spread = pooled_spread([0.48, 0.5, 0.51, 0.49, 0.52], floor=0.01)
    assert spread is not None
    wanted = fieller(0.1, 0.4, spread)
    assert wanted is not None
    assert found.rho is not None
    assert (found.rho.value, found.rho.low, found.rho.high) == pytest.approx((wanted.value, wanted.low, wanted.high))
    assert found.null_kind == "references"
    assert found.scores is not None
    assert found.scores.null == pytest.approx(0.5)


def test_a_check_that_sees_no_gap_has_no_power_and_no_interval() -> None:
    found = combine(Outputs(), lineup(score(0.6), original=score(0.5)), POLICY, NULLS, population=False)
    assert found.rho is None
    assert not found.powered
    assert "no gap" in (found.powerless_because or "")


def test_a_coarse_check_has_no_power_though_it_has_an_interval() -> None:
    found = combine(
        Outputs(), lineup(score(0.6), references=(0.3, 0.7, 0.5, 0.4, 0.6)), POLICY, NULLS, population=False
    )
    assert found.rho is not None
    assert not found.powered
    assert found.resolution is not None
    assert found.resolution > POLICY.thresholds.deleted


def test_a_missed_decoy_costs_the_power_of_the_check_it_is_assigned_to() -> None:
    class Assigned(Outputs):
        decoys = ("head_row_zeroed",)

    seen = lineup(score(0.5), decoys={"head_row_zeroed": score(0.9)})
    missed = lineup(score(0.5), decoys={"head_row_zeroed": score(0.5)})
    assert combine(Assigned(), seen, POLICY, NULLS, population=False).powered
    blind = combine(Assigned(), missed, POLICY, NULLS, population=False)
    assert not blind.powered
    assert "head_row_zeroed" in (blind.powerless_because or "")
    assert combine(Outputs(), missed, POLICY, NULLS, population=False).powered


def test_example_sampling_counts_for_a_population_only() -> None:
    random = np.random.default_rng(1)

    def noisy(value: float) -> Score:
        x = random.normal(0, 0.3, 100)
        return score(value).model_copy(
            update={"readings": {"it": Reading(value=value, examples=tuple(value + x - x.mean()))}}
        )

    references = {f"r{i}": noisy(v) for i, v in enumerate((0.48, 0.5, 0.51))}
    many = dataclasses.replace(lineup(noisy(0.5)), references=references)
    listed = combine(Outputs(), many, POLICY, NULLS, population=False)
    drawn = combine(Outputs(), many, POLICY, NULLS, population=True)
    assert listed.spread is not None
    assert drawn.spread is not None
    assert listed.spread.sampling_variance == 0
    rows = np.array([references[n].readings["it"].examples for n in references])
    own = np.array(many.unlearned.readings["it"].examples)
    assert drawn.spread.sampling_variance == pytest.approx(np.var(own - rows.mean(0), ddof=1) / 100)
    assert drawn.spread.value > listed.spread.value


def test_where_the_checks_own_draws_disagree_the_interval_is_wide() -> None:
    """One autoencoder of three that restores where the others do not is no residue."""

    def by_draws(*values: float) -> Score:
        return score(0.0).model_copy(update={"readings": {"it": Reading(value=float(np.median(values)), draws=values)}})

    references = {f"r{i}": by_draws(e, 0.0, -e) for i, e in enumerate((0.01, 0.02, -0.01, 0.0, 0.015))}
    parts = dataclasses.replace(lineup(score(0.0), original=by_draws(1.0, 1.0, 1.0)), references=references)
    agreed = dataclasses.replace(parts, unlearned=by_draws(0.49, 0.5, 0.48))
    disputed = dataclasses.replace(parts, unlearned=by_draws(0.49, 0.3, -0.04))
    found = {
        name: combine(Outputs(), case, POLICY, NULLS, population=False)
        for name, case in (("agreed", agreed), ("disputed", disputed))
    }
    assert all(e.rho is not None and e.spread is not None and e.p_value is not None for e in found.values())
    assert found["agreed"].p_value < 1e-3  # type: ignore[operator]
    assert found["disputed"].p_value > 0.1  # type: ignore[operator]
    null = np.mean([references[name].readings["it"].draws for name in references], axis=0)
    wanted = np.pi / 2 * np.var(np.array([0.49, 0.3, -0.04]) - null, ddof=1) / 3
    assert found["disputed"].spread.sampling_variance == pytest.approx(wanted)  # type: ignore[union-attr]


def test_draws_that_restore_one_time_in_six_accuse_no_more_often_than_stated() -> None:
    """Under the null: every model, references too, has draws that restore by luck of the draw."""
    random = np.random.default_rng(0)

    def model() -> Score:
        values = random.normal(0, 0.01, 3) + 0.5 * (random.random(3) < 1 / 6)
        reading = Reading(value=float(np.median(values)), draws=tuple(values.tolist()))
        return score(0.0).model_copy(update={"readings": {"it": reading}})

    original = score(1.0).model_copy(update={"readings": {"it": Reading(value=1.0, draws=(1.0, 1.0, 1.0))}})
    accused, n = 0, 1000
    for _ in range(n):
        parts = lineup(model(), original=original)
        parts = dataclasses.replace(parts, references={f"r{i}": model() for i in range(5)})
        found = combine(Outputs(), parts, POLICY, NULLS, population=False)
        accused += found.p_value is not None and found.p_value < 0.01
    assert accused / n < 0.01 + 4 * (0.01 * 0.99 / n) ** 0.5


def test_perturbed_recipes_widen_the_interval_by_their_excess() -> None:
    near = lineup(score(0.5), perturbed={"perturbed 1": score(0.5)})
    far = lineup(score(0.5), perturbed={"perturbed 1": score(0.6), "perturbed 2": score(0.4)})
    plain = combine(Outputs(), near, POLICY, NULLS, population=False).spread
    wide = combine(Outputs(), far, POLICY, NULLS, population=False).spread
    assert plain is not None
    assert wide is not None
    assert plain.recipe_variance == 0
    assert wide.recipe_variance == pytest.approx(0.01 - np.var([0.48, 0.5, 0.51, 0.49, 0.52], ddof=1) * 1.2)


def test_one_more_reference_leaves_a_trace_as_rarely_as_its_p_value_says() -> None:
    random = np.random.default_rng(3)
    n, below = 2000, 0
    for _ in range(n):
        own, *references = (0.5 + 0.1 * random.standard_normal(6)).tolist()
        found = combine(
            Outputs(), lineup(score(own, n=10**6), references=tuple(references), original=score(3.0)), POLICY, NULLS,
            population=False,
        )  # fmt: skip
        assert found.p_trace is not None
        below += found.p_trace < 0.05
    # The tolerance of .005 in ρ takes a little off; three standard errors of 5 % are 1.5 %.
    assert 0.03 < below / n < 0.065


def test_a_small_certain_residue_leaves_a_trace_and_no_accusation() -> None:
    found = combine(Outputs(), lineup(score(0.58)), POLICY, NULLS, population=False)
    assert found.p_value is not None
    assert found.p_trace is not None
    assert found.p_value > 0.5
    assert found.p_trace < 0.02


def test_one_reference_needs_a_calibrated_spread() -> None:
    alone = lineup(score(0.9), references=(0.5,))
    assert combine(Outputs(), alone, POLICY, NULLS, population=False).rho is None
    prior = PriorSpread(s0=0.01, d0=20)
    found = combine(Outputs(), alone, POLICY, NULLS, population=False, prior=prior)
    assert found.rho is not None
    assert found.spread is not None
    assert found.spread.degrees == 20


def test_without_references_its_own_null_may_accuse_but_not_clear() -> None:
    null = tuple(np.random.default_rng(0).normal(0.5, 0.01, 999))

    def found(value: float) -> Evidence:
        models = lineup(score(value, null=null), references=(), original=score(0.9, null=null))
        return combine(Outputs(), models, POLICY, NULLS, population=False)

    assert found(0.9).null_kind == "internal"
    assert found(0.9).p_value == pytest.approx(0.001)
    assert not found(0.9).powered
    clean = found(0.5).p_value
    assert clean is not None
    assert clean > 0.5


def test_chance_stands_in_for_outputs_alone() -> None:
    found = combine(Outputs(), lineup(score(0.0, chance=0.0, hits=0), references=()), POLICY, NULLS, population=False)
    assert found.null_kind == "chance"
    assert found.rho is not None
    assert found.rho.high < 0.1
    assert found.p_value is None


def test_nothing_to_compare_with_is_said() -> None:
    found = combine(Outputs(), lineup(score(0.9), references=()), POLICY, NULLS, population=False)
    assert found.rho is None
    assert "no references" in (found.powerless_because or "")


def test_cells_and_controls_carry_the_models_names() -> None:
    cells = score(0.9, rows=[{"layer": "a", "value": 1.0}], controls={"x": 2.0})
    found = combine(Outputs(), lineup(cells), POLICY, NULLS, population=False)
    assert {"model": "unlearned", "layer": "a", "value": 1.0} in found.rows
    assert found.controls == {"unlearned": {"x": 2.0}}


def test_a_check_whose_decoys_could_not_be_made_has_no_power() -> None:
    class Assigned(Outputs):
        decoys = ("head_row_zeroed", "head_relabelling")

    found = combine(Assigned(), lineup(score(0.5)), POLICY, NULLS, population=False)
    assert found.powerless_because == (
        "none of the decoys that it has to see through could be made (head_row_zeroed, head_relabelling)"
    )
    one = lineup(score(0.5), decoys={"head_row_zeroed": score(0.9)})
    assert combine(Assigned(), one, POLICY, NULLS, population=False).powered


def test_a_score_that_is_blind_may_accuse_and_not_clear() -> None:
    for value in (0.5, 0.9):
        found = combine(
            Outputs(), lineup(score(value, cannot_clear_because="it is deaf")), POLICY, NULLS, population=False
        )
        assert (found.powered, found.powerless_because) == (False, "it is deaf")
        assert found.p_value is not None
        assert (found.p_value < 0.01) == (value == 0.9)


def test_without_references_each_model_is_held_against_its_own_null() -> None:
    """(T(u) − n̄_u)/(T(o) − n̄_o): 0.2 of 0.1, though T(o) − n̄_u is 0.5."""
    null = np.linspace(-0.05, 0.05, 99)
    subject = score(0.3, null=tuple((0.1 + null).tolist()))
    original = score(0.6, null=tuple((0.5 + null).tolist()))
    found = combine(Outputs(), lineup(subject, (), original=original), POLICY, NULLS, population=False)
    assert found.null_kind == "internal"
    assert found.rho is not None
    assert found.rho.value == pytest.approx(2.0)
    assert found.p_value == 0.01
    bare = combine(Outputs(), lineup(subject, (), original=score(0.6)), POLICY, NULLS, population=False)
    assert bare.rho is None


def test_where_the_null_is_of_interventions_the_original_has_no_baseline_of_its_own() -> None:
    """It answers after any of them; held against such draws, any trace in the subject would be all of it."""

    class Intervening(Outputs):
        null_lacks_knowledge = False

    null = np.linspace(-0.05, 0.05, 99)
    subject = score(0.16, null=tuple((0.1 + null).tolist()))
    original = score(0.9, null=tuple((0.88 + null / 10).tolist()))
    found = combine(Intervening(), lineup(subject, (), original=original), POLICY, NULLS, population=False)
    assert found.rho is not None
    assert found.rho.value == pytest.approx(0.06 / 0.8)
    assert found.p_value == 1.0
