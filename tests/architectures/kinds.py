"""What an entry of the list says, and the helpers that entries are written with."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

Columns = dict[str, Any]
FORMS = "row", "tokens", "channels", "time_first", "flat"
MODULES = {
    "sentence-transformers": "sentence_transformers",
    "plain torch": "torch",
}  # where a library's module has another name


@dataclass(frozen=True)
class Form:
    """The layout of a layer's output.

    kind: "row" (n, p); "tokens" (n, ..., p), places in between; "channels" (n, p, ...), places behind; "time_first" (t,
    n, p); "flat" (n · t, p), the rows of all samples one after the other.
    part: which part of the output is meant: the name of a field, or a place in a tuple; None is the first tensor.
    real: a mask of the input; only as many places from the left are real. None: all places of a sample that runs alone
    are real.
    """

    kind: str
    part: str | int | None = None
    real: str | None = None

    @classmethod
    def read(cls, text: str) -> Form:
        """ "tokens", "tokens@logits", "tokens@1", "tokens<attention_mask" """
        kind, part, real = re.fullmatch(r"(\w+)(?:@(\w+))?(?:<(\w+))?", text).groups()
        assert kind in FORMS, kind
        return cls(kind, int(part) if part and part.isdecimal() else part, real)


@dataclass(frozen=True)
class Architecture:
    """One row of the table.

    library: the distribution that it comes from.  make: creates a small random module, always the same.  columns: the
    inputs of n samples, by name.
    layers: the blocks that a person would name, in the order in which they run -> the form of each. "block.{0..2}"
    stands for three.
    also: patterns of other layers that may be recorded (embeddings, norms, poolers) -> their form.
    refused: patterns of layers among `layers` that may be left out if a warning names them, or may be refused.
    padded: as columns, with padding on the right and a mask.  cut: one sample of it, its padding cut off; see
    `without_padding`.
    batch: the samples from a first to before a last one, if a sample is more than a row of each column.
    quick: it is among those of `make test`.  pool: the pool that is recorded.  size: what its sizes are chosen for.
    """

    name: str
    library: str
    make: Callable[[], nn.Module]
    columns: Callable[[int], Columns]
    layers: dict[str, str]
    also: dict[str, str] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    padded: Callable[[int], Columns] | None = None
    cut: Callable[[Columns, int], Columns] | None = None
    batch: Callable[[Columns, int, int], Columns] | None = None
    quick: bool = False
    pool: str = "mean"
    size: str = ""
    close: float = 1e-4

    def expected(self) -> list[str]:
        return [layer for pattern in self.layers for layer in spelled_out(pattern)]

    def form(self, layer: str) -> Form | None:
        """The form of a layer; None if nothing was written down for it. "block[1]" is the second tensor of what block
        gives.
        """
        known = {one: text for pattern, text in self.layers.items() for one in spelled_out(pattern)}
        patterns = (text for pattern, text in self.also.items() if fits(pattern, layer))
        found = known.get(layer) or next(patterns, None)
        number = re.fullmatch(r"(.+)\[(\d+)\]", layer)
        if found is None:
            return replace(form, part=int(number[2])) if number and (form := self.form(number[1])) else None
        return replace(Form.read(found), part=int(number[2])) if number else Form.read(found)

    def some(self, columns: Columns, first: int, last: int) -> Columns:
        """Samples first to last (without it), as a batch."""
        return (
            self.batch(columns, first, last)
            if self.batch
            else {name: value[first:last] for name, value in columns.items()}
        )

    def may_be_refused(self, layer: str) -> bool:
        return any(fits(pattern, layer) for pattern in self.refused)

    def installed(self) -> bool:
        return importlib.util.find_spec(MODULES.get(self.library, self.library)) is not None


def spelled_out(pattern: str) -> Iterator[str]:
    """ "a.{0..2}.b" -> a.0.b, a.1.b, a.2.b"""
    found = re.search(r"\{(\d+)\.\.(\d+)\}", pattern)
    if found is None:
        yield pattern
    else:
        for number in range(int(found[1]), int(found[2]) + 1):
            yield from spelled_out(pattern[: found.start()] + str(number) + pattern[found.end() :])


def fits(pattern: str, layer: str) -> bool:
    """* is anything."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), layer) is not None


# -- random weights


@torch.no_grad()
def spread(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give linear layers, convolutions and embeddings weights of a usual size, and biases.

    Many libraries begin with weights near zero, or at zero: then all samples give nearly the same, and a wrong row
    would not be seen.
    """
    random = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if "Norm" in type(part).__name__ and isinstance(getattr(part, "bias", None), Tensor):
            part.bias.copy_(torch.randn(part.bias.shape, generator=random) * 0.1)
        weight = getattr(part, "weight", None)
        if not isinstance(weight, Tensor) or not weight.is_floating_point() or weight.ndim < 2:
            continue
        fan = (
            weight.shape[0] if type(part).__name__ == "Conv1D" else weight[0].numel()
        )  # the Conv1D of GPT-2 is (in, out)
        std = 1.0 if isinstance(part, nn.Embedding) else fan**-0.5
        weight.copy_(torch.randn(weight.shape, generator=random) * std)
        if isinstance(getattr(part, "bias", None), Tensor):
            part.bias.copy_(torch.randn(part.bias.shape, generator=random) * 0.1)
    return module.eval()


def seeded(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """make, always with the same weights, in evaluation mode."""

    def made() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return spread(make())

    return made


def configured(model: str, config: str, **options: Any) -> Callable[[], nn.Module]:
    """A model of transformers with a configuration, both by name.

    A dict among the options is a configuration of its own where it has "config".
    """

    def make() -> nn.Module:
        import transformers

        def of(name: str, values: dict[str, Any]) -> Any:
            return getattr(transformers, name)(**{key: inner(value) for key, value in values.items()})

        def inner(value: Any) -> Any:
            return (
                of(value["config"], {k: v for k, v in value.items() if k != "config"})
                if isinstance(value, dict) and "config" in value
                else value
            )

        return getattr(transformers, model)(of(config, options))

    return seeded(make)


# -- random inputs


def normal(n: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(1000 + seed))


def whole(n: int, *shape: int, low: int = 3, high: int = 50, seed: int = 0) -> Tensor:
    """Integers from low to high - 1: ids of tokens. 0, 1 and 2 are special in many libraries, and padding."""
    return torch.randint(low, high, (n, *shape), generator=torch.Generator().manual_seed(1000 + seed))


def lengths(n: int, longest: int, shortest: int = 3, seed: int = 0) -> Tensor:
    found = torch.randint(shortest, longest + 1, (n,), generator=torch.Generator().manual_seed(1000 + seed))
    found[n // 2] = longest
    return found


def ids(
    tokens: int = 7, high: int = 50, name: str = "input_ids", **more: Callable[[int], Tensor]
) -> Callable[[int], Columns]:
    """Texts of one length.  more: other columns."""
    return lambda n: {name: whole(n, tokens, high=high), **{key: make(n) for key, make in more.items()}}


def padded_ids(
    tokens: int = 7,
    high: int = 50,
    pad: int = 0,
    shortest: int = 3,
    name: str = "input_ids",
    mask: str = "attention_mask",
    seed: int = 0,
) -> Callable[[int], Columns]:
    """Texts of different lengths, padded on the right."""

    def make(n: int) -> Columns:
        real = torch.arange(tokens) < lengths(n, tokens, shortest, seed)[:, None]
        return {name: whole(n, tokens, high=high, seed=seed).where(real, pad), mask: real.long()}

    return make


def both(*makes: Callable[[int], Columns]) -> Callable[[int], Columns]:
    """The columns of several functions."""
    return lambda n: {name: column for make in makes for name, column in make(n).items()}


def column(name: str, *shape: int, seed: int = 0) -> Callable[[int], Columns]:
    """One column of normal numbers, (n, *shape)."""
    return lambda n: {name: normal(n, *shape, seed=seed)}


def picture(
    channels: int = 3, height: int = 16, width: int | None = None, name: str = "pixel_values"
) -> Callable[[int], Columns]:
    return column(name, channels, height, width or height)


def sample(columns: Columns, i: int) -> Columns:
    """One sample as a batch of one."""
    return {name: value[i : i + 1] for name, value in columns.items()}


def without_padding(*names: str, mask: str = "attention_mask") -> Callable[[Columns, int], Columns]:
    """One sample, its padding cut off from the columns that a mask describes."""

    def cut(columns: Columns, i: int) -> Columns:
        one = sample(columns, i)
        if mask in one:
            last = int(one[mask].sum())
            one |= {name: one[name][:, :last] for name in (*names, mask) if name in one}
        return one

    return cut


def in_ci() -> bool:
    return bool(os.environ.get("CI"))
