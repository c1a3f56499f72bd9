"""Sound and time series: models of transformers that read (n, time) or (n, time, variables)."""

from __future__ import annotations

import torch
from torch import nn

from .kinds import (
    Architecture,
    Columns,
    both,
    column,
    configured,
    ids,
    lengths,
    normal,
    padded_ids,
    seeded,
    whole,
    without_padding,
)

LIBRARY = "transformers"
WAVE = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": (8, 8),
    "conv_stride": (5, 2),
    "conv_kernel": (10, 3),
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    "num_feat_extract_layers": 2,
    "feat_extract_norm": "layer",
}
WAVE_ALSO = {
    "feature_extractor.*": "channels",
    "feature_projection*": "tokens",
    "encoder.pos_conv_embed*": "tokens",
    "encoder.layer_norm": "tokens",
    "encoder": "tokens",
    "encoder.pos_conv_embed.conv": "channels",
}


def waves(n: int) -> Columns:
    """Clips of different length, padded with zeros on the right; the ends fall where a frame ends."""
    real = torch.arange(410) < (10 * lengths(n, 40, 15) + 10)[:, None]
    return {"input_values": normal(n, 410) * real, "attention_mask": real.long()}


def wave_model(name: str, model: str, config: str, time: int = 410, **more) -> Architecture:
    return Architecture(
        name,
        LIBRARY,
        configured(model, config, **WAVE | more.pop("options", {})),
        column("input_values", time),
        {"feature_extractor": "channels", "encoder.layers.{0..2}": "tokens", "output": "tokens"},
        WAVE_ALSO,
        **more,
    )


def series(n: int, past: int, future: int = 0) -> Columns:
    found = {
        "past_values": normal(n, past),
        "past_time_features": normal(n, past, 2, seed=1),
        "past_observed_mask": normal(n, past) * 0 + 1,
    }
    return found | (
        {"future_values": normal(n, future, seed=2), "future_time_features": normal(n, future, 2, seed=3)}
        if future
        else {}
    )


def trajectories(n: int) -> Columns:
    return {
        "states": normal(n, 5, 4),
        "actions": normal(n, 5, 3, seed=1),
        "rewards": normal(n, 5, 1, seed=2),
        "returns_to_go": normal(n, 5, 1, seed=3),
        "timesteps": whole(n, 5, low=0, high=20),
        "attention_mask": whole(n, 5, low=1, high=2),
    }


def quantised(n: int) -> Columns:
    return {"input_values": normal(n, 1, 320)}


WHISPER = {
    "vocab_size": 50,
    "num_mel_bins": 8,
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "max_source_positions": 10,
    "max_target_positions": 12,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
WHISPER_ALSO = {
    "encoder.conv1": "channels",
    "encoder.conv2": "channels",
    "*layer_norm": "tokens",
    "decoder.embed_tokens": "tokens",
    "*embed_positions*": "tokens",
    "encoder": "tokens",
}


def patch_tst() -> nn.Module:
    return configured(
        "PatchTSTModel",
        "PatchTSTConfig",
        num_input_channels=3,
        context_length=32,
        patch_length=8,
        patch_stride=8,
        d_model=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        ffn_dim=32,
    )()


def vits_texts(n: int) -> Columns:
    return {"input_ids": whole(n, 7)}


class Posterior(nn.Module):
    """The encoder of VITS that reads spectrograms, (n, channels, time), without its random draw."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import VitsConfig
        from transformers.models.vits.modeling_vits import VitsPosteriorEncoder

        inner = VitsPosteriorEncoder(
            VitsConfig(
                hidden_size=16,
                flow_size=12,
                spectrogram_bins=12,
                posterior_encoder_num_wavenet_layers=3,
                wavenet_kernel_size=3,
            )
        )
        self.pre, self.wavenet, self.proj = inner.conv_pre, inner.wavenet, inner.conv_proj

    def forward(self, spectrogram):
        x = self.pre(spectrogram)
        return self.proj(self.wavenet(x, spectrogram[:, :1] * 0 + 1))


ARCHITECTURES = [
    wave_model(
        "Wav2Vec2",
        "Wav2Vec2Model",
        "Wav2Vec2Config",
        padded=waves,
        cut=without_padding("input_values"),
        refused=("*",),
        quick=True,
    ),
    wave_model("Wav2Vec2, frames = width", "Wav2Vec2Model", "Wav2Vec2Config", time=165, size="16 frames, width 16"),
    wave_model(
        "HuBERT", "HubertModel", "HubertConfig", padded=waves, cut=without_padding("input_values"), refused=("*",)
    ),
    Architecture(
        "Whisper",
        LIBRARY,
        configured("WhisperModel", "WhisperConfig", **WHISPER),
        both(column("input_features", 8, 20), ids(6, name="decoder_input_ids")),
        {
            "encoder.conv1": "channels",
            "encoder.conv2": "channels",
            "encoder.layers.{0..1}": "tokens",
            "decoder.layers.{0..1}": "tokens",
            "output": "tokens",
        },
        WHISPER_ALSO,
        padded=both(
            column("input_features", 8, 20), padded_ids(6, name="decoder_input_ids", mask="decoder_attention_mask")
        ),
        cut=without_padding("decoder_input_ids", mask="decoder_attention_mask"),
        quick=True,
    ),
    Architecture(
        "Whisper, frames = width",
        LIBRARY,
        configured("WhisperModel", "WhisperConfig", **WHISPER | {"max_source_positions": 16}),
        both(column("input_features", 8, 32), ids(8, name="decoder_input_ids")),
        {
            "encoder.conv1": "channels",
            "encoder.conv2": "channels",
            "encoder.layers.{0..1}": "tokens",
            "decoder.layers.{0..1}": "tokens",
            "output": "tokens",
        },
        WHISPER_ALSO,
        quick=True,
        size="16 frames, width 16",
    ),
    Architecture(
        "Speech2Text",
        LIBRARY,
        configured(
            "Speech2TextModel",
            "Speech2TextConfig",
            vocab_size=50,
            d_model=16,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=32,
            decoder_ffn_dim=32,
            input_feat_per_channel=8,
            num_conv_layers=1,
            conv_kernel_sizes=[3],
            conv_channels=16,
            max_source_positions=40,
            max_target_positions=12,
        ),
        lambda n: {"input_features": normal(n, 20, 8), "decoder_input_ids": whole(n, 6)},
        {"encoder.layers.{0..1}": "tokens", "decoder.layers.{0..1}": "tokens", "output": "tokens"},
        {
            "encoder.conv": "tokens",
            "encoder.conv.conv_layers.0": "channels",
            "*layer_norm": "tokens",
            "decoder.embed_tokens": "tokens",
            "*embed_positions*": "tokens",
        },
    ),
    Architecture(
        "Audio Spectrogram Transformer",
        LIBRARY,
        configured(
            "ASTModel",
            "ASTConfig",
            hidden_size=16,
            num_hidden_layers=3,
            num_attention_heads=2,
            intermediate_size=32,
            max_length=24,
            num_mel_bins=16,
            patch_size=8,
            frequency_stride=8,
            time_stride=8,
        ),
        column("input_values", 24, 16),
        {"layers.{0..2}": "tokens", "output": "tokens"},
        {"embeddings*": "tokens", "layernorm": "tokens"},
    ),
    Architecture(
        "EnCodec encoder",
        LIBRARY,
        seeded(lambda: encodec().encoder),
        lambda n: {"hidden_states": normal(n, 1, 320)},
        {"output": "channels"},
        {"layers*": "channels", "layers.*.lstm": "time_first"},
        quick=True,
    ),
    Architecture(
        "EnCodec encoder, time = channels",
        LIBRARY,
        seeded(lambda: encodec().encoder),
        lambda n: {"hidden_states": normal(n, 1, 128)},
        {"output": "channels"},
        {"layers*": "channels", "layers.*.lstm": "time_first"},
        quick=True,
        size="8 steps, 8 channels before the last layer",
    ),
    Architecture(
        "EnCodec",
        LIBRARY,
        seeded(lambda: encodec()),
        quantised,
        {"output": "row@audio_codes"},
        {
            "output.audio_values": "channels@audio_values",
            "encoder*": "channels",
            "decoder*": "channels",
            "*lstm": "time_first",
            "quantizer*": "row",
        },
        refused=("output",),
    ),
    Architecture(
        "VITS posterior encoder",
        LIBRARY,
        seeded(Posterior),
        column("spectrogram", 12, 20),
        {"pre": "channels", "wavenet": "channels", "output": "channels"},
        {"wavenet*": "channels"},
    ),
    Architecture(
        "VITS posterior encoder, time = channels",
        LIBRARY,
        seeded(Posterior),
        column("spectrogram", 12, 16),
        {"pre": "channels", "wavenet": "channels", "output": "channels"},
        {"wavenet*": "channels"},
        size="16 steps, 16 channels",
    ),
    Architecture(
        "PatchTST",
        LIBRARY,
        patch_tst,
        column("past_values", 32, 3),
        {"encoder.layers.{0..1}": "tokens", "output": "tokens@last_hidden_state"},
        {
            "encoder.embedder*": "tokens",
            "encoder.positional_encoder*": "tokens",
            "encoder": "tokens",
            "patchifier": "tokens",
            "*scaler": "tokens",
        },
        quick=True,
        size="(n, variables, patches, width)",
    ),
    Architecture(
        "PatchTSMixer",
        LIBRARY,
        configured(
            "PatchTSMixerModel",
            "PatchTSMixerConfig",
            num_input_channels=3,
            context_length=32,
            patch_length=8,
            patch_stride=8,
            d_model=4,
            num_layers=2,
            expansion_factor=2,
        ),
        column("past_values", 32, 3),
        {"encoder.mlp_mixer_encoder.mixers.{0..1}": "tokens", "output": "tokens@last_hidden_state"},
        {"encoder.patcher": "tokens", "encoder*": "tokens", "patching": "tokens"},
        size="4 patches, width 4",
    ),
    Architecture(
        "Time Series Transformer",
        LIBRARY,
        configured(
            "TimeSeriesTransformerModel",
            "TimeSeriesTransformerConfig",
            prediction_length=4,
            context_length=8,
            lags_sequence=[1, 2],
            num_time_features=2,
            d_model=16,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=32,
            decoder_ffn_dim=32,
        ),
        lambda n: series(n, 10, 4),
        {"encoder.layers.{0..1}": "tokens", "decoder.layers.{0..1}": "tokens", "output": "tokens@last_hidden_state"},
        {
            "*value_embedding*": "tokens",
            "*layernorm_embedding": "tokens",
            "*embed_positions": "tokens",
            "encoder": "tokens",
            "scaler*": "tokens",
        },
        size="it has a mask of observed values, (n, 10), and sees 8 steps",
    ),
    Architecture(
        "Decision Transformer",
        LIBRARY,
        configured(
            "DecisionTransformerModel",
            "DecisionTransformerConfig",
            state_dim=4,
            act_dim=3,
            hidden_size=16,
            max_ep_len=20,
            n_layer=3,
            n_head=2,
            n_positions=40,
        ),
        trajectories,
        {"encoder.h.{0..2}": "tokens", "output": "tokens@last_hidden_state"},
        {
            "embed_*": "tokens",
            "predict_*": "tokens",
            "encoder.ln_f": "tokens",
            "encoder": "tokens",
            "encoder.wpe": "tokens",
            "output.state_preds": "tokens@state_preds",
        },
        size="15 tokens for 5 steps",
    ),
    Architecture(
        "FNet",
        LIBRARY,
        configured(
            "FNetModel",
            "FNetConfig",
            vocab_size=50,
            hidden_size=16,
            num_hidden_layers=3,
            intermediate_size=32,
            max_position_embeddings=40,
        ),
        lambda n: {"input_ids": whole(n, 16)},
        {"encoder.layer.{0..2}": "tokens", "output": "tokens"},
        {"embeddings*": "tokens", "pooler*": "row"},
        size="16 tokens, width 16",
    ),
]


def encodec() -> nn.Module:
    model = configured(
        "EncodecModel",
        "EncodecConfig",
        num_filters=4,
        upsampling_ratios=[4, 4],
        hidden_size=8,
        num_lstm_layers=1,
        codebook_size=16,
        codebook_dim=8,
        target_bandwidths=[12.0],
        norm_type="weight_norm",
        use_causal_conv=True,
    )()
    for layer in model.quantizer.layers:
        nn.init.normal_(layer.codebook.embed)
    return model
