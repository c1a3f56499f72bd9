"""Models of diffusers: what goes in are noisy pictures or series, a time step for each sample, and a condition."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .kinds import Architecture, Columns, normal, seeded, whole

LIBRARY = "diffusers"


def of(name: str, **options: Any):
    def make() -> nn.Module:
        import diffusers

        return getattr(diffusers, name)(**options)

    return seeded(make)


def noisy(n: int, *shape: int) -> Columns:
    return {"sample": normal(n, *shape), "timestep": whole(n, low=1, high=900)}


def conditioned(n: int) -> Columns:
    return noisy(n, 3, 8, 8) | {"encoder_hidden_states": normal(n, 4, 8, seed=1)}


def joint(n: int) -> Columns:
    return {
        "hidden_states": normal(n, 4, 8, 8),
        "encoder_hidden_states": normal(n, 5, 12, seed=1),
        "pooled_projections": normal(n, 8, seed=2),
        "timestep": whole(n, low=1, high=900),
    }


def flux(n: int) -> Columns:
    """Positions of texts and pictures have no sample axis in Flux: a preprocess adds them, see `FluxHere`."""
    return {
        "hidden_states": normal(n, 9, 4),
        "encoder_hidden_states": normal(n, 5, 12, seed=1),
        "pooled_projections": normal(n, 8, seed=2),
        "timestep": torch.rand(n, generator=torch.Generator().manual_seed(3)),
    }


class FluxHere(nn.Module):
    """Flux with the positions of a picture of 3 x 3 and of five words."""

    def __init__(self) -> None:
        super().__init__()
        from diffusers import FluxTransformer2DModel

        inner = FluxTransformer2DModel(
            patch_size=1,
            in_channels=4,
            num_layers=2,
            num_single_layers=2,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=12,
            pooled_projection_dim=8,
            axes_dims_rope=(2, 2, 4),
        )
        self.flux = inner

    def forward(self, hidden_states, encoder_hidden_states, pooled_projections, timestep):
        places = torch.cartesian_prod(torch.arange(1.0), torch.arange(3.0), torch.arange(3.0))
        return self.flux(
            hidden_states=hidden_states,
            encoder_hidden_states=encoder_hidden_states,
            pooled_projections=pooled_projections,
            timestep=timestep,
            img_ids=places,
            txt_ids=torch.zeros(5, 3),
            return_dict=False,
        )


TWO = {
    f"transformer_blocks.{block}[{part}]": "tokens" for block in (0, 1) for part in (0, 1)
}  # joint blocks return (text, picture)
UNET = {
    "sample_size": 8,
    "in_channels": 3,
    "out_channels": 3,
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "norm_num_groups": 4,
}
UNET_ALSO = {
    "time_*": "row",
    "conv_in": "channels",
    "conv_norm_out": "channels",
    "conv_out": "channels",
    "down_blocks*": "channels",
    "mid_block*": "channels",
    "up_blocks*": "channels",
}


def unet_1d(name: str, time: int, size: str, **more: Any) -> Architecture:
    make = of(
        "UNet1DModel",
        sample_size=32,
        in_channels=3,
        out_channels=3,
        block_out_channels=(32, 32),
        layers_per_block=1,
        extra_in_channels=64,
        down_block_types=("DownBlock1DNoSkip", "DownBlock1D"),
        up_block_types=("UpBlock1D", "UpBlock1DNoSkip"),
    )
    middle = [f"mid_block.{kind}.{k}" for k in range(6) for kind in ("resnets", "attentions")]
    layers = dict.fromkeys(
        [
            "down_blocks.{0..1}.resnets.{0..2}",
            *middle,
            "up_blocks.0.resnets.{0..2}",
            "up_blocks.1.resnets.{0..1}",
            "output",
        ],
        "channels",
    )
    return Architecture(name, LIBRARY, make, lambda n: noisy(n, 3, time), layers, UNET_ALSO, size=size, **more)


ARCHITECTURES = [
    Architecture(
        "UNet2DModel",
        LIBRARY,
        of(
            "UNet2DModel",
            **UNET,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=8,
        ),
        lambda n: noisy(n, 3, 8, 8),
        {
            "down_blocks.0.resnets.0": "channels",
            "down_blocks.1.resnets.0": "channels",
            "down_blocks.1.attentions.0": "channels",
            "mid_block.resnets.0": "channels",
            "mid_block.attentions.0": "channels",
            "mid_block.resnets.1": "channels",
            "up_blocks.0.resnets.0": "channels",
            "up_blocks.0.attentions.0": "channels",
            "up_blocks.0.resnets.1": "channels",
            "up_blocks.0.attentions.1": "channels",
            "up_blocks.1.resnets.{0..1}": "channels",
            "output": "channels",
        },
        UNET_ALSO,
        quick=True,
        size="8 x 8 places, 8 channels; one time step for each sample",
    ),
    Architecture(
        "UNet2DConditionModel",
        LIBRARY,
        of(
            "UNet2DConditionModel",
            **UNET,
            cross_attention_dim=8,
            attention_head_dim=4,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        ),
        conditioned,
        {
            "down_blocks.0.resnets.0": "channels",
            "down_blocks.0.attentions.0.transformer_blocks.0": "tokens",
            "down_blocks.1.resnets.0": "channels",
            "mid_block.resnets.0": "channels",
            "mid_block.attentions.0.transformer_blocks.0": "tokens",
            "mid_block.resnets.1": "channels",
            "up_blocks.0.resnets.{0..1}": "channels",
            "up_blocks.1.resnets.0": "channels",
            "up_blocks.1.attentions.0.transformer_blocks.0": "tokens",
            "up_blocks.1.resnets.1": "channels",
            "up_blocks.1.attentions.1.transformer_blocks.0": "tokens",
            "output": "channels",
        },
        UNET_ALSO,
        size="8 x 8 places, 8 channels",
    ),
    unet_1d("UNet1DModel", 48, "48 steps, 32 channels"),
    unet_1d("UNet1DModel, time = channels", 64, "32 steps and 32 channels in the second block"),
    Architecture(
        "Stable Diffusion 3 transformer",
        LIBRARY,
        of(
            "SD3Transformer2DModel",
            sample_size=8,
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=3,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=12,
            caption_projection_dim=16,
            pooled_projection_dim=8,
            pos_embed_max_size=8,
        ),
        joint,
        {**TWO, "transformer_blocks.2[1]": "tokens", "output": "channels"},
        {
            "pos_embed*": "tokens",
            "time_text_embed*": "row",
            "context_embedder": "tokens",
            "norm_out": "tokens",
            "proj_out": "tokens",
        },
        quick=True,
        size="joint blocks return (text, picture)",
    ),
    Architecture(
        "Flux transformer",
        LIBRARY,
        seeded(FluxHere),
        flux,
        {f"flux.{name}": form for name, form in TWO.items()}
        | {f"flux.single_{name}": form for name, form in TWO.items()}
        | {"output": "tokens"},
        {"flux.time_text_embed*": "row", "flux*": "tokens"},
        size="joint blocks return (text, picture)",
    ),
    Architecture(
        "DiT",
        LIBRARY,
        of(
            "DiTTransformer2DModel",
            sample_size=8,
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=3,
            attention_head_dim=8,
            num_attention_heads=2,
            num_embeds_ada_norm=100,
            norm_num_groups=4,
        ),
        lambda n: {
            "hidden_states": normal(n, 4, 8, 8),
            "timestep": whole(n, low=1, high=90),
            "class_labels": whole(n, low=0, high=100, seed=1),
        },
        {"transformer_blocks.{0..2}": "tokens", "output": "channels"},
        {"pos_embed*": "tokens", "norm_out": "tokens", "proj_out_1": "row", "proj_out_2": "tokens"},
        quick=True,
        size="16 tokens, width 16; a class for each sample",
    ),
    Architecture(
        "AutoencoderKL",
        LIBRARY,
        of(
            "AutoencoderKL",
            in_channels=3,
            out_channels=3,
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            block_out_channels=(8, 16),
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=4,
            sample_size=16,
        ),
        lambda n: {"sample": normal(n, 3, 16, 16)},
        {
            "encoder.down_blocks.{0..1}.resnets.0": "channels",
            "encoder.mid_block.resnets.0": "channels",
            "encoder.mid_block.attentions.0": "channels",
            "encoder.mid_block.resnets.1": "channels",
            "decoder.mid_block.resnets.0": "channels",
            "decoder.mid_block.attentions.0": "channels",
            "decoder.mid_block.resnets.1": "channels",
            "decoder.up_blocks.0.resnets.{0..1}": "channels",
            "decoder.up_blocks.1.resnets.{0..1}": "channels",
            "output": "channels",
        },
        {"encoder*": "channels", "decoder*": "channels", "quant_conv": "channels", "post_quant_conv": "channels"},
        size="16 x 16 places, 16 channels",
    ),
]
