"""`explore`: an explorer for any function that draws."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from repsim_nb.support.errors import unknown_name

from .base import Explorer
from .code import parameters
from .panel import WIDE


def _control(name: str, choice: Any) -> widgets.Widget:
    """Return the widget for the choices of an argument."""
    style: dict[str, Any] = {"description": name.replace("_", " "), **WIDE}
    if isinstance(choice, widgets.Widget):
        return choice
    if isinstance(choice, bool):
        return widgets.Checkbox(choice, indent=False, **style)
    if isinstance(choice, (list, dict)) and choice:
        return widgets.Dropdown(options=choice, **style)
    numbers = (
        isinstance(choice, tuple)
        and len(choice) in (2, 3)
        and all(isinstance(c, (int, float)) and not isinstance(c, bool) for c in choice)
    )
    if numbers and choice[0] < choice[1]:
        whole = all(isinstance(c, int) for c in choice)
        step = choice[2] if len(choice) == 3 else 1 if whole else (choice[1] - choice[0]) / 100
        kind = widgets.IntSlider if whole else widgets.FloatSlider
        return kind(value=choice[0], min=choice[0], max=choice[1], step=step, continuous_update=False, **style)
    raise ValueError(
        f"The control '{name}' must be a list or dict (drop-down), (low, high) or (low, high, step) (slider), or"
        f" True or False (check box); got {choice!r}."
    )


def _check_arguments(draw: Callable[..., Any], controls: dict[str, Any]) -> None:
    """Raise TypeError if the controls do not fit the arguments of the function, before anything is drawn."""
    called, known = getattr(draw, "__name__", "draw"), parameters(draw)
    if known is None:
        return
    by_name = [name for name, p in known.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    anything = any(p.kind == p.VAR_KEYWORD for p in known.values())
    for name in controls:
        if name not in by_name and not anything:
            raise TypeError(
                str(unknown_name(f"argument of {called}", name, by_name, "" if by_name else "It takes none."))
            )
    for name in by_name:
        if known[name].default is inspect.Parameter.empty and name not in controls and name != "progress":
            raise TypeError(
                f"{called} needs '{name}', and no control sets it. Pass one: explore({called}, {name}=[...])."
            )


def explore(draw: Callable[..., Any], **controls: Any) -> Explorer:
    """Explore a function that draws, with a control for each of its arguments.

    Parameters
    ----------
    draw : function
        `draw(**values)` returns a matplotlib Figure, or a result that `rs.spec` accepts, such as a Comparison or an
        Embedding. If it has a parameter `progress`, pass that on to `rs.compare` or `rs.record`: then the explorer
        shows progress and can stop the function before its end.
    **controls
        The choices for each argument, by name. A list or {label: value} is a drop-down, (low, high) or (low, high,
        step) is a slider, True or False is a check box. An ipywidgets widget is used as it is; a SelectionSlider gets a
        button that plays it. Drop-downs and sliders start at the default of the argument if it is one of the choices,
        and otherwise at the first choice.

    Returns
    -------
    Explorer
        It calls `draw` again whenever a control changes.

    Raises
    ------
    TypeError
        If `draw` is not a function, does not take an argument with the name of a control, or needs an argument that no
        control sets.
    ValueError
        If the choices for an argument have none of these forms.

    Examples
    --------
    >>> import repsim_nb as rs
    >>> rng = np.random.default_rng(0)
    >>> x, noise = rng.normal(size=(20, 3)), rng.normal(size=(20, 3))
    >>> def noisy(amount):
    ...     return rs.compare("cka", {"x": x, "noisy": x + amount * noise})
    >>> explorer = rs.explorers.explore(noisy, amount=[0.1, 1.0]).wait()
    >>> explorer.code(), explorer.spec.row_labels
    ('noisy(amount=0.1)', ('x', 'noisy'))
    """
    if not callable(draw):
        raise TypeError(f"explore takes a function first, explore(draw, layer=[...]); got {type(draw).__name__}.")
    _check_arguments(draw, controls)
    objects = {
        name: _with_labels(choice)
        for name, choice in controls.items()
        if isinstance(choice, (list, dict)) and not _is_plain(choice)
    }
    shown = {
        name: _control(name, list(objects[name]) if name in objects else choice) for name, choice in controls.items()
    }
    for name, parameter in (parameters(draw) or {}).items():
        if name in shown and not isinstance(controls[name], widgets.Widget) and name not in objects:
            _start_at(shown[name], parameter.default)
    called = getattr(draw, "__name__", "draw")

    def code(**values: Any) -> str:
        words = [
            f"{name}={f'{name}_choices[{value!r}]' if name in objects else repr(value)}"
            for name, value in values.items()
        ]
        return f"{called if called.isidentifier() else 'draw'}({', '.join(words)})"

    return Explorer(draw, shown, code, objects=objects)


def _start_at(control: widgets.Widget, default: Any) -> None:
    """Set a drop-down or a slider to the default of its argument, if that is one of the choices."""
    if isinstance(control, widgets.Dropdown):
        values = [value for _, value in control._options_full]
        if isinstance(default, (str, int, float, bool)) and any(
            type(value) is type(default) and value == default for value in values
        ):
            control.value = default
    elif isinstance(control, (widgets.IntSlider, widgets.FloatSlider)):
        kinds = int if isinstance(control, widgets.IntSlider) else (int, float)
        fits = isinstance(default, kinds) and not isinstance(default, bool)
        if fits and control.min <= default <= control.max:
            control.value = default


def _is_plain(choice: list[Any] | dict[str, Any]) -> bool:
    """Return whether all values can be options of a drop-down: they print as Python and compare as one value."""
    return all(
        isinstance(value, (str, int, float, bool, type(None)))
        for value in (choice.values() if isinstance(choice, dict) else choice)
    )


def _with_labels(choice: list[Any] | dict[str, Any]) -> dict[str, Any]:
    """Return the choices with a label for each."""
    return (
        choice
        if isinstance(choice, dict)
        else {f"{i}: {type(value).__name__}": value for i, value in enumerate(choice)}
    )
