"""What a process holds at its peak that makes every check without training on two models, beside what was estimated.

Two random Llamas with people's facts lie in files, as an audit's models do. A process of its own prepares the audit,
estimates its memory, and scores both; the checks are those that read the shared recording.

    python benchmarks/passive_memory.py
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from size import random_llama

from auditor.records.spec import make_spec
from auditor.run.estimate import estimate
from auditor.run.executors.in_process import InProcess
from auditor.run.preparing import prepare
from auditor.run.settings import execution_settings
from auditor.zoo.text.people import people_world
from auditor.zoo.text.people_model import word_tokenizer

# Width, blocks and heads.
SIZES = ((256, 8, 4), (512, 12, 8))
BATCH_SIZES = (16, 128)
CHECKS = ("outputs", "membership", "logit_lens", "cka", "weight_delta")
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", nargs=2, help="folder of the two models and batch size, measured in this process")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(Path(options.one[0]), int(options.one[1]))))
        return
    print("| width, blocks | weights, MiB | facts a batch | estimated, MiB | measured | ratio |")
    print("| --- | --- | --- | --- | --- | --- |")
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), size)
            for batch in BATCH_SIZES:
                command = [sys.executable, __file__, "--one", folder, str(batch)]
                found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
                weights, estimated, measured = (found[name] / MIB for name in ("weights", "estimated", "measured"))
                sizes = f"{estimated:.0f} | {measured:.0f} | {estimated / measured:.2f}"
                print(f"| {size[0]}, {size[1]} | {weights:.0f} | {batch} | {sizes} |", flush=True)


def write(folder: Path, size: tuple[int, int, int]) -> None:
    """An original and another model with their tokenizer."""
    for name, seed in (("original", 0), ("unlearned", 1)):
        module = random_llama(*size)
        with torch.no_grad():
            next(module.parameters()).mul_(1 + 0.01 * seed)
        module.save_pretrained(folder / name)
        word_tokenizer(people_world(0).words).save_pretrained(folder / name)


def one(folder: Path, batch_size: int) -> dict[str, int]:
    """Bytes of one model's weights, and of the whole process as estimated and as measured."""
    people = people_world(0, retain=60)
    spec = make_spec({}, {"models": {name: name for name in ("original", "unlearned")}, "audit": {"checks": CHECKS}})
    run = spec.audit.model_copy(update={"batch_size": batch_size})
    prepared = prepare(
        spec.model_copy(update={"audit": run}), folder, {"forget": people.forget, "retain": people.retain}
    )
    # Decoys are trained, which is another benchmark's.
    models = tuple(model for model in prepared.plan.models if model.role != "decoy")
    plan = prepared.plan.model_copy(update={"models": models})
    prepared = replace(prepared, plan=plan, work=replace(prepared.work, plan=plan))
    estimated = estimate(prepared).memory_bytes
    executor = InProcess(prepared.work.loaded())
    with execution_settings(threads=1):
        for model in models:
            for planned in plan.checks:
                # Past the store, which would remember an earlier run's.
                executor.run(prepared.work.unit(model, planned))
    measured = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"weights": prepared.weight_bytes, "estimated": estimated, "measured": measured}


if __name__ == "__main__":
    main()
