"""How often audits like this one were wrong, in words."""

from auditor.records.policy import Domain, ErrorRate, Policy


def uncalibrated(policy: Policy, task: str) -> str:
    """Why no measured error rate stands behind this verdict; domains of other tasks would only be in the way."""
    domains = [domain for domain in policy.domains if domain.task == task]
    if not domains:
        return (
            "Thresholds not yet calibrated: no collection of models of known truth has measured this policy’s error "
            "rates yet. They were fixed beforehand, and they are provisional."
        )
    known = "; ".join(
        f"{domain.name}: {domain.worlds}; {domain.task}, request {domain.request}, up to {domain.most_parameters:,} "
        f"weights, {domain.fewest_forget} forget examples or more"
        for domain in domains
    )
    return (
        "Outside the calibrated domain: the request declares none (audit.domain), and for similar size, other data the "
        f"error rates are not measured. This policy’s were measured on: {known}. Its thresholds were fixed "
        "beforehand, and nothing is known of how often they err here."
    )


def measured(domain: Domain, policy: Policy) -> tuple[str, ...]:
    """The error rates of audits like this one, as sentences; rates of earlier rules are called that first."""
    earlier = (
        f"The error rates below were measured under the rules of version {domain.rules} of this policy, which has "
        f"version {policy.version} now: they have not been measured again yet."
    )
    return (
        *((earlier,) if domain.rules != policy.version else ()),
        f"On pairs of known truth of this kind ({domain.worlds}), suppressed or untouched models were called DELETED "
        f"in {error_rate(domain.false_deleted)}.",
        f"Deleted ones were called SUPPRESSED, NOT_DELETED or NOT_FORGOTTEN in {error_rate(domain.false_suppressed)}, "
        f"and left INCONCLUSIVE in {error_rate(domain.undecided)}.",
        "Those pairs are small worlds, and their makers did not know how they would be audited: an evader who reads "
        "this program’s source was not among them.",
    )


def error_rate(rate: ErrorRate) -> str:
    """How often, of how many, and how often at most."""
    return f"{rate.count} of {rate.pairs} (at most {100 * rate.upper:.1f} % at 95 % confidence)"
