"""The scoreboard: each number with its kind, files that are never half-written or thrown away."""

from __future__ import annotations

import json
import math
import os
from html.parser import HTMLParser

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest

from utils import plotting, scoreboard
from utils.evaluation import Estimate, TwoSampleTest
from utils.scoreboard import Row, ScoreboardError

PACKAGE = scoreboard.paths.PACKAGE


def row(model="RBM", **changes) -> Row:
    values = {"week": 3, "family": "Boltzmann machine", "value": -19.07, "kind": "exact"}
    return Row(**{"model": model, **values, **changes})


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    """A student's own file in a folder of the test; no committed rows."""
    monkeypatch.delenv("LGM_SCOREBOARD", raising=False)
    monkeypatch.setattr(scoreboard.paths, "data_folder", lambda: tmp_path / "data")
    monkeypatch.setattr(scoreboard.paths, "PACKAGE", tmp_path / "package")
    return tmp_path / "data" / "scoreboard.json"


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"value": -19.07, "kind": "exact"}, "−19.07"),
        ({"value": -18.1123, "kind": "estimate", "error": 0.21}, "−18.11 ± 0.21"),
        ({"value": -101.2, "kind": "lower bound"}, "≥ −101.20"),
        ({"value": -101.2, "kind": "lower bound", "error": 0.13}, "≥ −101.20 ± 0.13"),
        ({"value": -84.62, "kind": "estimated lower bound", "error": 0.1}, "≳ −84.62 ± 0.10"),
        ({"value": 2.31, "kind": "lower bound", "unit": "bits per dimension"}, "≤ 2.31"),
        ({"value": None, "kind": "none"}, "none"),
    ],
)
def test_number_with_its_kind(changes, shown):
    assert row(**changes).shown() == shown


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "bound"}, "kind 'bound' is none of exact"),
        ({"family": "RBM"}, "family 'RBM' is none of"),
        ({"unit": "nats"}, "unit 'nats'"),
        ({"kind": "estimate"}, "needs its standard error"),
        ({"kind": "estimated lower bound"}, "needs its standard error"),
        ({"error": 0.1}, "kind 'exact' has no error"),
        ({"kind": "estimate", "error": -0.1}, "negative"),
        ({"value": None}, "kind is 'none'"),
        ({"kind": "none"}, "kind is 'none'"),
        ({"value": math.nan}, "value is nan; a finite number"),
        ({"kernel_distance": 0.3}, "kernel_distance must be an Estimate"),
        ({"anomaly": Estimate(math.nan, 0.1)}, "not finite"),
        ({"per_image": [-19.0, -20.0]}, "mean of per_image is -19.5"),
        ({"per_image": [-19.07, math.inf]}, "finite"),
    ],
)
def test_row_that_makes_no_sense(changes, words):
    with pytest.raises(ValueError, match="row 'RBM'") as error:
        row(**changes)
    assert words in str(error.value)


def full_row() -> Row:
    values = np.linspace(-30, -8, 400).astype(np.float32)
    return row(
        "RBM, 16 hidden",
        value=np.float32(values.mean()),
        per_image=values,
        kernel_distance=Estimate(-0.0012, 0.003),
        c2st=TwoSampleTest(0.62, 0.024, p_value=1e-6, n=400),
        coverage=Estimate(0.93, 0.013),
        train_seconds=3.2,
        ms_per_sample=np.float64(12.3),
        parameters=np.int64(1104),
        imputing=Estimate(0.21, 0.005),
        repairing=Estimate(0.03, 0.002),
        anomaly=Estimate(0.91, 0.01),
        note="PCD “fast” & small",
    )


def test_what_is_written_is_read_again(own):
    assert scoreboard.mine() == []
    first, second = full_row(), row("GAN", family="GAN", value=None, kind="none")
    scoreboard.record(first)
    scoreboard.record(second)
    back = scoreboard.mine()
    assert [r.model for r in back] == ["RBM, 16 hidden", "GAN"]
    assert back[0].per_image == first.per_image and len(back[0].per_image) == 400
    assert back[0].c2st == Estimate(0.62, 0.024) and back[0].coverage == first.coverage
    assert back[0].note == first.note
    assert back[0].parameters == 1104 and back[0].value == pytest.approx(first.value)
    assert back[1] == second
    json.loads(own.read_text(encoding="utf-8"))
    assert os.listdir(own.parent) == ["scoreboard.json"], "no temporary file stays"


def test_same_model_is_replaced():
    scoreboard.record(row(value=-20.0))
    scoreboard.record(row("other"))
    scoreboard.record(row(value=-18.0))
    assert [(r.model, r.value) for r in scoreboard.mine()] == [("other", -19.07), ("RBM", -18.0)]
    scoreboard.record(row(value=-17.0, data="mnist"))
    assert len(scoreboard.mine()) == 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"rows": [', "no valid JSON (line 1"),
        ("[]", "something else than scoreboard rows"),
        ('{"rows": [{"model": "x"}]}', "something else than scoreboard rows"),
        ('{"rows": [{"week": 3, "model": "x", "family": "VAE", "value": 1, "kind": "?"}]}', "kind '?'"),
        ('{"rows": [7]}', "something else than scoreboard rows"),
        (b"\xff\xfe", "something else than scoreboard rows"),
    ],
)
def test_damaged_file_is_kept(own, content, words):
    own.parent.mkdir()
    raw = content if isinstance(content, bytes) else content.encode()
    own.write_bytes(raw)
    for call in (scoreboard.mine, lambda: scoreboard.record(row()), scoreboard.table):
        with pytest.raises(ScoreboardError) as error:
            call()
        message = str(error.value)
        assert str(own) in message and words in message and "move it away" in message
    assert own.read_bytes() == raw


def test_unwritable_folder(own):
    own.parent.write_text("a file where the folder should be")
    with pytest.raises(ScoreboardError, match="cannot be written"):
        scoreboard.record(row())


def test_a_failed_write_keeps_the_old_file(own, monkeypatch):
    scoreboard.record(row())
    before = own.read_bytes()

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scoreboard.os, "replace", fail)
    with pytest.raises(ScoreboardError, match="No space left"):
        scoreboard.record(row("other"))
    assert own.read_bytes() == before and os.listdir(own.parent) == ["scoreboard.json"]


def test_reference_rows(tmp_path):
    folder = tmp_path / "package" / "reference"
    scoreboard.write(folder / "week03_rbm.json", [row()])
    scoreboard.write(folder / "week01_foundations.json", [row("mixture", week=1, family="mixture")])
    assert [r.week for r in scoreboard.reference()] == [1, 3]
    scoreboard.record(row(value=-18.5))
    text = str(scoreboard.table())
    assert "RBM (yours)" in text and "mixture (yours)" not in text
    assert text.index("−18.50") < text.index("−19.07"), "best first"


class Cells(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text, self.scopes = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "th":
            self.scopes.append(dict(attrs)["scope"])

    def handle_data(self, data):
        self.text.append(data)


def test_table():
    rows = [
        full_row(),
        row("AIS <b>", value=-18.11, kind="estimate", error=0.21),
        row("GAN", family="GAN", value=None, kind="none"),
        row(
            "flow",
            data="digits-grey",
            unit="bits per dimension",
            value=2.31,
            kind="lower bound",
            family="flow",
        ),
    ]
    table = scoreboard.table(rows)
    text = str(table)
    for expected in ("−19.00", "−18.11 ± 0.21", "≤ 2.31", "exact", "estimate", "1,104", "−0.0012 ± 0.0030"):
        assert expected in text
    assert text.count("Scoreboard: digits, test part") == 1
    assert "Scoreboard: digits-grey, test part" in text, "never in one list with nats"
    sampling = np.std(rows[0].per_image, ddof=1) / 20
    assert f"{sampling:.2f}" in text
    lines = text.splitlines()
    assert lines[3].startswith("AIS <b>") and lines[5].startswith("GAN"), "best first, none last"

    parser = Cells()
    parser.feed(table._repr_html_())
    assert parser.tags.count("caption") == parser.tags.count("table") == 3
    assert parser.scopes.count("row") == 3 + 3 + 1 and "col" in parser.scopes
    assert "AIS <b>" in parser.text and "b" not in parser.tags, "escaped"
    bundle = table._repr_mimebundle_()
    assert bundle["text/plain"] == text


def test_empty_table():
    assert "no rows yet" in str(scoreboard.table())
    assert "no rows yet" in scoreboard.table()._repr_html_()


def test_paired_difference_in_the_table():
    hard = np.random.default_rng(0).normal(-18, 6, 400)
    better = hard + 0.5 + np.where(np.arange(400) % 2, 0.2, -0.2)
    base = row("base", value=hard.mean(), per_image=hard)
    rows = [
        base,
        row("better", value=better.mean(), per_image=better),
        row("AIS", value=better.mean(), per_image=better, kind="estimate", error=0.03),
        row("no images"),
        row("on MNIST", data="mnist", value=hard.mean(), per_image=hard),
    ]
    for chosen in ("base", base):
        text = str(scoreboard.table(rows, compare_with=chosen))
        lines = {line.split("  ")[0]: line for line in text.splitlines()}
        assert "minus base" in text
        assert "+0.500 ± 0.010" in lines["better"]
        assert "+0.500 ± 0.032" in lines["AIS"], "the method's own error is part of it"
        assert "±" not in lines["base"] and "±" not in lines["no images"] and "±" not in lines["on MNIST"]
    worse = str(scoreboard.table(rows, compare_with="better"))
    assert "−0.500 ± 0.010" in worse
    with pytest.raises(ValueError, match="no row of the model 'bse'; the rows are 'base'"):
        scoreboard.table(rows, compare_with="bse")


def test_plot(monkeypatch):
    shown = []
    monkeypatch.setattr(plotting, "show", lambda fig, caption, alt: shown.append((fig, caption, alt)))
    rows = [
        full_row(),
        row("AIS", value=-18.11, kind="estimate", error=0.21),
        row("VAE", family="VAE", value=-17.4, kind="lower bound"),
        row("GAN", family="GAN", value=None, kind="none"),
        row(
            "flow",
            data="digits-grey",
            unit="bits per dimension",
            value=2.31,
            kind="lower bound",
            family="flow",
        ),
    ]
    scoreboard.plot(rows)
    assert len(shown) == 2, "one figure for each data set and unit"
    fig, caption, alt = shown[0]
    (ax,) = fig.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["VAE", "AIS", "RBM, 16 hidden"]
    assert "nats per image" in ax.get_xlabel() and "higher is better" in ax.get_xlabel()
    markers = [line for line in ax.lines if line.get_markersize() == 10]
    assert [m.get_marker() for m in markers] == [">", "D", "o"]
    assert [m.get_color() for m in markers] == [
        plotting.FAMILY_COLOURS[f] for f in ("VAE", "Boltzmann machine", "Boltzmann machine")
    ]
    assert "VAE ≥ −17.40 (lower bound)" in alt and "GAN" not in alt and caption
    assert "lower is better" in shown[1][0].axes[0].get_xlabel()
    for fig, _, _ in shown:
        matplotlib.pyplot.close(fig)
    scoreboard.plot([])
    assert len(shown) == 2


def test_committed_rows_are_sound(monkeypatch):
    """Whatever is in utils/reference can be read, shown and told apart."""
    monkeypatch.undo()
    rows = scoreboard.reference()
    assert len({r.key for r in rows}) == len(rows)
    assert all(
        r.per_image is None or r.data not in ("digits", "digits-grey") or len(r.per_image) == 400
        for r in rows
    )
    str(scoreboard.table(rows))


def test_enter_measures_the_samples_records_the_row_and_shows_the_table(own, monkeypatch):
    from utils import datasets, evaluation

    monkeypatch.setattr(scoreboard.paths, "PACKAGE", PACKAGE)
    digits, asked = datasets.digits(), []

    def sample(n):
        asked.append(n)
        return np.random.default_rng(0).permutation(digits.train)[:n]

    values = np.linspace(-30, -8, 400)
    table = scoreboard.enter(
        sample, "Independent Bernoulli", week=3, model="New", family="VAE", kind="exact", per_image=values
    )
    (row,) = scoreboard.read(own)
    assert asked == [400, 400] and (row.value, row.data) == (-19.0, "digits")
    assert row.ms_per_sample > 0
    assert row.kernel_distance == evaluation.kernel_distance(digits.test, sample(400))
    assert abs(row.kernel_distance.value) < 4 * row.kernel_distance.error, (
        "training images are like test images"
    )
    assert row.c2st.value == evaluation.classifier_two_sample_test(digits.test, sample(400), 0).value
    assert row.coverage == evaluation.coverage(digits.test, sample(400))
    assert "New (yours)" in str(table) and "minus Independent Bernoulli" in str(table)


def test_enter_divides_grey_levels(monkeypatch):
    from utils import datasets

    monkeypatch.setattr(scoreboard.paths, "PACKAGE", PACKAGE)
    grey = datasets.digits("grey").train[:400]
    options = {"week": 7, "family": "VAE", "data": "digits-grey", "unit": "bits per dimension"}
    scoreboard.enter(lambda n: grey[:n], model="Copy", kind="none", value=None, **options)
    assert abs(scoreboard.mine()[0].kernel_distance.value) < 0.01
