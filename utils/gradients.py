"""Gradients of functions that an exercise asks for, wherever these functions live."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def grad_of(
    f: Callable[..., Any], args: Sequence[Any], wrt: Sequence[int] = (0,), **options: Any
) -> list[Any]:
    """The gradients of the sum of all that ``f(*args, **options)`` returns.

    wrt: which arguments (numbers from 0 on) to differentiate by. Returns one tensor for each, of the
    argument's shape, or None where the result does not depend on the argument. ``f`` must compute with
    TensorFlow.

    While an exercise is graded, ``f`` may be a stand-in for a function in the student's process; then this
    function differentiates there.
    """
    elsewhere = getattr(f, "gradients_elsewhere", None)
    if elsewhere is not None:
        return elsewhere(list(args), list(wrt), options)
    import tensorflow as tf

    tracked = list(args)
    for i in wrt:
        if not isinstance(tracked[i], tf.Variable):
            tracked[i] = tf.convert_to_tensor(tracked[i])
    with tf.GradientTape() as tape:
        for i in wrt:
            tape.watch(tracked[i])
        parts = tf.nest.flatten(f(*tracked, **options))  # of one type or of several
        total = tf.add_n([tf.cast(tf.reduce_sum(part), tf.float64) for part in parts])
    gradients = tape.gradient(total, [tracked[i] for i in wrt])
    return [None if g is None else tf.convert_to_tensor(g) for g in gradients]
