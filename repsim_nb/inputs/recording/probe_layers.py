"""`ProbeLayers`: which calls of which modules the layers are that were asked for."""

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
    """The layers of a probe, once its samples ran together.

    calls: layer -> the call of a module that it is.  problems: layer -> why it cannot be recorded.  silent: layers that
    need no warning: they never ran.
    """

    def __init__(self, run: Preparation, request: LayerRequest, pooling: Pooling, given_size: int | None) -> None:
        super().__init__(run, request, pooling, given_size)
        self.calls: dict[str, ModuleCall] = {}
        self.problems: dict[str, str] = {}
        self.silent: set[str] = set()

    def _name_layers(self, alone: Pass) -> None:
        """Find the calls that the layers asked for are; a layer that runs k times is k layers."""
        for layer in self.request.layers:
            if self.is_scripted(layer):
                self.problems[layer] = (
                    "was compiled by torch.jit, so its output cannot be recorded. Use the layer before or after it"
                )
                continue
            name, call, _ = self.address_of(layer)
            times = self.company.calls[name]
            if call is not None and not 1 <= call <= times:
                self.problems[layer] = f"did not run so often: '{name}' ran {times} times in the forward pass"
            elif not times and alone.calls[name]:
                self.problems[layer] = (
                    f"did not run for a batch of {len(self.numbers)}, though it did for one sample alone: it runs for"
                    " some samples only"
                )
            elif not times:
                self.problems[layer] = f"did not run in the forward pass, so it has no activations{self._near(layer)}"
                self.silent.add(layer)
            else:
                for number in range(1, times + 1) if call is None else (call,):
                    self._name_call(layer, number, alone)

    def _name_call(self, layer: str, number: int, alone: Pass) -> None:
        """Note that a layer is a call of its module, or several layers, the items of what that call gives."""
        name, call, part = self.address_of(layer)
        label = f"{name}#{number}" if call is None and self.company.calls[name] > 1 else layer
        items: list[Part] = [*self._items(name, number, alone)] if part is None else []
        for item in items or [part]:
            whole = label if not items and label == layer else f"{label}{label_part(item)}"
            self.calls[whole] = name, number, item
            if problem := self.company.given[name, number, item].problem:
                self.problems[whole] = problem

    def _items(self, name: str, number: int, alone: Pass) -> list[int]:
        """The items of a call's output that are recorded one by one; [] if one tensor stands for all.

        They are representations if all have an axis of samples and it is certain which axes hold their features; a
        block of a row is cut as the others of its class are.
        """

        def representations(which: tuple[str, int]) -> list[int]:
            items = [part for part in self.company.parts.get(which, ()) if isinstance(part, int)]
            return [item for item in items if self._is_representation((*which, item), alone)]

        found, kind = representations((name, number)), type(self.modules.get(name))
        if len(found) > 1 or not found or name not in self.modules or kind in CONTAINERS:
            return found if len(found) > 1 else []
        others = [which for which in self.company.parts if which[0] in self.modules and which[0] != name]
        alike = (which for which in others if type(self.modules[which[0]]) is kind)
        return found if any(len(representations(which)) > 1 for which in alike) else []

    def _is_representation(self, call: ModuleCall, alone: Pass) -> bool:
        output, single = self.company.given[call], alone.given.get(call)
        if single is None or output.problem.startswith("has no sample axis"):
            return False
        if output.shape[:1] != (len(self.numbers),) or single.shape[:1] != (1,):
            return False
        return find_features(single.axes, single.shape) is not None

    def changing_blocks(self) -> str:
        """Blocks of one class in a row that return several tensors, and whose first one changes its shape from block to
        block; "" if there are none.
        """
        rows: dict[tuple[str, type], dict[tuple[int, ...], str]] = {}
        for layer, call in self.calls.items():
            output = self.company.given[call]
            if call[2] is None and call[0] in self.modules and layer not in self.problems and len(output.shape) > 2:
                seen = rows.setdefault((call[0].rpartition(".")[0], type(self.modules[call[0]])), {})
                seen.setdefault(output.shape, layer)
                if len(seen) > 1 and any(self.company.given[self.calls[one]].first_of > 1 for one in seen.values()):
                    (shape, first), (other, second) = list(seen.items())[:2]
                    return (
                        f"'{first}' gives {shape} and '{second}', a block of the same class, {other}: each returns"
                        " several tensors, and the first of them is recorded. If they are several streams, record the"
                        f" items: '{first}[0]', '{first}[1]'"
                    )
        return ""

    def _near(self, layer: str) -> str:
        """What did run, around a layer that did not or in it."""
        for name in reversed(list_parents(layer)):
            if self.company.calls.get(name):
                return f"; '{name}', which it is a part of, did"
        inside = any(name.startswith(f"{layer}.") and number for name, number in self.company.calls.items())
        return f"; its parts did: '{layer}.*'" if inside else ""
