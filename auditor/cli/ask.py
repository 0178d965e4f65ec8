"""``audit ask``."""

import sys
from contextlib import nullcontext
from pathlib import Path

import click

from auditor.cli.examples import examples
from auditor.errors import SpecError


@click.command(
    epilog=examples(
        "audit ask --forget forget.jsonl --retain retain.jsonl --command 'python agent.py' --out unlearned.jsonl",
        "audit ask --forget f.jsonl --retain r.jsonl --url http://127.0.0.1:8000/v1/completions --out original.jsonl",
    )
)
@click.option("--forget", required=True, help="Facts that are to be forgotten.")
@click.option("--retain", required=True, help="Facts that are to be kept.")
@click.option(
    "--command", help="Your program: reads a JSON line with a prompt, writes one with its answer, and so on. It is run."
)
@click.option("--url", help="Server that speaks the completions protocol.")
@click.option("--model", help="Name that the server is asked for.")
@click.option("--samples", type=click.IntRange(0, 256), default=16, help="Further answers to each forget question.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of what is sampled.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File of answers, to be audited.")
def ask(
    forget: str,
    retain: str,
    command: str | None,
    url: str | None,
    model: str | None,
    samples: int,
    seed: int,
    out: Path,
) -> None:
    """Ask a model that can only be asked (an API, an agent, a program) and write its answers for `audit compare`.

    Ask the original, the references and the unlearned model alike. What is answered is kept: the same command goes on
    where it stopped.
    """
    if (command is None) == (url is None):
        raise SpecError("give either --command or --url: who is to be asked")
    if model is not None and url is None:
        raise SpecError("--model is for --url")
    if out.suffix != ".jsonl":
        raise SpecError(f"--out {out} is no file of answers; name it {out.with_suffix('.jsonl').name}")
    from auditor.asking import Endpoint, Program, ask_all, questions
    from auditor.tasks.causal_lm.readers import read_facts

    asked = questions(read_facts(forget, Path()), read_facts(retain, Path()), seed)
    speaker = nullcontext(Endpoint(url, model)) if url is not None else Program(command or "")
    with speaker as one, click.progressbar(length=len(asked), label="asking", file=sys.stderr) as bar:
        ask_all(asked, one, out, samples=samples, seed=seed, done=lambda count: bar.update(count - bar.pos))
    click.echo(f"answers  {out}")
