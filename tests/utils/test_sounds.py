"""The sounds: a string has the pitch it is given, what is unpacked from the archive is the official set."""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import tarfile
import wave
import zipfile

import numpy as np
import pytest

from utils import download, sounds


def period(sound: np.ndarray, pitch: float) -> float:
    """Samples a period: the highest autocorrelation within 20 % of the pitch, refined by a parabola."""
    spectrum = np.fft.rfft(sound.astype(float), 2 * len(sound))
    r = np.fft.irfft(np.abs(spectrum) ** 2)[: len(sound)]
    lags = np.arange(int(0.8 * sounds.RATE / pitch), int(1.2 * sounds.RATE / pitch) + 2)
    best = lags[np.argmax(r[lags])]
    a, b, c = r[best - 1 : best + 2]
    return best + (a - c) / (2 * (a - 2 * b + c))


@pytest.mark.parametrize("pitch", [55.0, 82.41, *sounds.PITCHES, 440.0, 659.26])
def test_pitch(pitch):
    sound = sounds.pluck(pitch, 1.0, np.random.default_rng(3), decay=2.0)
    assert sound.shape == (8000,) and sound.dtype == np.float32
    cents = 1200 * np.log2(sounds.RATE / period(sound[800:], pitch) / pitch)
    assert abs(cents) < 5, "a twentieth of a semitone; a period rounded to whole samples errs by up to 80"


def test_string_decays():
    sound = sounds.pluck(220, 1.0, np.random.default_rng(0), decay=1.0)
    level = np.abs(sound.reshape(10, 800)).max(axis=1)
    assert np.isclose(np.abs(sound).max(), 0.9) and (np.diff(level) < 0).all() and level[-1] < 0.01
    power = np.abs(np.fft.rfft(sound.reshape(10, 800) * np.hanning(800))) ** 2
    high = power[:, 100:].sum(axis=1) / power.sum(axis=1)  # above 1000 Hz
    assert high[5] < 0.1 * high[0], "overtones go first"
    assert abs(sound.mean()) < 1e-3, "no constant stays"


@pytest.mark.parametrize(
    "bad", [{"pitch": 5.0}, {"pitch": 4000.0}, {"pitch": float("nan")}, {"seconds": 0.0}, {"decay": 0.0}]
)
def test_impossible_strings(bad):
    with pytest.raises(ValueError, match="choose a pitch from 20 to 1000 Hz"):
        sounds.pluck(**{"pitch": 110.0, "seconds": 0.1, "rng": np.random.default_rng(0)} | bad)


def test_strings():
    made = sounds.plucked_strings(n=4, seconds=0.25, seed=1)
    assert (made.train.shape, made.validation.shape, made.test.shape) == ((40, 2000), (10, 2000), (10, 2000))
    joined = np.concatenate([made.train, made.validation, made.test])
    assert joined.dtype == np.float32 and np.abs(joined).max() <= 0.9001
    assert len(np.unique(joined, axis=0)) == 60, "no sound stands in two parts"
    for part, labels in ((made.train, made.train_labels), (made.test, made.test_labels)):
        np.testing.assert_array_equal(np.bincount(labels), len(part) // 10)
        for sound, label in zip(part, labels, strict=True):
            pitch = sounds.PITCHES[label]
            assert abs(np.log2(sounds.RATE / period(sound, pitch) / pitch)) < 0.01, "labels are pitches"
    np.testing.assert_array_equal(made.train, sounds.plucked_strings(4, 0.25, 1).train)
    assert not np.array_equal(made.train, sounds.plucked_strings(4, 0.25, 2).train)
    assert "40 / 10 / 10 sounds" in repr(made) and "15 s" in repr(made)
    with pytest.raises(ValueError, match="4 or more"):
        sounds.plucked_strings(n=3)


def recording(values: np.ndarray) -> bytes:
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setparams((1, 2, sounds.RATE, 0, "NONE", ""))
        file.writeframes(values.astype("<i2").tobytes())
    return made.getvalue()


@pytest.fixture(scope="module")
def archive() -> bytes:
    """A zip as GitHub makes it; each recording says by its samples which one it is."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        file.writestr("free-spoken-digit-dataset-26eb9aa/README.md", "takes 0 to 49")
        for digit, (k, speaker), take in itertools.product(range(10), enumerate(sounds.SPEAKERS), range(21)):
            name = f"free-spoken-digit-dataset-26eb9aa/recordings/{digit}_{speaker}_{take}.wav"
            file.writestr(name, recording(np.array([digit, k, take, -(2**15)])))
    return made.getvalue()


def test_spoken_digits_from_their_archive(archive, monkeypatch):
    monkeypatch.setattr(download, "read", lambda source: source.unpack(archive))
    spoken = sounds.spoken_digits()
    assert "780 / 120 / 300" in repr(spoken)
    for part, labels, speakers, takes in (
        (spoken.train, spoken.train_labels, spoken.train_speakers, set(range(5, 18))),
        (spoken.validation, spoken.validation_labels, spoken.validation_speakers, {18, 19}),
        (spoken.test, spoken.test_labels, spoken.test_speakers, set(range(5))),
    ):
        heard = np.stack(part)
        assert heard.dtype == np.float32 and (heard[:, 3] == -1).all()
        codes = (heard[:, :3] * 2**15).astype(int)
        np.testing.assert_array_equal(codes[:, 0], labels)
        np.testing.assert_array_equal(codes[:, 1], speakers)
        assert set(codes[:, 2]) == takes
        assert len({tuple(code) for code in codes}) == len(part) == 60 * len(takes)


def test_damaged_archives_are_refused(archive):
    for bad in (b"", b"a page that is no zip", archive[:-100]):
        with pytest.raises(ValueError, match="not the archive"):
            sounds._takes(bad)
    with zipfile.ZipFile(io.BytesIO(archive)) as whole, zipfile.ZipFile(part := io.BytesIO(), "w") as file:
        for name in whole.namelist()[:-30]:
            file.writestr(name, whole.read(name))
    with pytest.raises(ValueError, match=r"no item named .*9_theo_12\.wav"):
        sounds._takes(part.getvalue())


@pytest.mark.skipif(
    not os.environ.get("LGM_DATA_DIR"), reason="LGM_DATA_DIR names no folder with the real data"
)
def test_real_spoken_digits():
    spoken = sounds.spoken_digits()
    assert [len(part) for part in (spoken.train, spoken.validation, spoken.test)] == [780, 120, 300]
    lengths = [len(sound) for part in (spoken.train, spoken.validation, spoken.test) for sound in part]
    assert abs(sum(lengths) / sounds.RATE - 524.4) < 0.05 and min(lengths) == 1148
    content = download.read(sounds.SPOKEN_DIGITS)
    assert hashlib.sha256(content).hexdigest() == sounds.SPOKEN_DIGITS.sha256, "the copy is the checked file"
    with tarfile.open(fileobj=io.BytesIO(content)) as old, zipfile.ZipFile(made := io.BytesIO(), "w") as new:
        for member in old:
            new.writestr(f"any-name/{member.name}", old.extractfile(member).read())
    assert sounds._takes(made.getvalue()) == content, "what is made of GitHub's archive has this checksum"
