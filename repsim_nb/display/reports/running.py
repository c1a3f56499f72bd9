"""Run a notebook with parameters, from Python or from the command line."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repsim_nb.support.errors import check_name, import_library, join_names, unknown_name
from repsim_nb.support.files import shipped_folder
from repsim_nb.support.summaries import linked_to

from .pages import to_html


def notebook_path(notebook: str | Path) -> Path:
    """Return the path of a notebook; a notebook that ships is found by its name.

    Parameters
    ----------
    notebook : str or Path
        The path of an ``.ipynb`` file, or the name of a notebook that ships, such as "report_comparison".

    Returns
    -------
    Path
        The path of the file. Copy a notebook that ships before you change it.

    Raises
    ------
    ValueError
        If there is no such file or name; the message names the nearest one.

    Examples
    --------
    >>> from repsim_nb import reports
    >>> reports.notebook_path("report_comparison").name
    'report_comparison.ipynb'
    """
    path = Path(notebook).expanduser()
    if path.suffix == ".ipynb" and path.is_file():
        return path
    ours = {p.stem: p for p in sorted(shipped_folder("notebooks").glob("*.ipynb"))}
    if path.stem in ours and path.parent == Path("."):
        return ours[path.stem]
    raise unknown_name("notebook", notebook, ours, "Or give the path of an .ipynb file.")


def run(notebook: str | Path, out: str | Path, *, progress: bool = False, **parameters: Any) -> Path:
    """Run a notebook with parameters, and write it as one HTML file.

    The executed notebook is written next to the HTML file. If the notebook declares the parameter `out_dir`, it is set
    to `out`, so that tables and pictures are there as well.

    Parameters
    ----------
    notebook : str or Path
        A path, or the name of a notebook that ships, such as "report_comparison".
    out : str or Path
        The folder of the report; it is created if needed.
    progress : bool
        Show a progress bar over cells.
    **parameters
        Values for the parameters of the notebook, which its cell with the tag ``parameters`` declares: text, numbers,
        True, False, None, lists and dicts of them; never code. A value must have the type of the default in that cell
        (any type, if the default is None). A single text for a list is a list of one.

    Returns
    -------
    Path
        The path of the HTML file.

    Raises
    ------
    TypeError
        If a value is not plain data, or has another type than the default. Nothing is run.
    ValueError
        If the notebook is unknown or does not declare a parameter, or `out` is the folder of the notebook; for unknown
        measures, data sets and models of the zoo in reports that ship. Nothing is run.
    RuntimeError
        If a cell fails; with its message.
    ModuleNotFoundError
        If papermill is not installed; the message names the extra.

    Examples
    --------
    >>> from repsim_nb import reports
    >>> reports.run("report_comparison", "out", model="mine")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: unknown parameter of report_comparison.ipynb 'model'...
    """
    papermill = import_library("papermill", "repsim_nb.reports")

    source = notebook_path(notebook)
    declared = _declared_parameters(source)
    for name, value in parameters.items():
        check_name(f"parameter of {source.name}", name, declared)
        _check_plain(name, value)
        value = parameters[name] = _as_lists(value)
        if isinstance(declared[name], list) and isinstance(value, str):
            value = parameters[name] = [value]
        _check_type(name, value, declared[name])
    if source.parent == shipped_folder("notebooks"):
        _check_names(parameters)
    out = Path(out).expanduser().resolve()
    if source.resolve().parent == out:
        raise ValueError(
            f"out must not be the folder of the notebook: the report would overwrite {source.name} itself; got {out}."
        )
    out.mkdir(parents=True, exist_ok=True)
    if "out_dir" in declared:
        parameters.setdefault("out_dir", str(out))
    executed = out / f"{source.stem}.ipynb"
    for earlier in (executed, executed.with_suffix(".html")):  # a failed run must not leave an older report behind
        earlier.unlink(missing_ok=True)
    try:
        with linked_to(""):  # a report is read where the documentation may not be
            papermill.execute_notebook(
                str(source),
                str(executed),
                parameters=parameters,
                kernel_name="python3",
                progress_bar=progress,
                cwd=str(out),
                extra_arguments=["--IPKernelApp.log_level=50"],
            )
    except papermill.PapermillExecutionError as error:
        raise RuntimeError(
            f"{source.name} failed in cell {error.exec_count}: {error.ename}: {error.evalue.rstrip('.')}. The cells"
            f" that were run are in {executed}."
        ) from error
    return to_html(executed)


def _declared_parameters(source: Path) -> dict[str, Any]:
    """Return the parameters that a notebook declares in its cell with the tag `parameters`, with their defaults.

    The default is None if it is not plain data.
    """
    papermill = import_library("papermill", "repsim_nb.reports")
    defaults = {}
    for name, about in papermill.inspect_notebook(str(source)).items():
        try:
            defaults[name] = ast.literal_eval(about["default"])
        except (ValueError, SyntaxError):
            defaults[name] = None
    return defaults


def _check_names(parameters: Mapping[str, Any]) -> None:
    """Raise ValueError for unknown names in the parameters of our reports, before a kernel starts and imports torch."""
    from repsim_nb import measures
    from repsim_nb.inputs.datasets.sources import DATASETS
    from repsim_nb.inputs.models.shipped_names import zoo_names

    for name in parameters.get("measures", ()):
        measures.get(name)
    data = parameters.get("dataset")
    if data is not None and not Path(data).expanduser().is_dir():
        check_name("dataset", data, DATASETS)
    for spec in (*parameters.get("models", ()), parameters.get("old"), parameters.get("new")):
        source, _, model = spec.partition(":") if isinstance(spec, str) else ("", "", "")
        if source == "zoo":
            check_name("zoo model", model, zoo_names())


def _check_type(name: str, value: Any, default: Any) -> None:
    """Raise TypeError unless a parameter has the type of its default."""
    for kind, allowed, words in (
        (bool, bool, "true or false"),  # before int, since True is an int
        (int, int, "an integer"),
        (float, (int, float), "a number"),
        (str, str, "text"),
        ((list, tuple), (list, tuple), "a list"),
        (dict, dict, "a dict"),
    ):
        if isinstance(default, kind):
            if not isinstance(value, allowed) or (isinstance(value, bool) and kind is not bool):
                raise TypeError(f"{name} must be {words}; got {value!r}.")
            return


def _check_plain(name: str, value: Any) -> None:
    """Raise TypeError unless a parameter is plain data."""
    if isinstance(value, (list, tuple)):
        for item in value:
            _check_plain(name, item)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_plain(name, key)
            _check_plain(name, item)
    elif value is not None and not isinstance(value, (str, bool, int, float)):
        raise TypeError(
            "Parameters of a report must be text, numbers, True, False, None, or lists and dicts of them; got"
            f" {type(value).__name__} in '{name}'."
        )


def _as_lists(value: Any) -> Any:
    """Return a parameter with lists in place of tuples, which papermill would write as text."""
    if isinstance(value, (list, tuple)):
        return [_as_lists(item) for item in value]
    return {key: _as_lists(item) for key, item in value.items()} if isinstance(value, dict) else value


def parse_parameters(words: list[str]) -> dict[str, Any]:
    """Read the parameters of the command line: ["n=500", "models=a,b"] -> {"n": 500, "models": ["a", "b"]}.

    Numbers, True, False, None and lists with commas are converted; all else is text.
    """
    parameters = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name.isidentifier():
            raise ValueError(f"A parameter must be written name=value; got '{word}'.")
        if text[:1] in ("[", "(", "{"):
            raise ValueError(f"A list must be written with commas alone, {name}=a,b; got '{word}'.")
        parameters[name] = [_value(part) for part in text.split(",") if part] if "," in text else _value(text)
    return parameters


def _value(text: str) -> Any:
    """Return a word of the command line as a number, True, False, None or text."""
    known = {"true": True, "false": False, "none": None}
    if text.lower() in known:
        return known[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def main(arguments: list[str]) -> int:
    """Run `python -m repsim_nb report NOTEBOOK OUT [name=value ...]`, and return the exit status."""
    if len(arguments) < 2:
        if arguments:
            print(f"report: OUT, the folder of the report, is missing after {arguments[0]}.", file=sys.stderr)
        print(
            "usage: python -m repsim_nb report NOTEBOOK OUT [name=value ...]\nnotebooks:"
            f" {join_names(p.stem for p in sorted(shipped_folder('notebooks').glob('*.ipynb')))}",
            file=sys.stderr,
        )
        return 2
    try:
        print(run(arguments[0], arguments[1], progress=sys.stderr.isatty(), **parse_parameters(arguments[2:])))
    except (ValueError, TypeError, RuntimeError, OSError) as error:
        print(f"report: {error}", file=sys.stderr)
        return 1
    return 0
