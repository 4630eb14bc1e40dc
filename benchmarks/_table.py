"""Shared by the benchmarks: rounds in which the contestants take turns, rows of ratios, and their table."""

import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from time import perf_counter

RESULTS = Path(__file__).parent / "results"

Contestants = dict[str, Callable[[], float]]
"""Each call runs once and returns a figure: seconds, or a rate per second."""


@dataclass
class Row:
    """A line of the table. `ratio` says how many times better we are than the other, or is a share."""

    target: str
    what: str
    ours: str
    other: str
    ratio: float
    low: float
    high: float
    goal: float
    unit: str = "x"

    @property
    def is_met(self) -> bool:
        return self.ratio >= self.goal


def seconds(run: Callable[[], object]) -> float:
    start = perf_counter()
    run()
    return perf_counter() - start


def rounds(contestants: Contestants, n_rounds: int = 5) -> dict[str, list[float]]:
    """Let the contestants take turns, so that other work on the machine affects all of them alike."""
    figures: dict[str, list[float]] = {name: [] for name in contestants}
    for run in contestants.values():
        run()  # warm the caches
    for _ in range(n_rounds):
        for name, run in contestants.items():
            figures[name].append(run())
    return figures


def shown(figures: Sequence[float], unit: str = "s") -> str:
    factor = 1.0
    if unit == "s":
        unit, factor = ("us", 1e6) if median(figures) < 1e-3 else ("ms", 1e3)
    return f"{median(figures) * factor:.3g} {unit} ({min(figures) * factor:.3g}-{max(figures) * factor:.3g})"


def row(target: str, what: str, ours: Sequence[float], other: Sequence[float], goal: float, *, unit: str = "s") -> Row:
    """Compare figures of the same rounds: seconds, where less is better, or a rate, where more is."""
    pairs = list(zip(ours, other, strict=True))
    ratios = [theirs / mine if unit == "s" else mine / theirs for mine, theirs in pairs]
    return Row(target, what, shown(ours, unit), shown(other, unit), median(ratios), min(ratios), max(ratios), goal)


def machine(*packages: str) -> dict[str, str]:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    about = {"cpu": f"{model}, {os.cpu_count()} cores", "python": platform.python_version()}
    for package in packages:
        try:
            about[package] = version(package)
        except PackageNotFoundError:
            about[package] = "none"
    return {**about, "system": platform.platform()}


def report(name: str, title: str, rows: Sequence[Row], about: dict[str, str]) -> None:
    """Print the table and save it as benchmarks/results/<name>-<date>.md and .json, replacing an older one.

    Rows of other targets stay in it if they were measured on this machine with these versions.
    """
    print(_markdown(rows, about))
    RESULTS.mkdir(exist_ok=True)
    measured = {row.target for row in rows}
    for old in sorted(RESULTS.glob(f"{name}-*.json")):
        document = json.loads(old.read_text())
        before = document["machine"]
        if all(before[name] == about[name] for name in before.keys() & about.keys()):
            about = {**before, **about}  # the versions of contestants that only some rows have
            earlier = (Row(**{field: row[field] for field in row if field != "is_met"}) for row in document["rows"])
            rows = [*rows, *(row for row in earlier if row.target not in measured)]
        old.unlink()
        old.with_suffix(".md").unlink(missing_ok=True)
    rows = sorted(rows, key=lambda row: row.target)
    path = RESULTS / f"{name}-{datetime.now(UTC).date()}"
    path.with_suffix(".md").write_text(f"# {title}\n\n{_markdown(rows, about)}")
    document = {"machine": about, "rows": [{**asdict(row), "is_met": row.is_met} for row in rows]}
    path.with_suffix(".json").write_text(json.dumps(document, indent=2) + "\n")


def report_figures(name: str, title: str, figures: Sequence[tuple[str, str]], about: Mapping[str, str]) -> None:
    """Print figures that are compared with nothing, and save them as `report` does."""
    lines = [f"{_versions(about)}.", "", "| what | measured |", "|---|---|"]
    text = "\n".join([*lines, *(f"| {what} | {figure} |" for what, figure in figures)]) + "\n"
    print(text)
    RESULTS.mkdir(exist_ok=True)
    for old in RESULTS.glob(f"{name}-*.md"):
        old.unlink()
    (RESULTS / f"{name}-{datetime.now(UTC).date()}.md").write_text(f"# {title}\n\n{text}")


def _versions(about: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in about.items())


def _markdown(rows: Sequence[Row], about: dict[str, str]) -> str:
    lines = [
        f"{_versions(about)}.",
        "Medians, (smallest-largest) of interleaved rounds; ratios are taken within rounds.",
        "",
        "| # | what | ours | other | ratio | goal | met |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        ratio, goal = f"{r.ratio:.3g} ({r.low:.3g}-{r.high:.3g})", f"{r.goal:g} {r.unit}"
        lines.append(
            f"| {r.target} | {r.what} | {r.ours} | {r.other} | {ratio} | {goal} | {'yes' if r.is_met else 'no'} |"
        )
    return "\n".join(lines) + "\n"
