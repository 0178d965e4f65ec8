"""Facts: read from files, split in halves, told apart by content."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.checks.sets import overlap
from auditor.digests import text_digest
from auditor.errors import DataError
from auditor.tasks.causal_lm.readers import read_facts, write_facts
from auditor.tasks.causal_lm.sets import Fact, Facts, FactsData, Hop, split_facts

TEXT = st.text(min_size=1, max_size=12).filter(lambda text: text.strip())
FACT = st.builds(
    Fact,
    prompt=TEXT,
    answer=TEXT,
    subject=st.sampled_from(["", "Ana", "Bo", "Cy"]),
    choices=st.lists(TEXT, max_size=2).map(tuple),
    multi_hop=st.lists(st.builds(Hop, question=TEXT, step=st.sampled_from(["", "so"])), max_size=1).map(tuple),
    restored=st.sampled_from(["", "Bern"]),
)


def facts(*pairs: tuple[str, str, str]) -> Facts:
    return Facts(tuple(Fact(prompt=p, answer=a, subject=s) for p, a, s in pairs))


def written(folder: Path, *lines: str) -> str:
    (folder / "facts.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return "facts.jsonl"


class TestReading:
    def test_prompt_and_answer(self, tmp_path: Path) -> None:
        name = written(
            tmp_path, '{"prompt": "Where?", "answer": "Oslo", "subject": "Ana", "choices": ["Oslo", "Bern"]}'
        )
        assert read_facts(name, tmp_path).items == (
            Fact(prompt="Where?", answer="Oslo", subject="Ana", choices=("Oslo", "Bern")),
        )

    def test_keys_of_tofu(self, tmp_path: Path) -> None:
        line = {"question": "Who?", "answer": "Ana", "perturbed_answer": ["Bo"], "paraphrased_question": "Which one?"}
        [fact] = read_facts(written(tmp_path, json.dumps({**line, "task_id": "1"})), tmp_path).items
        assert (fact.prompt, fact.perturbed_answers, fact.paraphrases) == ("Who?", ("Bo",), ("Which one?",))

    def test_other_ways_to_a_fact_and_the_answer_from_before(self, tmp_path: Path) -> None:
        line = {"prompt": "Where?", "answer": "Oslo", "restored": "Bern", "subject_aliases": "the baker"}
        ways = [{"question": "Where is Bo's baker?", "step": "Ana bakes for Bo."}, {"question": "Where?"}]
        [fact] = read_facts(written(tmp_path, json.dumps({**line, "multi_hop": ways})), tmp_path).items
        assert (fact.subject_aliases, fact.restored) == (("the baker",), "Bern")
        assert fact.multi_hop == (
            Hop(question="Where is Bo's baker?", step="Ana bakes for Bo."),
            Hop(question="Where?"),
        )

    def test_a_table_holds_them_as_a_json_list(self, tmp_path: Path) -> None:
        ways = json.dumps([{"question": "Where?"}]).replace('"', '""')
        text = f'prompt,answer,subject_aliases,multi_hop\nWho?,Me,the baker,"{ways}"\n'
        (tmp_path / "facts.csv").write_text(text, encoding="utf-8")
        [fact] = read_facts("facts.csv", tmp_path).items
        assert (fact.subject_aliases, fact.multi_hop) == (("the baker",), (Hop(question="Where?"),))

    def test_plain_text_is_an_answer_without_a_prompt(self, tmp_path: Path) -> None:
        assert read_facts(written(tmp_path, '{"text": "Once upon a time"}'), tmp_path).items == (
            Fact(prompt="", answer="Once upon a time"),
        )

    def test_blank_lines_are_passed_over(self, tmp_path: Path) -> None:
        assert len(read_facts(written(tmp_path, "", '{"text": "a"}', "  "), tmp_path)) == 1

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("{", r"facts\.jsonl, line 2 is not valid JSON"),
            ("[1]", "line 2 is no JSON object"),
            ('{"prompt": "a"}', 'line 2 should have "prompt" and "answer"'),
            ('{"prompt": "a", "answer": " "}', "line 2: the answer is empty"),
            ('{"prompt": 3, "answer": "b"}', "line 2: prompt does not fit"),
            ('{"prompt": "a", "answer": "b", "choices": [1]}', "line 2: choices does not fit"),
            ('{"prompt": "a", "answer": "b", "multi_hop": ["Who?"]}', "line 2: multi_hop does not fit"),
            ('{"prompt": "a", "answer": "b", "multi_hop": [{"step": "c"}]}', "line 2: multi_hop does not fit"),
        ],
    )
    def test_bad_lines_are_named(self, line: str, message: str, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=message):
            read_facts(written(tmp_path, '{"text": "fine"}', line), tmp_path)

    def test_bad_files(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="does not exist"):
            read_facts("nowhere.jsonl", tmp_path)
        with pytest.raises(DataError, match="holds no fact"):
            read_facts(written(tmp_path, ""), tmp_path)
        (tmp_path / "latin.jsonl").write_bytes(b'{"text": "\xe9"}')
        with pytest.raises(DataError, match="not UTF-8"):
            read_facts("latin.jsonl", tmp_path)

    @pytest.mark.parametrize("content", [b"PAR1\xff", b"prompt,answer\nWho?,Me\n"])
    def test_a_file_that_no_installed_package_reads_says_so(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "facts.table").write_bytes(content)
        with pytest.raises(DataError, match=r"or install a package that reads \.table files"):
            read_facts("facts.table", tmp_path)

    @given(items=st.lists(FACT, min_size=1, max_size=5).map(tuple))
    def test_what_is_written_is_read(self, items: tuple[Fact, ...], tmp_path_factory: pytest.TempPathFactory) -> None:
        folder = tmp_path_factory.mktemp("facts")
        write_facts(Facts(items), folder / "f.jsonl")
        assert read_facts("f.jsonl", folder).items == items

    @given(content=st.binary(max_size=80))
    def test_any_bytes_give_facts_or_one_sentence(
        self, content: bytes, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        folder = tmp_path_factory.mktemp("any")
        (folder / "f.jsonl").write_bytes(content)
        try:
            found: Facts | str = read_facts("f.jsonl", folder)
        except DataError as error:
            found = str(error)
        assert "\n" not in found if isinstance(found, str) else len(found) > 0


class TestSplit:
    @given(items=st.lists(FACT, max_size=30).map(tuple), seed=st.integers(0, 5))
    def test_halves_are_disjoint_and_complete(self, items: tuple[Fact, ...], seed: int) -> None:
        attack, evaluation = split_facts(Facts(items), seed)
        assert not set(attack.content_hashes) & set(evaluation.content_hashes)
        assert sorted(attack.content_hashes + evaluation.content_hashes) == sorted(Facts(items).content_hashes)

    def test_every_subject_stands_on_both_sides(self) -> None:
        whole = facts(*[(f"q{i}", f"a{i}", s) for s in ("Ana", "Bo") for i in range(6)])
        # Equal facts of two subjects are one fact, so each subject's prompts differ.
        whole = Facts(tuple(f.model_copy(update={"prompt": f"{f.subject} {f.prompt}"}) for f in whole.items))
        attack, evaluation = split_facts(whole, 0)
        for side in (attack, evaluation):
            assert {s: len(side.of_subjects([s])) for s in ("Ana", "Bo")} == {"Ana": 3, "Bo": 3}

    def test_subjects_of_one_fact_take_turns(self) -> None:
        whole = facts(*[(f"q{i}", "a", f"person {i}") for i in range(10)])
        attack, evaluation = split_facts(whole, 0)
        assert len(attack) == len(evaluation) == 5

    def test_the_seed_decides(self) -> None:
        whole = facts(*[(f"q{i}", "a", "Ana") for i in range(20)])
        assert split_facts(whole, 1) == split_facts(whole, 1)
        assert split_facts(whole, 1) != split_facts(whole, 2)


def test_content_folds_case_and_white_space_and_nothing_else() -> None:
    pairs = (("Where  is it?", "Oslo", ""), ("where is IT?", " oslo", "x"), ("Where is it?", "Bern", ""))
    one, same, other = facts(*pairs).items
    assert overlap(Facts((one,)), Facts((same, other))) == [0]


def test_the_digest_follows_text_encoding_and_what_may_be_shown() -> None:
    some, more = facts(("a", "b", "")), facts(("a", "c", ""))
    data = FactsData(forget_attack=some, forget_eval=some, retain=some)
    digests = {
        data.digest,
        FactsData(forget_attack=more, forget_eval=some, retain=some).digest,
        FactsData(forget_attack=some, forget_eval=some, retain=some, encoding="x").digest,
        FactsData(forget_attack=some, forget_eval=some, retain=some, show_text=True).digest,
        FactsData(forget_attack=some, forget_eval=some, retain=some, holdout=some).digest,
    }
    assert len(digests) == 5


def test_fields_that_came_later_change_no_digest_of_sets_without_them() -> None:
    fields = {"prompt": "Where?", "answer": "Oslo", "subject": "", "choices": ["Oslo"]}
    before = {**fields, "paraphrases": [], "perturbed_answers": []}
    assert Facts((Fact.model_validate(fields),)).digest == text_digest(json.dumps([before]))
    for more in ({"subject_aliases": ["a"]}, {"multi_hop": [{"question": "b"}]}, {"restored": "Bern"}):
        assert Facts((Fact.model_validate({**fields, **more}),)).digest != text_digest(json.dumps([before]))
