"""What network weeks share, as week 6 derives it: an MLP, batches that are binarised afresh, training."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm.keras import TqdmCallback


class MLP(keras.layers.Layer):
    """Dense layers with SiLU, u σ(u), between them: (..., sizes[0]) → (..., sizes[-1]).

    ``centre`` (sizes[0],) is subtracted from the input. The weights exist before the first call.
    """

    def __init__(self, *sizes: int, centre: np.ndarray | float = 0.0) -> None:
        super().__init__()
        if len(sizes) < 2:
            raise ValueError(f"an MLP needs the sizes of its input and its output, got {sizes}")
        self.centre = centre
        self.hidden = [keras.layers.Dense(n, "silu") for n in sizes[1:-1]]
        self.last = keras.layers.Dense(sizes[-1])
        for n, layer in zip(sizes, [*self.hidden, self.last], strict=False):
            layer.build((None, n))
        self.built = True

    def call(self, x: Any) -> Any:
        x = x - self.centre
        for layer in self.hidden:
            x = layer(x)
        return self.last(x)


class MaskedDense(keras.layers.Layer):
    """x (W ∘ mask) + b, as in week 10: (..., inputs) → (..., outputs). mask: (inputs, outputs) of 0 and 1.

    ``initializer`` is Keras's name of that of W. The weights exist before the first call.
    """

    def __init__(self, mask: Any, initializer: str = "glorot_uniform") -> None:
        super().__init__()
        self.mask = tf.constant(mask, tf.float32)
        self.W = self.add_weight(shape=mask.shape, initializer=initializer, name="W")
        self.b = self.add_weight(shape=mask.shape[1:], initializer="zeros", name="b")
        self.built = True

    def call(self, x: Any) -> Any:
        return tf.matmul(x, self.W * self.mask) + self.b


def bernoulli(p: Any, seed: Any = None) -> tf.Tensor:
    """0/1 draws with probabilities p, any shape → float32. Images of 0 and 1 stay as they are.

    ``seed``: two integers, for draws that depend on nothing else.
    """
    u = tf.random.uniform(tf.shape(p)) if seed is None else tf.random.stateless_uniform(tf.shape(p), seed)
    return tf.cast(u < p, tf.float32)


def batches(x: np.ndarray, *more: np.ndarray, B: int, seed: int, binarise: bool = True) -> tf.data.Dataset:
    """Shuffled batches of B rows of x (N, …), each drawn by ``bernoulli`` if ``binarise`` and x is float32.

    With ``more`` arrays of N rows a batch is ((x, *more),): one input of several parts, no target. Batches
    of fewer rows are dropped. The same seed gives the same order.
    """
    arrays = [tf.constant(part) for part in (x, *more)]
    if any(len(part) != len(x) for part in arrays) or not 0 < B <= len(x):
        sizes = ", ".join(str(len(part)) for part in arrays)
        raise ValueError(
            f"batches of {B} from arrays of {sizes} rows: equal numbers of at least B are needed"
        )

    def pick(i: tf.Tensor, key: tf.Tensor) -> Any:  # only indices are shuffled, not images
        first, *rest = [tf.gather(part, i) for part in arrays]
        first = bernoulli(first, key) if binarise and first.dtype == tf.float32 else first
        return ((first, *rest),) if rest else first

    order = tf.data.Dataset.range(len(x)).shuffle(len(x), seed).batch(B, drop_remainder=True)
    keys = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).batch(2)  # others in each epoch
    return tf.data.Dataset.zip(order, keys).map(pick).prefetch(2)  # the next batch is made meanwhile


class Adam(keras.optimizers.Adam):
    """Keras's Adam, with TensorFlow's one operation for each weight: the same steps, traced faster."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if self.amsgrad:  # there is another operation for it
            super().update_step(gradient, variable, learning_rate)
            return
        t, i = tf.cast(self.iterations + 1, tf.float32), self._get_variable_index(variable)
        states = {"m": self._momentums[i].value.handle, "v": self._velocities[i].value.handle}
        betas = {"beta1": self.beta_1, "beta2": self.beta_2, "epsilon": self.epsilon}
        powers = {"beta1_power": self.beta_1**t, "beta2_power": self.beta_2**t, "lr": learning_rate}
        gradient = tf.convert_to_tensor(gradient)
        tf.raw_ops.ResourceApplyAdam(var=variable.handle, grad=gradient, **states, **betas, **powers)


def train(
    model: keras.Model,
    data: tf.data.Dataset,
    epochs: int,
    rate: float,
    validation: Any = None,
    callbacks: Sequence[Any] = (),
    xla: bool = False,
) -> tuple[dict[str, list[float]], float]:
    """Adam, its rate falling to 0 along a cosine → {"loss": […], "val_loss": […]} by epoch, seconds."""
    several_devices = tf.distribute.get_strategy().num_replicas_in_sync > 1
    schedule = keras.optimizers.schedules.CosineDecay(rate, epochs * len(data))
    model.compile(
        Adam(schedule, global_clipnorm=50.0),  # one bad batch cannot destroy a model
        steps_per_execution=1 if several_devices else len(data),  # an epoch is one call of the graph
        jit_compile=xla,
    )
    model.optimizer.build(model.trainable_variables)  # else `fit` traces the step twice
    began, bar = time.perf_counter(), TqdmCallback(verbose=0)
    options = {"validation_data": validation, "callbacks": [bar, *callbacks]}
    history = model.fit(data, epochs=epochs, shuffle=False, verbose=0, **options).history
    return history, time.perf_counter() - began


def set_beta(model: keras.Model, beta: Callable[[int], float]) -> Any:
    """A callback that sets the variable ``model.beta`` before each epoch; beta: epoch → β."""
    return keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: model.beta.assign(beta(epoch)))
