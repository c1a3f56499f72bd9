"""The pictures that an explorer has shown, which stay live in a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from repsim_nb.display.reports.live_pictures import MOST_BYTES, live_data, pack, panels_of
from repsim_nb.display.specs import FigureSpec

_MOST = 12  # pictures


class History:
    """The last pictures by the values of the controls."""

    def __init__(self) -> None:
        self._shown: dict[str, tuple[dict[str, Any], FigureSpec]] = {}
        self._packed: dict[str, tuple[FigureSpec, str]] = {}

    def add(self, settings: Mapping[str, Any], shown: FigureSpec) -> None:
        """Add a picture, in place of an earlier one with the same values of the controls."""
        if panels_of(shown):
            key = repr(settings)
            self._shown.pop(key, None)
            self._shown[key] = dict(settings), shown
            for oldest in list(self._shown)[:-_MOST]:
                del self._shown[oldest]
                self._packed.pop(oldest, None)

    def data(self, current: FigureSpec | None, controls: Mapping[str, Any]) -> dict[str, Any]:
        """Return {MIME type: data} of the pictures, of which the current one is chosen first.

        Only the latest pictures are there if all are too large for a notebook; {} if the current one is too large.
        """
        keys: list[str] = []
        room = MOST_BYTES
        for key in sorted(self._shown, key=lambda key: self._shown[key][1] is current)[::-1]:
            room -= len(self._pack(key)) + 200
            if room < 0:
                break
            keys.append(key)
        if not keys or self._shown[keys[0]][1] is not current:
            return {}
        keys = [key for key in self._shown if key in keys]  # in the order of drawing
        settings = [self._shown[key][0] for key in keys]
        varying = [name for name in settings[0] if len({repr(one.get(name)) for one in settings}) > 1]
        titles = {name: getattr(controls.get(name), "description", "") or name for name in varying}
        names = [
            " · ".join(
                str(values[name]) if len(varying) == 1 or isinstance(values[name], str) else f"{title} {values[name]}"
                for name, title in titles.items()
            )
            for values in settings
        ]
        label = next(iter(titles.values())) if len(titles) == 1 else "picture"
        at = next(place for place, key in enumerate(keys) if self._shown[key][1] is current)
        return live_data([(name, self._pack(key)) for name, key in zip(names, keys, strict=True)], label, at)

    def _pack(self, key: str) -> str:
        shown = self._shown[key][1]
        if key not in self._packed or self._packed[key][0] is not shown:
            self._packed[key] = shown, pack(panels_of(shown))
        return self._packed[key][1]
