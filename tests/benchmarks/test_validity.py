"""The validity study: its statistics against known answers, and its halves."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

VALIDITY = Path(__file__).parents[2] / "benchmarks" / "validity"


@pytest.fixture(scope="module", autouse=True)
def _path():
    sys.path.insert(0, str(VALIDITY))
    before = set(sys.modules)
    yield
    sys.path.remove(str(VALIDITY))
    for name in set(sys.modules) - before:
        if str(VALIDITY) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def row(label: str, outcome: str, *, original: str = "a", mechanism: str = "m", seed: int = 1, **more: Any) -> dict:
    return {
        "world": "w",
        "task": "classification",
        "architecture": "cnn",
        "construction": "plain",
        "request": "class",
        "original": original,
        "seed": seed,
        "target": 0,
        "mechanism": mechanism,
        "label": label,
        "outcome": outcome,
        "flags": [],
        "checks": {},
        "published": {},
        **more,
    }


def test_rates_count_pairs_and_originals_apart() -> None:
    import bounds

    rows = [row("deleted", "SUPPRESSED")] * 3 + [row("deleted", "DELETED")] * 2
    rows += [row("deleted", "DELETED", original="b")] * 5
    found = bounds.rate(rows, lambda r: r["outcome"] == "SUPPRESSED")
    assert (found.count, found.pairs, found.originals, found.all_originals) == (3, 10, 1, 2)
    # Clopper-Pearson by its definition: at the limits the tails hold 2.5 %.
    from scipy.stats import binom

    low, high = found.limits
    assert binom.sf(2, 10, low) == pytest.approx(0.025, abs=1e-6)
    assert binom.cdf(3, 10, high) == pytest.approx(0.025, abs=1e-6)


def test_auc_is_the_share_of_pairs_in_order() -> None:
    import bounds

    assert bounds.auc([1.0, 2.0], [0.0, 1.5]) == pytest.approx(3 / 4)
    assert bounds.auc([], [1.0]) is None


def test_the_best_threshold_separates_what_can_be_separated() -> None:
    import bounds

    cut = bounds.best_threshold([0.6, 0.9], [0.1, 0.4])
    assert 0.4 < cut < 0.6
    assert bounds.balanced([0.6, 0.9], [0.1, 0.4], cut) == 1.0
    assert bounds.balanced([0.6, 0.3], [0.1, 0.4], 0.5) == pytest.approx((0.5 + 1) / 2)


@pytest.mark.parametrize(("s0", "d0"), [(0.02, 4.0), (3.0, 12.0)])
def test_the_prior_spread_is_recovered_from_many_worlds(s0: float, d0: float) -> None:
    import calibration

    random = np.random.default_rng(0)
    n, degrees = 4000, 4
    true = d0 * s0**2 / random.chisquare(d0, n)
    found = calibration.prior_spread((true * random.chisquare(degrees, n) / degrees).tolist(), degrees)
    assert found is not None
    assert found[0] == pytest.approx(s0, rel=0.05)
    assert found[1] == pytest.approx(d0, rel=0.2)


def test_worlds_that_do_not_differ_give_no_more_weight_than_there_are_worlds() -> None:
    import calibration

    found = calibration.prior_spread([0.04] * 10, 4)
    assert found is not None
    assert found[1] == 10
    assert calibration.prior_spread([0.04] * 5, 4) is None


def test_the_halves_share_neither_a_mechanism_nor_a_seed() -> None:
    import study

    rows = [
        row(label, "DELETED", mechanism=f"{label}-{m}", seed=seed)
        for label in ("deleted", "suppressed")
        for m in range(4)
        for seed in range(5)
    ]
    calibration, evaluation = study.halves(rows)
    assert calibration
    assert evaluation
    for key in ("mechanism", "seed"):
        assert not {r[key] for r in calibration} & {r[key] for r in evaluation}
    assert {r["label"] for r in calibration} == {r["label"] for r in evaluation} == {"deleted", "suppressed"}
    study.mark_halves([*rows, row("unknown", "DELETED")])
    assert [r for r in rows if r["half"] == "evaluation"] == evaluation
    assert any(r["half"] is None for r in rows)


def test_balanced_accuracy_is_over_the_decided() -> None:
    import tables

    rows = [row("deleted", "DELETED")] * 3 + [row("deleted", "SUPPRESSED"), row("deleted", "INCONCLUSIVE")]
    rows += [row("suppressed", "SUPPRESSED"), row("suppressed", "INCONCLUSIVE")]
    assert tables.balanced_accuracy(rows) == pytest.approx((0.75 + 1) / 2)
    assert tables.balanced_accuracy(rows[:4]) is None


def test_a_damaged_model_is_right_by_its_flag() -> None:
    import pairs

    assert pairs.right(row("damaged", "INCONCLUSIVE", flags=["DAMAGED"]))
    assert not pairs.right(row("damaged", "INCONCLUSIVE"))
    assert not pairs.right(row("suppressed", "DELETED"))


def test_a_mechanism_left_out_is_judged_by_the_threshold_of_the_others() -> None:
    import tables

    known = [row("suppressed", "SUPPRESSED", mechanism=f"s{i}", published={"x": 1.0}) for i in range(3)]
    known += [row("deleted", "DELETED", mechanism=f"d{i}", published={"x": 0.0}) for i in range(3)]
    sly = row("suppressed", "INCONCLUSIVE", mechanism="sly", published={"x": 0.1})
    table = tables.leave_one_out([*known, sly]).set_index("mechanism")
    assert table.loc["sly", "x"] == 0.0
    assert table.loc["s0", "x"] == 1.0
    assert tuple(table.loc["sly", ["right", "undecided", "wrong"]]) == (0, 1, 0)


def test_relearning_steps_never_reached_count_as_twice_the_longest_attack() -> None:
    import published

    assert published._steps_to(0.5, {1: 0.1, 4: 0.6, 8: 0.9}) == 4
    assert published._steps_to(0.5, {1: 0.1, 4: 0.2, 8: 0.3}) == 16


@pytest.mark.slow
def test_the_quick_study_runs_to_its_tables(tmp_path: Path) -> None:
    import json
    import subprocess

    command = [sys.executable, str(VALIDITY), "--quick", "--work", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert "leave one mechanism out" in done.stdout
    rows = json.loads((tmp_path / "pairs.json").read_text())
    outcomes = {r["mechanism"]: r["outcome"] for r in rows}
    assert outcomes["output_mask"] == outcomes["head_relabelling"] == "SUPPRESSED"
    assert outcomes["original"] == "NOT_FORGOTTEN"
    assert {"AIN", "linear probe", "SAE restoration", "CKA to retrained", "UDS", "PrivLeak"} <= set(
        rows[0]["published"]
    )


def test_an_alteration_is_measured_on_the_scale_of_the_world() -> None:
    import robustness

    def pair(label: str, mechanism: str, value: float, variant: str = "") -> dict:
        return row(label, "INCONCLUSIVE", mechanism=mechanism, variant=variant, published={"metric": value})

    rows = [
        pair("deleted", "retrain", 1.0, "1"),
        pair("deleted", "retrain", 3.0, "2"),
        pair("not forgotten", "original", 12.0),
        pair("suppressed", "mask", 4.0),
    ]
    changed = [pair("deleted", "retrain", 2.0, "1 relearnt"), pair("suppressed", "mask", 9.0, "relearnt")]
    changed.append(pair("suppressed", "mask", 1.0, "4 bits"))
    table = robustness.table(rows, changed)
    found = table[table.measure == "metric"].set_index("alteration")
    # The deleted mean is 2 and the original 12, so that a difference of 5 is half of the scale.
    assert found.loc["relearnt", "moved, suppressed"] == pytest.approx(0.5)
    assert found.loc["relearnt", "moved, deleted"] == pytest.approx(0.1)
    assert found.loc["relearnt", "AUC after"] == 1.0
    assert found.loc["4 bits", "moved, suppressed"] == pytest.approx(-0.3)


def test_value_vectors_are_averaged_by_mechanism() -> None:
    import vectors

    def subject(mechanism: str, cosine: float, rho: float | None) -> dict:
        moved = {"cosine": cosine, "relative_l2": 1.0, "jaccard": 0.5}
        checks = {"concept_vectors": {"rho": rho}}
        return row("unknown", "INCONCLUSIVE", mechanism=mechanism, vectors=moved, checks=checks)

    table = vectors.table([subject("npo", 1.0, 0.2), subject("npo", 0.5, None), subject("rmu", 0.0, None)])
    found = table.set_index("mechanism")
    assert list(found.n) == [2, 1]
    assert list(found.cosine) == [0.75, 0.0]
    assert found["ρ"]["npo"] == 0.2
    assert np.isnan(found["ρ"]["rmu"])


def test_only_language_models_have_their_value_vectors_looked_at() -> None:
    import vectors
    from worlds import people_worlds

    (first, *_) = people_worlds(Path("nowhere"))
    names = {maker.mechanism for maker in vectors.edited(first)}
    assert {"retrain", "original", "npo", "rmu", "guard"} <= names
    assert not {"heavy_noise", "random_initialisation"} & names
    assert not list(vectors.edited(object()))
