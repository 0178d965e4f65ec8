"""How the rows of this check are drawn."""

from auditor.records.figure import Figure

IMAGES = (
    Figure(
        x="split",
        y="accuracy",
        categories=True,
        joined=False,
        x_label="examples",
        y_label="accuracy",
        caption="Right answers on each set. Forgotten outputs lie with the references on the two forget halves.",
    ),
)

TEXT = (
    Figure(
        x="split",
        y="probability",
        where={"split": ("forget_attack", "forget_eval", "retain", "retain_test", "holdout", "control")},
        categories=True,
        joined=False,
        x_label="facts",
        y_label="answer probability",
        caption="How probable the answers are on each set. Forgotten ones lie with the references on both halves.",
    ),
    # Where an audit is held to samples there is no probability to draw.
    Figure(
        x="split",
        y="accuracy",
        rest=True,
        categories=True,
        joined=False,
        x_label="facts",
        y_label="words of the answer said",
        caption="How many of the answers’ words the model says. Forgotten ones lie with the references on both halves.",
    ),
)

LOGS = (
    Figure(
        x="split",
        y="probability",
        categories=True,
        joined=False,
        x_label="questions",
        y_label="answer probability",
        caption="How probable the right answers are. Forgotten ones lie with the references on the forget questions.",
    ),
)

ANSWERS = (
    Figure(
        x="split",
        y="accuracy",
        categories=True,
        joined=False,
        x_label="questions",
        y_label="words of the answer said",
        caption="How many of the answers’ words the model says. Forgotten ones lie with the references.",
    ),
)

CUSTOM = (
    Figure(
        x="split",
        y="accuracy",
        categories=True,
        joined=False,
        x_label="examples",
        y_label="share that is right",
        caption=(
            "How many examples of each set the model is right about, by the class that was given or by how the "
            "original scores kept ones. Forgotten ones lie with the references on the two forget halves."
        ),
    ),
)
