"""Running a network to look at it: hooks that always come off, a state that is always restored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

OUTPUT = "output"  # the name of what the whole network returns (for a classifier: its logits)
Sink = Callable[[str, Any], None]


@contextmanager
def capture(module: nn.Module, layers: Sequence[str], sink: Sink) -> Iterator[None]:
    """While open, every forward pass hands each layer's output to `sink(name, tensor)`; the hooks always come off again.

    The sink is called inside the hook and must copy what it keeps: a following in-place operation may overwrite the tensor.
    """
    modules = dict(module.named_modules())

    def hook(name: str) -> Callable[..., None]:
        return lambda _module, _inputs, out: sink(name, out)

    with ExitStack() as stack:
        for name in layers:
            stack.callback((module if name == OUTPUT else modules[name]).register_forward_hook(hook(name)).remove)
        yield


@contextmanager
def evaluating(module: nn.Module, device: str | torch.device | None = None) -> Iterator[torch.device]:
    """Eval mode, no gradients, the random state kept; every training flag and the device are restored."""
    flags = {m: m.training for m in module.modules()}
    first = next((t for t in (*module.parameters(), *module.buffers())), None)
    home = first.device if first is not None else torch.device("cpu")
    place = torch.device(device) if device is not None else home
    if place.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device '{place}' was asked for, but torch sees no CUDA device here; leave device=None to run where the model is ({home})")
    try:
        module.eval()
        if place != home:
            module.to(place)
        with torch.inference_mode(), torch.random.fork_rng(devices=[]):
            yield place
    finally:
        if place != home:
            module.to(home)
        for m, flag in flags.items():
            m.training = flag


def forward(module: nn.Module, batch: Any, place: torch.device) -> Any:
    """One forward pass; a mapping enters as keyword arguments (tokenizers make such)."""
    if isinstance(batch, Mapping):
        return module(**{k: v.to(place) if isinstance(v, Tensor) else v for k, v in batch.items()})
    return module(batch.to(place) if isinstance(batch, Tensor) else batch)
