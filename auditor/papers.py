"""What papers are called, and why nothing here does what some of them propose."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class NotBuilt:
    """What nothing here does, and why.

    Attributes:
        paper: as in :class:`~auditor.records.source.Source`, or the name alone where no number is known.
        what: of it is meant.
        why: in one clause.
    """

    paper: str
    what: str
    why: str


NAMES = {
    "arXiv 1205.2618": "BPR",
    "arXiv 1312.6114": "variational autoencoders",
    "arXiv 1506.02617": "Path-SGD",
    "arXiv 1606.00709": "f-GAN",
    "arXiv 1607.00133": "DP-SGD",
    "arXiv 1708.06733": "BadNets",
    "arXiv 1709.01604": "loss attack (Yeom et al. 2018)",
    "arXiv 1803.02999": "Reptile",
    "arXiv 1812.00910": "white-box membership (Nasr et al. 2019)",
    "arXiv 1905.02383": "Gaussian differential privacy",
    "arXiv 1911.04933": "Eternal Sunshine (Golatkar et al. 2020)",
    "arXiv 1912.03817": "SISA",
    "arXiv 2002.02126": "LightGCN",
    "arXiv 2010.02502": "DDIM",
    "arXiv 2012.07805": "Extracting Training Data (Carlini et al. 2021)",
    "arXiv 2103.00020": "CLIP (Radford et al. 2021)",
    "arXiv 2101.05278": "GAN inversion (Xia et al. 2021)",
    "arXiv 2104.08691": "prompt tuning (Lester et al. 2021)",
    "arXiv 2106.09685": "LoRA",
    "arXiv 2107.03374": "pass@k (Chen et al. 2021)",
    "arXiv 2109.13398": "Unrolling SGD (Thudi et al. 2022)",
    "arXiv 2111.08440": "difficulty calibration (Watson et al. 2022)",
    "arXiv 2111.08947": "UNSIR",
    "arXiv 2112.03570": "LiRA",
    "arXiv 2202.05262": "ROME",
    "arXiv 2203.03466": "muP (Yang et al. 2022)",
    "arXiv 2205.08096": "Bad Teacher",
    "arXiv 2209.02299": "survey taxonomy (Nguyen et al. 2022)",
    "arXiv 2207.00112": "weighted low-rank factorisation (Hsu et al. 2022)",
    "arXiv 2208.01618": "textual inversion (Gal et al. 2022)",
    "arXiv 2210.01504": "gradient ascent for text (Jang et al. 2022)",
    "arXiv 2212.04089": "task arithmetic",
    "arXiv 2302.09880": "SCRUB",
    "arXiv 2303.07345": "ESD (Gandikota et al. 2023)",
    "arXiv 2303.11570": "Boundary Unlearning",
    "arXiv 2304.04934": "l1-sparse (Jia et al. 2023)",
    "arXiv 2305.18290": "DPO",
    "arXiv 2306.01708": "TIES",
    "arXiv 2308.01508": "Circumventing Concept Erasure (Pham et al. 2023)",
    "arXiv 2308.07707": "SSD",
    "arXiv 2309.17410": "extraction attacks on deleted answers (Patil et al. 2023)",
    "arXiv 2310.02238": "Who's Harry Potter",
    "arXiv 2310.07579": "In-context unlearning",
    "arXiv 2310.12508": "SalUn",
    "arXiv 2310.16789": "Min-K%",
    "arXiv 2312.03262": "RMIA",
    "arXiv 2312.03732": "rank-stabilised LoRA",
    "arXiv 2401.06121": "TOFU",
    "arXiv 2402.09063": "embedding-space attacks (Schwinn et al. 2024)",
    "arXiv 2402.12354": "LoRA+",
    "arXiv 2403.01218": "U-LiRA",
    "arXiv 2403.03218": "WMDP and RMU",
    "arXiv 2403.07362": "worst-case forget sets",
    "arXiv 2404.00506": "LAF",
    "arXiv 2404.02936": "Min-K%++",
    "arXiv 2404.05868": "NPO",
    "arXiv 2404.11056": "LMEraser",
    "arXiv 2405.15234": "AdvUnlearn",
    "arXiv 2405.12523": "SIU and MMUBench",
    "arXiv 2405.15662": "Concept poisoning",
    "arXiv 2406.07933": "ECO",
    "arXiv 2406.08607": "ULD",
    "arXiv 2406.10890": "RWKU",
    "arXiv 2406.11614": "concept vectors (Hong et al. 2024)",
    "arXiv 2406.11717": "refusal is one direction (Arditi et al. 2024)",
    "arXiv 2406.16201": "blind baselines (Das et al. 2024)",
    "arXiv 2407.00106": "ununlearning (Shumailov et al. 2024)",
    "arXiv 2407.06460": "MUSE",
    "arXiv 2408.00761": "TAR",
    "arXiv 2408.06621": "LoKU",
    "arXiv 2410.07163": "SimNPO",
    "arXiv 2410.08827": "relearning on disjoint facts (Deeb and Roger 2024)",
    "arXiv 2410.11143": "FLAT",
    "arXiv 2410.16454": "quantised unlearning (Zhang et al. 2024)",
    "arXiv 2410.17509": "WAGLE",
    "arXiv 2411.00204": "RESTOR",
    "arXiv 2501.16615": "autoencoders of several seeds",
    "arXiv 2502.15836": "soft prompts",
    "arXiv 2503.06991": "Are We Truly Forgetting?",
    "arXiv 2503.14530": "SAUCE",
    "arXiv 2503.21088": "Merging as unlearning",
    "arXiv 2503.21730": "Effective skill unlearning",
    "arXiv 2504.01218": "Text-to-Unlearn",
    "arXiv 2504.13774": "DP2Unlearning",
    "arXiv 2505.01456": "UnLOK-VQA",
    "arXiv 2505.12239": "ACU",
    "arXiv 2505.13312": "GUARD",
    "arXiv 2505.15214": "R-TOFU, chain of thought against unlearning",
    "arXiv 2505.16831": "Fisher information of unlearning",
    "arXiv 2506.09227": "SoK intent (Ren et al. 2025)",
    "arXiv 2505.22310": "retain-only fine-tuning, mode connectivity",
    "arXiv 2505.22649": "UnlearnRec",
    "arXiv 2506.07795": "ORT and ROCR",
    "arXiv 2508.04567": "Obliviate and POPEv2",
    "arXiv 2508.15449": "MRP",
    "arXiv 2508.18671": "A-LiRA",
    "arXiv 2510.08132": "ADU",
    "arXiv 2510.16629": "impossibility of retrain equivalence",
    "arXiv 2511.04934": "Leak@k",
    "arXiv 2512.14137": "Erasing CLIP Memories",
    "arXiv 2601.19755": "relative f-divergence test",
    "arXiv 2602.18505": "Suppression or deletion",
    "arXiv 2602.21773": "CUPID",
    "arXiv 2603.00823": "multi-turn questions (Pan and Wang 2026)",
    "arXiv 2603.11266": "Unlearning Mirage",
    "arXiv 2604.12820": "RePAIR",
    "arXiv 2605.24614": "Unlearning Depth Score",
}
"""What a paper is called, by its number."""

NOT_BUILT: tuple[NotBuilt, ...] = (
    NotBuilt(
        paper="arXiv 2503.06991", what="transfer to similar classes", why="no world here has classes alike enough"
    ),
    NotBuilt(
        paper="arXiv 2407.06460", what="knowledge on passages", why="questions about a passage are facts of their own"
    ),
    NotBuilt(
        paper="arXiv 2407.06460",
        what="scale: ρ over the size of the forget set",
        why="each size needs its own models",
    ),
    NotBuilt(
        paper="arXiv 2406.10890",
        what="neighbour, reasoning and factuality utilities",
        why="they need question sets of their own; a neighbour set may be given as `retain_test`",
    ),
    NotBuilt(
        paper="UnlearnDatamodel (KLoM)",
        what="KLoM against its reference-against-reference null",
        why="it is biased below some hundred references, and audits have five",
    ),
    NotBuilt(
        paper="arXiv 2403.07362",
        what="an audit of the hardest subset",
        why="the correction for the choice is not worked out",
    ),
    NotBuilt(
        paper="arXiv 2510.16629", what="references by order of training stages", why="references are of one stage"
    ),
    NotBuilt(
        paper="arXiv 2601.19755",
        what="a relative three-sample test from outputs",
        why="random labels pass it; it would inform alone",
    ),
    NotBuilt(
        paper="arXiv 2403.01218",
        what="per-example membership with unlearned shadow models",
        why="it needs the unlearner's recipe, which an audit is not given",
    ),
    NotBuilt(
        paper="RULI", what="vulnerable examples", why="it needs the unlearner's recipe, which an audit is not given"
    ),
    NotBuilt(paper="arXiv 2505.22310", what="the interpolation path to original and references", why="not written yet"),
    NotBuilt(paper="arXiv 2505.16831", what="Fisher information of the forget set", why="not written yet"),
    NotBuilt(paper="arXiv 2508.18671", what="leakage of retained examples", why="an audit is about the forget set"),
    NotBuilt(
        paper="arXiv 2410.11143", what="its paper's own figures repeated", why="they are of models too large for here"
    ),
    NotBuilt(
        paper="arXiv 2406.08607", what="its paper's own figures repeated", why="they are of models too large for here"
    ),
    NotBuilt(paper="arXiv 2602.21773", what="sharpness-aware forgetting under bias", why="no biased world is built"),
    NotBuilt(
        paper="arXiv 2405.15662",
        what="poisoned labels for the concepts of a class",
        why="no world here has concepts named in its images; without them it is `random_labels`",
    ),
    NotBuilt(paper="arXiv 2503.21730", what="requests about skills", why="requests are classes, samples and facts"),
    NotBuilt(paper="UOE", what="unlearning one expert", why="no small mixture of experts is trained here"),
    NotBuilt(paper="arXiv 2604.12820", what="repair by prompts", why="not written yet"),
    NotBuilt(
        paper="arXiv 2310.07579", what="as an entry of the zoo", why="what only answers is audited by `audit ask`"
    ),
    NotBuilt(
        paper="arXiv 2505.01456",
        what="its own variant of the layer attacks, and attacks by generated images",
        why="only the abstract was to be had",
    ),
    NotBuilt(
        paper="arXiv 2405.12523",
        what="fluency, diversity and jailbreaks of MMUBench",
        why="answers of the scenes are two words; efficacy, generality and specificity are rows of `outputs`",
    ),
    NotBuilt(
        paper="arXiv 2508.04567",
        what="POPEv2's yes/no questions about pictures with the object cut out",
        why="no object can be cut out of any picture; `other_pictures` shows others in its place",
    ),
)
