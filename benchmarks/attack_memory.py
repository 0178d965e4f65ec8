"""What `relearning` of a language model holds at its peak, beside what the estimate of an audit says that it holds.

A random Llama is attacked for two steps, as often as its batches are drawn, in a process of its own for each form of
the attack: the most that the process ever held, less what it held before the attack.

    python benchmarks/attack_memory.py
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence

import psutil
import torch
from size import random_llama
from torch import nn

from auditor.attacks.relearning.text import Relearning
from auditor.attacks.relearning.text_attack import FORMS, Settings
from auditor.checks.check import AnyCheck
from auditor.run.estimate import kept_when_free
from auditor.run.settings import execution_settings
from auditor.run.step_memory import bytes_of_a_pass, bytes_of_a_step
from auditor.tasks.causal_lm.encoding import Encoder
from auditor.tasks.causal_lm.sets import FactsData, split_facts
from auditor.tasks.causal_lm.structure import find_decoder_layout
from auditor.tasks.causal_lm.subject import CausalLM
from auditor.zoo.text.people import people_world
from auditor.zoo.text.people_model import word_tokenizer

# Width, blocks and heads.
SIZES = ((256, 8, 4), (512, 8, 8))
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", nargs=4, help="width, blocks, heads and form of one, measured in this process")
    parser.add_argument("--recompute", action="store_true", help="of that one: with gradient checkpointing")
    options = parser.parse_args()
    if options.one:
        *size, form = options.one
        print(json.dumps(one(random_llama(*map(int, size)), form, recomputes=options.recompute)))
        return
    print("| width, blocks | attack | gradient checkpointing | weights, MiB | estimated | measured | ratio | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for size in SIZES:
        for form in FORMS:
            for recompute in ([], ["--recompute"]):
                print(row(size, form, recompute), flush=True)


def row(size: Sequence[int], form: str, recompute: list[str]) -> str:
    """Of the table, from a process of its own."""
    command = [sys.executable, __file__, "--one", *map(str, size), form, *recompute]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    weights, estimated, measured = (found[name] / MIB for name in ("weights", "estimated", "measured"))
    sizes = f"{weights:.0f} | {estimated:.0f} | {measured:.0f} | {estimated / measured:.2f}"
    named = f"{size[0]}, {size[1]} | {form} | {'yes' if recompute else 'no'}"
    return f"| {named} | {sizes} | {found['seconds']:.1f} |"


def one(module: nn.Module, form: str, *, recomputes: bool) -> dict[str, float]:
    """Bytes of the weights, and of the attack as estimated and as measured, and its processor seconds."""
    people = people_world(0, retain=40)
    encoder = Encoder(word_tokenizer(people.words))
    attack, evaluation = split_facts(people.forget, seed=0)
    data = FactsData(forget_attack=attack, forget_eval=evaluation, retain=people.retain)
    layout = find_decoder_layout(module, encoder.batch(people.retain.items[:4]).ids)
    subject = CausalLM(
        module, role="original", digest="", layout=layout, encoder=encoder, data=data, recomputes=recomputes
    )
    check: AnyCheck = Relearning()
    short = {"steps": (2, 2), "shots": (16, 16)}
    settings = Settings(attack=form, attacks=1, beside=())
    settings = settings.model_copy(
        update={name: getattr(settings, name).model_copy(update=short) for name in ("drawn", "low_rank")}
    )
    weights = sum(p.numel() * p.element_size() for p in module.parameters())
    with execution_settings(threads=1):
        kept = bytes_of_a_step("causal-lm", subject, data.retain)
        passing = subject.batch_size * bytes_of_a_pass("causal-lm", subject, data.retain)
        step = check.workload(data, settings, len(layout.blocks)).step
        estimated = check.copies_of(settings) * weights + max(step * kept, passing) + kept_when_free(subject)
        before = psutil.Process().memory_info().rss
        started = time.process_time()
        check.score(subject, check.prepare(subject, data, settings, 0), data, settings, 0)
        seconds = time.process_time() - started
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"weights": weights, "estimated": estimated, "measured": most - before, "seconds": seconds}


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
