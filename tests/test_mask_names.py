"""Masks of unusual names, and other columns of integers next to a mask."""

import numpy as np
import pytest
import torch
from torch import nn

import repsim_nb as rs


class Encoder(nn.Module):
    def __init__(self, inverted=False):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.block, self.inverted = (
            nn.Embedding(100, 8),
            nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True),
            inverted,
        )

    def forward(self, ids, mask):
        return self.block(self.embed(ids), src_key_padding_mask=mask if self.inverted else ~mask)


class Kinds(Encoder):
    def forward(self, input_ids, attention_mask, token_type_ids):
        kinds, h = token_type_ids[..., None].float(), self.embed(input_ids)
        h = h + (h * kinds).sum(1, keepdim=True) / kinds.sum(1, keepdim=True)
        return self.block(h, src_key_padding_mask=attention_mask == 0)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.gru = nn.Embedding(100, 8), nn.GRU(8, 8, batch_first=True)

    def forward(self, input_ids, loss_mask=None):
        return self.gru(self.embed(input_ids))[0]


@pytest.fixture
def texts():
    torch.manual_seed(1)
    real = torch.ones(12, 10, dtype=torch.bool)
    real[:, 8:] = False
    real[3:6, 5:] = False
    return torch.randint(5, 90, (12, 10)), real


def rec(module, data):
    return np.asarray(
        rs.record(rs.load_model(module.eval(), name="m"), data, "output", pool="mean", progress=False)["output"]
    )


def over(rows, real):
    return ((rows * real[..., None]).sum(1) / real.sum(1, keepdim=True)).detach().numpy()


def test_a_mask_by_another_name_is_followed_or_refused_if_it_is_inverted(texts):
    ids, real = texts
    np.testing.assert_allclose(
        rec(Encoder(), {"ids": ids, "mask": real}), over(Encoder().eval()(ids, real), real), atol=1e-5
    )
    with pytest.raises(ValueError, match="layer 'output' of 'm' "):
        rec(Encoder(inverted=True), {"ids": ids, "mask": ~real})


def test_a_mask_on_which_nothing_depends_is_refused(texts):
    with pytest.raises(ValueError, match="'loss_mask' may mark.*nothing in the model depends on it"):
        rec(Recurrent(), {"input_ids": texts[0], "loss_mask": texts[1]})


def test_kinds_of_tokens_beside_a_mask_do_not_hide_it(texts):
    ids, real = texts
    kinds = torch.zeros_like(ids)
    kinds[:, :3] = 1
    data = {"input_ids": ids, "attention_mask": real.long(), "token_type_ids": kinds}
    np.testing.assert_allclose(rec(Kinds(), data), over(Kinds().eval()(**data), real), atol=1e-5)
