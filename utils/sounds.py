"""Sounds at 8 kHz: plucked strings that are synthesised here, and spoken digits by download."""

from __future__ import annotations

import io
import itertools
import tarfile
import wave
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from utils import download

RATE = 8000  # samples a second
PITCHES = 110 * 2 ** (
    np.array([0, 3, 5, 7, 10, 12, 15, 17, 19, 22]) / 12
)  # Hz: two octaves of A minor pentatonic
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")


@dataclass(frozen=True, eq=False)
class Sounds:
    """Sounds in three parts.

    ``train``, ``validation``, ``test``: for each sound a float32 array (T,) in [−1, 1]; one array (N, T) if
    all are equally long. ``*_labels``: int64 (N,), what is heard. ``*_speakers``: int64 (N,), places in
    ``SPEAKERS``, or None. ``rate``: samples a second.
    """

    name: str
    train: Sequence[np.ndarray]
    validation: Sequence[np.ndarray]
    test: Sequence[np.ndarray]
    train_labels: np.ndarray
    validation_labels: np.ndarray
    test_labels: np.ndarray
    train_speakers: np.ndarray | None = None
    validation_speakers: np.ndarray | None = None
    test_speakers: np.ndarray | None = None
    rate: int = RATE

    def __repr__(self) -> str:
        parts = (self.train, self.validation, self.test)
        sizes = " / ".join(f"{len(part):,}" for part in parts)
        length = sum(len(sound) for part in parts for sound in part) / self.rate
        return (
            f"{self.name}: {sizes} sounds (train / validation / test), {self.rate} Hz, {length:.0f} s in all"
        )


def pluck(pitch: float, seconds: float, rng: np.random.Generator, decay: float = 1.0) -> np.ndarray:
    """A plucked string, float32 (T,), its loudest sample 0.9, by Karplus and Strong's algorithm; no download.

    A loop holds one period of noise and averages neighbours each time round, which damps high overtones
    first: y_t = x_t + g (y_{t−P} + y_{t−P−1}) / 2. Its delay is P + 1/2 samples; an allpass filter
    (C + z⁻¹) / (1 + C z⁻¹) adds the fraction that tunes it. ``pitch``: Hz, 20 to 1000. ``decay``: seconds
    until the fundamental has lost 60 dB or more.
    Source: Karplus and Strong, Computer Music Journal 7(2), 1983; Jaffe and Smith, same issue.
    """
    from scipy.signal import lfilter

    if not 20 <= pitch <= 1000 or seconds * RATE < 1 or decay <= 0:
        raise ValueError(
            f"pitch {pitch} Hz, {seconds} s, decay {decay} s: choose a pitch from 20 to 1000 Hz, times > 0"
        )
    T, omega = int(seconds * RATE), 2 * np.pi * pitch / RATE
    P = int(RATE / pitch - 0.6)
    fraction = RATE / pitch - 0.5 - P  # what the allpass delays by, in [0.1, 1.1)
    C = np.sin((1 - fraction) * omega / 2) / np.sin((1 + fraction) * omega / 2)
    g = 10 ** (-3 / (pitch * decay))  # a period
    burst = rng.uniform(-1, 1, P)
    x = np.zeros(max(T, P))
    x[:P] = burst - burst.mean()  # a constant would not be damped
    a = np.zeros(P + 3)  # (1 + C z⁻¹) − z⁻ᴾ g/2 (1 + z⁻¹)(C + z⁻¹)
    a[:2] = 1, C
    a[P:] -= g / 2 * np.array([C, 1 + C, 1])
    y = lfilter([1, C], a, x)[:T]
    return (0.9 * y / np.abs(y).max()).astype(np.float32)


def plucked_strings(n: int = 20, seconds: float = 0.5, seed: int = 0) -> Sounds:
    """Ten pitches (``PITCHES``, 110 to 392 Hz), of each n training sounds, n // 4 for validation and test.

    Arrays (N, T), T = 8000 · seconds; the label is the pitch's number. No two sounds are equal: each is
    plucked with noise of its own. The same seed gives the same sounds.
    """
    if n < 4:
        raise ValueError(f"n is {n}; choose 4 or more, so that each part has every pitch")
    rng = np.random.default_rng(seed)
    parts: list[Any] = []
    labels: list[Any] = []
    for size in (n, n // 4, n // 4):
        label = np.tile(np.arange(len(PITCHES)), size)
        parts.append(np.stack([pluck(PITCHES[k], seconds, rng) for k in label]))
        labels.append(label)
    return Sounds("strings", *parts, *labels)


def spoken_digits() -> Sounds:
    """Free Spoken Digit Dataset, takes 0 to 19 of 50: six speakers say the ten digits; 0.1 to 2.3 s each.

    Test: takes 0 to 4, the official test part, 300 recordings. Validation: takes 18 and 19, 120. Train: takes
    5 to 17, 780. The label is the digit. Downloaded at the first use: the whole archive of the repository, of
    which these takes are kept.
    Raises utils.download.DataError. Source: Jakobovski et al., Free Spoken Digit Dataset.
    """
    with tarfile.open(fileobj=io.BytesIO(download.read(SPOKEN_DIGITS))) as archive:
        recordings = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
    parts: list[Any] = []
    labels: list[Any] = []
    speakers: list[Any] = []
    for takes in (range(5, 18), range(18, 20), range(5)):
        keys = list(itertools.product(takes, range(len(SPEAKERS)), range(10)))
        parts.append([_samples(recordings[_name(digit, speaker, take)]) for take, speaker, digit in keys])
        labels.append(np.array([digit for _, _, digit in keys]))
        speakers.append(np.array([speaker for _, speaker, _ in keys]))
    return Sounds("spoken digits", *parts, *labels, *speakers)


def _name(digit: int, speaker: int, take: int) -> str:
    return f"recordings/{digit}_{SPEAKERS[speaker]}_{take}.wav"


def _samples(recording: bytes) -> np.ndarray:
    """A mono 16-bit WAV file → float32 (T,) in [−1, 1)."""
    with wave.open(io.BytesIO(recording)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 2**15


def _takes(archive: bytes) -> bytes:
    """The repository's zip archive → a tar file of takes 0 to 19, always the same bytes.

    GitHub does not promise the bytes of its archives; what is checked is therefore what this makes of them.
    Raises ValueError where the archive is damaged or a recording is missing.
    """
    made = io.BytesIO()
    try:
        with (
            zipfile.ZipFile(io.BytesIO(archive)) as old,
            tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as new,
        ):
            folder = old.namelist()[0].split("/")[0]
            for speaker, digit, take in itertools.product(range(len(SPEAKERS)), range(10), range(20)):
                content = old.read(f"{folder}/{_name(digit, speaker, take)}")
                member = tarfile.TarInfo(_name(digit, speaker, take))
                member.size = len(content)
                new.addfile(member, io.BytesIO(content))
    except (zipfile.BadZipFile, zlib.error, IndexError, KeyError) as error:
        raise ValueError(f"not the archive of the spoken digits: {error}") from None
    return made.getvalue()


SPOKEN_DIGITS = download.Source(
    path="fsdd/fsdd_takes_00-19.tar",
    sha256="c69b2724262532ec76f0a31750d480e93fc2306c8ca8913b2a17f8daf31e1b47",
    urls=(
        "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/"
        "26eb9aaf76e81b692f806f9140c2d2777410d7a1.zip",
    ),
    packed=(
        "fsdd/fsdd_takes_00-19.tar.xz",
        "81f4993651fef0f7f1260b5d9f02b21ce278c4e21bf7e7205c4cf929f2f7e626",
    ),
    unpack=_takes,
)
