"""Pictures: models of transformers and timm, and models that read pictures and text."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from .kinds import (
    Architecture,
    Columns,
    both,
    configured,
    ids,
    padded_ids,
    picture,
    sample,
    seeded,
    whole,
    without_padding,
)

LIBRARY = "transformers"
VIT = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 16,
    "patch_size": 8,
}
VIT_ALSO = {
    "embeddings*": "tokens",
    "*layernorm": "tokens",
    "pooler*": "row",
    "encoder": "tokens",
    "*patch_embeddings.projection": "channels",
}
VIT_LAYERS = {"layers.{0..2}": "tokens", "output": "tokens"}
REAL = "tokens<attention_mask"
TEXT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 50,
    "max_position_embeddings": 20,
}
LLAMA = TEXT | {"num_key_value_heads": 1, "head_dim": 8, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
TOWERS = both(ids(), picture())
TOWERS_PADDED = both(padded_ids(), picture())
MASKED = without_padding("input_ids")


def vit(name: str, model: str, config: str, layers: dict[str, str] | None = None, **more) -> Architecture:
    options, also = VIT | more.pop("options", {}), more.pop("also", {})
    return Architecture(
        name,
        LIBRARY,
        configured(model, config, **options),
        more.pop("columns", picture()),
        layers or VIT_LAYERS,
        also | VIT_ALSO,
        **more,
    )


def timm_model(name: str, layers: dict[str, str], also: dict[str, str], **more) -> Architecture:
    model, options = more.pop("model"), more.pop("options", {})

    def make() -> nn.Module:
        import timm

        if model == "mixer":
            return timm.models.mlp_mixer.MlpMixer(img_size=64, num_blocks=6, embed_dim=16, num_classes=5)
        return timm.create_model(model, pretrained=False, **options)

    return Architecture(
        name, "timm", seeded(make), more.pop("columns", picture(name="x", height=32)), layers, also, **more
    )


def llava_columns(n: int) -> Columns:
    """Two words, four places for the patches of the picture (token 49), three words."""
    found = whole(n, 9, high=48)
    found[:, 2:6] = 49
    return {"input_ids": found, "pixel_values": picture()(n)["pixel_values"]}


def qwen_columns(n: int) -> Columns:
    """Every picture as 16 flat patches, one after the other for all samples: 4 tokens of each picture after 2 x 2 are
    merged.
    """
    found = whole(n, 8, high=40)
    found[:, 1], found[:, 2:6], found[:, 6] = 41, 43, 42
    types = (found == 43).int()
    return {
        "input_ids": found,
        "attention_mask": torch.ones_like(found),
        "pixel_values": torch.randn(n * 16, 3 * 2 * 4 * 4, generator=torch.Generator().manual_seed(5)),
        "image_grid_thw": torch.tensor([[1, 4, 4]]).repeat(n, 1),
        "mm_token_type_ids": types,
    }


def qwen_batch(columns: Columns, first: int, last: int) -> Columns:
    """A sample is sixteen patches."""
    return {
        name: value[16 * first : 16 * last] if name == "pixel_values" else value[first:last]
        for name, value in columns.items()
    }


def resnet_config(**more) -> Callable[[], nn.Module]:
    return configured(
        "ResNetModel", "ResNetConfig", embedding_size=8, hidden_sizes=[8, 16], depths=[2, 2], layer_type="basic", **more
    )


SWIN = {"image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [2, 2], "num_heads": [2, 2], "window_size": 4}
CLIP = {
    "text_config": TEXT | {"eos_token_id": 2},
    "vision_config": {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "image_size": 16,
        "patch_size": 8,
    },
    "projection_dim": 8,
}
TOWER_LAYERS = {
    "vision_model.encoder.layers.{0..1}": "tokens",
    "text_model.encoder.layers.{0..1}": "tokens",
}  # in the order in which they run
TOWER_ALSO = {
    "text_model.embeddings*": "tokens",
    "vision_model.embeddings*": "tokens",
    "*final_layer_norm": "tokens",
    "*layrnorm": "tokens",
    "*layernorm": "tokens",
    "*head*": "row",
    "*projection": "row",
    "output*": "row",
}
DETR = {
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "use_timm_backbone": False,
    "use_pretrained_backbone": False,
    "backbone": None,
    "backbone_config": {
        "config": "ResNetConfig",
        "embedding_size": 8,
        "hidden_sizes": [8, 16],
        "depths": [1, 1],
        "layer_type": "basic",
        "out_features": ["stage2"],
    },
}

ARCHITECTURES = [
    vit("ViT", "ViTModel", "ViTConfig", quick=True),
    vit(
        "ViT, tokens = width",
        "ViTModel",
        "ViTConfig",
        options={"image_size": 40, "hidden_size": 26},
        columns=picture(3, 40),
        size="26 tokens, width 26",
    ),
    vit("DeiT", "DeiTModel", "DeiTConfig"),
    vit("DINOv2", "Dinov2Model", "Dinov2Config", {"encoder.layer.{0..2}": "tokens", "output": "tokens"}, quick=True),
    vit("BEiT", "BeitModel", "BeitConfig"),
    Architecture(
        "Swin",
        LIBRARY,
        configured("SwinModel", "SwinConfig", **SWIN),
        picture(3, 32),
        {"encoder.layers.{0..1}.blocks.{0..1}": "tokens", "output": "tokens"},
        {"embeddings*": "tokens", "encoder*": "tokens", "layernorm": "tokens", "pooler": "row"},
        quick=True,
    ),
    Architecture(
        "ConvNeXt",
        LIBRARY,
        configured("ConvNextModel", "ConvNextConfig", hidden_sizes=[8, 16], depths=[2, 2], num_stages=2),
        picture(3, 32),
        {"encoder.stages.{0..1}.layers.{0..1}": "channels", "output": "channels"},
        {"embeddings*": "channels", "encoder*": "channels", "layernorm": "row"},
        quick=True,
    ),
    Architecture(
        "ConvNeXt, height = channels",
        LIBRARY,
        configured("ConvNextModel", "ConvNextConfig", hidden_sizes=[8, 16], depths=[2, 2], num_stages=2),
        picture(3, 32, 64),
        {"encoder.stages.{0..1}.layers.{0..1}": "channels", "output": "channels"},
        {"embeddings*": "channels", "encoder*": "channels", "layernorm": "row"},
        size="8 x 16 places, 8 channels",
    ),
    Architecture(
        "ResNet",
        LIBRARY,
        resnet_config(),
        picture(3, 32),
        {"encoder.stages.{0..1}.layers.{0..1}": "channels", "output": "channels"},
        {"embedder*": "channels", "pooler": "row", "encoder*": "channels"},
    ),
    Architecture(
        "SegFormer",
        LIBRARY,
        configured(
            "SegformerModel",
            "SegformerConfig",
            num_encoder_blocks=2,
            depths=[2, 2],
            sr_ratios=[2, 1],
            hidden_sizes=[8, 16],
            patch_sizes=[3, 3],
            strides=[4, 2],
            num_attention_heads=[1, 2],
            mlp_ratios=[2, 2],
        ),
        picture(3, 32),
        {"stages.{0..1}.blocks.{0..1}": "tokens", "output": "channels"},
        {
            "stages*.patch_embeddings": "tokens",
            "stages*.layer_norm": "tokens",
            "stages.0": "tokens",
            "stages.1": "channels",
        },
        size="blocks give (n, tokens, width), the output (n, channels, h, w)",
    ),
    Architecture(
        "DETR",
        LIBRARY,
        configured("DetrForObjectDetection", "DetrConfig", num_queries=5, **DETR),
        picture(3, 64),
        {"model.encoder.layers.{0..1}": "tokens", "model.decoder.layers.{0..1}": "tokens", "output": "tokens@logits"},
        {
            "model.backbone*": "channels",
            "model.input_projection": "channels",
            "model.decoder.layernorm": "tokens",
            "class_labels_classifier": "tokens",
            "bbox_predictor*": "tokens",
            "output.last_hidden_state": "tokens@last_hidden_state",
            "output.pred_boxes": "tokens@pred_boxes",
        },
    ),
    Architecture(
        "Mask2Former",
        LIBRARY,
        seeded(lambda: mask_model()),
        picture(3, 64),
        {"model.transformer_module.decoder.layers.{0..1}": "time_first", "output": "tokens@class_queries_logits"},
        {
            "model.pixel_level_module.encoder*": "tokens",
            "model.pixel_level_module.decoder.encoder*": "tokens",
            "model.pixel_level_module*": "channels",
            "model.transformer_module.decoder.mask_predictor*": "channels",
            "model.transformer_module.decoder*": "time_first",
            "class_predictor*": "tokens",
            "model.transformer_module*": "tokens",
        },
        refused=("model.transformer_module.decoder.layers.*",),
        size="queries give (queries, n, width)",
    ),
    Architecture(
        "CLIP",
        LIBRARY,
        configured("CLIPModel", "CLIPConfig", **CLIP),
        TOWERS,
        TOWER_LAYERS,
        TOWER_ALSO,
        padded=TOWERS_PADDED,
        cut=MASKED,
        quick=True,
    ),
    Architecture(
        "SigLIP",
        LIBRARY,
        configured("SiglipModel", "SiglipConfig", text_config=TEXT, vision_config=CLIP["vision_config"]),
        TOWERS,
        {"vision_model.encoder.layers.{0..1}": "tokens", "text_model.encoder.layers.{0..1}": REAL},
        {"text_model.embeddings": REAL, "text_model.final_layer_norm": REAL} | TOWER_ALSO,
        padded=TOWERS_PADDED,
        cut=sample,
        size="its text head reads the last place, padding or not",
    ),
    Architecture(
        "BLIP",
        LIBRARY,
        configured(
            "BlipForConditionalGeneration",
            "BlipConfig",
            text_config=TEXT
            | {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "sep_token_id": 2, "encoder_hidden_size": 16},
            vision_config=CLIP["vision_config"],
            projection_dim=8,
        ),
        TOWERS,
        {
            "vision_model.encoder.layers.{0..1}": "tokens",
            "text_decoder.bert.encoder.layer.{0..1}": "tokens",
            "output": "tokens@logits",
        },
        {"vision_model*": "tokens", "text_decoder*": "tokens", "output.last_hidden_state": "tokens@last_hidden_state"},
        padded=TOWERS_PADDED,
        cut=MASKED,
        size="its output holds logits, and the states of the picture",
    ),
    Architecture(
        "LLaVA",
        LIBRARY,
        configured(
            "LlavaForConditionalGeneration",
            "LlavaConfig",
            image_token_index=49,
            vision_feature_layer=-1,
            vision_feature_select_strategy="default",
            text_config={"config": "LlamaConfig", **LLAMA},
            vision_config={"config": "CLIPVisionConfig", **CLIP["vision_config"]},
        ),
        llava_columns,
        {
            "model.vision_tower.encoder.layers.{0..1}": "tokens",
            "model.multi_modal_projector": "tokens",
            "model.language_model.layers.{0..1}": "tokens",
            "output": "tokens@logits",
        },
        {
            "model.vision_tower*": "tokens",
            "model.multi_modal_projector*": "tokens",
            "model.language_model*": "tokens",
            "lm_head": "tokens",
        },
        quick=True,
    ),
    Architecture(
        "Qwen2-VL",
        LIBRARY,
        configured(
            "Qwen2VLForConditionalGeneration",
            "Qwen2VLConfig",
            image_token_id=43,
            video_token_id=44,
            vision_start_token_id=41,
            vision_end_token_id=42,
            text_config={
                "config": "Qwen2VLTextConfig",
                **LLAMA,
                "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0},
            },
            vision_config={
                "config": "Qwen2VLVisionConfig",
                "depth": 2,
                "embed_dim": 16,
                "hidden_size": 16,
                "num_heads": 2,
                "mlp_ratio": 2,
                "patch_size": 4,
                "spatial_merge_size": 2,
                "temporal_patch_size": 2,
            },
        ),
        qwen_columns,
        {
            "model.visual.blocks.{0..1}": "flat",
            "model.language_model.layers.{0..1}": "tokens",
            "output": "tokens@logits",
        },
        {"model.visual*": "flat", "model.language_model*": "tokens", "lm_head": "tokens"},
        batch=qwen_batch,
        refused=("model.visual.blocks.*",),
        size="pictures are flat patches, 16 rows a sample",
    ),
    Architecture(
        "Perceiver, latents = tokens",
        LIBRARY,
        seeded(lambda: perceiver_of(8)),
        ids(8, name="inputs"),
        {
            "encoder.cross_attention": "tokens",
            "encoder.self_attends.{0..1}": "tokens",
            "output": "tokens@last_hidden_state",
        },
        {"input_preprocessor*": "tokens", "embeddings*": "tokens", "encoder*": "tokens"},
        padded=padded_ids(8, name="inputs"),
        cut=without_padding("inputs"),
        size="8 latents, 8 tokens",
    ),
    Architecture(
        "Perceiver",
        LIBRARY,
        seeded(lambda: perceiver_of(5)),
        ids(8, name="inputs"),
        {
            "encoder.cross_attention": "tokens",
            "encoder.self_attends.{0..1}": "tokens",
            "output": "tokens@last_hidden_state",
        },
        {"input_preprocessor*": "tokens", "embeddings*": "tokens", "encoder*": "tokens"},
        padded=padded_ids(8, name="inputs"),
        cut=without_padding("inputs"),
        size="5 latents, 8 tokens",
        quick=True,
    ),
    timm_model(
        "timm ResNet-18",
        {"layer{1..4}.{0..1}": "channels", "output": "row"},
        {
            "conv1": "channels",
            "bn1": "channels",
            "act1": "channels",
            "maxpool": "channels",
            "fc": "row",
            "global_pool*": "row",
        },
        model="resnet18",
        options={"num_classes": 5},
    ),
    timm_model(
        "timm ResNet",
        {"layer{1..4}.0": "channels", "output": "row"},
        {
            "conv1*": "channels",
            "bn1": "channels",
            "act1": "channels",
            "maxpool": "channels",
            "layer*": "channels",
            "fc": "row",
            "global_pool*": "row",
        },
        model="test_resnet",
        options={"num_classes": 5},
        quick=True,
    ),
    timm_model(
        "timm ViT-tiny",
        {"blocks.{0..2}": "tokens", "output": "row"},
        {"patch_embed*": "tokens", "norm*": "tokens", "head*": "row", "fc_norm": "row", "pos_drop": "tokens"},
        model="vit_tiny_patch16_224",
        options={"img_size": 32, "depth": 3, "num_classes": 5, "embed_dim": 24, "num_heads": 2},
        quick=True,
    ),
    timm_model(
        "timm Mixer",
        {"blocks.{0..5}": "tokens", "output": "row"},
        {"stem*": "tokens", "norm": "tokens", "head*": "row"},
        model="mixer",
        columns=picture(name="x", height=64),
        size="16 tokens, width 16",
    ),
    timm_model(
        "timm ConvNeXt",
        {"stages.0": "channels", "stages.{1..3}.blocks.{0..1}": "channels", "output": "row"},
        {"stem*": "channels", "stages*": "channels", "head*": "row", "norm_pre": "channels"},
        model="test_convnext",
        options={"num_classes": 5},
    ),
    timm_model(
        "timm EfficientNet",
        {"blocks.0": "channels", "blocks.{1..4}.0": "channels", "output": "row"},
        {
            "blocks*": "channels",
            "conv_head": "channels",
            "conv_stem": "channels",
            "bn*": "channels",
            "classifier": "row",
            "global_pool*": "row",
        },
        model="test_efficientnet",
        options={"num_classes": 5},
    ),
    timm_model(
        "timm Swin",
        {"layers.{0..1}.blocks.{0..1}": "tokens", "output": "row"},
        {"patch_embed*": "tokens", "layers*": "tokens", "norm": "tokens", "head*": "row"},
        model="swin_tiny_patch4_window7_224",
        options={
            "img_size": 32,
            "patch_size": 4,
            "window_size": 4,
            "embed_dim": 8,
            "depths": (2, 2),
            "num_heads": (2, 2),
            "num_classes": 5,
        },
        quick=True,
        size="(n, h, w, channels); 8 x 8 places, 8 channels",
    ),
    timm_model(
        "timm features_only",
        {"layer{1..4}.0": "channels"},
        {
            "conv1*": "channels",
            "bn1": "channels",
            "act1": "channels",
            "maxpool": "channels",
            "layer*": "channels",
            "output": "channels",
        },
        model="test_resnet",
        options={"features_only": True},
        quick=True,
        size="it returns a list of maps",
    ),
]


def mask_model() -> nn.Module:
    return configured(
        "Mask2FormerForUniversalSegmentation",
        "Mask2FormerConfig",
        hidden_dim=32,
        mask_feature_size=32,
        feature_size=32,
        encoder_layers=1,
        decoder_layers=3,
        num_attention_heads=2,
        dim_feedforward=32,
        encoder_feedforward_dim=32,
        num_queries=5,
        backbone_config={
            "config": "SwinConfig",
            **SWIN,
            "image_size": 64,
            "depths": [2, 1, 1, 1],
            "num_heads": [1, 1, 1, 1],
            "out_features": ["stage1", "stage2", "stage3", "stage4"],
        },
    )()


def perceiver_of(latents: int) -> nn.Module:
    import transformers
    from transformers.models.perceiver.modeling_perceiver import PerceiverTextPreprocessor

    config = transformers.PerceiverConfig(
        vocab_size=50,
        max_position_embeddings=20,
        d_model=16,
        d_latents=12,
        num_latents=latents,
        num_blocks=1,
        num_self_attends_per_block=2,
        num_self_attention_heads=2,
        num_cross_attention_heads=2,
    )
    model = transformers.PerceiverModel(config, input_preprocessor=PerceiverTextPreprocessor(config))
    nn.init.normal_(model.embeddings.latents)
    return model
