"""results.json -> RESULTS.md: the tables, and next to each target what was reached."""

from __future__ import annotations

import math
from typing import Any

from . import search
from .big import MEASURE
from .cases import CASES
from .clock import middle
from .fits import TARGETS, TITLES
from .growth import BASE, THEORY
from .memory import PROMISED
from .peers import PEERS, STAND_INS
from .scaling import CORES, WITHIN

FLOOR_TARGET = 1.3
# written after having read the numbers; each is printed below the row whose target was not reached
BOUNDS: dict[str, str] = {
    "cka": (
        "Linear CKA against pytorch-cka: four fifths of its time are whole Gram products (295 Gflop) at the speed of"
        " the BLAS. The bare products that ours needs, the floor below, are 86 Gflop, and would themselves be about 5"
        " times as fast as it."
    ),
    "cka_debiased": "Debiased linear CKA against pytorch-cka: as for the biased one.",
    "grid": (
        "The 13 × 13 grid: both sides need the Gram matrices of all 26 representations, ours half of each; the bare"
        " products of that half are most of our time."
    ),
    "grid_debiased": "The 13 × 13 grid, debiased: as for the biased one.",
    "models_mlp": (
        "Minibatch CKA of two MLPs: the forward passes, which are the same on both sides, are over two thirds of our"
        " time; half of each Gram matrix, at the speed of the BLAS, is most of the rest, and three passes that look"
        " whether the layers can be compared at all are a fortieth."
    ),
    "models_cnn": (
        "Minibatch CKA of two CNNs: forward passes and the halves of the Gram matrices are nearly all of our time, both"
        " at the speed of the library."
    ),
    **dict.fromkeys(
        ("soft_matching_widths", "partial_soft_matching_widths"),
        "Soft matching of two widths: POT has a compiled solver for such plans, and SciPy has none. Ours finds the pairs"
        " of units that can be in a best plan by products of matrices, solves for these alone, and proves that no other"
        " pair is missing.",
    ),
    "procrustes": (
        "Procrustes at n > p: a pair is one product and the singular values of a 256 × 256 matrix, and nothing more can"
        " be prepared. Ours does both in float64, the peer in float32 (the difference column shows what that costs in"
        " value, and differences of near-identical representations vanish in it)."
    ),
}


def written(results: dict[str, Any]) -> str:
    parts = results["parts"]
    pieces = [
        _head(parts, results.get("note", "")),
        _targets(parts),
        _cases(parts),
        _floor(parts),
        _fits(parts),
        _search(parts),
        _memory(parts),
        _big(parts),
        _growth(parts),
        _scaling(parts),
        _oracles(parts),
        _defects(parts),
        _stand_ins(),
    ]
    return "\n\n".join(piece for piece in pieces if piece) + "\n"


# -- how numbers are written


def _seconds(s: float) -> str:
    return "–" if math.isnan(s) else f"{s:.0f}" if s >= 100 else f"{s:.3g}"


def _times(ratio: float) -> str:
    if math.isnan(ratio):
        return "–"
    digits = 0 if ratio >= 9.95 else 1 if ratio >= 1.95 else 2
    return f"{ratio:.{digits}f} ×"


def _mega(size: float | None) -> str:
    return "–" if size is None else f"{size / 1e6:,.0f}"


NUMBERS = set(
    [
        "seconds",
        "ratio",
        "difference",
        "MB",
        "target",
        "reached",
        "Gflop",
        "Gflop/s",
        "ours / floor",
        "inputs, MB",
        "own, MB",
        "all, MB",
        "load",
        "predicted",
        "measured",
        "announced",
        "core hours",
        "read, TB",
        "sent, GB",
        "inputs, TB",
    ]
)  # to the right


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [
        "| " + " | ".join(head) + " |",
        "|" + "|".join("---:" if name in NUMBERS else "---" for name in head) + "|",
    ]
    return "\n".join(lines + ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows])


# -- the pieces


def _head(parts: dict[str, Any], note: str) -> str:
    machines: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for name, part in parts.items():
        machines.setdefault(str(part["machine"]), (part["machine"], []))[1].append(name)
    said = []
    for at, names in machines.values():
        libraries = ", ".join(f"{k} {v}" for k, v in at["libraries"].items())
        which = f" ({', '.join(names)})" if len(machines) > 1 else ""
        said.append(
            f"- Machine{which}: {at['cpu']}, {at['cores']} cores, {at['memory'] / 2**30:.0f} GiB, {at['system']};"
            f" Python {at['python']}, {libraries}; BLAS of NumPy: {at['blas']}."
        )
    took = sum(part["took"] for part in parts.values()) / 60
    by_wall = [name for name, part in parts.items() if "in" not in part or name in ("big", "memory")]
    loads = [
        f"{name} {part['load']:.1f}" for name, part in parts.items() if part.get("load", 0) > part["machine"]["cores"]
    ]
    clocks = "Seconds are of the processor" + (f" (of the clock in {', '.join(by_wall)})" if by_wall else "") + "."
    if loads:
        clocks += f" The machine did other work as well in {', '.join(loads)} (the load over five minutes)."
    return f"""# Speed, memory and values next to other packages
{note and chr(10) + note + chr(10)}
`make bench` made this page; it took {took:.0f} minutes. The raw numbers are in results.json; `make bench ARGS="cka growth"` measures two parts again.

{chr(10).join(said)}
- Peers: {", ".join(f"{name} {v}" for name, (v, _) in PEERS.items())}.
- Each side has a process of its own with its inputs in memory; all are bound to one core and one thread, and are called in turn (ours, peer, peer, ours, …).
  A process that wants more than 60 % of the machine's memory is refused it. {clocks}
  They are the median of the calls after a first one that warms up, with the smallest and the largest in brackets; work of more than 10 s is called once.
- Ratio: the peer's seconds divided by ours. MB: peak memory above the inputs. Difference: the largest difference between a value of theirs and ours;
  in our own row, between our value from the float32 inputs and our value from the same inputs in float64.
- ≈ marks a pairwise peer whose whole table would have taken too long: some of the pairs were measured, and scaled to all. Pairwise peers do each
  pair once and no diagonal; ours does the whole table. RSA counts the matrices of first order on both sides."""


def _rows_of(parts: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        name: found
        for case in CASES
        if case.part in parts
        for name, found in parts[case.part]["found"].items()
        if name == case.name
    }


def _ratio(rows: dict[str, Any], peer: str) -> float:
    return (
        middle(rows[peer]["seconds"]) / middle(rows["repsim_nb"]["seconds"])
        if peer in rows and rows[peer]["seconds"]
        else math.nan
    )


def _targets(parts: dict[str, Any]) -> str:
    measured = _rows_of(parts)
    rows, because = [], []
    for case in CASES:
        for peer, wanted in case.targets.items():
            if case.name not in measured:
                continue
            ratio = _ratio(measured[case.name]["rows"], peer)
            if math.isnan(ratio):
                continue  # below, the row shows why
            reached = ratio >= wanted
            rows.append([case.title, peer, f"≥ {_times(wanted)}", _times(ratio), "yes" if reached else "**no**"])
            if not reached:
                because.append(BOUNDS.get(case.name, f"{case.title}: its bound is not explained yet."))
    for row in parts.get("floor", {}).get("found", []):
        if row["which"] == "gram":
            ratio = middle(row["rows"]["cka"]["seconds"]) / middle(row["rows"]["floor"]["seconds"])
            rows.append(
                [
                    "The table of linear CKA, 24 × (2000, 768)",
                    "the floor",
                    f"≤ {FLOOR_TARGET} ×",
                    _times(ratio),
                    "yes" if ratio <= FLOOR_TARGET else "**no**",
                ]
            )
            if ratio > FLOOR_TARGET:
                because.append(BOUNDS.get("floor", "The floor: its bound is not explained yet."))
    for row in parts.get("memory", {}).get("found", []):
        peak = row.get("own")
        rows.append(
            [
                f"Memory, {row['measure']} of {_size(row['size'])}",
                "a promise",
                f"< {PROMISED / 1e9:.0f} GB",
                f"{_mega(peak)} MB" if peak is not None else row.get("error", "–"),
                "yes" if peak is not None and peak < PROMISED else "**no**",
            ]
        )
    if not rows:
        return ""
    return "\n\n".join(
        [
            "## Targets",
            _table(["work", "against", "target", "reached", ""], rows),
            "\n".join(f"- {sentence}" for sentence in dict.fromkeys(because)),
        ]
    ).rstrip()


def _size(size: dict[str, Any]) -> str:
    return f"{size['count']} × ({size['n']:,}, {size['p']:,})"


def _cases(parts: dict[str, Any]) -> str:
    measured, pieces = _rows_of(parts), ["## Row by row"]
    for case in CASES:
        if case.name not in measured:
            continue
        rows = measured[case.name]["rows"]
        lines = []
        for name in (name for name in ("repsim_nb", *case.peers) if name in rows):
            row = rows[name]
            seconds = row["seconds"]
            sampled = row.get("done", 0) < row.get("of", 0)
            said = [row["error"]] if "error" in row else []
            said += [f"measured on {row['done']} of {row['of']} pairs"] if sampled else []
            said += [row["note"]] if row.get("note") else []
            if name == "forward passes alone" and row["seconds"]:
                said.append(f"{_ratio(rows, name):.0%} of our time")
            difference = row.get("difference")
            if difference is not None and difference > case.tolerance:
                own = rows["repsim_nb"].get("difference")
                known = (
                    f"; ours is within {own:.0e} of float64" if own is not None and own < case.tolerance / 10 else ""
                )
                said.append(f"differs by more than the {case.tolerance:g} expected{known}")
            spread = f" ({_seconds(min(seconds))} to {_seconds(max(seconds))})" if len(seconds) > 1 else ""
            lines.append(
                [
                    f"**{name}**" if name == "repsim_nb" else name,
                    ("≈ " if sampled else "") + _seconds(middle(seconds)) + spread,
                    "" if name == "repsim_nb" else _times(_ratio(rows, name)),
                    "" if difference is None else f"{difference:.1e}",
                    _mega(row.get("peak")),
                    "; ".join(said),
                ]
            )
        pieces.append(
            f"### {case.title}\n\n" + _table(["", "seconds", "ratio", "difference", "MB", "what happened"], lines)
        )
    return "\n\n".join(pieces) if len(pieces) > 1 else ""


def _floor(parts: dict[str, Any]) -> str:
    if "floor" not in parts:
        return ""
    rows = []
    for row in parts["floor"]["found"]:
        base = row["rows"]["floor"]
        bare = middle(base["seconds"])
        rows.append(
            [
                (
                    "bare products,"
                    f" {'Gram side, tiles of 256 rows' if row['which'] == 'gram' else 'feature side, one product'}"
                ),
                _size(row["size"]),
                f"{base['flops'] / 1e9:.1f}",
                f"{bare:.3g}",
                f"{base['flops'] / bare / 1e9:.0f}",
                "",
                _mega(base["peak"]),
                "",
            ]
        )
        for name in ("cka", "cka_debiased"):
            ours = row["rows"][name]
            seconds = middle(ours["seconds"])
            ratio, peak, said = _times(seconds / bare), _mega(ours.get("peak")), ours.get("error", "")
            rows.append([f"**repsim_nb**, {name}", _size(row["size"]), "", _seconds(seconds), "", ratio, peak, said])
    return (
        "## The floor\n\nThe matrix products that a table of linear CKA cannot do without, in plain NumPy"
        " (benchmarks/floor.py), in turn\nwith ours: no centring, no check of the inputs, no sums.\n\n"
        + _table(["what", "size", "Gflop", "seconds", "Gflop/s", "ours / floor", "MB", "what happened"], rows)
    )


def _fits(parts: dict[str, Any]) -> str:
    if "fits" not in parts:
        return ""
    rows = []
    for row in parts["fits"]["found"]:
        target = TARGETS.get((row["kind"], row["size"]))
        ours = middle(row["rows"]["repsim_nb"]["seconds"])
        for who, found in row["rows"].items():
            mine, seconds = who == "repsim_nb", middle(found["seconds"])
            rows.append(
                [
                    TITLES[row["kind"]].format(size=row["size"]) if mine else "",
                    "**repsim_nb**" if mine else who,
                    _seconds(seconds),
                    "" if mine else _times(seconds / ours),
                    "" if mine or target is None else f"≥ {_times(target)}",
                    f"{found['value']:.5f}" if "value" in found else "–",
                    _mega(found.get("peak")),
                    found.get("error", ""),
                ]
            )
    return (
        "## Maps and probes\n\nThe same function, minimised by ours and by scikit-learn in turn, in seconds of the processor. The"
        " value reached is the stress of the\nmap, and the mean over SVMs of the function that liblinear minimises. Lower is"
        " better.\n\n"
        + _table(["what", "by", "CPU seconds", "ratio", "target", "value reached", "MB", "what happened"], rows)
    )


def _search(parts: dict[str, Any]) -> str:
    if "search" not in parts:
        return ""
    measured = parts["search"]["found"]
    rows, size = [], measured["size"]
    ours = middle(measured["rows"]["repsim_nb"]["seconds"])
    for who, found in measured["rows"].items():
        mine, seconds = who == "repsim_nb", middle(found["seconds"])
        both = f"{found['value']:.3g}, ours {found['ours']:.3g}" if "ours" in found else "–"
        rows.append(
            [
                "**repsim_nb**" if mine else f"{who} {search.PINNED}",
                _seconds(seconds),
                "" if mine else _times(seconds / ours),
                "" if mine else f"≥ {_times(search.TARGET)}",
                "" if mine else both,
                _mega(found.get("peak")),
                found.get("error", ""),
            ]
        )
    return (
        f"## The best pair of layers\n\np-value of the most similar of {search.LAYERS} × {search.LAYERS} pairs of layers by"
        f" linear CKA (n = {size['n']:,}, p = {size['p']:,}, float32): {search.ORDERS} orders of the samples, the same in\nall cells, in seconds of"
        f" the processor. The peer calls a function of two tensors, written as in its documentation; {measured['orders']} of"
        " its orders are timed, and\nscaled. p-values are of the same orders.\n\n"
        + _table(["by", "CPU seconds", "ratio", "target", "p of the same orders", "MB", "what happened"], rows)
    )


def _memory(parts: dict[str, Any]) -> str:
    if "memory" not in parts:
        return ""
    rows = [
        [
            row["measure"],
            _size(row["size"]),
            _mega(row["inputs"]),
            _seconds(row.get("seconds", math.nan)),
            _mega(row.get("own")),
            _mega(row.get("peak")),
            row.get("error", ""),
        ]
        for row in parts["memory"]["found"]
    ]
    return (
        "## Memory\n\nRepresentations that are mapped from files. *Own*: the most memory that is the process's own."
        " *All*: pages of the\nmapped inputs counted too, which the system keeps while there is room and drops when"
        " there is not. On one core.\n\n"
        + _table(["measure", "size", "inputs, MB", "seconds", "own, MB", "all, MB", "what happened"], rows)
    )


def _big(parts: dict[str, Any]) -> str:
    if "big" not in parts:
        return ""
    found = parts["big"]["found"]
    size, gigabytes = found["size"], found["bytes"] / 1e9
    head = (
        f"## More than memory holds\n\n{gigabytes:.3g} GB of activations, {size['depth']} layers × ({size['n']:,},"
        f" {784 * size['width']:,}) of a random convolutional model on MNIST's images,\nare recorded into a Store and"
        f" compared from there (`{MEASURE}`, all pairs of layers), each by a process of its own, on one core, that may"
        f" have {found['limit'] / 1e9:.3g} GB:\nthe system refuses it more (RLIMIT_DATA; on Linux). At most 1 GB of"
        " the mapped files stays in memory: pages above that are dropped, out of the system's cache too,"
        " and\nread from the disk again, as on a machine that has no room. *Own* is the most that the process had,"
        " *all* counts the pages of mapped files too; both with Python, torch and all\nother libraries. Rows that were"
        " written and that the system has not yet put on the disk are in neither.\n\n"
    )
    if "error" in found:
        return head + found["error"] + "."
    done = {"record": "forward passes, checksums, files", "compare": "from the memory-mapped files"}
    rows = [
        [
            f"{what}: {description}",
            _seconds(row.get("seconds", math.nan)),
            _mega(row.get("own")),
            _mega(row.get("all")),
            f"{row['load']:.1f}" if "load" in row else "–",
            row.get("error", ""),
        ]
        for what, description in done.items()
        if (row := found.get(what))
    ]
    disk, dropped = found["record"].get("disk", 0), found.get("compare", {}).get("dropped", 0)
    below = (
        f"\n\nOn the disk: {disk / 1e9:.2f} GB. Pages were dropped {dropped} times. Load: processes that wanted one of"
        " the machine's cores, on the average of the last five minutes."
    )
    return head + _table(["what", "seconds", "own, MB", "all, MB", "load", "what happened"], rows) + below


def _growth(parts: dict[str, Any]) -> str:
    if "growth" not in parts:
        return ""
    theory = "\n".join(f"- `{name}`: {description}." for name, description in THEORY.items())
    ended = [
        f"`{row['measure']}` at {'K' if row['axis'] == 'count' else row['axis']} = {row['size']:,}: {row['error']}."
        for row in parts["growth"]["found"]
        if "error" in row and not row["error"].startswith("DegenerateComparisonError")
    ]
    base = ", ".join(f"{'K' if k == 'count' else k} = {v:,}" for k, v in BASE.items())
    return (
        "## Growth\n\n![Time and peak memory against samples, features and representations](growth.png)\n\nEach alone,"
        f" the others at {base}; a fresh process for each point, one thread. What theory predicts for the"
        f" time:\n\n{theory}" + ("\n\n" + "\n".join(f"- {line}" for line in ended) if ended else "")
    )


def _scaling(parts: dict[str, Any]) -> str:
    if "scaling" not in parts:
        return ""
    found = parts["scaling"]["found"]
    rows, worst = [], 0.0
    for point in (point for point in found["points"] if point["larger"]):
        off = point["predicted"] / point["seconds"] - 1
        worst = max(worst, abs(off))
        rows.append(
            [
                f"by {point['way']}",
                _size(point["size"]),
                *(_seconds(point[name]) for name in ("predicted", "seconds", "announced")),
                f"{off:+.0%}",
            ]
        )
    small = [abs(point["predicted"] / point["seconds"] - 1) for point in found["points"] if not point["larger"]]
    said = "; ".join(
        f"by {way}: "
        + ", ".join(
            f"{value:.2g} s a task" if name == "tasks" else f"{value * 1e9:.3g} s for 10⁹ {name}"
            for name, value in known.items()
            if value
        )
        for way, known in found["constants"].items()
    )
    ahead = [
        [
            _size(row["size"]),
            f"by {row['way']}" + (" (chosen)" if row["chosen"] else ""),
            f"{row['core seconds'] / 3600:,.0f}",
            *(
                _span(row["seconds"][cores] if cores in row["seconds"] else row["seconds"][str(cores)])
                for cores in CORES
            ),
            f"{row['inputs'] / 1e12:.2g}",
            f"{row['read'] / 1e12:,.0f}",
            f"{row['sent'] / 1e9:,.1f}",
            f"{row['read'] / row['core seconds'] / 1e6:,.0f} MB/s",
        ]
        for row in found["forecast"]
    ]
    verdict = f"All within {WITHIN:.0%}: yes" if worst <= WITHIN else f"All within {WITHIN:.0%}: **no**"
    return (
        "## How far it scales\n\nDebiased linear CKA of representations in files, one core, seconds of the processor."
        " The time is modelled as a sum of counts\n(benchmarks/scaling.py), each at a price that was fitted on"
        f" {len(small)} small tables (their errors: {max(small):.0%} at most) and checked on larger ones.\n*Announced*"
        f" is what `compare` itself says beforehand. {verdict}; the largest error is {worst:.0%}.\n\n"
        + _table(["way", "size", "predicted", "measured", "announced", "error"], rows)
        + f"\n\nPrices: {said}.\n\nWhat follows for a million samples of a thousand models, if cores do not hinder"
        " each other and the disks keep up:\n\n"
        + _table(
            [
                "size",
                "way",
                "core hours",
                *(f"{cores:,} cores" for cores in CORES),
                "inputs, TB",
                "read, TB",
                "sent, GB",
                "each core reads",
            ],
            ahead,
        )
        + "\n\nA worker needs 0.3 GB of memory whatever n is (by features; by tiles as much, in tiles). *Read* counts"
        " every time that a task opens a file; the workers of a node share what it has\nread, so a disk sees less."
        " *Sent* is tasks and results through the scheduler, addresses and sums."
    )


def _span(seconds: float) -> str:
    return (
        f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
        if seconds < 172_800
        else f"{seconds / 86_400:,.0f} days"
    )


def _defects(parts: dict[str, Any]) -> str:
    if "defects" not in parts:
        return ""
    rows = [
        [
            row["peer"],
            row["claim"],
            {True: "shown", False: "**not shown**", None: "not tried"}[row["shown"]],
            row["seen"],
        ]
        for row in parts["defects"]["found"]
    ]
    return (
        "## Wrong or broken in peers\n\nEach is a small program in benchmarks/defects.py; that ours has none of these"
        " is tested in tests/test_peer_defects.py.\n\n"
        + _table(["peer", "claim", "", "what was seen"], rows)
        + "\n\nTwo more defects are often reported of SVCCA, and are in none of these packages: one that keeps a single component,"
        " and one whose value changes from call to call. Ours is tested for both."
    )


def _oracles(parts: dict[str, Any]) -> str:
    if "oracles" not in parts:
        return ""
    rows = [
        [row["what"], row["peer"], f"{row['theirs']:.6g}", row["known"], f"{row['ours']:.6g}", row["said"]]
        for row in parts["oracles"]["found"]
    ]
    return (
        "## Values of packages that have a part in common with ours\n\nOne number of each, for the same data"
        " (benchmarks/oracles.py).\n\n"
        + _table(["what", "peer", "theirs", "what is next to it", "value", "what it shows"], rows)
    )


def _stand_ins() -> str:
    lines = "\n".join(f"- {peer}: {what}." for peer, what in STAND_INS.items())
    return (
        "## What was not installed\n\nSome peers import, or declare, large libraries that the measured computation"
        " never uses. They were installed without those, and entered so"
        f" (benchmarks/peers.py):\n\n{lines}\n\nThe others are imported as they are. No package was found on PyPI for RTD-lite, NTS and the differences of magnitude,"
        " concentricity and uniformity, and none\nfor partly whitened shapes that runs (netrep is not on PyPI), so these have no row or no peer in it."
    )
