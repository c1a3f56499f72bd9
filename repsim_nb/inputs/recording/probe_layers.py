"""`ProbeLayers`: the calls of modules that the requested layers are."""

from __future__ import annotations

from repsim_nb.inputs.models.axes import find_features
from repsim_nb.inputs.models.layers import CONTAINERS
from repsim_nb.inputs.models.running import list_parents
from repsim_nb.inputs.pooling import Pooling

from .preparation import Preparation
from .probe_outputs import ModuleCall, Part, Pass
from .probe_passes import ProbePasses, label_part
from .request import LayerRequest


class ProbeLayers(ProbePasses):
    """The layers of a probe, once its samples have run together."""

    def __init__(self, run: Preparation, request: LayerRequest, pooling: Pooling, given_size: int | None) -> None:
        super().__init__(run, request, pooling, given_size)
        self.calls: dict[str, ModuleCall] = {}  # the call of a module that each layer is
        self.problems: dict[str, str] = {}  # why a layer cannot be recorded
        self.not_run: set[str] = set()  # layers that need no warning, since they never ran

    def _name_layers(self, alone: Pass) -> None:
        """Find the call of each requested layer; a layer that runs k times is k layers."""
        for layer in self.request.layers:
            if self.is_scripted(layer):
                self.problems[layer] = (
                    "was compiled by torch.jit, so its output cannot be recorded. Use the layer before or after it"
                )
                continue
            name, call, _ = self.address_of(layer)
            times = self.reference.calls[name]
            if call is not None and not 1 <= call <= times:
                self.problems[layer] = f"did not run that often: '{name}' ran {times} times in the forward pass"
            elif not times and alone.calls[name]:
                self.problems[layer] = (
                    f"did not run for a batch of {len(self.numbers)}, though it did for one sample alone: it runs for"
                    " some samples only"
                )
            elif not times:
                self.problems[layer] = f"did not run in the forward pass, so it has no activations{self._near(layer)}"
                self.not_run.add(layer)
            else:
                for number in range(1, times + 1) if call is None else (call,):
                    self._name_call(layer, number, alone)

    def _name_call(self, layer: str, number: int, alone: Pass) -> None:
        """Note the layer that a call is, or the layers that the items of its output are."""
        name, call, part = self.address_of(layer)
        label = f"{name}#{number}" if call is None and self.reference.calls[name] > 1 else layer
        items: list[Part] = [*self._items(name, number, alone)] if part is None else []
        for item in items or [part]:
            whole = label if not items and label == layer else f"{label}{label_part(item)}"
            self.calls[whole] = name, number, item
            if problem := self.reference.given[name, number, item].problem:
                self.problems[whole] = problem

    def _items(self, name: str, number: int, alone: Pass) -> list[int]:
        """Return the items of the output of a call that are recorded one by one; [] if one tensor stands for all.

        They are representations if all have an axis of samples and it is certain which axes contain their features; the
        output of a block is divided in the same way as that of other blocks of its class.
        """

        def representations(which: tuple[str, int]) -> list[int]:
            items = [part for part in self.reference.parts.get(which, ()) if isinstance(part, int)]
            return [item for item in items if self._is_representation((*which, item), alone)]

        found, kind = representations((name, number)), type(self.modules.get(name))
        if len(found) > 1 or not found or name not in self.modules or kind in CONTAINERS:
            return found if len(found) > 1 else []
        others = [which for which in self.reference.parts if which[0] in self.modules and which[0] != name]
        alike = (which for which in others if type(self.modules[which[0]]) is kind)
        return found if any(len(representations(which)) > 1 for which in alike) else []

    def _is_representation(self, call: ModuleCall, alone: Pass) -> bool:
        """Return whether a part of an output has an axis of samples and known axes of features."""
        output, single = self.reference.given[call], alone.given.get(call)
        if single is None or output.lacks_samples:
            return False
        if output.shape[:1] != (len(self.numbers),) or single.shape[:1] != (1,):
            return False
        return find_features(single.axes, single.shape) is not None

    def lacks_samples(self, layer: str) -> bool:
        """Return whether a layer ran and has no axis of samples."""
        call = self.calls.get(layer)
        return call is not None and self.reference.given[call].lacks_samples

    def changing_blocks(self) -> str:
        """Describe blocks of one class that return several tensors and change the shape of the first; else ""."""
        rows: dict[tuple[str, type], dict[tuple[int, ...], str]] = {}
        for layer, call in self.calls.items():
            output = self.reference.given[call]
            if call[2] is None and call[0] in self.modules and layer not in self.problems and len(output.shape) > 2:
                seen = rows.setdefault((call[0].rpartition(".")[0], type(self.modules[call[0]])), {})
                seen.setdefault(output.shape, layer)
                if len(seen) > 1 and any(self.reference.given[self.calls[one]].first_of > 1 for one in seen.values()):
                    (shape, first), (other, second) = list(seen.items())[:2]
                    return (
                        f"'{first}' gives {shape} and '{second}', a block of the same class, {other}: each returns"
                        " several tensors, and the first of them is recorded. If they are several streams, record the"
                        f" items: '{first}[0]', '{first}[1]'"
                    )
        return ""

    def _near(self, layer: str) -> str:
        """Return what ran around a layer that did not run, or inside it."""
        for name in reversed(list_parents(layer)):
            if self.reference.calls.get(name):
                return f", but '{name}', which contains it, did"
        inside = any(name.startswith(f"{layer}.") and number for name, number in self.reference.calls.items())
        return f", but its parts did: '{layer}.*'" if inside else ""
