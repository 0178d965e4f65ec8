"""Truth ratio and forget quality recomputed from published evaluation logs of Llama-2-7B models on TOFU.

Forget quality is the p-value of a Kolmogorov-Smirnov test between the truth ratios of a model and of one that never saw
the forget set (Maini et al. 2024, arXiv 2401.06121). The published truth ratio divides the *geometric* mean
probability of the wrong answers by that of the paraphrased right one; the auditor's takes the arithmetic mean. Both
are printed.

    python benchmarks/tofu_logs.py --data ../shared/data/tofu-logs
"""

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from work_folder import DATA, missing

from auditor.rouge import rouge_l_recall
from auditor.tasks.causal_lm.metrics import truth_ratio

MODELS = ("full_wd0", "full_wd0.01", "retain90_wd0", "retain90_wd0.01")
PAIRS = (
    ("full_wd0", "retain90_wd0"),
    ("full_wd0.01", "retain90_wd0.01"),
    ("full_wd0.01", "retain90_wd0"),
    ("full_wd0", "retain90_wd0.01"),
    # Two models that never saw the forget set: the test has to find nothing between them.
    ("retain90_wd0", "retain90_wd0.01"),
)
Array = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA / "tofu-logs")
    folder = parser.parse_args().data
    paths = {name: folder / f"llama2-7b-{name}" / "eval_log_forget.json" for name in MODELS}
    if missing(list(paths.values())):
        return
    logs = {name: json.loads(path.read_text()) for name, path in paths.items()}
    print("largest difference between the logged truth ratio and the one recomputed from the logged losses")
    for name, log in logs.items():
        difference = np.abs(published(log) - np.array([log["truth_ratio"][k] for k in keys(log)]))
        print(f"  {name:16s} {difference.max():.1e}")
    print("ROUGE-L recall of the logged generations: logged mean (stemmed), recomputed mean (not stemmed)")
    for name, log in logs.items():
        logged = np.mean([log["rougeL_recall"][k] for k in keys(log)])
        print(f"  {name:16s} {logged:.4f} {recomputed_rouge(log):.4f}")
    print("Kolmogorov-Smirnov p, forget10: published truth ratio, the auditor's")
    for one, other in PAIRS:
        p = [stats.ks_2samp(ratio(logs[one]), ratio(logs[other])).pvalue for ratio in (published, own)]
        print(f"  {one:12s} against {other:16s} {p[0]:.3g}  {p[1]:.3g}")


def keys(log: dict) -> list[str]:
    # Keys are numbers as text, and "10" sorts before "2".
    return sorted(log["truth_ratio"], key=int)


def published(log: dict) -> Array:
    """exp(loss of the paraphrased answer − mean loss of the wrong ones)."""
    return np.array(
        # Losses are means over tokens, so that their mean over answers is the log of a geometric mean.
        [np.exp(log["avg_paraphrased_loss"][k] - np.mean(log["average_perturb_loss"][k])) for k in keys(log)]
    )


def own(log: dict) -> Array:
    """The auditor's, from the same losses."""
    return np.array(
        [truth_ratio(-log["avg_paraphrased_loss"][k], [-x for x in log["average_perturb_loss"][k]]) for k in keys(log)]
    )


def recomputed_rouge(log: dict) -> float:
    """Mean over questions; a generation is logged as (prompt, what was said, the right answer)."""
    said = [log["generated_text"][k] for k in keys(log)]
    return float(np.mean([rouge_l_recall(item[2], item[1]) for item in said]))


if __name__ == "__main__":
    main()
