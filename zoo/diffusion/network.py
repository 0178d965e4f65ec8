"""The small conditional diffusion model of the digits: diffusers' UNet, with the schedule of noise that it is trained on.

A file of its own that needs torch and diffusers alone: the demo copies it beside the audit.
"""

from torch import nn


def build() -> nn.Module:
    """An untrained network of images [1, 8, 8] in [-1, 1] and five labels, with a sixth that stands for none."""
    # Loaded when used: it takes seconds.
    from diffusers import DDPMScheduler, UNet2DModel

    network: nn.Module = UNet2DModel(
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
    return network
