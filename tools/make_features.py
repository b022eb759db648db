"""Train the course's feature extractor and write utils/features.npz. Run once; the file is committed.

    python -m tools.make_features

A small convolutional network that learns two things at once from the training part, grey and binary images
alike: which digit an image shows, and which share of its pixels was flipped at random. The first makes its
features see what is drawn, the second how well. What ``utils.evaluation.features`` returns is the last hidden
layer. The scoreboard's kernel distances hold for these very weights: a new file would make every committed
reference row wrong, so this script refuses to overwrite it.
"""

from __future__ import annotations

import sys

import numpy as np

from utils import datasets, evaluation, paths

SEED, EPOCHS, BATCH = 0, 60, 64
RATES = (0.0, 0.02, 0.06, 0.15)  # shares of flipped pixels to tell apart
COPIES = 4  # augmented copies of the training part in each epoch


def augment(grey: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Grey digits (N, 8, 8) in [0, 1] → half binary, some shifted, some pixels flipped; the rate's index."""
    n = len(grey)
    padded = np.pad(grey, ((0, 0), (1, 1), (1, 1)))
    shift = rng.choice(3, size=(n, 2), p=(0.1, 0.8, 0.1))
    rows = shift[:, :1] + np.arange(8)
    columns = shift[:, 1:] + np.arange(8)
    images = padded[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
    binary = (images >= datasets.BINARY_THRESHOLD / 16).astype(np.float32)
    images = np.where(rng.random((n, 1, 1)) < 0.5, binary, images)
    rate = rng.integers(len(RATES), size=n)
    flips = rng.random(images.shape) < np.take(RATES, rate)[:, None, None]
    return np.where(flips, 1 - images, images).astype(np.float32), rate


def main() -> None:
    target = paths.PACKAGE / "features.npz"
    if target.exists():
        sys.exit(f"{target} exists and is fixed for good; the reference rows depend on it.")
    import keras

    keras.utils.set_random_seed(SEED)
    rng = np.random.default_rng(SEED)
    digits = datasets.digits("grey")
    grey = digits.train.reshape(-1, 8, 8) / 16
    x = images = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(16, 3, activation="relu")(x)  # (6, 6, 16)
    x = keras.layers.Conv2D(32, 3, activation="relu")(x)  # (4, 4, 32)
    x = keras.layers.AveragePooling2D(2)(x)  # (2, 2, 32)
    x = keras.layers.Dense(64, activation="tanh")(keras.layers.Flatten()(x))  # the features
    x = keras.layers.Dropout(0.2)(x)
    network = keras.Model(images, [keras.layers.Dense(10)(x), keras.layers.Dense(len(RATES))(x)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    steps = EPOCHS * -(-COPIES * len(grey) // BATCH)
    network.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, steps)), [loss, loss])
    assert digits.train_labels is not None
    labels = np.tile(digits.train_labels, COPIES)
    for _ in range(EPOCHS):
        batch, rate = augment(np.tile(grey, (COPIES, 1, 1)), rng)
        network.fit(batch[..., None], [labels, rate], batch_size=BATCH, verbose=0)

    weights = network.get_weights()
    names = (
        "conv1",
        "conv1_bias",
        "conv2",
        "conv2_bias",
        "dense",
        "dense_bias",
        "head",
        "head_bias",
        "rate",
        "rate_bias",
    )
    arrays = {name: w.astype(np.float16) for name, w in zip(names, weights, strict=True)}
    np.savez_compressed(target, **arrays)

    for name, part in (("grey", digits.test / 16), ("binary", datasets.digits("binary").test)):
        logits = evaluation.features(part) @ arrays["head"].astype(np.float64) + arrays["head_bias"]
        print(f"{name} test digits: {np.mean(logits.argmax(1) == digits.test_labels):.1%} right")
    print(f"{target}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
