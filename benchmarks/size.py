"""What an audit's passes cost on a language model of real size, in bare forward passes over the same facts.

A bare pass sends every fact once through the model, in batches in the order of the file. All is measured in turns in
one process, on one thread, in CPU seconds, which other processes disturb less than wall seconds.

    python benchmarks/size.py --model smollm2 --facts facts.jsonl     a transformers directory with its tokenizer
    python benchmarks/size.py                                         random Llamas of three sizes
"""

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn

from auditor.attacks.membership.text import Membership
from auditor.attacks.membership.text import Settings as MembershipSettings
from auditor.checks.check import Check
from auditor.loading.tokenizers import load_tokenizer
from auditor.loading.transformers_directory import load_directory
from auditor.models.canonical_form import Batch, dead_channels
from auditor.probes.cka import Cka
from auditor.probes.logit_lens import LogitLens
from auditor.probes.outputs.text import Outputs
from auditor.randomness import torch_seed
from auditor.records.spec import make_spec
from auditor.run.estimate import estimate
from auditor.run.preparing import prepare
from auditor.run.settings import execution_settings
from auditor.tasks.causal_lm.encoding import Encoder, Tokens
from auditor.tasks.causal_lm.losses import logits_of_tokens
from auditor.tasks.causal_lm.sets import Fact, Facts, FactsData, split_facts
from auditor.tasks.causal_lm.structure import DecoderLayout, find_decoder_layout
from auditor.tasks.causal_lm.subject import CausalLM
from auditor.zoo.text.people import people_world
from auditor.zoo.text.people_model import word_tokenizer

BATCH_SIZE = 16  # the same on both sides: the ratio must not come from larger batches
LONGEST = 48  # tokens of a generated answer, the check's own default
TOKENS = 4096  # that a model is asked to take
# Width, blocks and heads of the random ones.
RANDOM = ((256, 8, 4), (512, 12, 8), (1024, 12, 16))
VOCABULARY = 16_384


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="transformers directory; random Llamas where none is given")
    parser.add_argument("--facts", type=Path, help="JSON lines of prompt and answer; people where none are given")
    parser.add_argument("--n", type=int, default=96, help="facts: a quarter forget, a quarter holdout, half retain")
    parser.add_argument("--widths", type=int, nargs="+", default=[width for width, *_ in RANDOM], help="of random ones")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with execution_settings(threads=1):
        for name, module, encoder in models(options.model, options.widths):
            print(f"## {name}")
            facts = read(options.facts)
            measure(module, encoder, sets(facts, options.n), options.repeats)
            growth(module, encoder, facts.take(range(options.n)), options.repeats)


def models(folder: Path | None, widths: list[int]) -> list[tuple[str, nn.Module, Encoder]]:
    """The one that is given, or random ones with a vocabulary of words."""
    if folder is not None:
        module = load_directory(folder).module
        return [(folder.name, module, Encoder(load_tokenizer(folder), longest=TOKENS))]
    encoder = Encoder(word_tokenizer(people_world(0).words), longest=TOKENS)
    return [(f"random Llama, width {size[0]}", random_llama(*size), encoder) for size in RANDOM if size[0] in widths]


def random_llama(width: int, blocks: int, heads: int) -> nn.Module:
    """An untrained network."""
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": width, "intermediate_size": 3 * width, "num_hidden_layers": blocks}
    with torch_seed(0):
        made = LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=heads, vocab_size=VOCABULARY, pad_token_id=0))
    return made.eval()


def read(path: Path | None) -> Facts:
    """Facts of a file, or of people who do not exist."""
    if path is None:
        people = people_world(0, retain=60)
        return Facts(people.forget.items + people.retain.items)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return Facts(tuple(Fact(prompt=row["prompt"], answer=row["answer"]) for row in rows))


def sets(facts: Facts, n: int) -> FactsData:
    """A quarter to forget, a quarter held out, half to keep."""
    attack, evaluation = split_facts(facts.take(range(n // 4)), seed=0)
    return FactsData(
        forget_attack=attack,
        forget_eval=evaluation,
        holdout=facts.take(range(n // 4, n // 2)),
        retain=facts.take(range(n // 2, n)),
    )


def everything_of(data: FactsData) -> Facts:
    """The facts of all sets."""
    return Facts(tuple(fact for facts in data.splits().values() for fact in facts.items))


def batches_of(encoder: Encoder, facts: Facts) -> list[Tokens]:
    """In the order of the file."""
    return [encoder.batch(facts.items[i : i + BATCH_SIZE]) for i in range(0, len(facts), BATCH_SIZE)]


def subject_of(module: nn.Module, layout: DecoderLayout, encoder: Encoder, data: FactsData) -> CausalLM:
    """The model as a subject that has recorded nothing yet."""
    return CausalLM(
        module, role="original", digest="", layout=layout, encoder=encoder, data=data, batch_size=BATCH_SIZE
    )


def measure(module: nn.Module, encoder: Encoder, data: FactsData, repeats: int) -> None:
    """Print the table of one model."""
    everything = everything_of(data)
    batches = batches_of(encoder, everything)
    layout = find_decoder_layout(module, batches[0].ids)
    padding = 1 - sum(int(b.mask.sum()) for b in batches) / sum(b.mask.numel() for b in batches)
    numbers = sum(parameter.numel() for parameter in module.parameters())
    print(f"{numbers / 1e6:.0f} million numbers, {len(everything)} facts, {padding:.0%} of the bare pass is padding")

    def subject() -> CausalLM:
        return subject_of(module, layout, encoder, data)

    def bare() -> None:
        with torch.no_grad():
            for tokens in batches:
                logits_of_tokens(module, tokens)

    def form() -> None:
        dead_channels(module, lambda: (Batch(run=lambda m, t=t: logits_of_tokens(m, t)) for t in batches))

    asked = Facts(data.forget.items)
    rows: dict[str, tuple[Callable[[], object], float]] = {
        "dry run of two models, once an audit": (lambda: dry_run(module, encoder, data), 1.0),
        "structure, once an audit": (lambda: find_decoder_layout(module, batches[0].ids), 1.0),
        "what is dead, once a model": (form, 1.0),
        "outputs without generation, membership, logit_lens and cka": (lambda: passive(subject(), data), 1.0),
        "the same without the lens": (lambda: passive(subject(), data, lens=False), 1.0),
        # Of as many facts: a pass over the prompts and answers that are generated is the unit.
        "greedy answers, in passes over the facts asked": (
            lambda: subject().generate(asked, LONGEST),
            len(everything) / len(asked),
        ),
    }
    print("| step | in bare passes |\n| --- | --- |")
    for name, (step, share) in rows.items():
        print(f"| {name} | {ratio(step, bare, repeats) * share:.2f} |", flush=True)


def dry_run(module: nn.Module, encoder: Encoder, data: FactsData) -> None:
    """What `audit compare --dry-run` does once both models are in memory, of all checks."""
    # Other weights, since two models with the same are refused.
    other = copy.deepcopy(module)
    with torch.no_grad():
        next(other.parameters()).mul_(1.01)
    sets = {"forget": data.forget, "retain": data.retain, "holdout": data.holdout, "tokenizer": encoder.tokenizer}
    spec = make_spec({}, {"audit": {"batch_size": BATCH_SIZE}})
    estimate(prepare(spec, Path(), {"original": module, "unlearned": other, **sets}))


def growth(module: nn.Module, encoder: Encoder, facts: Facts, repeats: int) -> None:
    """Print how many times the seconds are with twice the facts, and with facts of twice the tokens."""
    twice = [
        {"prompt": f"{fact.prompt} {fact.prompt}", "answer": f"{fact.answer} {fact.answer}"} for fact in facts.items
    ]
    longer = Facts(tuple(fact.model_copy(update=more) for fact, more in zip(facts.items, twice, strict=True)))
    few, many, long = (sets(some, len(some)) for some in (facts.take(range(len(facts) // 2)), facts, longer))
    layout = find_decoder_layout(module, encoder.batch(facts.items[:4]).ids)

    def bare(data: FactsData) -> None:
        with torch.no_grad():
            for tokens in batches_of(encoder, everything_of(data)):
                logits_of_tokens(module, tokens)

    def scored(data: FactsData) -> None:
        passive(subject_of(module, layout, encoder, data), data)

    tokens = [sum(int(b.mask.sum()) for b in batches_of(encoder, everything_of(data))) for data in (many, long)]
    print(f"| step | twice the facts | {tokens[1] / tokens[0]:.2f} times the tokens |\n| --- | --- | --- |")
    for name, step in (("bare pass", bare), ("outputs without generation, membership, logit_lens and cka", scored)):
        more = ratio(partial(step, many), partial(step, few), repeats)
        print(f"| {name} | {more:.2f} | {ratio(partial(step, long), partial(step, many), repeats):.2f} |", flush=True)


def passive(subject: CausalLM, data: FactsData, *, lens: bool = True) -> None:
    """Everything that these checks read off the shared recording."""
    checks: list[tuple[Check, object]] = [
        (Membership(), MembershipSettings(gradient_facts=0)),
        (Cka(), Cka.settings_type()),
    ]
    checks += [(LogitLens(), LogitLens.settings_type())] if lens else []
    if not lens:
        subject.lens_layers = tuple  # type: ignore[method-assign, assignment]  # no block is read
    outputs = Outputs()
    subject.generate = lambda facts, most: [""] * len(facts)  # type: ignore[method-assign]
    outputs.score(subject, None, data, outputs.settings_type(), 0)
    for check, settings in checks:
        check.score(subject, check.prepare(subject, data, settings, 0), data, settings, 0)


def ratio(step: Callable[[], object], bare: Callable[[], object], repeats: int) -> float:
    """Median over turns of the step's CPU seconds to the bare pass's."""
    return statistics.median(_seconds(step) / _seconds(bare) for _ in range(repeats))


def _seconds(step: Callable[[], object]) -> float:
    started = time.process_time()
    step()
    return time.process_time() - started


if __name__ == "__main__":
    main()
