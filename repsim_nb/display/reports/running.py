"""Run a notebook with parameters, from Python or from the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from repsim_nb.support.errors import join_names, unknown_name
from repsim_nb.support.files import shipped_folder

from .pages import import_library, to_html


def notebook_path(notebook: str | Path) -> Path:
    """Return the path of a notebook; of one that ships, by its name ("report_comparison")."""
    path = Path(notebook).expanduser()
    if path.suffix == ".ipynb" and path.is_file():
        return path
    ours = {p.stem: p for p in sorted(shipped_folder("notebooks").glob("*.ipynb"))}
    if path.stem in ours and path.parent == Path("."):
        return ours[path.stem]
    raise unknown_name("notebook", notebook, ours, "Or give the path of an .ipynb file.")


def run(notebook: str | Path, out: str | Path, *, progress: bool = False, **parameters: Any) -> Path:
    """Run a notebook with these parameters, and write its report as HTML.

    The executed notebook is next to the report. A notebook that declares `out_dir` gets the folder, for tables and
    pictures of its own.

    Parameters
    ----------
    notebook : str or Path
        A path, or the name of a notebook that ships, such as "report_comparison".
    out : str or Path
        The folder of the report.
    progress : bool
        Show a bar of the cells.
    **parameters
        Plain data (text, numbers, True and False, None, lists and dicts of them); never code.

    Returns
    -------
    Path
        Of the HTML file.

    Raises
    ------
    TypeError
        Before anything runs: if a value is not plain data.
    ValueError
        Before anything runs: if the notebook does not declare a parameter, or `out` is the folder of the notebook.
    RuntimeError
        With the message of the cell that failed.

    Examples
    --------
    >>> from repsim_nb import reports
    >>> reports.run("report_comparison", "out", model="mine")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: unknown parameter of report_comparison.ipynb 'model'...
    """
    papermill = import_library("papermill")

    source = notebook_path(notebook)
    declared = _declared_parameters(source)
    for name, value in parameters.items():
        if name not in declared:
            raise unknown_name(f"parameter of {source.name}", name, declared)
        _check_plain(name, value)
    out = Path(out).expanduser().resolve()
    if source.resolve().parent == out:
        raise ValueError(
            f"the report of {source} would overwrite the notebook itself: choose another folder than {out}"
        )
    out.mkdir(parents=True, exist_ok=True)
    if "out_dir" in declared:
        parameters.setdefault("out_dir", str(out))
    executed = out / f"{source.stem}.ipynb"
    for earlier in (
        executed,
        executed.with_suffix(".html"),
    ):  # a failed run must not leave an older report to be read as its own
        earlier.unlink(missing_ok=True)
    try:
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
            f"{source.name} failed in cell {error.exec_count}: {error.ename}: {error.evalue.rstrip('.')}. What it did"
            f" so far is in {executed}"
        ) from error
    return to_html(executed)


def _declared_parameters(source: Path) -> dict[str, Any]:
    """The parameters that a notebook declares in its cell tagged `parameters`."""
    papermill = import_library("papermill")
    return {name: about["inferred_type_name"] for name, about in papermill.inspect_notebook(str(source)).items()}


def _check_plain(name: str, value: Any) -> None:
    if isinstance(value, (list, tuple)):
        for item in value:
            _check_plain(name, item)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_plain(name, key)
            _check_plain(name, item)
    elif value is not None and not isinstance(value, (str, bool, int, float)):
        raise TypeError(
            f"a report's parameters are data: text, numbers, True, False, None, lists and dicts of them; '{name}' holds"
            f" {type(value).__name__}"
        )


def parse_parameters(words: list[str]) -> dict[str, Any]:
    """Read parameters: ["n=500", "models=a,b"] -> {"n": 500, "models": ["a", "b"]}.

    Numbers, True, False, None and lists with commas are read as such; all else is text.
    """
    parameters = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name.isidentifier():
            raise ValueError(f"a parameter is written name=value; got '{word}'")
        if text[:1] in ("[", "(", "{"):
            raise ValueError(f"a list is written with commas alone, {name}=a,b; got '{word}'")
        parameters[name] = [_value(part) for part in text.split(",") if part] if "," in text else _value(text)
    return parameters


def _value(text: str) -> Any:
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
    """`python -m repsim_nb report NOTEBOOK OUT [name=value ...]`."""
    if len(arguments) < 2:
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
