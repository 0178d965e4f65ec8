"""A real language model and real questions, held out by chance: what comes of it without any retrained reference.

stories260k (260,000 parameters, trained on TinyStories by its author) is fine-tuned on short answers of TOFU about
fictitious authors, and made to forget half of them: see taught_authors.py. The recipe is that of stories.py.

    python benchmarks/stories_assigned.py --work bench-stories-assigned
"""

from pathlib import Path

from stories import LONGEST_ANSWER, RECIPE, TEMPLATE
from taught_authors import Case, command_line


def main() -> None:
    command_line("stories", _case, __doc__, lambda data: [data / "stories260k" / "model.safetensors"])


def _case(data: Path, work: Path) -> Case:
    return Case(
        source=data / "stories260k",
        seed=510,
        authors=24,
        facts=(3, 20),
        retain=400,
        longest=LONGEST_ANSWER,
        template=TEMPLATE,
        recipe=RECIPE,
        methods={"gradient_difference": {}, "npo": {}, "refusal_tuning": {}, "refusal_adapter": {}, "guard": {}},
        never_taught=2,
        checks=("few_shot", "logit_lens", "membership", "quantization", "relearning"),
    )


if __name__ == "__main__":
    main()
