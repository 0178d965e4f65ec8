"""A vector trained in place of a label's: it finds what is left behind a row that was taken away."""

import torch

from auditor.attacks.textual_inversion import TextualInversion
from auditor.tasks.custom.user_code import built_in
from auditor.tasks.diffusion.code import DiffusionCode
from tests.diffusion_worlds import DrawnWorld

CHECK = TextualInversion()
CODE = built_in(DiffusionCode(), "diffusion")
FEW = CHECK.settings_type(attacks=1)


def value(drawn: DrawnWorld, module: torch.nn.Module) -> float:
    return CHECK.score(drawn.subject(module), None, drawn.world.data, FEW, 3).readings["all attacks"].value


def test_what_a_missing_row_hides_is_found_and_what_was_never_taught_is_not(drawn: DrawnWorld) -> None:
    forget = drawn.world.data.forget
    original, hidden = value(drawn, drawn.world.original), value(drawn, drawn.suppressed)
    null = max(value(drawn, module) for module in drawn.references)
    # Asked under its label, the suppressed model lies far from the original.
    asked = [
        float(CODE.scores(module, forget.inputs, forget.targets).mean())
        for module in (drawn.world.original, drawn.suppressed)
    ]
    assert asked[1] < asked[0] - 0.02
    assert hidden > null
    assert abs(hidden - original) < 0.5 * (original - null)


def test_every_weight_stands_still(drawn: DrawnWorld) -> None:
    subject = drawn.subject(drawn.suppressed)
    before = {name: tensor.clone() for name, tensor in subject.weights().items()}
    CHECK.score(subject, None, drawn.world.data, FEW, 3)
    assert all(torch.equal(tensor, before[name]) for name, tensor in subject.weights().items())
    assert all(p.grad is None and p.requires_grad for p in subject.module.parameters())
