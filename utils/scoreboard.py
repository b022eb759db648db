"""The scoreboard: every week's model in one table, each number with its kind.

Reference rows are committed (utils/reference/*.json), one file a week; a student's own rows stand beside
them in data/scoreboard.json. What kind of number a value is decides what may be concluded from it:

- *exact*: the test log-likelihood itself;
- *lower bound*: the log-likelihood is at least this (an ELBO, a dequantised density), shown as ≥;
- *estimate*: unbiased or nearly so, with its standard error (annealed importance sampling), shown as ±;
- *estimated lower bound*: a bound that itself contains an estimate, shown as ≳;
- *none*: the model has no likelihood (a GAN).

In bits per dimension, and in nats per character of a text, the sign turns over, so a lower bound on the
log-likelihood is shown as ≤.
"""

from __future__ import annotations

import dataclasses
import html
import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from utils import datasets, evaluation, paths, plotting
from utils.evaluation import Estimate

SAMPLES = 400  # images for the measures of sample quality: the digits' test part
KINDS = ("exact", "lower bound", "estimate", "estimated lower bound", "none")
UNITS = ("nats per image", "bits per dimension", "nats per character")
_SIGNS = {
    "nats per image": {"lower bound": "≥ ", "estimated lower bound": "≳ "},
    "bits per dimension": {"lower bound": "≤ ", "estimated lower bound": "≲ "},
    "nats per character": {"lower bound": "≤ ", "estimated lower bound": "≲ "},
}


class ScoreboardError(RuntimeError):
    """A scoreboard file cannot be read or written; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model on one data set, all numbers from its test part.

    ``value``: mean test log-likelihood in ``unit``; None for kind "none". ``error``: standard error of the
    *method* (for AIS that of log Z), needed for an estimate, none for an exact value. The scatter due to the
    finite test set is computed from ``per_image``: one value for each test image, in the data set's order and
    in ``unit``, whose mean is ``value``; it also allows paired differences.
    ``family``: a key of ``plotting.FAMILY_COLOURS``. ``kernel_distance``, ``c2st`` (accuracy; 0.5 is best),
    ``coverage`` (diversity; 0.97 is best): see ``utils.evaluation``. ``imputing``, ``repairing``: share of
    wrong pixels (0 is best). ``anomaly``: area under the ROC curve (1 is best). Whatever a model cannot do
    stays None.
    """

    week: int
    model: str
    family: str
    data: str = "digits"
    value: float | None
    kind: str
    error: float | None = None
    unit: str = "nats per image"
    kernel_distance: Estimate | None = None
    c2st: Estimate | None = None
    coverage: Estimate | None = None
    train_seconds: float | None = None
    ms_per_sample: float | None = None
    parameters: int | None = None
    imputing: Estimate | None = None
    repairing: Estimate | None = None
    anomaly: Estimate | None = None
    note: str = ""
    per_image: Sequence[float] | None = None

    def __post_init__(self) -> None:
        def require(condition: bool, message: str) -> None:
            if not condition:
                raise ValueError(f"row {self.model!r}: {message}")

        for name in ("value", "error", "train_seconds", "ms_per_sample"):
            number = getattr(self, name)
            if number is not None:
                require(_is_number(number), f"{name} is {number!r}; a finite number expected")
                object.__setattr__(self, name, float(number))
        for name in ("week", "parameters"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, int(getattr(self, name)))
        for name in _ESTIMATES:
            pair = getattr(self, name)
            require(pair is None or isinstance(pair, Estimate), f"{name} must be an Estimate(value, error)")
            if pair is not None:
                require(_is_number(pair.value) and _is_number(pair.error), f"{name} is {pair}; not finite")
        require(bool(self.model), "model is empty")
        require(self.family in plotting.FAMILY_COLOURS, f"family {self.family!r} is none of {_FAMILIES}")
        require(self.kind in KINDS, f"kind {self.kind!r} is none of {', '.join(KINDS)}")
        require(self.unit in UNITS, f"unit {self.unit!r} is none of {', '.join(UNITS)}")
        require((self.value is None) == (self.kind == "none"), "value is None exactly where kind is 'none'")
        if self.kind in ("exact", "none"):
            require(not self.error, f"a value of kind {self.kind!r} has no error")
            object.__setattr__(self, "error", None)
        elif self.kind != "lower bound":
            require(self.error is not None, f"a value of kind {self.kind!r} needs its standard error")
        require(self.error is None or self.error >= 0, "error is negative")
        if self.per_image is not None:
            values = tuple(round(float(v), 4) for v in self.per_image)
            require(self.value is not None, "per_image without a value")
            require(len(values) > 1 and all(map(math.isfinite, values)), "per_image needs finite numbers")
            mean = math.fsum(values) / len(values)
            require(
                self.value is not None and abs(mean - self.value) <= 1e-3 + 1e-5 * abs(mean),
                f"value is {self.value}, but the mean of per_image is {mean:.4f}",
            )
            object.__setattr__(self, "per_image", values)

    @property
    def key(self) -> tuple[int, str, str]:
        return (self.week, self.model, self.data)

    def shown(self) -> str:
        """The value with its kind: −19.07, −18.11 ± 0.21, ≥ −17.4, ≳ −84.62 ± 0.10."""
        if self.value is None:
            return "none"
        sign = _SIGNS[self.unit].get(self.kind, "")
        if self.error:
            return f"{sign}{Estimate(self.value, self.error)}"
        return f"{sign}{self.value:.2f}".replace("-", "−")


_ESTIMATES = ("kernel_distance", "c2st", "coverage", "imputing", "repairing", "anomaly")
_FAMILIES = ", ".join(plotting.FAMILY_COLOURS)


def _is_number(value: object) -> bool:
    try:
        return math.isfinite(float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


# --- Files ---------------------------------------------------------------------------------------


def reference() -> list[Row]:
    """The committed rows of all weeks."""
    return [row for path in sorted((paths.PACKAGE / "reference").glob("*.json")) for row in read(path)]


def own_file() -> Path:
    """Where a student's own rows are kept: the file that LGM_SCOREBOARD names, else data/scoreboard.json."""
    return Path(os.environ.get("LGM_SCOREBOARD") or paths.data_folder() / "scoreboard.json")


def mine() -> list[Row]:
    """The student's own rows, none before the first ``record``. Raises ScoreboardError."""
    return read(own_file()) if own_file().exists() else []


def record(row: Row) -> None:
    """Add a row to the student's own; one of the same week, model and data is replaced.

    Raises ScoreboardError where the file is damaged (it is kept as it is) or cannot be written.
    """
    write(own_file(), [other for other in mine() if other.key != row.key] + [row])


def enter(sample: Callable[[int], Any], compare_with: str | None = None, seed: int = 0, **row: Any) -> Table:
    """Measure a model's samples, ``record`` its row and give the table: one call for each model.

    ``sample``: n → n images (n, D), independent. They are timed (the second call: the first may compile) and,
    where they are 8×8 or grey, compared with the test images (``quality``; ``seed`` draws the halves of the
    two-sample test). ``row``: fields of ``Row``; ``value`` is the mean of ``per_image`` where that is given.
    ``compare_with``: for ``table``.
    """
    if row.get("per_image") is not None:
        row["per_image"] = np.asarray(row["per_image"], dtype=np.float64)
        row.setdefault("value", row["per_image"].mean())
    data, unit = row.setdefault("data", "digits"), row.setdefault("unit", UNITS[0])
    n = min(SAMPLES, len(datasets.load(data).test))
    sample(n)
    began = time.perf_counter()
    images = np.asarray(sample(n))
    row["ms_per_sample"] = 1000 * (time.perf_counter() - began) / n
    row |= quality(images, data, unit, seed)
    record(Row(**row))
    return table(compare_with=compare_with)


def quality(images: Any, data: str, unit: str = UNITS[0], seed: int = 0) -> dict[str, Estimate]:
    """Kernel distance, two-sample test, coverage of samples against as many test images: fields of ``Row``.

    ``images``: (n, D), independent, in the data set's values. Nothing for images of 28×28 in nats: those are
    binary, and the test part is grey.
    """
    real, fake = datasets.load(data).test, np.asarray(images)
    if real.shape[1] != 64 and unit != "bits per dimension":
        return {}
    real = real[:: len(real) // len(fake)][: len(fake)]  # MNIST's first half was written by other people
    scale = datasets.GREY_LEVELS - 1 if data == "digits-grey" else 1
    pair, features = (real / scale, fake / scale), evaluation.extractor(data)
    return {
        "kernel_distance": evaluation.kernel_distance(*pair, features),
        "c2st": evaluation.classifier_two_sample_test(*pair, seed, features),
        "coverage": evaluation.coverage(*pair, features=features),
    }


def read(path: Path) -> list[Row]:
    """The rows of one file. Raises ScoreboardError."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["rows"]
        return [from_json(entry) for entry in entries]
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    except json.JSONDecodeError as error:
        problem = f"is no valid JSON (line {error.lineno}: {error.msg})"
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        problem = f"holds something else than scoreboard rows ({error})"
    raise ScoreboardError(f"{path} {problem}. It was left as it is: mend it or move it away, and run again.")


def write(path: Path, rows: Iterable[Row]) -> None:
    """Write rows to a file, whole or not at all. Raises ScoreboardError."""
    # One line for each row, so that a changed row is one changed line.
    lines = [json.dumps(to_json(row), ensure_ascii=False, allow_nan=False) for row in rows]
    text = '{"rows": [\n' + ",\n".join(lines) + "\n]}\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ScoreboardError(
            f"{path} cannot be written ({error.strerror}). Make the folder writable or free some space."
        ) from None


def to_json(row: Row) -> dict[str, Any]:
    """A row as plain data, without what it has no value for."""
    entry = {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    for name in _ESTIMATES:
        if entry[name] is not None:
            entry[name] = {"value": entry[name].value, "error": entry[name].error}
    return {name: value for name, value in entry.items() if value not in (None, "")}


def from_json(entry: dict[str, Any]) -> Row:
    """The row that ``to_json`` gave. Raises ValueError, TypeError or KeyError for anything else."""
    entry = dict(entry)
    for name in _ESTIMATES:
        if entry.get(name) is not None:
            entry[name] = Estimate(entry[name]["value"], entry[name]["error"])
    entry.setdefault("value", None)
    return Row(**entry)


# --- Table ---------------------------------------------------------------------------------------

Part = tuple[str, list[str], list[list[str]]]  # caption, header, body


class Table:
    """What ``table`` returns: HTML in a notebook, aligned text elsewhere (``print`` it)."""

    def __init__(self, parts: list[Part], legend: str) -> None:
        self._parts, self._legend = parts, legend

    def __str__(self) -> str:
        blocks = []
        for caption, header, body in self._parts:
            lines = [header, *body]
            widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
            rendered = [
                "  ".join(
                    cell.ljust(width) if i == 0 else cell.rjust(width)
                    for i, (cell, width) in enumerate(zip(line, widths, strict=True))
                ).rstrip()
                for line in lines
            ]
            blocks.append("\n".join([caption, rendered[0], "─" * sum(w + 2 for w in widths), *rendered[1:]]))
        return "\n\n".join([*blocks, self._legend])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        tables = []
        for caption, header, body in self._parts:
            head = "".join(f'<th scope="col" style="{_CELL}">{html.escape(cell)}</th>' for cell in header)
            rows = "".join(
                f'<tr><th scope="row" style="{_BODY};text-align:left">{html.escape(first)}</th>'
                + "".join(f'<td style="{_BODY}">{html.escape(cell)}</td>' for cell in rest)
                + "</tr>"
                for first, *rest in body
            )
            tables.append(
                f'<table style="border-collapse:collapse"><caption style="text-align:left;font-weight:bold">'
                f"{html.escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
            )
        wrapped = "".join(
            f'<div style="overflow-x:auto;margin-bottom:0.8em">{table}</div>' for table in tables
        )
        return f'{wrapped}<p style="font-size:90%">{html.escape(self._legend)}</p>'

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"text/html": self._repr_html_(), "text/plain": str(self)}


_CELL = "text-align:right;padding:0.2em 0.8em;vertical-align:top"
_BODY = f"{_CELL};white-space:nowrap"


def table(rows: Sequence[Row] | None = None, compare_with: Row | str | None = None) -> Table:
    """Tables of ``rows`` (by default all reference rows and one's own), best first, for each data set.

    Each value carries its kind and error. ``± test images``: the standard error of the mean that is due to
    the finite test set. ``compare_with`` (a row, or its model's name): adds each row's difference to it,
    paired image by image, wherever both have values per image on the same data; its ± joins the scatter of
    the paired differences with both methods' own errors.
    """
    own = mine() if rows is None else []
    rows = [*reference(), *own] if rows is None else list(rows)
    parts = []
    for (data, unit), group in _groups(rows).items():
        other = _chosen(compare_with, rows, data, unit)
        quantity = "log-likelihood" if unit == UNITS[0] else "code length"
        names = [f"{row.model} (yours)" if any(row is one for one in own) else row.model for row in group]
        likelihood = {
            "week": [str(row.week) for row in group],
            f"{quantity} ({unit})": [row.shown() for row in group],
            "kind": [row.kind for row in group],
            "± test images": [_sampling_error(row) for row in group],
            f"minus {other.model}" if other else "": [_difference(row, other) for row in group],
            "parameters": [f"{row.parameters:,}" if row.parameters else "" for row in group],
            "training (s)": [_number(row.train_seconds) for row in group],
            "note": [row.note for row in group],
        }
        uses = {
            "kernel distance": [_estimate(row.kernel_distance) for row in group],
            "two-sample test (accuracy)": [_estimate(row.c2st) for row in group],
            "coverage": [_estimate(row.coverage) for row in group],
            "imputing (share wrong)": [_estimate(row.imputing) for row in group],
            "repairing (share wrong)": [_estimate(row.repairing) for row in group],
            "anomalies (AUROC)": [_estimate(row.anomaly) for row in group],
            "sampling (ms per image)": [_number(row.ms_per_sample) for row in group],
        }
        parts.append(_part(f"Scoreboard: {data}, test part", names, likelihood))
        if any(any(cells) for cells in uses.values()):
            parts.append(_part(f"Samples and applications: {data}, test part", names, uses))
    legend = (
        "≥ (≤ in bits): a lower bound on the log-likelihood. ± after a value: the method's standard error. "
        "≳ (≲): a bound that contains an estimate. ± test images: standard error due to the finite test set; "
        "for two models on the same images the paired difference is the fairer comparison."
    )
    if any(caption.startswith("Samples") for caption, _, _ in parts):
        legend += (
            " Kernel distance: 0 is best, it may be negative. Two-sample test: 0.5 is best. Coverage: "
            "0.97 is best. Share wrong: 0 is best. AUROC: 1 is best."
        )
    return Table(parts, legend if parts else "The scoreboard has no rows yet.")


def _part(caption: str, names: list[str], columns: dict[str, list[str]]) -> Part:
    """One table: columns that are empty throughout are left out, single empty cells get a dash."""
    kept = {name: [cell or "–" for cell in cells] for name, cells in columns.items() if any(cells)}
    body = [list(line) for line in zip(names, *kept.values(), strict=True)]
    return caption, ["model", *kept], body


def _groups(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    """Comparable rows together, best first, those without a likelihood last."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.data, row.unit), []).append(row)
    for (_, unit), group in groups.items():
        turn = 1 if unit == "bits per dimension" else -1
        group.sort(key=lambda row: math.inf if row.value is None else turn * row.value)
    return groups


def _chosen(compare_with: Row | str | None, rows: Sequence[Row], data: str, unit: str) -> Row | None:
    if compare_with is None:
        return None
    if isinstance(compare_with, Row):
        return compare_with if (compare_with.data, compare_with.unit) == (data, unit) else None
    matches = [row for row in rows if row.model == compare_with]
    if not matches:
        names = ", ".join(repr(row.model) for row in rows)
        raise ValueError(f"there is no row of the model {compare_with!r}; the rows are {names}")
    matches = [row for row in matches if (row.data, row.unit) == (data, unit)]
    return matches[-1] if matches else None


def _difference(row: Row, other: Row | None) -> str:
    if other is None or row.per_image is None or other.per_image is None or row.key == other.key:
        return ""
    if len(row.per_image) != len(other.per_image):
        return ""
    paired = evaluation.paired_difference(row.per_image, other.per_image)
    error = math.hypot(paired.error, row.error or 0, other.error or 0)
    shown = str(Estimate(paired.value, error))
    return shown if shown.startswith("−") else f"+{shown}"


def _sampling_error(row: Row) -> str:
    return f"{evaluation.mean_estimate(row.per_image).error:.2f}" if row.per_image else ""


def _estimate(pair: Estimate | None) -> str:
    return "" if pair is None else str(Estimate(pair.value, pair.error))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


# --- Figure --------------------------------------------------------------------------------------

_MARKERS = {"exact": "o", "estimate": "D", "lower bound": ">", "estimated lower bound": ">"}


def plot(rows: Sequence[Row] | None = None) -> None:
    """Values as dots in their families' colours, one figure for each data set; without rows of kind none.

    Thick bar: the method's standard error. Thin bar: ± one standard error due to the finite test set.
    """
    import matplotlib.pyplot as plt

    rows = [*reference(), *mine()] if rows is None else list(rows)
    for (data, unit), group in _groups(rows).items():
        group = [row for row in group if row.value is not None]
        if not group:
            continue
        values = [row.value for row in group if row.value is not None]
        fig, ax = plt.subplots(figsize=(8.5, 1.6 + 0.45 * len(group)))
        for y, (row, value) in enumerate(zip(group, values, strict=True)):
            colour = plotting.FAMILY_COLOURS[row.family]
            if row.per_image:
                scatter = evaluation.mean_estimate(row.per_image).error
                ax.errorbar(value, y, xerr=scatter, color=colour, linewidth=1, capsize=3, zorder=1)
            if row.error:
                ax.errorbar(value, y, xerr=row.error, color=colour, linewidth=4, zorder=2)
            bound = row.kind.endswith("lower bound")
            marker = "<" if bound and unit == "bits per dimension" else _MARKERS[row.kind]
            filled = row.kind != "estimated lower bound"
            ax.plot(
                value,
                y,
                marker,
                color=colour,
                markerfacecolor=colour if filled else "white",
                markersize=10,
            )
        kinds = [kind for kind in KINDS if any(row.kind == kind for row in group)]
        families = [
            family for family in plotting.FAMILY_COLOURS if any(row.family == family for row in group)
        ]
        handles = [
            *(plt.Line2D([], [], color=plotting.FAMILY_COLOURS[f], linewidth=6, label=f) for f in families),
            *(
                plt.Line2D(
                    [],
                    [],
                    linestyle="",
                    color="#444444",
                    marker="<" if k.endswith("lower bound") and unit != UNITS[0] else _MARKERS[k],
                    markerfacecolor="white" if k == "estimated lower bound" else "#444444",
                    label=k,
                )
                for k in kinds
            ),
        ]
        ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5))
        ax.set_yticks(range(len(group)), [row.model for row in group])
        ax.set_ylim(len(group) - 0.4, -0.6)
        ax.margins(x=0.12)
        better = "higher" if unit == UNITS[0] else "lower"
        quantity = "test log-likelihood" if unit == UNITS[0] else "test code length"
        ax.set_xlabel(f"{quantity} ({unit}), {better} is better")
        listed = "; ".join(f"{row.model} {row.shown()} ({row.kind})" for row in group)
        plotting.show(
            fig,
            f"Scoreboard, {data}: the marker says what kind of number it is (a bound points to where the "
            "truth may lie), the thin bar is one standard error due to the finite test set, a thick bar the "
            "method's own.",
            f"Dot plot of the {quantity} in {unit}, best first: {listed}.",
        )
