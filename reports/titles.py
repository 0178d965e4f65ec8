"""What stands over a check's row on the first screen: what was done, in words that tell it from every other row."""

from collections.abc import Mapping, Sequence

from auditor.records.evidence import Evidence
from auditor.reports import formats, text

# A check of another package has the words of its family.
TITLES: Mapping[str, str] = {
    "outputs": "Asked directly",
    "relearning": "Retrained briefly",
    "slow_relearning": "Retrained for long",
    "few_shot": "Read by a simple probe",
    "depth": "Put into the original",
    "logit_lens": "Inner layers read out",
    "concept_vectors": "Concept vectors read",
    "sae_restoration": "Features amplified",
    "membership": "Told apart by outputs",
    "feature_membership": "Told apart by features",
    "quantization": "Weights rounded",
    "direction_ablation": "Direction removed",
    "leak_at_k": "Asked again and again",
    "elicitation": "Asked in other ways",
    "name_embeddings": "Names retrained",
    "soft_prompt": "Trained prompt",
    "truth_ratio": "Right answers preferred",
    "cka": "Likeness of layers",
    "weight_delta": "Likeness of weights",
}


def titles(evidence: Sequence[Evidence]) -> tuple[str, ...]:
    """One title for each check, no two alike: two checks of one family are told apart by their names."""
    plain = [TITLES.get(e.check, formats.sentence_case(text.FAMILIES[e.family])) for e in evidence]
    return tuple(
        f"{title} ({e.check})" if plain.count(title) > 1 else title for title, e in zip(plain, evidence, strict=True)
    )
