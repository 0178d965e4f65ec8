"""What is drawn under the forgotten label: seen where it is drawn, not where it was never taught."""

from auditor.probes.recognition.diffusion import Recognition, Settings
from tests.diffusion_worlds import DrawnWorld

FEW = Settings(drawn=24, kept=8, steps=8)


def test_it_fires_on_the_original_and_on_none_that_never_saw_the_digit(drawn: DrawnWorld) -> None:
    check, data = Recognition(), drawn.world.data
    judge = check.prepare(drawn.subject(drawn.world.original), data, FEW, 0)
    scores = [
        check.score(drawn.subject(module), judge, data, FEW, 0) for module in (drawn.world.original, *drawn.references)
    ]
    found = [score.readings["recognised"].value for score in scores]
    assert found[0] > max(found[1:]) + 0.2
    assert scores[0].controls["real examples recognised"] > 0.8
    assert [row["label"] for row in scores[0].rows] == ["forgotten", "kept"]
