"""From facts to tokens: which positions are the answer, whatever the padding."""

import json
from pathlib import Path

import pytest
import torch

from auditor.errors import DataError, ModelError
from auditor.loading.tokenizers import load_tokenizer
from auditor.tasks.causal_lm.encoding import Encoder
from auditor.tasks.causal_lm.sets import Fact
from auditor.zoo.text.people_model import word_tokenizer

WORDS = ("Where", "does", "Ana", "live", "?", "new", "haven", "Oslo")


@pytest.fixture
def encoder() -> Encoder:
    return Encoder(word_tokenizer(WORDS))


def names(encoder: Encoder, ids: list[int]) -> list[str]:
    return list(encoder.tokenizer.convert_ids_to_tokens(ids))


class TestEncode:
    def test_the_answer_is_what_stands_behind_the_prompt(self, encoder: Encoder) -> None:
        ids, answer = encoder.encode(Fact(prompt="Where does Ana live ?", answer="new haven"))
        assert names(encoder, ids) == ["<s>", "Where", "does", "Ana", "live", "?", "new", "haven"]
        assert answer == [False] * 6 + [True] * 2

    def test_one_token_answers(self, encoder: Encoder) -> None:
        assert sum(encoder.encode(Fact(prompt="Ana", answer="Oslo"))[1]) == 1

    def test_plain_text_is_predicted_from_its_first_token_on(self, encoder: Encoder) -> None:
        ids, answer = encoder.encode(Fact(prompt="", answer="Ana live Oslo"))
        assert names(encoder, ids)[0] == "<s>"
        assert answer == [False, True, True, True]

    def test_what_nothing_predicts_is_no_answer(self) -> None:
        tokenizer = word_tokenizer(WORDS)
        tokenizer.backend_tokenizer.post_processor = None
        from tokenizers.processors import ByteLevel

        tokenizer.backend_tokenizer.post_processor = ByteLevel()
        with pytest.raises(DataError, match="no token that the model could predict"):
            Encoder(tokenizer).encode(Fact(prompt="", answer="Oslo"))

    def test_a_fact_longer_than_the_model_takes(self) -> None:
        with pytest.raises(DataError, match="a fact has 4 tokens, the model takes 3"):
            Encoder(word_tokenizer(WORDS), longest=3).encode(Fact(prompt="Ana live", answer="Oslo"))

    def test_places_before_a_text_are_no_padding_and_leave_its_positions(self, encoder: Encoder) -> None:
        facts = [Fact(prompt="Where does Ana live ?", answer="new haven"), Fact(prompt="Ana", answer="Oslo")]
        plain, behind = encoder.batch(facts), encoder.behind(2).batch(facts).to("cpu")
        assert behind.ids[:, 2:].tolist() == plain.ids.tolist()
        assert behind.mask[:, :2].all()
        assert not behind.answer[:, :2].any()
        assert behind.targets.tolist() == plain.targets.tolist()
        assert behind.positions[:, 2:].tolist() == plain.positions.tolist()
        assert behind.positions[:, :2].tolist() == [[0, 0]] * 2

    def test_a_template_of_ones_own(self) -> None:
        encoder = Encoder(word_tokenizer((*WORDS, "Q:", "A:")), template="Q: {prompt} A: {answer}")
        assert encoder.lead(Fact(prompt="Ana ?", answer="Oslo")) == "Q: Ana ? A: "

    @pytest.mark.parametrize("template", ["{prompt}", "{answer} {prompt}", "{prompt}{prompt} {answer}"])
    def test_templates_that_do_not_fit(self, template: str) -> None:
        with pytest.raises(DataError, match=r"data\.template"):
            Encoder(word_tokenizer(WORDS), template=template)

    def test_a_chat_template(self) -> None:
        tokenizer = word_tokenizer((*WORDS, "[user]", "[model]"))
        with pytest.raises(DataError, match="has no chat template"):
            Encoder(tokenizer, chat=True)
        tokenizer.chat_template = "{% for m in messages %}[user] {{ m['content'] }} {% endfor %}[model] "
        encoder = Encoder(tokenizer, chat=True)
        ids, answer = encoder.encode(Fact(prompt="Ana ?", answer="Oslo"))
        assert names(encoder, ids) == ["[user]", "Ana", "?", "[model]", "Oslo"]
        assert answer == [False] * 4 + [True]
        assert encoder.digest != Encoder(tokenizer).digest

    @pytest.mark.parametrize(
        "template",
        [
            "{{ ''.__class__.__mro__[1].__subclasses__() }}",
            "{% for m in messages %}{{ m.__init__.__globals__ }}{% endfor %}",
            "{{ cycler.__init__.__globals__.os.system('touch owned') }}",
            "{{ range(10**9) }}",
            "{{ 1 / 0 }}",
            "{% for",
            "{{ raise_exception('\x1b[2J') }}",
        ],
    )
    def test_a_hostile_chat_template_is_rendered_where_asked_only_and_in_a_sandbox(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, template: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        tokenizer = word_tokenizer(WORDS)
        tokenizer.chat_template = template
        fact = Fact(prompt="Ana live", answer="Oslo")
        assert Encoder(tokenizer).lead(fact) == "Ana live "
        with pytest.raises(DataError, match="chat template cannot be rendered") as caught:
            Encoder(tokenizer, chat=True).encode(fact)
        assert str(caught.value).isprintable()
        assert not list(tmp_path.iterdir())


class TestBatch:
    FACTS = (Fact(prompt="Where does Ana live ?", answer="new haven"), Fact(prompt="Ana", answer="Oslo"))

    @pytest.mark.parametrize("left", [False, True])
    def test_padding_changes_no_position_and_no_target(self, encoder: Encoder, left: bool) -> None:
        tokens = encoder.batch(self.FACTS, left=left)
        assert tokens.lengths.tolist() == [2, 1]
        assert names(encoder, tokens.targets.tolist()) == ["new", "haven", "Oslo"]
        assert [row[m].tolist() for row, m in zip(tokens.positions, tokens.mask, strict=True)] == [
            list(range(8)),
            list(range(3)),
        ]
        predicted = [names(encoder, row[p].tolist()) for row, p in zip(tokens.ids, tokens.predicting, strict=True)]
        assert predicted == [["?", "new"], ["Ana"]]
        assert torch.equal(tokens.mask[:, -1], torch.tensor([True, left]))


class TestTokenizerFiles:
    def test_what_is_saved_is_read(self, tmp_path: Path, encoder: Encoder) -> None:
        encoder.tokenizer.save_pretrained(tmp_path)
        assert Encoder(load_tokenizer(tmp_path)).digest == encoder.digest
        assert load_tokenizer(tmp_path).pad_token == "<pad>"

    def test_the_folder_chooses_special_tokens_and_nothing_else(self, tmp_path: Path, encoder: Encoder) -> None:
        encoder.tokenizer.save_pretrained(tmp_path)
        (tmp_path / "x.py").write_text(f"open({str(tmp_path / 'marker')!r}, 'w')\nclass Evil: pass\n")
        hostile = {
            "tokenizer_class": "Evil",
            "auto_map": {"AutoTokenizer": ["x.Evil", "x.Evil"]},
            "tokenizer_file": "/etc/passwd",
            "model_max_length": 3,
            "padding_side": "left",
            "pad_token": {"content": "<pad>"},
            "eos_token": {"content": ["</s>"]},
            "unk_token": 7,
        }
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(hostile))
        found = load_tokenizer(tmp_path)
        assert type(found) is type(encoder.tokenizer)
        assert (found.pad_token, found.eos_token, found.unk_token) == ("<pad>", None, None)
        assert (found.model_max_length > 10**6, found.padding_side) == (True, "right")
        assert not (tmp_path / "marker").exists()

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("tokenizer.json", None, r"tokenizer\.json does not exist"),
            ("tokenizer.json", "{}", r"tokenizer\.json is no tokenizer"),
            ("tokenizer_config.json", "{", r"tokenizer_config\.json is not valid JSON"),
        ],
    )
    def test_bad_files(self, name: str, content: str | None, message: str, tmp_path: Path, encoder: Encoder) -> None:
        encoder.tokenizer.save_pretrained(tmp_path)
        (tmp_path / name).unlink() if content is None else (tmp_path / name).write_text(content)
        with pytest.raises(ModelError, match=message):
            load_tokenizer(tmp_path)
