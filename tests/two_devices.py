"""Prints the losses of three steps of week 6's VAE on one and on two logical CPU devices, as JSON:
by week 6's `train`, then by that of `utils.networks`.

A program of its own, since logical devices must be made before TensorFlow starts. Images and first weights
are the same, and z is hardly random.
"""

import json
import os
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
import numpy as np
import tensorflow as tf

from tools.notebooks import definitions
from utils.networks import MLP, train

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
week = definitions(Path(__file__).parent.parent / "notebooks" / "week06_vae.py")
images = (np.random.default_rng(0).random((24, 6)) < 0.4).astype(np.float32)


def losses(train: Any, strategy: tf.distribute.Strategy) -> list[float]:
    with strategy.scope():
        keras.utils.set_random_seed(1)
        model = week["VAE"](MLP(6, 5, 4), MLP(2, 5, 6), 2)
        model.encoder.last.kernel.assign(0 * model.encoder.last.kernel)
        model.encoder.last.bias.assign([0.5, -0.5, -30.0, -30.0])  # a scale of 0.001: z is hardly random
        data = tf.data.Dataset.from_tensor_slices(images).batch(8)
        return train(model, data, 3, 0.01)[0]["loss"]


devices = [tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])]
print(json.dumps([[losses(by, strategy) for strategy in devices] for by in (week["train"], train)]))
