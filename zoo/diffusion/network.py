"""The small conditional diffusion model of the digits: diffusers' UNet, and the schedule of noise it is trained on.

A file of its own that needs torch and diffusers alone: the demo copies it beside the audit.
"""

from typing import Any

from torch import nn


def build() -> nn.Module:
    """An untrained network of images [1, 8, 8] in [-1, 1] and five labels, with a sixth that stands for none."""
    # Loaded when used: it takes seconds.
    from diffusers import DDPMScheduler, UNet2DModel
    from diffusers.utils import logging

    # Else it warns at every move of a network that some layers, of which it has none, should stay in float32.
    logging.set_verbosity_error()
    network: Any = UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        add_attention=False,
        num_class_embeds=6,
    )
    # What an audit has to know of it beside the weights.
    network.noise_scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2")
    network.null_label = 5
    module: nn.Module = network
    return module
