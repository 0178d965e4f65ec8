"""Chance divides facts by subject, a record proves it later, and a request is held to it."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import DataError, SpecError
from auditor.records.assignment import AssignmentRecord, read_assignment
from auditor.records.plan import PlannedAssignment, json_text
from auditor.records.spec import AuditSpec
from auditor.tasks.causal_lm.assignment import draw, planned
from auditor.tasks.causal_lm.sets import Fact, Facts, FactsData
from auditor.tasks.causal_lm.sides import by_subject, n_subjects, sides, subjects_of

NONCE = "0123456789abcdef" * 2


def facts(*subjects: str) -> Facts:
    return Facts(tuple(Fact(prompt=f"{s} {i}?", answer=f"a{i}", subject=s) for i, s in enumerate(subjects)))


def people(n: int, each: int = 3) -> Facts:
    """Their facts in turn, so that no subject's stand together."""
    return facts(*[f"person {i}" for _ in range(each) for i in range(n)])


def record(**changes: object) -> AssignmentRecord:
    made = draw(people(10), 0.5, 1, NONCE)[2]
    return made.model_copy(update=changes)


class TestSubjects:
    def test_numbers_follow_the_first_appearance(self) -> None:
        assert subjects_of(facts("Bo", "Ana", "Bo", "Cy", "Ana")).tolist() == [0, 1, 0, 2, 1]
        assert n_subjects(facts("Bo", "Ana", "Bo")) == 2

    def test_a_fact_without_a_subject_is_one_by_itself(self) -> None:
        assert subjects_of(facts("", "Ana", "", "Ana")).tolist() == [0, 1, 2, 1]

    def test_a_subject_that_is_called_by_a_number_is_no_fact_without_one(self) -> None:
        assert subjects_of(facts("", "0", "2", "")).tolist() == [0, 1, 2, 3]

    def test_means_by_subject(self) -> None:
        values = np.array([1.0, 5.0, 3.0, 7.0, 6.0])
        assert by_subject(facts("Bo", "Ana", "Bo", "", "Ana"), values) == pytest.approx((2.0, 5.5, 7.0))

    @given(names=st.lists(st.sampled_from(["", "0", "1", "Ana", "Bo"]), min_size=1, max_size=12))
    def test_every_fact_counts_once(self, names: list[str]) -> None:
        groups, values = subjects_of(facts(*names)), np.arange(len(names), dtype=np.float64)
        sizes = np.bincount(groups)
        assert sizes.min() >= 1
        assert float(np.dot(sizes, by_subject(facts(*names), values))) == pytest.approx(values.sum())
        for i, name in enumerate(names):
            same = [other == name and (name != "" or i == j) for j, other in enumerate(names)]
            assert (groups == groups[i]).tolist() == same

    def test_sides_are_over_both_halves_of_forget(self) -> None:
        data = FactsData(
            forget_attack=facts("Ana", "Bo"),
            forget_eval=facts("Bo", "Ana", "Ana"),
            retain=facts("x"),
            holdout=facts("Cy", "Di", "Cy"),
        )
        of_halves = [torch.tensor([1.0, 2.0]), torch.tensor([4.0, 7.0, 10.0])]
        found = sides(data, of_halves, torch.tensor([1.0, 0.0, 3.0]))
        assert found.forget == pytest.approx((6.0, 3.0))
        assert found.holdout == pytest.approx((2.0, 0.0))


class TestDraw:
    @given(
        names=st.lists(st.sampled_from(["", *"ABCDEFGH"]), min_size=8, max_size=30),
        share=st.floats(0.2, 0.8),
        seed=st.integers(0, 99),
    )
    def test_whole_subjects_in_order_and_nothing_lost(self, names: list[str], share: float, seed: int) -> None:
        pool = facts(*names)
        n = n_subjects(pool)
        if min(round(share * n), n - round(share * n)) < 2:
            return
        forget, holdout, made = draw(pool, share, seed, NONCE)
        assert not {f.subject for f in forget.items} & {f.subject for f in holdout.items} - {""}
        assert (n_subjects(forget), n_subjects(holdout)) == (made.n_forget, made.n_holdout)
        assert (made.n_holdout, made.n_forget + made.n_holdout) == (round(share * n), n)
        order = {fact: i for i, fact in enumerate(pool.items)}
        for side in (forget, holdout):
            places = [order[fact] for fact in side.items]
            assert places == sorted(places)
        assert sorted(map(order.__getitem__, forget.items + holdout.items)) == list(range(len(pool)))

    def test_facts_without_a_subject_are_drawn_one_by_one(self) -> None:
        pool = facts(*[""] * 6)
        forget, holdout, _ = draw(pool, 0.5, 3, NONCE)
        assert (len(forget), len(holdout)) == (3, 3)

    def test_the_seed_alone_decides(self) -> None:
        pool = people(20)
        assert draw(pool, 0.5, 1, NONCE) == draw(pool, 0.5, 1, NONCE)
        assert draw(pool, 0.5, 1, NONCE)[0] == draw(pool, 0.5, 1, "f" * 32)[0]
        assert len({draw(pool, 0.5, seed, NONCE)[1].digest for seed in range(20)}) == 20

    def test_the_record_is_of_what_was_drawn(self) -> None:
        pool = people(10)
        forget, holdout, made = draw(pool, 0.3, 7, NONCE)
        assert (made.pool, made.forget, made.holdout) == (pool.digest, forget.digest, holdout.digest)
        assert (made.kind, made.seed, made.nonce) == ("random", 7, NONCE)
        assert (made.n_forget, made.n_holdout, len(forget), len(holdout)) == (7, 3, 21, 9)

    def test_every_subject_is_as_likely_as_any_other_to_be_held_out(self) -> None:
        """However many facts it has, and wherever they stand."""
        pool = facts("Ana", "Bo", "Ana", "Cy", "", "Ana", "Di", "Bo", "")
        names = ["Ana 0?", "Bo 1?", "Cy 3?", " 4?", "Di 6?", " 8?"]
        n, times, together = 2000, dict.fromkeys(names, 0), 0
        for seed in range(n):
            prompts = {fact.prompt for fact in draw(pool, 1 / 3, seed, NONCE)[1].items}
            for name in names:
                times[name] += name in prompts
            together += {"Ana 0?", "Bo 1?"} <= prompts
        # Four standard errors.
        assert list(times.values()) == pytest.approx([n / 3] * 6, abs=4 * (n * 2 / 9) ** 0.5)
        assert together == pytest.approx(n / 15, abs=4 * (n * 14 / 225) ** 0.5)

    @pytest.mark.parametrize(
        ("n", "share", "words"),
        [
            (3, 0.5, "3 subjects cannot be divided into 1 and 2"),
            (10, 0.1, "10 subjects cannot be divided into 9 and 1"),
            (10, 0.95, "10 subjects cannot be divided into 0 and 10"),
            (1, 0.5, "1 subjects cannot be divided into"),
        ],
    )
    def test_too_few_subjects(self, n: int, share: float, words: str) -> None:
        with pytest.raises(DataError, match=words) as raised:
            draw(people(n), share, 0, NONCE)
        assert str(raised.value).endswith("either side needs 2 at least, and 20 before a verdict can clear")

    def test_four_subjects_are_enough_to_draw(self) -> None:
        assert [len(side) for side in draw(people(4, each=1), 0.5, 0, NONCE)[:2]] == [2, 2]


class TestCommitment:
    @pytest.mark.parametrize(
        "change",
        [
            {"seed": 2},
            {"nonce": "f" * 32},
            {"pool": "0" * 64},
            {"forget": "0" * 64},
            {"holdout": "0" * 64},
            {"n_forget": 6},
            {"n_holdout": 6},
        ],
        ids=lambda change: next(iter(change)),
    )
    def test_it_binds_every_field(self, change: Mapping[str, object]) -> None:
        assert set(AssignmentRecord.model_fields) - {"kind"} == {
            *("seed", "nonce", "pool", "forget", "holdout", "n_forget", "n_holdout")
        }
        assert record().commitment == record().commitment
        assert record(**change).commitment != record().commitment

    def test_it_is_a_digest_and_shows_nothing(self) -> None:
        assert len(record().commitment) == 64
        assert int(record().commitment, 16) > 0
        assert record().commitment not in record().model_dump_json()


class TestReading:
    def test_what_is_written_is_read(self, tmp_path: Path) -> None:
        (tmp_path / "assignment.json").write_text(json_text(record()), encoding="utf-8")
        assert read_assignment(tmp_path / "assignment.json") == record()

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", "is no record of an assignment: Invalid JSON"),
            (b"{", "is no record of an assignment: Invalid JSON"),
            (b"\xff\xfe", "is no record of an assignment: Invalid JSON"),
            (b"[]", "is no record of an assignment: Input should be an object"),
            (b"{}", "is no record of an assignment: seed: Field required"),
        ],
    )
    def test_what_is_no_record(self, content: bytes, words: str, tmp_path: Path) -> None:
        (tmp_path / "a.json").write_bytes(content)
        with pytest.raises(DataError, match=words) as raised:
            read_assignment(tmp_path / "a.json")
        assert str(raised.value).endswith("give the file that `audit assign` wrote")
        assert "\n" not in str(raised.value)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"kind": "chosen"}, "kind: Input should be 'random'"),
            ({"seed": -1}, "seed: Input should be greater than or equal to 0"),
            ({"nonce": "short"}, "nonce: String should have at least 32 characters"),
            ({"n_holdout": 0}, "n_holdout: Input should be greater than or equal to 1"),
            ({"forget": 3}, "forget: Input should be a valid string"),
            ({"more": 1}, "more: Extra inputs are not permitted"),
        ],
    )
    def test_a_field_that_does_not_fit_is_named(self, change: Mapping[str, object], words: str, tmp_path: Path) -> None:
        (tmp_path / "a.json").write_text(json.dumps({**record().model_dump(mode="json"), **change}))
        with pytest.raises(DataError, match=words):
            read_assignment(tmp_path / "a.json")

    def test_no_file_and_no_readable_file(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"nowhere\.json does not exist; `audit assign` writes one"):
            read_assignment(tmp_path / "nowhere.json")
        with pytest.raises(DataError, match="cannot be read: Is a directory; give the file"):
            read_assignment(tmp_path)


class TestPlanned:
    FORGET, HOLDOUT, RECORD = draw(people(10), 0.4, 1, NONCE)

    def planned(self, base: Path = Path(), **asked: object) -> PlannedAssignment | None:
        return self.with_sets({"forget": self.FORGET, "holdout": self.HOLDOUT}, base, **asked)

    @staticmethod
    def with_sets(sets: Mapping[str, Facts], base: Path = Path(), **asked: object) -> PlannedAssignment | None:
        return planned(AuditSpec.model_validate({"assignment": asked}), {"retain": facts("x"), **sets}, base)

    def test_where_nothing_is_said_nothing_is_assumed(self) -> None:
        assert self.planned() is None

    def test_by_word_alone(self) -> None:
        assert self.planned(kind="random") == PlannedAssignment(kind="random", n_forget=6, n_holdout=4, commitment=None)

    def test_with_its_record(self, tmp_path: Path) -> None:
        (tmp_path / "r.json").write_text(json_text(self.RECORD), encoding="utf-8")
        found = self.planned(tmp_path, kind="random", record="r.json")
        assert found is not None
        assert found.commitment == self.RECORD.commitment

    def test_a_record_without_a_kind(self) -> None:
        with pytest.raises(SpecError, match=r'is given without assignment\.kind; add kind = "random"'):
            self.planned(record="r.json")

    def test_without_a_holdout(self) -> None:
        with pytest.raises(SpecError, match=r"needs the subjects that were held out: give data\.holdout"):
            self.with_sets({"forget": self.FORGET}, kind="random")

    @pytest.mark.parametrize("few", ["forget", "holdout"])
    def test_one_subject_alone(self, few: str) -> None:
        sets = {"forget": self.FORGET, "holdout": self.HOLDOUT, few: facts("Ana", "Ana")}
        with pytest.raises(SpecError, match=f"assignment: {few} is about one subject alone"):
            self.with_sets(sets, kind="random")

    def test_facts_without_subjects_are_several(self) -> None:
        pool = facts("", "", "", "", "")
        sets = {"forget": pool.take(range(3)), "holdout": pool.take(range(3, 5))}
        found = self.with_sets(sets, kind="random")
        assert found is not None
        assert (found.n_forget, found.n_holdout) == (3, 2)

    @pytest.mark.parametrize("other", ["forget", "retain"])
    def test_a_fact_that_was_not_held_out(self, other: str) -> None:
        pool = facts(*(f"subject {i}" for i in range(9)))
        sets = {"forget": pool.take(range(3)), "holdout": pool.take(range(3, 6)), "retain": pool.take(range(6, 9))}
        # Under no name, so that it is not the subject that gives it away.
        again = sets["holdout"].items[1].model_copy(update={"subject": ""})
        sets[other] = Facts((*sets[other].items, again))
        words = f"1 facts of holdout also stand in {other} .the first is fact 2 of holdout"
        with pytest.raises(SpecError, match=words):
            self.with_sets(sets, kind="random")

    def test_a_subject_on_both_sides(self) -> None:
        sets = {"forget": facts("Ana", "Bo", ""), "holdout": facts("", "Cy", "Bo")}
        with pytest.raises(SpecError, match="the subject 'Bo' stands in forget and in holdout; it was not assigned"):
            self.with_sets(sets, kind="random")

    @pytest.mark.parametrize("side", ["forget", "holdout"])
    def test_a_record_of_other_facts(self, side: str, tmp_path: Path) -> None:
        (tmp_path / "r.json").write_text(json_text(self.RECORD), encoding="utf-8")
        sets = {"forget": self.FORGET, "holdout": self.HOLDOUT}
        fewer = sets[side].take(range(1, len(sets[side])))
        with pytest.raises(SpecError, match=rf"r\.json is the record of another draw than data\.{side} comes from"):
            self.with_sets({**sets, side: fewer}, tmp_path, kind="random", record="r.json")

    def test_a_record_that_does_not_exist(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="does not exist"):
            self.planned(tmp_path, kind="random", record="r.json")
