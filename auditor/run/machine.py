"""The machine that scores are made on: of two unlike ones, the last digits of a score differ, and neither is wrong."""

from auditor.digests import digest_of
from auditor.records.base import Frozen

# What measures and what draws or solves along the way; the rest of the environment changes no score.
_MEASURING = ("numpy", "safetensors", "scikit-learn", "scipy", "torch", "transformers")


class Machine(Frozen):
    """Everything beside the plan by which a score may differ.

    Attributes:
        packages: versions by name.
        platform: system and kind of processor.
        kernels: instruction set and library of the sums on the processor.
        gpu: name of the card that is computed on; None without one.
    """

    packages: dict[str, str]
    platform: str
    kernels: str
    gpu: str | None

    @property
    def digest(self) -> str:
        """Equal on machines whose scores may stand beside each other."""
        return digest_of(self.model_dump(mode="json"))

    def unlike(self, other: "Machine") -> str:
        """What differs, each as here and there; empty where nothing does."""
        here, there = (
            {**machine.packages, "platform": machine.platform, "kernels": machine.kernels, "gpu": machine.gpu}
            for machine in (self, other)
        )
        # Another version of this program may have noted other packages.
        differing = (name for name in {**here, **there} if here.get(name) != there.get(name))
        return ", ".join(f"{name} {here.get(name)} here and {there.get(name)} there" for name in differing)


def this_machine(device: str) -> Machine:
    """The one that this process runs on.

    Args:
        device: torch's name of what is computed on.
    """
    # It loads torch, and a process that only watches over an audit reads this module too.
    from auditor.records.environment import describe

    found = describe(device)
    return Machine(
        packages={name: found.packages[name] for name in _MEASURING},
        platform=found.platform,
        kernels=f"{found.cpu_capability}, {found.blas}",
        gpu=found.gpu,
    )
