"""The two checks of evaluation logs: by hand, by another library, and on models whose knowledge is known."""

import numpy as np
import pytest
import torch
from scipy import stats

from auditor.checks.check import NoSettings
from auditor.errors import UsageError
from auditor.probes.outputs.logs import Outputs
from auditor.probes.truth_ratio import TruthRatio
from auditor.records.score import Score
from auditor.reports.curves import counting, panels_of
from auditor.tasks.evaluation_logs.sets import LoggedSets, Questions
from auditor.tasks.evaluation_logs.subject import LoggedAnswers

COLUMNS = {
    "forget/probability": [0.2, 0.4],
    "forget/rouge": [0.5, 0.7],
    "forget/truth_ratio": [1.0, 3.0],
    "retain/probability": [0.9, 0.7],
    "retain/truth_ratio": [0.25, 0.25],
}


def subject(**changes: list[float]) -> LoggedAnswers:
    columns = COLUMNS | {name.replace("_", "/", 1): values for name, values in changes.items()}
    tensors = {name: torch.tensor(values, dtype=torch.float64) for name, values in columns.items()}
    return LoggedAnswers(tensors, role="original", digest="0")


def sets(*left_out: str) -> LoggedSets:
    asked = Questions((0, 1))
    columns = tuple(name for name in COLUMNS if name not in left_out)
    return LoggedSets(forget_eval=asked, retain=asked, columns=columns)


def outputs(*left_out: str) -> Score:
    return Outputs().score(subject(), None, sets(*left_out), NoSettings(), 0)


def truth_ratio(**changes: list[float]) -> Score:
    return TruthRatio().score(subject(**changes), None, sets(), NoSettings(), 0)


def test_outputs_are_the_mean_of_what_was_logged() -> None:
    score = outputs()
    assert score.total(tuple(score.readings)) == pytest.approx((0.3 + 0.6) / 2)
    assert score.retain_accuracy == pytest.approx(0.8)
    assert score.examples(tuple(score.readings)) == pytest.approx((0.35, 0.55))
    assert [row["split"] for row in score.rows] == ["forget", "retain"]


def test_what_some_log_lacks_is_left_out_for_all() -> None:
    score = outputs("forget/rouge")
    assert list(score.readings) == ["probability"]
    assert score.total(("probability",)) == pytest.approx(0.3)


def test_preference_is_one_half_where_right_and_wrong_are_alike_and_falls_with_the_ratio() -> None:
    score = truth_ratio()
    assert score.readings["preference"].examples == pytest.approx((0.5, 0.25))
    assert score.readings["preference"].value == pytest.approx(0.375)
    assert score.controls == {"preference, retain": pytest.approx(0.8)}
    assert truth_ratio(forget_truth_ratio=[0.5, 1.0]).readings["preference"].value > 0.375


def test_without_truth_ratios_the_check_could_not_run() -> None:
    with pytest.raises(UsageError, match="not every log holds truth ratios"):
        TruthRatio().score(subject(), None, sets("forget/truth_ratio"), NoSettings(), 0)


def made_scores() -> dict[str, Score]:
    random = np.random.default_rng(0)
    shifts = {"original": -1.0, "unlearned": -0.5, "reference 1": 0.0, "reference 2": 0.1, "reference 3": 0.05}
    return {
        name: truth_ratio(forget_truth_ratio=np.exp(random.normal(shift, 0.5, 50)).tolist())
        for name, shift in shifts.items()
    }


def test_forget_quality_is_the_test_of_kolmogorov_and_smirnov_on_truth_ratios() -> None:
    """On R itself, as it is published: R falls as 1/(1 + R) rises, and the test is the same."""
    scores = made_scores()
    references = tuple(name for name in scores if name.startswith("reference"))
    rows, controls = TruthRatio().summarise(scores, references)
    ratios = {name: 1 / np.asarray(s.readings["preference"].examples) - 1 for name, s in scores.items()}
    p = [stats.ks_2samp(ratios["unlearned"], ratios[name]).pvalue for name in references]
    assert controls["unlearned"]["forget quality, log10 of p"] == pytest.approx(np.log10(np.median(p)))
    own = [stats.ks_2samp(ratios["reference 1"], ratios[name]).pvalue for name in references[1:]]
    assert controls["reference 1"]["forget quality, log10 of p"] == pytest.approx(np.log10(np.median(own)))
    assert controls["original"]["forget quality, log10 of p"] < controls["unlearned"]["forget quality, log10 of p"]
    assert not any(row["model"] == row["against"] for row in rows)
    assert len(rows) == 2 * 3 + 3 * 2


def test_without_references_there_is_no_forget_quality() -> None:
    assert TruthRatio().summarise(made_scores(), ()) == ([], {})


@pytest.mark.parametrize("check", [Outputs(), TruthRatio()], ids=lambda check: check.name)
def test_every_row_is_drawn(check: Outputs | TruthRatio) -> None:
    scores = {name: check.score(subject(), None, sets(), NoSettings(), 0) for name in ("original", "reference 1")}
    rows = [{"model": name, **row} for name, score in scores.items() for row in score.rows]
    rows += check.summarise(scores, ("reference 1",))[0]
    roles = {"original": "original", "reference 1": "reference"}
    found = [(figure, counting(rows, figure, roles)) for figure in check.figures]
    assert all(any(row in drawn for _, drawn in found) for row in rows)
    assert all(panel.lines for figure, drawn in found for panel in panels_of(drawn, figure, roles)[0])


def test_no_check_of_logs_may_clear() -> None:
    assert (Outputs().may, TruthRatio().may) == ("accuse", "accuse")
