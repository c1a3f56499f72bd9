"""The first lines of model cards, with a small random configuration in place of `from_pretrained`: each leads to a
heatmap, or to an error that says what to do.
"""

import importlib
import json
import warnings
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from shims import vision  # noqa: F401 - transformers asks for torchvision where it is there
from test_handed_over import SENTENCES, WORDS

import repsim_nb as rs

tf = pytest.importorskip("transformers")
N = 24
TEXT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 40}
VISION = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
}
BART = {
    "vocab_size": 40,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
WHISPER = {
    **BART,
    "max_source_positions": 50,
    "max_target_positions": 20,
    "num_mel_bins": 8,
    "decoder_start_token_id": 1,
}
WAV = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": (8, 8),
    "conv_stride": (5, 2),
    "conv_kernel": (10, 3),
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    "num_feat_extract_layers": 2,
    "vocab_size": 20,
}
T5 = {"vocab_size": 40, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
GPT2 = {
    "vocab_size": 40,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 2,
    "n_positions": 32,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
PAIR = {
    "text_config": {**TEXT, "max_position_embeddings": 20, "bos_token_id": 1, "eos_token_id": 39, "pad_token_id": 0},
    "vision_config": VISION,
}
BLIP = {
    "text_config": {**PAIR["text_config"], "encoder_hidden_size": 32, "sep_token_id": 2, "eos_token_id": 2},
    "vision_config": VISION,
}
RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
UNET = {
    "sample_size": 8,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (16, 16),
    "norm_num_groups": 4,
    "cross_attention_dim": 16,
    "attention_head_dim": 4,
    "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}
KL = {
    "block_out_channels": (8, 8),
    "norm_num_groups": 4,
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
}
SEGFORMER = {
    "num_encoder_blocks": 2,
    "depths": [1, 1],
    "sr_ratios": [2, 1],
    "hidden_sizes": [8, 16],
    "patch_sizes": [3, 3],
    "strides": [2, 2],
    "num_attention_heads": [1, 2],
    "mlp_ratios": [2, 2],
    "decoder_hidden_size": 16,
    "num_labels": 4,
}


def of(kind, config, **sizes):
    """A small random model of transformers."""
    config = getattr(tf, config)(**sizes)
    return getattr(tf, kind).from_config(config) if kind.startswith("Auto") else getattr(tf, kind)(config)


def detr():
    backbone = tf.ResNetConfig(**RESNET, out_features=["stage2"])
    return of(
        "DetrForObjectDetection",
        "DetrConfig",
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        num_queries=5,
        num_labels=4,
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
        backbone_config=backbone,
    )


def tokenizer(folder):
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 16})
    )
    return tf.AutoTokenizer.from_pretrained(folder)


def sentence_transformer(folder):
    library, parts = (
        importlib.import_module(name)
        for name in ("sentence_transformers", "sentence_transformers.sentence_transformer.modules")
    )
    tokenizer(folder)
    of("BertModel", "BertConfig", **TEXT).save_pretrained(folder)
    return library.SentenceTransformer(
        modules=[parts.Transformer(str(folder)), parts.Pooling(32), parts.Normalize()], device="cpu"
    )


def pipeline(task, kind, folder):
    return tf.pipeline(task, model=of(kind, "BertConfig", **TEXT), tokenizer=tokenizer(folder))


def image_pipeline():
    return tf.pipeline(
        "image-classification",
        model=of("ViTForImageClassification", "ViTConfig", **VISION),
        image_processor=tf.ViTImageProcessor(size={"height": 32, "width": 32}),
    )


def library(name, what, *given, **named):
    return getattr(pytest.importorskip(name), what)(*given, **named)


IDS, PICTURES, AUDIO = torch.randint(3, 39, (N, 8)), torch.rand(N, 3, 32, 32), torch.randn(N, 800)
BYTES = np.random.default_rng(0).integers(0, 256, (N, 32, 32, 3), dtype=np.uint8)
FEATURES = torch.randn(N, 8, 100)
LATENTS = {
    "sample": torch.randn(N, 4, 8, 8),
    "timestep": torch.full((N,), 10),
    "encoder_hidden_states": torch.randn(N, 3, 16),
}
MEAN = {"pool": "mean"}


def tokens(folder):
    return dict(tokenizer(folder)(SENTENCES * 2, padding=True, return_tensors="pt"))


# a card's first lines -> how its model is made (of a folder where it takes one), what is handed to it, options of
# record, a sentence in place of a heatmap
CARDS = {
    "AutoModel": (partial(of, "AutoModel", "BertConfig", **TEXT), tokens, MEAN, ""),
    "AutoModel, sentences": (
        partial(of, "AutoModel", "BertConfig", **TEXT),
        SENTENCES,
        {},
        "came without its tokenizer.*tokenizer\\(sentences, padding=True",
    ),
    "AutoModelForCausalLM": (partial(of, "AutoModelForCausalLM", "GPT2Config", **GPT2), {"input_ids": IDS}, MEAN, ""),
    "AutoModelForCausalLM, Llama": (
        partial(of, "AutoModelForCausalLM", "LlamaConfig", **TEXT, num_key_value_heads=2),
        {"input_ids": IDS},
        {"pool": "last"},
        "",
    ),
    "AutoModelForSequenceClassification": (
        partial(of, "AutoModelForSequenceClassification", "BertConfig", **TEXT, num_labels=3),
        tokens,
        MEAN,
        "",
    ),
    "AutoModelForQuestionAnswering": (
        partial(of, "AutoModelForQuestionAnswering", "BertConfig", **TEXT),
        tokens,
        MEAN,
        "",
    ),
    "AutoModelForTokenClassification": (
        partial(of, "AutoModelForTokenClassification", "RobertaConfig", **TEXT),
        {"input_ids": IDS},
        MEAN,
        "",
    ),
    "AutoModelForMaskedLM": (
        partial(
            of, "AutoModelForMaskedLM", "DistilBertConfig", dim=32, n_layers=2, n_heads=2, hidden_dim=64, vocab_size=40
        ),
        {"input_ids": IDS},
        MEAN,
        "",
    ),
    "T5ForConditionalGeneration": (
        partial(of, "T5ForConditionalGeneration", "T5Config", **T5),
        {"input_ids": IDS, "decoder_input_ids": IDS[:, :4]},
        MEAN,
        "",
    ),
    "T5ForConditionalGeneration, texts alone": (
        partial(of, "T5ForConditionalGeneration", "T5Config", **T5),
        {"input_ids": IDS},
        MEAN,
        (
            "has a decoder.*give decoder_input_ids too, or record the encoder alone,"
            " rs.record\\(model.get_encoder\\(\\), data\\)"
        ),
    ),
    "T5, its encoder": (
        lambda: of("T5ForConditionalGeneration", "T5Config", **T5).get_encoder(),
        {"input_ids": IDS},
        MEAN,
        "",
    ),
    "BartModel": (
        partial(of, "BartModel", "BartConfig", **BART, max_position_embeddings=40),
        {"input_ids": IDS},
        MEAN,
        "",
    ),
    "CLIPModel": (
        partial(of, "CLIPModel", "CLIPConfig", **PAIR, projection_dim=16),
        {"input_ids": IDS, "pixel_values": PICTURES},
        MEAN,
        "",
    ),
    "CLIPModel, pictures alone": (
        partial(of, "CLIPModel", "CLIPConfig", **PAIR, projection_dim=16),
        {"pixel_values": PICTURES},
        MEAN,
        "give all of them, or record a part of it alone, rs.record\\(model.vision_model, data\\)",
    ),
    "CLIPModel, its eye": (
        lambda: of("CLIPModel", "CLIPConfig", **PAIR, projection_dim=16).vision_model,
        {"pixel_values": PICTURES},
        MEAN,
        "",
    ),
    "SiglipModel": (
        partial(of, "SiglipModel", "SiglipConfig", **PAIR),
        {"input_ids": IDS, "pixel_values": PICTURES},
        MEAN,
        "",
    ),
    "BlipForConditionalGeneration": (
        partial(of, "BlipForConditionalGeneration", "BlipConfig", **BLIP),
        {"input_ids": IDS, "pixel_values": PICTURES},
        MEAN,
        "",
    ),
    "WhisperModel": (
        partial(of, "WhisperModel", "WhisperConfig", **WHISPER),
        {"input_features": FEATURES, "decoder_input_ids": IDS[:, :2]},
        MEAN,
        "",
    ),
    "WhisperModel, sounds alone": (
        partial(of, "WhisperModel", "WhisperConfig", **WHISPER),
        {"input_features": FEATURES},
        MEAN,
        "has a decoder.*rs.record\\(model.get_encoder\\(\\), data\\)",
    ),
    "Wav2Vec2ForCTC": (partial(of, "Wav2Vec2ForCTC", "Wav2Vec2Config", **WAV), AUDIO, MEAN, ""),
    "ViTForImageClassification": (
        partial(of, "ViTForImageClassification", "ViTConfig", **VISION),
        {"pixel_values": PICTURES},
        {},
        "",
    ),
    "Dinov2Model": (
        partial(
            of,
            "Dinov2Model",
            "Dinov2Config",
            **{key: value for key, value in VISION.items() if key != "intermediate_size"},
        ),
        PICTURES,
        {"pool": "first"},
        "",
    ),
    "ResNetForImageClassification": (
        partial(of, "ResNetForImageClassification", "ResNetConfig", **RESNET),
        PICTURES,
        {},
        "",
    ),
    "DetrForObjectDetection": (detr, {"pixel_values": PICTURES}, MEAN, ""),
    "SegformerForSemanticSegmentation": (
        partial(of, "SegformerForSemanticSegmentation", "SegformerConfig", **SEGFORMER),
        {"pixel_values": PICTURES},
        MEAN,
        "",
    ),
    "pipeline('feature-extraction')": (partial(pipeline, "feature-extraction", "BertModel"), SENTENCES, MEAN, ""),
    "pipeline('text-classification')": (
        partial(pipeline, "text-classification", "BertForSequenceClassification"),
        SENTENCES,
        MEAN,
        "",
    ),
    "pipeline('image-classification')": (image_pipeline, BYTES, MEAN, ""),
    "SentenceTransformer": (sentence_transformer, SENTENCES, MEAN, ""),
    "timm.create_model": (partial(library, "timm", "create_model", "resnet10t", num_classes=0), PICTURES, MEAN, ""),
    "timm.create_model, features_only": (
        partial(library, "timm", "create_model", "resnet10t", features_only=True),
        PICTURES,
        MEAN,
        "",
    ),
    "UNet2DConditionModel": (partial(library, "diffusers", "UNet2DConditionModel", **UNET), LATENTS, MEAN, ""),
    "AutoencoderKL": (
        partial(library, "diffusers", "AutoencoderKL", **KL, latent_channels=4, layers_per_block=1),
        PICTURES,
        MEAN,
        "",
    ),
}
NEEDS = {"SentenceTransformer": "sentence_transformers"}


@pytest.mark.parametrize("name", CARDS)
def test_a_model_card_leads_to_a_heatmap_or_says_what_to_do(name, tmp_path):
    make, data, options, words = CARDS[name]
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    torch.manual_seed(0)
    tf.utils.logging.disable_progress_bar()
    by_folder = make is sentence_transformer or getattr(make, "func", None) is pipeline
    model, data = make(tmp_path) if by_folder else make(), data(tmp_path) if callable(data) else data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if words:
            with pytest.raises(ValueError, match=words):
                rs.record(model, data, progress=False, **options)
            return
        recorded = rs.record(model, data, progress=False, **options)
        table = rs.compare("cka", recorded, progress=False)
        axes = rs.plots.heatmap(table)
    plt.close(axes.figure)
    values = table.values.to_numpy()
    assert len(recorded) > 2 and np.isfinite(values).all() and np.allclose(np.diag(values), 1, atol=1e-5)
    assert list(recorded)[-1].layer.startswith("output") or name in ("CLIPModel", "SiglipModel"), (
        "their output is one table for the batch"
    )


def test_there_are_more_than_twenty():
    assert len(CARDS) > 20 and sum(not words for *_, words in CARDS.values()) > 20
