"""What is kept of the logits, against values worked out by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from auditor.rouge import rouge_l_recall
from auditor.tasks.causal_lm.metrics import extraction_strength, truth_ratio
from auditor.tasks.causal_lm.recording import COLUMNS, TokenRecording, fact_means, token_statistics


def recording(ranks: list[list[float]], logs: list[list[float]]) -> TokenRecording:
    flat = torch.tensor([x for row in logs for x in row], dtype=torch.float64)
    return TokenRecording(
        lengths=torch.tensor([len(row) for row in logs]),
        log_probability=flat,
        rank=torch.tensor([x for row in ranks for x in row], dtype=torch.float64),
        mean=flat,
        deviation=flat,
        features={},
        lens={},
    )


class TestStatistics:
    def test_a_distribution_by_hand(self) -> None:
        p = torch.tensor([0.5, 0.25, 0.125, 0.125], dtype=torch.float64)
        [row] = token_statistics(p.log()[None].float(), torch.tensor([1])).tolist()
        mean = sum(float(x) * math.log(float(x)) for x in p)
        deviation = math.sqrt(sum(float(x) * math.log(float(x)) ** 2 for x in p) - mean**2)
        assert dict(zip(COLUMNS, row, strict=True)) == pytest.approx(
            {"log_probability": math.log(0.25), "rank": 1.0, "mean": mean, "deviation": deviation}, rel=1e-5
        )

    def test_equal_tokens_share_the_first_place(self) -> None:
        assert token_statistics(torch.zeros(1, 4), torch.tensor([2]))[0, 1] == 0

    def test_a_masked_token_leaves_the_others_finite(self) -> None:
        logits = torch.tensor([[0.0, 0.0, -torch.inf]])
        kept = token_statistics(logits, torch.tensor([0]))[0]
        assert kept.tolist() == pytest.approx([math.log(0.5), 0.0, math.log(0.5), 0.0], abs=1e-6)

    def test_bfloat16_is_computed_in_float32(self) -> None:
        logits = torch.tensor([[1.0, 2.0, 3.0]])
        exact = token_statistics(logits, torch.tensor([2]))
        assert torch.equal(token_statistics(logits.bfloat16(), torch.tensor([2])), exact)

    @given(st.lists(st.floats(-20, 20), min_size=2, max_size=8), st.integers(0, 7))
    def test_against_an_independent_formula(self, logits: list[float], target: int) -> None:
        target %= len(logits)
        exact = np.asarray(logits, dtype=np.float32).astype(np.float64)
        p = np.exp(exact - exact.max())
        logs = np.log(p / p.sum())
        mu = float(np.exp(logs) @ logs)
        row = token_statistics(torch.tensor([logits]), torch.tensor([target]))[0].numpy()
        assert row[0] == pytest.approx(logs[target], abs=1e-4)
        assert row[1] == np.count_nonzero(exact > exact[target])
        assert row[2] == pytest.approx(mu, abs=1e-4)
        assert row[3] ** 2 == pytest.approx(max(float(np.exp(logs) @ logs**2) - mu**2, 0), abs=2e-3)


class TestRecording:
    def test_means_over_answers_of_unequal_length(self) -> None:
        made = recording([[0, 2], [0]], [[math.log(0.5), math.log(0.125)], [0.0]])
        assert made.probability.tolist() == pytest.approx([0.25, 1.0])
        assert made.memorised.tolist() == [0.5, 1.0]
        assert made.losses.tolist() == pytest.approx([-math.log(0.25), 0.0])
        assert [part.tolist() for part in made.per_fact(made.rank)] == [[0, 2], [0]]

    def test_an_answer_without_tokens_has_no_mean(self) -> None:
        with pytest.raises(ValueError, match="without tokens"):
            fact_means(torch.ones(1), torch.tensor([1, 0]))


class TestMetrics:
    @pytest.mark.parametrize(
        ("reference", "candidate", "expected"),
        [
            ("red wine", "red wine", 1.0),
            ("red wine", "", 0.0),
            ("red", "RED", 1.0),
            ("a b c d", "d c b a", 0.25),
            ("a b c", "x a y c z", 2 / 3),
        ],
    )
    def test_rouge(self, reference: str, candidate: str, expected: float) -> None:
        assert rouge_l_recall(reference, candidate) == pytest.approx(expected)

    def test_rouge_of_nothing(self) -> None:
        with pytest.raises(ValueError, match="empty reference"):
            rouge_l_recall("  ", "a")

    @given(st.lists(st.sampled_from("ab"), min_size=1, max_size=7), st.lists(st.sampled_from("ab"), max_size=7))
    def test_rouge_against_all_subsequences(self, wanted: list[str], said: list[str]) -> None:
        def is_subsequence(part: list[str]) -> bool:
            rest = iter(said)
            return all(word in rest for word in part)

        subsets = [[w for i, w in enumerate(wanted) if bits >> i & 1] for bits in range(2 ** len(wanted))]
        longest = max(len(part) for part in subsets if is_subsequence(part))
        assert rouge_l_recall(" ".join(wanted), " ".join(said)) == longest / len(wanted)

    @pytest.mark.parametrize(
        ("ranks", "expected"), [([0, 0], 1.0), ([1], 0.0), ([0], 1.0), ([0, 1, 0, 0], 0.5), ([0, 0, 0, 1], 0.0)]
    )
    def test_extraction_strength(self, ranks: list[float], expected: float) -> None:
        assert extraction_strength(np.asarray(ranks, dtype=np.float64)) == expected

    def test_extraction_strength_of_nothing(self) -> None:
        with pytest.raises(ValueError, match="without tokens"):
            extraction_strength(np.zeros(0))

    def test_truth_ratio(self) -> None:
        assert truth_ratio(math.log(0.6), [math.log(0.2), math.log(0.4)]) == pytest.approx(0.6 / 0.9)
        assert truth_ratio(-2000.0, [-2001.0]) == pytest.approx(1 / (1 + math.exp(-1)))
        with pytest.raises(ValueError, match="needs wrong answers"):
            truth_ratio(0.0, [])
