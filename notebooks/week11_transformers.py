# %% [markdown] title
# # Week 11 · Transformers
#
# {{colab}}
#
# TODO: in one sentence, what the model of this week is and why one wants it. (The example is the simplest model there
# is: pixels that know nothing of each other. Replace it section by section; no TODO may be left.)
#
# **After this notebook you can**
#
# 1. TODO: three to five things that a student can do;
# 2. train the model, and read its learning curve;
# 3. recognise a learning rate that is too high.
#
# *Time:* reading 150 minutes, the core of this notebook 150 minutes. It computes for about 20 seconds on two CPU cores.
#
# {{picture: idea}}

# %% [markdown] reading
# ## Reading
#
# | what | minutes |
# |---|---|
# | **Main:** TODO: the sections to read, and those to skip. | 100 |
# | TODO: a paper or an alternative. | 50 |
#
# **Focus questions.** Have an answer to each before you go on.
#
# 1. TODO: two to four questions.
#
# **Letters.** B batch, D pixels.

# %% setup

# %% parameters tags=["parameters"]
dataset = "digits"  # "mnist" for the larger comparison: see "Going bigger"
epochs = 60  # at most; training stops when the validation part no longer gains
batch_size = 50  # images a step
learning_rate = 0.05  # of Adam
seed = 0

# %% imports
import time

import keras
import numpy as np
import tensorflow as tf
from tqdm.keras import TqdmCallback

from utils import datasets, evaluation, plotting, quiz, scoreboard
from utils.networks import batches, bernoulli  # TODO: what earlier weeks taught, and which

digits = datasets.load(dataset)
print(digits)

# %% [markdown] model_text
# ## 1 · The model
#
# TODO: two plain sentences on what is wanted here, and why it is not obvious. Then the equation, with its number in the
# reading, and the code that mirrors it:
#
# $$p(x) = \prod_i \sigma(b_i)^{x_i} \left(1 - \sigma(b_i)\right)^{1 - x_i}.$$


# %% model
class Pixels(keras.Model):
    """p(x) = Π_i σ(b_i)^x_i (1 − σ(b_i))^(1 − x_i) for x in {0, 1}^D."""

    def __init__(self, D):
        super().__init__()
        self.b = self.add_weight(shape=(D,), initializer="zeros", name="b")  # logits
        self.built = True  # all weights exist

    def call(self, x):
        """x: (B, D) → log p(x), (B,) nats. The loss is minus its mean."""
        log_p = -tf.reduce_sum(x * tf.nn.softplus(-self.b) + (1 - x) * tf.nn.softplus(self.b), axis=-1)
        self.add_loss(-tf.reduce_mean(log_p))
        return log_p

    def sample(self, n):
        """n images: (n, D), 0 or 1."""
        return bernoulli(tf.tile(tf.sigmoid(self.b)[None], [n, 1]))


# %% [markdown] exact_text
# **A case that is exact.** With four pixels there are 16 images, and their probabilities sum to 1.
#
# TODO: a **Predict** prompt before a result that surprises; the text after the result answers it.

# %% exact
toy = Pixels(4)
toy.b.assign([0.5, -1.0, 2.0, 0.0])
images = (np.arange(16)[:, None] >> np.arange(4) & 1).astype(np.float32)  # (16, 4), all of them
total = float(tf.reduce_sum(tf.exp(toy(images))))
np.testing.assert_allclose(total, 1.0, rtol=1e-5)
print(f"the probabilities of all 16 images sum to {total:.5f}")

# %% [markdown] train_text
# ## 2 · The digits
#
# TODO: two plain sentences.


# %% train
def trained(rate, epochs):
    """Train on the digits → the model, losses by epoch, seconds."""
    keras.utils.set_random_seed(seed)
    model = Pixels(digits.train.shape[1])
    data = batches(digits.train, B=batch_size, seed=seed)
    model.compile(
        keras.optimizers.Adam(rate), steps_per_execution=len(data)
    )  # an epoch is one call of the graph
    callbacks = [
        keras.callbacks.EarlyStopping(patience=5, restore_best_weights=True),
        TqdmCallback(verbose=0),
    ]
    start = time.perf_counter()
    history = model.fit(
        data, validation_data=validation, epochs=epochs, callbacks=callbacks, verbose=0
    ).history
    return model, history, time.perf_counter() - start


validation = batches(digits.validation, B=len(digits.validation), seed=seed)
model, history, train_seconds = trained(learning_rate, epochs)
plotting.history(
    history,
    "log-likelihood (nats per image)",
    "TODO: what to look for in the curves.",
    "Two curves that rise and level off together.",
    sign=-1,
)

# %% [markdown] train_says
# TODO: the learning curve read aloud, in a sentence: does it overfit, is it done?

# %% samples
plotting.image_grid(
    model.sample(20).numpy(),
    digits.shape,
    "TODO: what to look for in the samples.",
    "Twenty images of noise that is denser in the middle.",
)

# %% [markdown] use_text
# **Put to work.** TODO: one application. Here the lower half of each test image is filled in.

# %% use
test = bernoulli(digits.test, [seed, 0]).numpy()  # digits of 0 and 1 stay as they are
guess = np.tile(model.b.numpy() > 0, (len(test), 1))  # the likelier value of each pixel
imputing = evaluation.pixel_errors(test, guess, evaluation.lower_half(digits.shape))
print(f"wrong pixels in the lower half: {imputing}")

# %% [markdown] failure_text
# ## 3 · What goes wrong
#
# TODO: one failure, produced on purpose, seen in a figure, and cured. Here the learning rate is 400 times as
# high.

# %% failure
_, wild, _ = trained(400 * learning_rate, 10)
curves = {"rate too high": wild["val_loss"], "right rate": history["val_loss"][:10]}
plotting.learning_curves(
    {name: (np.arange(1, len(loss) + 1), -np.array(loss)) for name, loss in curves.items()},
    "time (epochs)",
    "log-likelihood (nats per image)",
    "Validation part. TODO: what to look for.",
    "One curve jumps up and down below the other, which rises smoothly and levels off.",
)

# %% [markdown] board_text
# ## 4 · The scoreboard

# %% board
scoreboard.enter(
    model.sample,
    week=11,
    model="TODO: the model's name",
    family="mixture",
    data=dataset,
    per_image=model(test),
    kind="exact",
    train_seconds=train_seconds,
    parameters=model.count_params(),
    imputing=imputing,
)

# %% [markdown] board_says
# TODO: two sentences on what the row says, also where it disappoints.

# %% [markdown] check_text
# ## Self-check
#
# Five questions; every answer explains itself.

# %% self_check
quiz.show("week11_transformers")

# %% [markdown] class
# **Bring to class** (no easy answers):
#
# 1. TODO: three questions.

# %% [markdown] summary
# ## Summary
#
# - TODO: a point for each objective.

# %% [markdown] deeper
# ## Deeper · A first further step
#
# TODO: ablations, second applications, further models, proofs that only some want. Each Deeper section can be read alone;
# the exercise and the next week need none.

# %% [markdown] bigger
# ## Going bigger
#
# The same notebook on MNIST: change the `parameters` cell only. (Maintainers: `make benchmark WEEK=week11_transformers`.)
#
# ```python
# dataset = "mnist"
# epochs = 20
# ```
#
# | model | measured |
# |---|---|
# | TODO: the model's name | |
#
# TODO: minutes and memory of the whole notebook, and a published number to compare with.

# %% [markdown] references
# ## References
#
# - TODO: who first did it.
