"""Models that can only be asked: asked, and audited by what they said."""

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

import auditor
from auditor.asking import Endpoint, Program, ask_all, questions
from auditor.audit import AuditResult
from auditor.errors import DataError, ModelError, SpecError
from auditor.loading.answers import read_answers
from auditor.tasks.causal_lm.sets import Fact, Facts
from tests.asked_worlds import ASKED, FORGET, RETAIN, Asked
from tests.command_line import audit
from tests.report_page import Page

ORIGINAL = Asked(knows=1.0)


def audited(folder: Path, unlearned: Asked, references: int = 5, samples: int = 16, **given: object) -> AuditResult:
    drawn = [
        Asked(knows=0.0, seed=i + 1).write(folder / f"reference-{i + 1}.jsonl", samples) for i in range(references)
    ]
    return auditor.compare(
        ORIGINAL.write(folder / "original.jsonl", samples),
        unlearned.write(folder / "unlearned.jsonl", samples),
        references=drawn,
        out=folder / "out",
        options={"audit": {"store": str(folder / "store")}, **given},
    )


class TestVerdict:
    def test_a_model_that_answers_has_not_forgotten(self, tmp_path: Path) -> None:
        result = audited(tmp_path, Asked(knows=1.0, seed=9))
        assert result.outcome == "NOT_FORGOTTEN"
        assert result.evidence("outputs").rho is not None

    def test_one_that_refuses_only_the_question_as_it_stands_is_accused(self, tmp_path: Path) -> None:
        """An agent that withholds answers to what it recognises: other wordings bring them out."""
        result = audited(tmp_path, Asked(knows=1.0, refuses=True, slips=0.0))
        assert (result.outcome, result.verdict.accusers) == ("SUPPRESSED", ("elicitation",))

    def test_one_that_slips_when_asked_again_and_again_is_accused(self, tmp_path: Path) -> None:
        result = audited(tmp_path, Asked(knows=1.0, refuses=True, slips=0.2))
        assert "leak_at_k" in result.verdict.accusers

    def test_one_that_never_knew_is_neither_accused_nor_deleted(self, tmp_path: Path) -> None:
        result = audited(tmp_path, Asked(knows=0.0, seed=9))
        assert (result.outcome, result.verdict.accusers, result.verdict.bound) == ("INCONCLUSIVE", (), None)
        assert "no model was run" in result.verdict.sentences[0]
        page = Page((tmp_path / "out" / "report.html").read_text()).text
        assert "read from answers: what the models said, and nothing of what their weights hold" in page

    def test_access_to_samples_is_enough_for_all_of_it(self, tmp_path: Path) -> None:
        result = audited(tmp_path, Asked(knows=1.0, refuses=True, slips=0.2), audit={"access": "samples"})
        assert set(result.verdict.accusers) == {"elicitation", "leak_at_k"}

    def test_without_samples_asking_again_could_not_run(self, tmp_path: Path) -> None:
        result = audited(tmp_path, Asked(knows=0.0, seed=9), samples=0)
        failure = result.evidence("leak_at_k").failure
        assert failure is not None
        assert "each question has 0 sampled answers, and 8 are needed" in failure.reason


class TestQuestions:
    def test_forms_that_read_probabilities_or_tell_what_is_asked_elsewhere_are_left_out(self) -> None:
        forms = {q.form for q in ASKED}
        assert {"question", "other wordings", "worked examples", "reverse query"} <= forms
        assert not forms & {"multiple choice", "true or false", "same subject in context", "several turns"}
        assert {q.form for q in ASKED if q.part == "retain"} == {"question"}

    def test_no_prompt_of_a_forget_fact_holds_its_answer_but_the_one_that_asks_for_the_subject(self) -> None:
        # Worked examples are of others, who may by chance live at the same place.
        told = [q for q in ASKED if q.part == "forget" and q.form != "worked examples" and q.right in q.prompt]
        assert told == []

    def test_a_form_that_one_fact_lacks_is_left_out_for_all(self) -> None:
        bare = Facts((*FORGET.items, Fact(prompt="Where is it ?", answer="here")))
        forms = {q.form for q in questions(bare, RETAIN, 0)}
        assert "other wordings" not in forms
        assert "reverse query" not in forms


class TestFile:
    def test_what_was_said_is_read_as_numbers(self, tmp_path: Path) -> None:
        columns = read_answers(ORIGINAL.write(tmp_path / "a.jsonl")).tensors()
        assert columns["forget/said question"].tolist() == [1.0] * len(FORGET)
        assert columns["forget/again"].shape == (len(FORGET), 16)
        assert columns["retain/said question"].shape == (len(RETAIN),)
        assert "retain/again" not in columns

    def test_an_interrupted_program_is_asked_the_rest(self, tmp_path: Path) -> None:
        whole = ORIGINAL.write(tmp_path / "whole.jsonl").read_bytes()
        lines = whole.splitlines(keepends=True)
        path = tmp_path / "part.jsonl"
        # The last line was being written.
        path.write_bytes(b"".join(lines[:40]) + lines[40][:20])
        with pytest.raises(ModelError, match="line 41"):
            read_answers(path)
        path.write_bytes(b"".join(lines[:40]))
        with pytest.raises(ModelError, match="goes on where it stopped"):
            read_answers(path)
        path.write_bytes(b"".join(lines[:40]) + lines[40][:20])
        ORIGINAL.write(path)
        assert path.read_bytes() == whole

    def test_answers_to_other_questions_are_not_gone_on_with(self, tmp_path: Path) -> None:
        path = ORIGINAL.write(tmp_path / "a.jsonl")
        with pytest.raises(SpecError, match="answers to other questions, samples or another seed"):
            ORIGINAL.write(path, samples=8)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"said": None}, "said"),
            ({"question": -1}, "question"),
            ({"again": ["x"]}, "has 1 further answers in the form 'question', where its first line says 16"),
            ({"right": " "}, "has no word"),
            ({"question": 1}, "does not hold every forget question once in every form"),
            ({"odd": 1}, "odd"),
        ],
    )
    def test_a_line_that_is_none_is_named(self, tmp_path: Path, change: dict[str, object], words: str) -> None:
        path = ORIGINAL.write(tmp_path / "a.jsonl")
        head, first, *rest = path.read_text().splitlines()
        path.write_text("\n".join([head, json.dumps(json.loads(first) | change), *rest]) + "\n")
        with pytest.raises(ModelError, match=words):
            read_answers(path)

    def test_facts_in_place_of_answers_are_named_as_such(self, tmp_path: Path) -> None:
        path = tmp_path / "facts.jsonl"
        path.write_text('{"prompt": "a", "answer": "b"}\n')
        with pytest.raises(ModelError, match=r"is no file of answers: .* make it with `audit ask`"):
            read_answers(path)

    def test_models_that_were_asked_otherwise_are_refused(self, tmp_path: Path) -> None:
        odd = Fact(prompt="Else ?", answer="amber dune", subject="Else", paraphrases=("E ?",))
        asked = questions(Facts((*FORGET.items[:-1], odd)), RETAIN, 0)
        original = ORIGINAL.write(tmp_path / "original.jsonl")
        other = tmp_path / "other.jsonl"
        ask_all(asked, _Mute(), other, samples=16, seed=0)
        few = ORIGINAL.write(tmp_path / "few.jsonl", samples=8)
        for path in (other, few):
            with pytest.raises(DataError, match=r"asked alike|other"):
                auditor.compare(original, path)

    def test_answers_beside_a_model_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "log").mkdir()
        original = ORIGINAL.write(tmp_path / "original.jsonl")
        with pytest.raises(SpecError, match="give logs of all models"):
            auditor.compare(original, _network())


class _Mute:
    def say(self, prompt: str, *, temperature: float, seed: int) -> str:
        return ""


def _network() -> object:
    from torch import nn

    return nn.Linear(2, 2)


PROGRAM = """
import json, sys

for line in sys.stdin:
    asked = json.loads(line)
    print(json.dumps({"answer": asked["prompt"].upper()}), flush=True)
"""


class TestSpeakers:
    def test_a_program_is_asked_line_by_line(self, tmp_path: Path) -> None:
        (tmp_path / "program.py").write_text(PROGRAM)
        with Program(f"{sys.executable} {tmp_path / 'program.py'}") as program:
            assert program.say("one\ntwo", temperature=0, seed=0) == "ONE\nTWO"
            assert program.say("", temperature=1, seed=1) == ""

    @pytest.mark.parametrize(
        ("source", "words"),
        [
            ("print('hello', flush=True); input(); input()", "wrote 'hello', which is no answer"),
            ("raise SystemExit(7)", "ended with code 7 before it answered"),
            ("print('{\"answer\": 3}', flush=True); input(); input()", "is no answer"),
        ],
    )
    def test_one_that_does_not_answer_is_named(self, tmp_path: Path, source: str, words: str) -> None:
        (tmp_path / "program.py").write_text(source)
        command = f"{sys.executable} {tmp_path / 'program.py'}"
        with Program(command) as program, pytest.raises(ModelError, match=words):
            program.say("a", temperature=0, seed=0)

    def test_one_that_is_not_there_is_named(self) -> None:
        with pytest.raises(ModelError, match="cannot be started"):
            Program("no-such-program-here")

    def test_a_server_is_posted_the_prompt(self, server: str) -> None:
        assert Endpoint(server, "m").say("a", temperature=0.0, seed=3) == "m: a at 0.0, 3"

    @pytest.mark.parametrize("prompt", ["broken", "other", "missing"])
    def test_a_server_that_gives_no_completion_is_named(self, server: str, prompt: str) -> None:
        with pytest.raises(ModelError, match=r"gives no (completion|answer)|is no text"):
            Endpoint(server, None).say(prompt, temperature=0.0, seed=0)

    def test_what_is_no_address_is_refused(self) -> None:
        with pytest.raises(SpecError, match="is no address"):
            Endpoint("file:///etc/passwd", None)


@pytest.fixture
def server() -> Iterator[str]:
    """A server of completions on the loopback address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            text = f"{asked.get('model')}: {asked['prompt']} at {asked['temperature']}, {asked['seed']}"
            replies = {"broken": "{", "other": json.dumps({"choices": [{"text": 3}]})}
            reply = replies.get(asked["prompt"], json.dumps({"choices": [{"text": text}]})).encode()
            self.send_response(404 if asked["prompt"] == "missing" else 200)
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: it would stand among the tests."""

    http = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}/v1/completions"
    http.shutdown()
    http.server_close()


class TestCommandLine:
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.chdir(tmp_path)
        for name, facts in (("forget", FORGET), ("retain", RETAIN)):
            rows = [fact.model_dump(exclude={"choices", "perturbed_answers"}) for fact in facts.items]
            Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        Path("program.py").write_text(PROGRAM)
        return tmp_path

    def test_a_model_is_asked_and_its_answers_are_kept(self) -> None:
        typed = ("ask", "--forget", "forget.jsonl", "--retain", "retain.jsonl", "--samples", "0", "--out", "said.jsonl")
        done = audit(*typed, "--command", f"{sys.executable} program.py")
        assert done.exit_code == 0, done.output
        assert "answers  said.jsonl" in done.output
        said = read_answers(Path("said.jsonl"))
        assert said.lines[0].said == FORGET.items[0].prompt.upper()
        assert len(said.lines) == len(ASKED)

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ((), "give either --command or --url"),
            (("--command", "x", "--url", "http://127.0.0.1/"), "give either --command or --url"),
            (("--command", "x", "--model", "m"), "--model is for --url"),
            (("--command", "no-such-program-here"), "cannot be started"),
        ],
    )
    def test_who_is_asked_has_to_be_said(self, options: tuple[str, ...], words: str) -> None:
        done = audit("ask", "--forget", "forget.jsonl", "--retain", "retain.jsonl", "--out", "said.jsonl", *options)
        assert done.exit_code == 2
        assert words in done.stderr

    def test_the_file_is_named_so_that_it_is_known_again(self) -> None:
        done = audit("ask", "--forget", "f", "--retain", "r", "--out", "said.json", "--command", "x")
        assert (done.exit_code, "name it said.jsonl" in done.stderr) == (2, True)
