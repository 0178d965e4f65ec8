"""What the report's words mean, in the order in which a reader meets them."""

GLOSSARY: tuple[tuple[str, str], ...] = (
    (
        "access",
        "how much of the unlearned model was used: what it says (samples), how probable it finds answers (logits), its "
        "weights, or training it further.",
    ),
    (
        "assurance",
        "how good a comparison there was, from A3 (enough reference models) down to A0 (just the pair).",
    ),
    (
        "attack and eval halves",
        "the forget set is split once by the seed; an attack may train on the first half, and everything is "
        "measured on the second.",
    ),
    (
        "bound",
        "the largest upper limit of ρ of the primary checks and of others that resolve well: what may remain at most.",
    ),
    ("check", "either a probe, which reads a model, or an attack, which spends an adversary’s effort on it."),
    (
        "decoy",
        "a copy of the original in which the auditor hid the knowledge on purpose. A check that does not see "
        "through its decoys cannot clear anyone.",
    ),
    ("forget, retain, holdout", "what should be gone; what should stay; like forget, but never trained on."),
    ("retain_test", "like retain, but never trained on: where it is given, retain accuracy is measured on it."),
    ("interval", "for one more model like the references; each limit holds with 95 % confidence, both with 90 %."),
    (
        "null",
        "what ρ = 0 stands for: subjects that chance held out where it decided, else the references where there are "
        "any, otherwise what the check brings along.",
    ),
    (
        "p-value",
        "how often a model with a residue of just τ suppressed would score at least as high as this one.",
    ),
    ("power", "a check can clear only if it resolves a small enough residue and sees through its decoys."),
    (
        "primary check",
        "one for each family of checks that the policy requires, fixed beforehand; only these can clear.",
    ),
    (
        "reference",
        "a model trained without the forget set, by one common recipe: what a deletion should look like.",
    ),
    (
        "resolution",
        "the smallest residue a check can rule out, in units of ρ, known before the unlearned model.",
    ),
    (
        "ρ (residual knowledge index)",
        "how far the unlearned model’s score lies from the null towards the original: 0 is like a model that "
        "never saw the forget set, 1 is like the original. Below 0 is less than a model that never saw it.",
    ),
    ("score T", "the one number, fixed beforehand, that a check measures in the same way on every model."),
    ("τ (tau)", "a threshold of the policy, in units of ρ."),
)
