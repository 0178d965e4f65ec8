"""How much of an answer was said: by words, without a tokenizer."""


def rouge_l_recall(reference: str, candidate: str) -> float:
    """Longest common subsequence of words over the reference's words, in [0, 1] (Lin 2004); case folded, not stemmed.

    Raises:
        ValueError: the reference has no word.

    >>> rouge_l_recall("the red wine", "a red glass of wine")
    0.6666666666666666
    """
    wanted, said = reference.casefold().split(), candidate.casefold().split()
    if not wanted:
        raise ValueError("ROUGE-L recall of an empty reference is not defined")
    longest = [0] * (len(said) + 1)
    for word in wanted:
        diagonal = 0
        for j, other in enumerate(said, start=1):
            above = longest[j]
            longest[j] = diagonal + 1 if word == other else max(longest[j], longest[j - 1])
            diagonal = above
    return longest[-1] / len(wanted)
