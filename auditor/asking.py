"""Asks a model that can only be asked, and keeps what it says: a JSON line for each question, as soon as it is said."""

import json
import os
import shlex
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from auditor.attacks.prompt_forms import FORMS, MOST_EXAMPLES, Context, Form
from auditor.digests import text_digest
from auditor.errors import ModelError, SpecError
from auditor.loading.answers import MOST_QUESTIONS, PLAIN, Answer, Asked, Part, parsed
from auditor.loading.tensors import plain, shown
from auditor.randomness import derive_seed, generator
from auditor.records.base import Frozen
from auditor.tasks.causal_lm.sets import Fact, Facts

_FORMAT: Final = "unlearning-auditor answers 1"
_LONGEST_LINE = 10**5  # characters of what a program or a server writes at once
_LONGEST_ANSWER = 4_000  # characters that are kept: what shows the knowledge is short
_LONGEST_RIGHT = 2_000
_MOST_TOKENS = 128  # of an answer of an endpoint
_SECONDS = 300.0  # that an endpoint may take


class Question(Frozen):
    """What a model is asked.

    Attributes:
        part: set.
        number: place in its file.
        form: of asking.
        prompt: as it is given.
        right: what shows the knowledge.
    """

    part: Part
    number: int
    form: str
    prompt: str
    right: str


class Speaker(Protocol):
    """Whatever answers."""

    def say(self, prompt: str, *, temperature: float, seed: int) -> str:
        """The answer to one prompt.

        Raises:
            ModelError: there is none.
        """


def questions(forget: Facts, retain: Facts, seed: int) -> list[Question]:
    """Every forget fact in every form that all of them can be asked in, and every retain fact as it stands.

    Forms that read probabilities or go on from the model's own words are left out, and so is that of other facts of the
    same subject, which would tell what is asked for elsewhere.

    Raises:
        SpecError: too many facts, or too long an answer.
    """
    random = generator(seed, "ask")
    examples = retain.take(random.permutation(len(retain))[:MOST_EXAMPLES].tolist()).items
    if max(len(forget), len(retain)) > MOST_QUESTIONS:
        raise SpecError(f"--forget and --retain may hold {MOST_QUESTIONS:,} facts each; ask about a sample of them")
    long = next((fact for fact in (*forget.items, *retain.items) if len(fact.answer) > _LONGEST_RIGHT), None)
    if long is not None:
        raise SpecError(
            f"the answer that begins {plain(long.answer[:60], 80)!r} has more than {_LONGEST_RIGHT:,} characters; ask "
            "for something shorter"
        )
    said = [form for form in FORMS if form.reads == "answer" and form.first is None]
    found = [question for form in said for question in _in_form(form, forget, examples)]
    return found + [
        Question(part="retain", number=i, form=PLAIN, prompt=fact.prompt, right=fact.answer)
        for i, fact in enumerate(retain.items)
    ]


def _in_form(form: Form, facts: Facts, examples: Sequence[Fact]) -> list[Question]:
    asked = [form.ask(fact, Context(others=examples)) for fact in facts.items]
    # One rule for all models and facts: a form has to ask for each of them.
    if not all(asked):
        return []
    return [
        # Of several wordings the first: each further one would be a form of its own.
        Question(part="forget", number=i, form=form.name, prompt=variants[0].prompt, right=variants[0].answer)
        for i, variants in enumerate(asked)
    ]


def ask_all(
    asked: Sequence[Question],
    speaker: Speaker,
    path: Path,
    *,
    samples: int,
    seed: int,
    done: Callable[[int], None] = lambda count: None,
) -> None:
    """Ask what has not been answered yet, and append each answer to the file.

    Args:
        asked: all questions, in order.
        speaker: who answers.
        path: JSON lines; what stands there of the same questions is kept.
        samples: further answers to each forget question, at temperature 1.
        seed: of what is sampled, as far as the program follows it.
        done: told how many questions are answered.

    Raises:
        ModelError: no answer comes, or the file is none of answers.
        SpecError: the file holds answers to other questions.
    """
    head = Asked(
        format=_FORMAT, prompts=text_digest(json.dumps([q.model_dump() for q in asked])), samples=samples, seed=seed
    )
    known = _kept(path, head)
    done(len(known))
    with path.open("a", encoding="utf-8") as file:
        for count, question in enumerate(asked, start=1):
            if (question.part, question.number, question.form) not in known:
                line = _answer(question, speaker, samples, seed)
                file.write(json.dumps(line.model_dump(), ensure_ascii=False) + "\n")
                # Whatever ends this process, what was said is kept.
                file.flush()
                os.fsync(file.fileno())
            done(count)


def _answer(question: Question, speaker: Speaker, samples: int, seed: int) -> Answer:
    again = samples if question.part == "forget" and question.form == PLAIN else 0
    seeds = [derive_seed(seed, "ask", question.number, i) % 2**31 for i in range(again)]
    return Answer(
        part=question.part,
        question=question.number,
        form=question.form,
        prompt=question.prompt,
        right=question.right,
        said=speaker.say(question.prompt, temperature=0.0, seed=seed % 2**31),
        again=tuple(speaker.say(question.prompt, temperature=1.0, seed=one) for one in seeds),
    )


def _kept(path: Path, head: Asked) -> set[tuple[str, int, str]]:
    """What is answered already; the file begins with its first line after this."""
    if not path.exists() or path.stat().st_size == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(head.model_dump()) + "\n", encoding="utf-8")
        return set()
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    found, lines = parsed(whole, path)
    if found != head:
        raise SpecError(
            f"{shown(path)} holds answers to other questions, samples or another seed; give another --out, or the same "
            "facts and options"
        )
    if len(whole) < len(data):
        # A line that was being written when the process ended.
        path.write_bytes(whole)
    return {(line.part, line.question, line.form) for line in lines}


class Program(AbstractContextManager["Program"]):
    """A program of the user's that reads a JSON line for each prompt and writes one with its answer.

    Args:
        command: as typed at a shell; run without one.

    Raises:
        ModelError: it cannot be started.
    """

    def __init__(self, command: str) -> None:
        self._command = command
        try:
            self._process = subprocess.Popen(
                shlex.split(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", errors="replace"
            )
        except (OSError, ValueError, IndexError) as error:
            raise ModelError(f"--command {plain(command, 200)} cannot be started ({error})") from None

    def say(self, prompt: str, *, temperature: float, seed: int) -> str:
        """Write ``{"prompt", "temperature", "seed"}`` and read ``{"answer"}``."""
        process = self._process
        assert process.stdin is not None, "opened so"
        assert process.stdout is not None, "opened so"
        line = ""
        try:
            process.stdin.write(json.dumps({"prompt": prompt, "temperature": temperature, "seed": seed}) + "\n")
            process.stdin.flush()
            line = process.stdout.readline(_LONGEST_LINE)
        except BrokenPipeError:
            pass
        if not line:
            code = process.wait()
            raise ModelError(
                f"--command {plain(self._command, 200)} ended with code {code} before it answered; it has to answer "
                "one line after the other until its input ends"
            )
        return _said(line, f"--command {plain(self._command, 200)}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close its input, and wait until it is gone."""
        if self._process.stdin is not None:
            # What was not read by a program that has ended is lost with it.
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> Self:
        return self


def _said(line: str, who: str) -> str:
    try:
        found = json.loads(line)["answer"]
    # Nesting without end is no answer either.
    except (ValueError, KeyError, TypeError, RecursionError):
        found = None
    if not isinstance(found, str):
        raise ModelError(
            f'{who} wrote {plain(line.strip(), 100)!r}, which is no answer; write one line {{"answer": "..."}} for '
            "each line that is read, and nothing else"
        )
    return _kept_of(found)


def _kept_of(answer: str) -> str:
    """What is written down: the beginning of a long answer, and no half of a pair of code units."""
    return answer[:_LONGEST_ANSWER].encode("utf-8", "replace").decode("utf-8")


class Endpoint:
    """A server that speaks the completions protocol of OpenAI, as llama.cpp, vLLM and others do.

    Args:
        url: such as ``http://127.0.0.1:8000/v1/completions``.
        model: that the server is asked for; None where it has one.

    Raises:
        SpecError: no address of the web.
    """

    def __init__(self, url: str, model: str | None) -> None:
        if not url.startswith(("http://", "https://")):
            raise SpecError(f"--url {plain(url, 200)} is no address; write http://127.0.0.1:8000/v1/completions")
        self._url, self._model = url, model

    def say(self, prompt: str, *, temperature: float, seed: int) -> str:
        """Post the prompt and read the text of the first choice."""
        asked = {"prompt": prompt, "temperature": temperature, "seed": seed, "max_tokens": _MOST_TOKENS}
        body = json.dumps(asked | ({} if self._model is None else {"model": self._model})).encode()
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS) as reply:
                found = json.loads(reply.read(_LONGEST_LINE))["choices"][0]["text"]
        except urllib.error.URLError as error:
            raise ModelError(f"--url {plain(self._url, 200)} gives no answer ({plain(error.reason, 200)})") from None
        except (OSError, HTTPException, ValueError, LookupError, TypeError, RecursionError) as error:
            raise ModelError(
                f"--url {plain(self._url, 200)} gives no completion ({plain(error, 200)}): it has to reply with "
                '{"choices": [{"text": "..."}]}'
            ) from None
        if not isinstance(found, str):
            raise ModelError(f"--url {plain(self._url, 200)} gives a completion that is no text")
        return _kept_of(found)
