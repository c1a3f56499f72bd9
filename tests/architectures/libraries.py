"""sentence-transformers, peft, torch_geometric and lightning: what wraps a model, or takes other data than tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .kinds import Architecture, Columns, configured, ids, normal, padded_ids, seeded, whole, without_padding

BERT = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 50}
GPT2 = {"vocab_size": 50, "n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 40}
MASKED = without_padding("input_ids")


class OneDict(nn.Module):
    """A SentenceTransformer takes one dict as its only argument; here its columns are named."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, input_ids, attention_mask):
        return self.inner({"input_ids": input_ids, "attention_mask": attention_mask})["sentence_embedding"]


class Encoder(nn.Module):
    """The first module of a SentenceTransformer: a dict in, the same dict with token_embeddings out."""

    def __init__(self) -> None:
        super().__init__()
        self.auto_model = configured("BertModel", "BertConfig", **BERT)()

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        return features | {
            "token_embeddings": self.auto_model(features["input_ids"], features["attention_mask"]).last_hidden_state
        }


def sentence_model() -> nn.Module:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Dense, Normalize, Pooling

    return SentenceTransformer(
        modules=[Encoder(), Pooling(16, pooling_mode="mean"), Dense(16, 8), Normalize()], device="cpu"
    )


def with_mask(n: int) -> Columns:
    return {"input_ids": whole(n, 7), "attention_mask": torch.ones(n, 7, dtype=torch.long)}


def lora() -> nn.Module:
    import peft

    model = peft.get_peft_model(
        configured("GPT2Model", "GPT2Config", **GPT2)(), peft.LoraConfig(r=2, target_modules=["c_attn"])
    )
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight)
    return model


def prompted() -> nn.Module:
    import peft

    return peft.get_peft_model(
        configured("GPT2LMHeadModel", "GPT2Config", **GPT2)(),
        peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
    )


class Graphs(nn.Module):
    """Three graph convolutions, the mean over each graph, a head.

    The graphs of a batch lie one after the other, as in torch_geometric.
    """

    def __init__(self) -> None:
        super().__init__()
        from torch_geometric.nn import GCNConv

        self.conv1, self.conv2, self.conv3, self.head = (
            GCNConv(5, 16),
            GCNConv(16, 16),
            GCNConv(16, 16),
            nn.Linear(16, 3),
        )

    def forward(self, data):
        from torch_geometric.nn import global_mean_pool

        x = data.x
        for conv in (self.conv1, self.conv2, self.conv3):
            x = conv(x, data.edge_index).relu()
        return self.head(global_mean_pool(x, data.batch))


class Molecules(Graphs):
    """The same for graphs of six nodes each, whose nodes come as (n, nodes, features) and whose edges as (n, 2,
    edges).
    """

    def forward(self, x, edges):
        from torch_geometric.data import Batch, Data

        return super().forward(
            Batch.from_data_list([Data(x=one, edge_index=pairs) for one, pairs in zip(x, edges, strict=True)])
        )


def molecules(n: int) -> Columns:
    return {"x": normal(n, 6, 5), "edges": whole(n, 2, 9, low=0, high=6)}


def lightning_module() -> nn.Module:
    import lightning

    class Classifier(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))

        def forward(self, x):
            return self.net(x)

    return Classifier()


GPT2_ALSO = {
    "*wte": "tokens",
    "*ln_f": "tokens",
    "*lm_head": "tokens",
    "word_embeddings": "tokens",
    "prompt_encoder*": "tokens",
    "*base_model": "tokens",
    "*": "tokens",
}

ARCHITECTURES = [
    Architecture(
        "SentenceTransformer",
        "sentence-transformers",
        seeded(lambda: OneDict(sentence_model())),
        with_mask,
        {"inner.0.auto_model.encoder.layer.{0..2}": "tokens", "inner.2": "row@sentence_embedding", "output": "row"},
        {
            "inner.0.auto_model.embeddings*": "tokens",
            "inner.0.auto_model.pooler*": "row",
            "inner.0*": "tokens@token_embeddings",
            "inner*": "row@sentence_embedding",
        },
        padded=padded_ids(),
        cut=MASKED,
        quick=True,
        size="its modules hand on one dict",
    ),
    Architecture(
        "GPT-2 with LoRA",
        "peft",
        seeded(lora),
        ids(),
        {"base_model.model.h.{0..2}": "tokens", "output": "tokens"},
        {"base_model.model.wte": "tokens", "base_model.model.ln_f": "tokens"},
        padded=padded_ids(),
        cut=MASKED,
        quick=True,
    ),
    Architecture(
        "GPT-2 with prompt tuning",
        "peft",
        seeded(prompted),
        with_mask,
        {"base_model.transformer.h.{0..2}": "tokens", "output": "tokens@logits"},
        GPT2_ALSO,
        refused=("*",),
        padded=padded_ids(),
        cut=MASKED,
        quick=True,
        size="7 tokens, 10 inside",
    ),
    Architecture(
        "GCN",
        "torch_geometric",
        seeded(Molecules),
        molecules,
        {"output": "row"},
        {"conv*": "flat", "head": "row"},
        quick=True,
        size="6 nodes a graph; convolutions give (all nodes, width)",
    ),
    Architecture(
        "Lightning module",
        "lightning",
        seeded(lightning_module),
        lambda n: {"x": normal(n, 6)},
        {"net.1": "row", "net.3": "row", "output": "row"},
        quick=True,
    ),
]
