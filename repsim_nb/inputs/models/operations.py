"""The rules for what operations of torch do to axes, by the name of the operation."""

from __future__ import annotations

from . import shape_rules as shapes
from . import weight_rules as weights
from .axes import PLACES, Rule

IGNORED = {  # they give no tensor, or change nothing
    *("shape", "size", "dim", "ndim", "device", "dtype", "numel", "stride", "layout", "names", "nbytes", "itemsize"),
    *("is_floating_point", "is_complex", "is_cuda", "is_contiguous", "is_quantized", "is_nested", "is_sparse"),
    *("is_leaf", "is_meta", "requires_grad", "grad_fn", "backward", "data_ptr", "element_size", "storage", "version"),
    *("untyped_storage", "item", "tolist", "numpy", "all", "any", "equal", "allclose", "__len__", "__setitem__"),
    *("__bool__", "__int__", "__float__", "__index__", "__repr__", "__format__"),
}

_RULES: list[tuple[Rule, tuple[str, ...]]] = [
    # the same numbers, of another type or in another place; a second tensor is only an example
    (lambda call: call.before, ("to", "type", "type_as", "clone", "detach", "contiguous", "copy")),
    (lambda call: call.before, ("index_add", "index_copy", "index_fill", "index_put")),
    # other values at the same places
    (lambda call: call.before if len(call.axes) == call.out.ndim else None, ("masked_scatter",)),
    (weights.linear, ("linear", "bilinear")),
    (weights.embedding, ("embedding",)),
    (weights.convolution, ("convolution", "conv1d", "conv2d", "conv3d")),
    (weights.convolution, ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")),
    (weights.along(1), ("batch_norm", "group_norm", "prelu", "local_response_norm")),
    (weights.along(1, PLACES), ("instance_norm",)),
    (weights.layer_norm, ("layer_norm", "rms_norm")),
    (weights.recurrent, ("lstm", "gru", "rnn_tanh", "rnn_relu")),
    (weights.pack, ("pack_padded_sequence",)),
    (weights.unpack, ("pad_packed_sequence",)),
    (weights.attention, ("scaled_dot_product_attention",)),
    (weights.multi_head, ("multi_head_attention_forward",)),
    (weights.product, ("matmul", "linalg_matmul", "bmm", "mm", "__matmul__", "mv")),
    (weights.reversed_product, ("__rmatmul__",)),
    (weights.added_product, ("addmm", "baddbmm")),
    (weights.einsum, ("einsum",)),
    (weights.make, ("embedding_bag", "new_zeros", "new_ones", "new_full", "new_empty", "new_tensor", "zeros", "ones")),
    (weights.make, ("full", "empty", "arange", "randn", "rand", "tensor", "as_tensor", "linspace", "eye", "one_hot")),
    (weights.make, ("as_strided", "masked_select", "nonzero", "unique", "bincount", "meshgrid", "inner", "outer")),
    (weights.make, ("linalg_multi_dot", "tensordot", "kron", "cdist", "diag", "diagonal")),
    (weights.make, ("tril_indices", "triu_indices")),
    (shapes.permutation(shapes.swap), ("transpose", "swapaxes", "swapdims")),
    (shapes.permutation(shapes.permute), ("permute",)),
    (shapes.permutation(shapes.move), ("movedim", "moveaxis")),
    (shapes.permutation(lambda n, call: [*range(n - 2), n - 1, n - 2]), ("mT", "mH", "adjoint")),
    (shapes.permutation(lambda n, call: list(range(n))[::-1]), ("t", "T", "H")),
    (shapes.reshape, ("view", "reshape", "flatten", "unflatten", "view_as", "reshape_as", "ravel", "unsafe_view")),
    (shapes.unsqueeze, ("unsqueeze",)),
    (shapes.squeeze, ("squeeze",)),
    (shapes.reduce, ("mean", "sum", "amax", "amin", "prod", "var", "std", "logsumexp", "norm", "max", "min", "median")),
    (shapes.reduce, ("argmax", "argmin", "var_mean", "std_mean", "nanmean", "nansum", "count_nonzero")),
    (shapes.join, ("cat", "concat", "concatenate")),
    (shapes.stack, ("stack",)),
    (shapes.cut, ("chunk", "split", "tensor_split", "split_with_sizes", "hsplit", "vsplit")),
    (shapes.cut, ("unsafe_split", "unsafe_chunk")),
    (shapes.drop_axis, ("unbind", "select")),
    (shapes.resize, ("narrow", "interpolate", "upsample", "repeat_interleave", "pixel_shuffle", "pixel_unshuffle")),
    (shapes.resize, ("grid_sample", "fold")),
    (shapes.reorder, ("roll", "fliplr", "flipud", "sort", "argsort", "topk", "gather", "index_select", "flip")),
    (shapes.reorder, ("take_along_dim", "rot90", "scatter", "scatter_add")),
    (shapes.pad, ("pad",)),
    (shapes.unfold, ("unfold",)),
    (shapes.gate, ("glu",)),
    (shapes.index, ("__getitem__",)),
    (shapes.expand, ("expand", "expand_as", "broadcast_to", "repeat", "tile")),
]
_POOLS = ("avg", "max", "adaptive_avg", "adaptive_max", "lp", "fractional_max", "boolean_dispatch")

RULES: dict[str, Rule] = {
    **{name: rule for rule, names in _RULES for name in names},
    **{f"{kind}_pool{k}d": shapes.pooling(k) for k in (1, 2, 3) for kind in _POOLS},
    **{f"{kind}_pool{k}d_with_indices": shapes.pooling(k) for k in (1, 2, 3) for kind in ("max", "adaptive_max")},
}
