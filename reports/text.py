"""Plain words of the report. Nothing here looks at more than one value at a time."""

from collections.abc import Mapping

from auditor.records.access import MEANING, Access, from_outside
from auditor.records.evidence import Family, ItemTest, May
from auditor.records.plan import Plan
from auditor.records.score import CanonicalForm
from auditor.records.verdict import Assurance, Flag, Outcome
from auditor.reports import formats

HEADLINES: Mapping[Outcome, str] = {
    "NOT_FORGOTTEN": "Not forgotten: the unlearned model’s outputs still show the knowledge.",
    "SUPPRESSED": ("Suppressed, not deleted: the outputs hide the knowledge, but it is still in the model."),
    "NOT_DELETED": ("Not deleted: the knowledge is still in the model. Whether its outputs hide it is not settled."),
    # Never “certified”: silence of checks bounds what is left, and proves nothing beyond the bound.
    "DELETED": (
        "Consistent with deletion: no more than {bound} of the original’s recoverable knowledge remains, "
        "by these checks."
    ),
    "INCONCLUSIVE": ("Inconclusive: this audit shows neither that the knowledge is gone nor that it is still there."),
}

OUTCOME_NAMES: Mapping[Outcome, str] = {
    "NOT_FORGOTTEN": "not forgotten",
    "SUPPRESSED": "suppressed",
    "NOT_DELETED": "not deleted",
    "DELETED": "consistent with deletion",
    "INCONCLUSIVE": "inconclusive",
}

# Beside every verdict, on the first screen: what readers conclude from it although no audit shows it.
NOT_PROVEN: Mapping[Outcome, tuple[str, ...]] = {
    "NOT_FORGOTTEN": (
        "That nothing was removed: the outputs alone already decide; what lies behind them may have changed.",
        "Anything about other models, other copies of this one, or examples outside this forget set.",
    ),
    "SUPPRESSED": (
        "That all of it is still there: a check’s ρ says how much of the original’s knowledge it recovered.",
        "That anyone hid it on purpose: most unlearning methods end this way without meaning to.",
        "Anything about other models, other copies of this one, or examples outside this forget set.",
    ),
    "NOT_DELETED": (
        "That the outputs hide the knowledge, or that they show it: they lie between the thresholds.",
        "That all of it is still there: a check’s ρ says how much of the original’s knowledge it recovered.",
        "Anything about other models, other copies of this one, or examples outside this forget set.",
    ),
    "DELETED": (
        "That nothing at all remains: the bound above is what these checks can exclude, not zero.",
        "That no other attack could recover more: it speaks for these checks, at the effort they made.",
        "That the references were trained as stated.",
        "That the data given are the data to be forgotten.",
        "Anything about other models, other copies of this one, or examples outside this forget set.",
    ),
    "INCONCLUSIVE": (
        "That the knowledge is gone: a check that could not have seen it says nothing by its silence.",
        "That the knowledge is still there, or that someone hid it.",
    ),
}

GOALS: Mapping[str, str] = {
    "data": "remove the influence of these examples",
    "concept": "remove the capability, even where it came from elsewhere",
}

REQUESTS: Mapping[str, str] = {
    "class": "forget a class",
    "sample": "forget listed samples",
    "facts": "forget facts",
}

# The level decides which verdicts were possible at all; without it an A0 audit would read like an A3 one.
ASSURANCE: Mapping[Assurance, str] = {
    "A3": (
        "The unlearned model was held against enough reference models, trained without the forget set by one recipe."
    ),
    "A3r": (
        "The unlearned model was held against itself: chance decided which subjects it was taught and which were held "
        "out, so that a model from which nothing is left treats both alike. Verdicts are about this very model and "
        "rest on two things: that chance decided, and that whoever unlearned did not know what was held out."
    ),
    "A3d": (
        "The unlearned model was held against the difference between forget and holdout subjects in references that "
        "never saw either. Nobody drew which subjects were held out: that both are alike is declared, and the words "
        "and the references show too little against it. It "
        "rests on that declaration, on the references' recipe, and on that whoever unlearned did not know what was "
        "held out."
    ),
    "A2": (
        "The unlearned model was held against few reference models. Without a calibrated policy that is too "
        "few to call anything deleted."
    ),
    "A1": (
        "Fewer than two reference models count here; beside the pair there were only examples that were never "
        "trained on. Nothing can be called deleted at this level."
    ),
    "A0": (
        "Nothing says here what a model that never saw the forget set would score. Nothing can be called deleted "
        "at this level; a check may accuse only by a null of its own."
    ),
}

# Every level in a line, for who meets one of them alone.
ASSURANCE_SCALE: Mapping[Assurance, str] = {
    "A0": "just the pair: nothing shows what was never learnt",
    "A1": "examples never trained on, and fewer than two models that never saw the forget set",
    "A2": "few models that never saw the forget set",
    "A3": "enough of them: every verdict is possible",
    "A3d": "in their place, subjects that someone declares to be alike",
    "A3r": "in their place, subjects that chance held out",
}

ANY_VERDICT = "At this level an audit may end in any of its verdicts, deletion included."
FROM_OUTSIDE = (
    "This audit saw only what the model gives out, and could not end in a deletion whatever it was held against."
)
"""Of an audit that was held to samples or logits."""
ANSWERS_ONLY = (
    "Only answers were looked at that the models gave elsewhere: what their weights hold is not known, and no "
    "comparison of answers can show a deletion."
)
"""Of an audit in which no model was run."""

# The same in one line, for the first screen.
ASSURANCE_SHORT: Mapping[Assurance, str] = {
    "A3": (
        "The comparison: {against} trained without what was to be forgotten. That is the best of four kinds "
        "(assurance A3, of A0 to A3), which grade the comparison and not the answer."
    ),
    "A3r": (
        "The comparison: the model with itself, {against}. It is good enough for a deletion of this very model "
        "(assurance A3r, at the upper end of A0 to A3), and that grades the comparison, not the answer."
    ),
    "A3d": (
        "The comparison: the model with itself, {against}. It is good enough for a deletion as far as that word is "
        "good (assurance A3d, at the upper end of A0 to A3), and that grades the comparison, not the answer."
    ),
    "A2": (
        "The comparison: {against} trained without what was to be forgotten. They are few, so that a deletion is given "
        "only where their spread is known (assurance A2 of A0 to A3)."
    ),
    "A1": (
        "The comparison: too few models or subjects count that never saw what was to be forgotten. It could be "
        "accused, and not called deleted (assurance A1 of A0 to A3)."
    ),
    "A0": (
        "The comparison: none with a model that never saw what was to be forgotten. It could be accused, and not "
        "called deleted (assurance A0, the lowest of A0 to A3)."
    ),
}

FLAGS: Mapping[Flag, str] = {
    "DAMAGED": "The model lost performance on what it should have kept: forgetting by breaking.",
    # Less than nothing is no better deletion: an attacker can tell from it what was removed.
    "OVER_UNLEARNED": (
        "The forget set looks less known than it does to models that never saw it, which is itself a leak."
    ),
}

FAMILIES: Mapping[Family, str] = {
    "behaviour": "what the outputs show",
    "privacy": "whether examples can be told to have been trained on",
    "tampering": "what comes back when the model is attacked",
    "representation": "what can be read from inside the model",
    "parameters": "what the weights still carry",
    "elicitation": "what other ways of asking bring out",
    "forensics": "how the weights were changed",
}

POWERS: Mapping[May, str] = {
    "clear": "may clear and accuse",
    "accuse": "may accuse, never clear",
    "inform": "informs, decides nothing",
}

ROLES: Mapping[str, str] = {
    "original": "original",
    "unlearned": "unlearned",
    "reference": "reference",
    "null": "null",
    "drawn": "drawn, not counted",
    "decoy": "decoy",
}

DECOYS: Mapping[str, str] = {
    "head_row_zeroed": "the last layer’s weights for the forgotten class set to zero",
    "head_relabelling": "only the last layer retrained, to give the forget examples other labels",
    "neg_grad_plus": "trained away from the forget examples’ labels while held to the retain examples",
    "refusal_adapter": "a low-rank change of the weights trained to refuse on the forget prompts",
    "refusal_all_weights": "all weights trained to refuse on the forget prompts",
    "logit_mask": "the forget answers’ tokens masked at the output, the weights as they were",
    "gradient_ascent": "trained for a few steps away from the forget examples’ labels",
}

ABOUT_DECOYS = (
    "Decoys are copies of the original in which the auditor itself hid the knowledge, to learn which checks see "
    "through that."
)

ABOUT_RHO = (
    "ρ (rho) is how much of what the original knows of the forget set (the examples to be forgotten) a check "
    "recovered: 0 is like {null}; 1 is like the original. Brackets hold "
    # Thresholds are tested on one side, so that the confidence of one limit is what counts.
    "its interval; each limit by itself holds with 95\u00a0% confidence, both together with 90\u00a0%."
)
NULLS: Mapping[str, str] = {
    "no": "a reference, a model trained without the forget set",
    "declared-exchangeable": "the same difference between forget and holdout subjects as in a reference",
    "random": "what chance kept out of training: the same model, asked about the subjects it was never taught",
}
"""What 0 is like, by how forget and holdout came about."""
DECLARED_NOT_PROVEN = (
    "That forget and holdout are alike, which {declared_by} declares, in what neither their words nor the references "
    "show; and that whoever unlearned did not know the holdout."
)
ASSIGNED_NOT_PROVEN = (
    "That chance divided forget and holdout, and that whoever unlearned did not know the holdout: what was done to "
    "both alike is not seen here."
)

BARS = (
    "Any check except the informational ones can accuse: its ρ must be significantly above {suppressed:g}. Only the "
    "primary checks can clear, which the policy, the original and its null fix before the unlearned model is scored: "
    "the whole interval of each, and of every other check that resolves well, must lie below {deleted:g}, counted as a "
    "share of what that check shows of a fully suppressed copy. No check may be significantly above 0, and no "
    "candidate for a primary significantly below it."
)

# Readers weigh checks against each other, or take a bound for an estimate; neither is what the verdict does.
HOW_TO_READ: Mapping[Outcome, str] = {
    "NOT_FORGOTTEN": "",
    "SUPPRESSED": (
        "One such finding is enough. A check with ρ near 0 does not outweigh it: it found nothing where it looked, and "
        "a suppressed model is one whose outputs show nothing."
    ),
    "NOT_DELETED": (
        "One such finding is enough. The outputs lie between the thresholds: more references or more forget examples "
        "would say whether this model hides the knowledge or still shows it. Neither would be a deletion."
    ),
    "DELETED": (
        "{bound} is the highest upper limit among the primary checks and the others that resolve well, each as a share "
        "of what that check shows of a fully suppressed copy: what they could not exclude, not an estimate of what is "
        "left."
    ),
    "INCONCLUSIVE": "",
}


ABOUT_FORM = (
    "Every model was audited in this form: weights rounded to bfloat16, units that are silent on all of the audit's "
    "data zeroed, units rescaled by powers of two. `audit canonical` writes it."
)
# More than this share of predictions turned by the form is more than rounding does to a sound network.
MOST_DISAGREEMENT = 0.01


def deploy(form: CanonicalForm | None, outcome: Outcome) -> tuple[str, ...]:
    """Which file the verdict is about; empty where the audit has none, as of bare weights."""
    if form is None:
        return ()
    so = "deploy that file" if outcome == "DELETED" else "no other was audited"
    return (f"This verdict is about the file with digest {form.digest}; {so}.",)


def disagreement(form: CanonicalForm) -> str | None:
    """What is said where the canonical form predicts otherwise than the file as given; None where rounding explains it.

    >>> disagreement(CanonicalForm(digest="0", zeroed=0, disagreement=0.005))
    """
    if form.disagreement is None or form.disagreement <= MOST_DISAGREEMENT:
        return None
    return (
        "the file as given and its canonical form disagree on "
        f"{formats.share(form.disagreement)} of retain predictions; only the canonical form was audited"
    )


def held_to(access: Access) -> str:
    """What an audit that may not use all of the unlearned model cannot say."""
    words = f"The audit was held to {access} ({MEANING[access]}); checks that need more were left out."
    if not from_outside(access):
        return words
    return (
        f"{words} It could accuse, and it could not end in DELETED: what a model gives out can be made to look like "
        "that of a model that never saw the forget set."
    )


def single_items(test: ItemTest) -> str:
    """What the test of single items found, and what it could have seen."""
    # One p-value for all rows, corrected for their number; the row named is the one that it rests on.
    row = min(test.rows, key=lambda row: row.p_value)
    found = (
        f"of the {row.top} highest of {test.n_forget} forget and {test.n_holdout} holdout {test.noun}, {row.forget} "
        f"{'is a forget one' if row.forget == 1 else 'are forget ones'} (p = {formats.p_value(test.p_value)})"
    )
    if test.smallest_visible is None:
        seen = "with so small a holdout no number of kept ones can be seen"
    else:
        seen = f"{test.smallest_visible} kept ones or more would be seen where they stand above all others"
        seen += ", fewer not" if test.smallest_visible > 1 else ""
    return f"{found}; {seen}" + (f". {test.note}" if test.note else "")


def assurance(level: Assurance, plan: Plan) -> str:
    """What a level means, with what it allows."""
    if plan.answers_only:
        return f"{ASSURANCE[level]} {ANSWERS_ONLY}"
    if from_outside(plan.asked.audit.access):
        return f"{ASSURANCE[level]} {FROM_OUTSIDE}"
    # Held to weights, a request whose policy asks for a model to be trained cannot end in a deletion either.
    everything = level in ("A3", "A3r", "A3d") and plan.asked.audit.access == "training"
    return f"{ASSURANCE[level]} {ANY_VERDICT}" if everything else ASSURANCE[level]


def headline(outcome: Outcome, bound: float | None) -> str:
    """The verdict in one sentence."""
    return HEADLINES[outcome].format(bound=_share_left(bound))


def how_to_read(outcome: Outcome, bound: float | None) -> str:
    """What the reasons do and do not add up to; empty where they speak for themselves."""
    return HOW_TO_READ[outcome].format(bound=_share_left(bound))


def _share_left(bound: float | None) -> str:
    return "an unknown share" if bound is None else formats.upper_percent(bound)
