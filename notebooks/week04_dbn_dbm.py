# %% [markdown] title
# # Week 4 · Deep belief networks and deep Boltzmann machines
#
# {{colab}}
#
# One RBM on top of another gives two different deep models. The one can be trained layer by layer and sampled from
# top to bottom; in the other all layers talk to each other, and inference itself becomes an optimisation.
#
# **After this notebook you can**
#
# 1. stack RBMs to a deep belief network (DBN), and say under exactly which conditions a further layer cannot lower
#    its bound;
# 2. sample from a DBN, estimate a lower bound of its log-likelihood, and fine-tune it by wake and sleep;
# 3. derive the mean-field fixed point of a deep Boltzmann machine (DBM) and the bound it maximises, and check both by
#    enumeration;
# 4. train a DBM jointly, recognise one whose second layer is dead, and cure it;
# 5. estimate a DBM's $\log Z$ by AIS, with an error bar and an effective sample size.
#
# *Time:* reading 3 hours, this notebook 2 to 3 hours. It computes for about a minute on two CPU cores.

# %% [markdown] reading
# ## Reading
#
# | what | minutes |
# |---|---|
# | **Main:** Goodfellow, Bengio and Courville, *Deep Learning* (DLB): 20.3 (DBNs) and 20.4 (DBMs); from chapter 19 read 19.1, 19.4 with 19.4.1, and 19.5.1 (wake-sleep). Skip 19.3 and the parts of 19.4 on continuous latent variables until week 6. | 90 |
# | Salakhutdinov and Hinton (2009), *Deep Boltzmann machines*: all of it; the experiments with NORB may be skimmed. | 50 |
# | Salakhutdinov and Murray (2008), *On the quantitative analysis of deep belief networks*: this time the part on DBNs. | 30 |
#
# **Focus questions.** Have an answer to each before you go on.
#
# 1. In a DBN, which of $p(v \mid h_1)$, $p(h_1 \mid v)$ and $p(h_1 \mid h_2)$ factorise? And in a DBM?
# 2. Greedy training adds a layer "and improves the model". Which quantity cannot fall, and if what holds?
# 3. In a DBM the positive phase uses mean field. Why must the negative phase not?
# 4. What would you measure to find out whether the second layer does anything?
#
# **Letters.** B batch, D visible units (pixels), H1 and H2 units of the hidden layers $h_1$ and $h_2$. Weights $W_1$
# of shape (D, H1) and $W_2$ of shape (H1, H2), biases $b$, $c_1$, $c_2$. Units are 0 or 1.

# %% setup

# %% parameters tags=["parameters"]
dataset = "digits"  # "mnist" for the published comparison: see "Going bigger"
hidden1 = 128  # H1
hidden2 = 64  # H2, at least the number of pixels: section 5 needs that
epochs = 100  # passes over the training images for the RBM
top_epochs = 30  # for the RBM on top of it
tune_epochs = 30  # of wake-sleep
dbm_epochs = 40  # for each of the DBMs in section 5
naive_epochs = 40  # for the DBM that goes wrong
batch_size = 20  # images a step
chains = 100  # persistent chains
learning_rate = 1.0  # falls linearly to 0; for the RBM
fine_rate = 0.3  # for whatever starts from a trained layer
averaging = 0.999  # how slowly the averaged weights follow
mean_field_steps = 10  # iterations in training; the evaluation uses three times as many
ais_chains = 100  # independent AIS runs
ais_temperatures = 1000  # K
importance_samples = 100  # h1 drawn for each image in a bound
seed = 0

# %% imports
import time

import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from utils import datasets, evaluation, plotting

digits = datasets.load(dataset)
rng = tf.random.Generator.from_seed(seed)
print(digits)

# %% [markdown] recall_text
# **From week 3**, in a few lines: the RBM with its free energy $F(v)$, its two conditionals, and centred PCD. Two
# things are new. `posterior` names what the positive phase needs, so that a DBM can put its own in its place; and
# the data of an epoch come from a function `draw`, because the data of a second layer are drawn anew each time.


# %% rbm
def bernoulli(p, rng):
    """Independent 0/1 draws with probabilities p (any shape), as floats."""
    return tf.math.ceil(p - rng.uniform(tf.shape(p)))


class RBM(tf.Module):
    """p(v, h) = exp(b·v + c·h + vᵀWh) / Z with v in {0, 1}^D and h in {0, 1}^H (week 3)."""

    def __init__(self, D, H, b=None, scale=0.01, seed=0):
        super().__init__()
        W = np.random.default_rng(seed).normal(0, scale, (D, H))
        self.W = tf.Variable(W, dtype=tf.float32)  # (D, H)
        self.b = tf.Variable(tf.zeros(D) if b is None else b)  # (D,)
        self.c = tf.Variable(tf.zeros(H))  # (H,)

    def free_energy(self, v):
        """v: (B, D) → (B,) nats, −log Σ_h exp(−E(v, h))."""
        return -tf.linalg.matvec(v, self.b) - tf.reduce_sum(tf.nn.softplus(self.c + v @ self.W), axis=-1)

    def logits_h(self, v):
        """v: (B, D) → (B, H), the log-odds of p(h_j = 1 | v)."""
        return self.c + v @ self.W

    def logits_v(self, h):
        """h: (B, H) → (B, D), the log-odds of p(v_i = 1 | h)."""
        return self.b + tf.matmul(h, self.W, transpose_b=True)

    def p_h_v(self, v):
        return tf.sigmoid(self.logits_h(v))

    def p_v_h(self, h):
        return tf.sigmoid(self.logits_v(h))

    def posterior(self, v):
        """v: (B, D) → both layers as the positive phase sees them: the data and p(h = 1 | v)."""
        return v, self.p_h_v(v)


def copy(source, target):
    """Copy all variables of a model to another one of the same shapes; returns the latter."""
    for new, old in zip(target.variables, source.variables):
        new.assign(old)
    return target


# %% train
class Draws:
    """Uniform random numbers for one step inside a graph, used like a tf.random.Generator (week 3)."""

    def __init__(self, key):
        self.key, self.calls = key, 0

    def uniform(self, shape):
        self.calls += 1
        return tf.random.stateless_uniform(shape, tf.stack([self.key, self.calls]))


def moments(v, h):
    """v: (B, D), h: (B, H) → the means over the batch of v hᵀ (D, H), of v (D,) and of h (H,)."""
    return tf.matmul(v, h / len(v), transpose_a=True), tf.reduce_mean(v, axis=0), tf.reduce_mean(h, axis=0)


def centre(dW, db, dc, mu, lam):
    """Plain gradient → centred gradient with offsets mu (D,) and lam (H,) (Melchior et al., 2016)."""
    dW = dW - db[:, None] * lam - mu[:, None] * dc
    return dW, db - tf.linalg.matvec(dW, lam), dc - tf.linalg.matvec(dW, mu, transpose_a=True)


@tf.function
def train_epoch(model, average, data, h_chain, rates, decay, rng, B, centred):
    """PCD-1, one pass over data (N, D) in batches of B, one rate a step; returns the chains (M, H)."""
    order = tf.argsort(rng.uniform([len(data)]))
    keys = rng.uniform([len(rates)], maxval=2**31 - 1, dtype=tf.int32)
    for i in tf.range(len(rates)):
        draws = Draws(keys[i])
        v, h = model.posterior(tf.gather(data, tf.reshape(order[i * B : (i + 1) * B], [B])))
        v_model = bernoulli(model.p_v_h(h_chain), draws)
        h_model = model.p_h_v(v_model)
        h_chain = bernoulli(h_model, draws)
        step = [data - model for data, model in zip(moments(v, h), moments(v_model, h_model))]
        if centred:
            step = centre(*step, tf.reduce_mean(v, axis=0), tf.reduce_mean(h, axis=0))
        for parameter, delta in zip([model.W, model.b, model.c], step):
            parameter.assign_add(rates[i] * delta)
        for mean, parameter in zip(average.variables, model.variables):
            mean.assign_add((1 - decay) * (parameter - mean))
    return h_chain


def falling(rate, epochs, steps):
    """Rates that fall linearly to 0: (epochs, steps)."""
    rates = rate * (1 - np.arange(epochs * steps) / (epochs * steps))
    return tf.constant(rates.reshape(epochs, steps), tf.float32)


def train(model, average, draw, epochs, rate, B, M, decay, rng, centred=True):
    """PCD-1 with M chains on the images that draw() gives for each epoch → the averaged model."""
    copy(model, average)
    h_chain = bernoulli(tf.fill([M, model.c.shape[0]], 0.5), rng)
    for rates in tqdm(
        falling(rate, epochs, len(draw()) // B), desc=f"{model.W.shape[1]} hidden", unit="epoch"
    ):
        h_chain = train_epoch(model, average, draw(), h_chain, rates, decay, rng, B, centred)
    return average


# %% [markdown] stack_text
# ## 1 · A deep belief network is a stack of RBMs
#
# Train an RBM on $v$. It defines $p(v) = \sum_{h_1} p(v \mid h_1)\, p(h_1)$, where the marginal $p(h_1)$ is again a
# free-energy form: sum the visible units out instead of the hidden ones. The **DBN** keeps $p(v \mid h_1)$ and
# replaces this prior $p(h_1)$ by a better model of the hidden layer, a second RBM (DLB 20.3):
#
# $$p(v, h_1, h_2) = p(v \mid h_1)\; p(h_1, h_2), \qquad p(v_i = 1 \mid h_1) = \sigma(b_i + W_{1,i:}\, h_1), \qquad
# p(h_1, h_2) = \frac{1}{Z_2}\, e^{\,h_1^\top W_2 h_2 + c_1^\top h_1 + c_2^\top h_2}.$$
#
# The top two layers are undirected, the step down to the pixels is directed. So
#
# $$\log p(v, h_1) = \log p(v \mid h_1) - F_2(h_1) - \log Z_2,$$
#
# with the top RBM's free energy $F_2$. Given $v$, the units of $h_1$ are *not* independent: those that explain the
# same pixel compete. Nobody sums over them exactly; one keeps the first RBM's $q(h_1 \mid v) = \prod_j
# \sigma(c_{1,j} + v^\top W_{1,:j})$ as an approximation.
#
# **The bound.** For any distribution $q(h_1 \mid v)$, by Jensen's inequality,
#
# $$\log p(v) = \log \sum_{h_1} q(h_1 \mid v)\, \frac{p(v, h_1)}{q(h_1 \mid v)}
# \;\ge\; \mathcal{L}(v) = \mathbb{E}_{q(h_1 \mid v)}\big[\log p(v \mid h_1) + \log p(h_1) - \log q(h_1 \mid v)\big],$$
#
# and the difference is $\mathrm{KL}(q(h_1 \mid v) \,\|\, p(h_1 \mid v))$. (Write $p(v, h_1) = p(h_1 \mid v)\, p(v)$ in
# $\mathcal{L}$.)
#
# **What a second layer changes.** Write $p_1$ for the first RBM, $p_2(h_1)$ for the prior that the top RBM defines, and
# $\hat q(h_1) = \frac1N \sum_n q(h_1 \mid v_n)$ for the *aggregated posterior*: the distribution of the data that the
# top RBM is trained on. With the prior $p_1(h_1)$ and $q = p_1(h_1 \mid v)$ the bound is tight: its mean is the RBM's
# log-likelihood. Now freeze $W_1$, $b$ and $q$, and exchange the prior. Only one term of the bound changes, and its
# mean over the data becomes
#
# $$\frac1N \sum_n \mathcal{L}(v_n) - \frac1N \sum_n \log p_1(v_n) = \mathbb{E}_{\hat q}\big[\log p_2(h_1) - \log p_1(h_1)\big]
# = \mathrm{KL}(\hat q \,\|\, p_1(h_1)) - \mathrm{KL}(\hat q \,\|\, p_2(h_1)).$$
#
# So the further layer does not lower the bound *if and only if* the top RBM is at least as close to $\hat q$ as the
# first RBM's own prior. Two conditions together ensure it (Hinton, Osindero and Teh, 2006):
#
# 1. **Tied initialisation.** With H2 = D, $W_2 = W_1^\top$, biases $c_1$ for $h_1$ and $c_2 = b$, the top RBM is the
#    first one upside down: $p_2(h_1) = p_1(h_1)$, and the DBN *equals* the RBM.
# 2. **Updates that do not lower their own objective** $\mathbb{E}_{\hat q}[\log p_2(h_1)]$: exact gradient steps that
#    are small enough, or any step that is taken back when the objective falls.
#
# Then $\log p_\text{DBN} \ge \mathcal{L} \ge \log p_\text{RBM}$ in the mean over the *training* data. Read the small print.
# Contrastive divergence and PCD do not fulfil condition 2. Nothing is said about test data. After the exchange $q$ is
# no longer the exact posterior, so the bound is loose, and for a *third* layer the same argument protects the bound,
# not the log-likelihood. And the gain is limited from the start: it is at most $\mathrm{KL}(\hat q \,\|\, p_1(h_1))$,
# which is 0 for an RBM that fits its data perfectly.


# %% dbn
def log_bernoulli(x, logits):
    """The log-probability of 0/1 units x: (..., D) with these log-odds: (..., D) → (...) nats."""
    return tf.reduce_sum(x * logits - tf.nn.softplus(logits), axis=-1)


class DBN(tf.Module):
    """p(v | h1) p(h1, h2) with an RBM `top` for the second factor, and a recognition model q(h1 | v)."""

    def __init__(self, first, top):
        super().__init__()
        self.W1, self.b = tf.Variable(first.W), tf.Variable(first.b)  # down: p(v | h1)
        self.R, self.r = (
            tf.Variable(first.W),
            tf.Variable(first.c),
        )  # up: q(h1 | v), at first with the same weights
        self.top = top  # W2 = top.W (H1, H2), c1 = top.b (H1,), c2 = top.c (H2,)

    def logits_h1(self, v):
        """v: (B, D) → (B, H1), the log-odds of q(h1_j = 1 | v)."""
        return self.r + v @ self.R

    def logits_v(self, h1):
        """h1: (B, H1) → (B, D), the log-odds of p(v_i = 1 | h1)."""
        return self.b + tf.matmul(h1, self.W1, transpose_b=True)

    def q_h1_v(self, v):
        return tf.sigmoid(self.logits_h1(v))

    def p_v_h1(self, h1):
        return tf.sigmoid(self.logits_v(h1))

    def log_ratio(self, v, h1):
        """v: (B, D), h1: (B, H1) → (B,) nats, log p(v | h1) − F₂(h1) − log q(h1 | v): without log Z₂."""
        logp_v_h1 = log_bernoulli(v, self.logits_v(h1))
        logq_h1_v = log_bernoulli(h1, self.logits_h1(v))
        return logp_v_h1 - self.top.free_energy(h1) - logq_h1_v


def upside_down(rbm):
    """The RBM with its layers exchanged: W₂ = W₁ᵀ."""
    top = RBM(*rbm.W.shape[::-1], b=rbm.c)
    top.W.assign(tf.transpose(rbm.W))
    top.c.assign(rbm.b)
    return top


# %% [markdown] enumerate_text
# **A toy that can be enumerated.** Bars and stripes on a 3×3 grid: 14 images, so no model can have a mean
# log-likelihood above $-\log 14 = -2.64$ nats. An RBM with 6 hidden units has 512 visible and 64 hidden states; it
# is trained by the *exact* gradient. The next cell puts it upside down on its own head and compares the two models on
# all 512 images.


# %% enumerate
def all_states(n):
    """All 0/1 vectors of length n: (2^n, n)."""
    return tf.constant((np.arange(2**n)[:, None] >> np.arange(n)) & 1, tf.float32)


def log_prob(logits, states):
    """log_bernoulli of all S states (S, H) under each row of log-odds (B, H): (B, S)."""
    return tf.matmul(logits, states, transpose_b=True) - tf.reduce_sum(
        tf.nn.softplus(logits), axis=1, keepdims=True
    )


@tf.function
def ascend(rbm, v, h, p_data, rate, steps, cd=False):
    """Gradient steps without any noise, all states v: (S, D) and h: (T, H) of both layers enumerated.

    p_data: (S,). With cd the model phase is the exact distribution after one Gibbs step from the data (CD-1).
    Returns the objective Σ p_data log p before each step, nats (steps,).
    """
    objective = tf.TensorArray(tf.float32, steps)
    for t in tf.range(steps):
        minus_f = -rbm.free_energy(v)
        objective = objective.write(t, tf.reduce_sum(p_data * minus_f) - tf.reduce_logsumexp(minus_f))
        if cd:
            p_h = tf.linalg.matvec(tf.exp(log_prob(rbm.logits_h(v), h)), p_data, transpose_a=True)  # (T,)
            p_model = tf.linalg.matvec(tf.exp(log_prob(rbm.logits_v(h), v)), p_h, transpose_a=True)  # (S,)
        else:
            p_model = tf.nn.softmax(minus_f)
        difference, p_h_v = p_data - p_model, rbm.p_h_v(v)
        rbm.W.assign_add(rate * tf.matmul(v * difference[:, None], p_h_v, transpose_a=True))
        rbm.b.assign_add(rate * tf.linalg.matvec(v, difference, transpose_a=True))
        rbm.c.assign_add(rate * tf.linalg.matvec(p_h_v, difference, transpose_a=True))
    return objective.stack()


def exact_dbn(dbn, v, h1):
    """log p(v) and the bound, nats (B,) each, for v: (B, D), with all states h1: (S, H1) enumerated."""
    log_q = log_prob(dbn.logits_h1(v), h1)  # (B, S)
    logp_h1 = tf.nn.log_softmax(-dbn.top.free_energy(h1))  # (S,)
    logp_v_h1 = tf.transpose(log_prob(dbn.logits_v(h1), v))  # (B, S)
    log_p = logp_v_h1 + logp_h1
    return tf.reduce_logsumexp(log_p, axis=1), tf.reduce_sum(tf.exp(log_q) * (log_p - log_q), axis=1)


V, H = all_states(9), all_states(6)
bars = tf.constant(datasets.bars_and_stripes(3))  # (14, 9)
p_data = tf.reduce_mean(tf.cast(tf.reduce_all(bars[:, None] == V, axis=2), tf.float32), axis=0)  # (512,)
first = RBM(9, 6, scale=0.1, seed=seed)
ascend(first, V, H, p_data, tf.constant(0.5), tf.constant(4000))
logp_rbm = tf.nn.log_softmax(-first.free_energy(V))
dbn = DBN(first, upside_down(first))
log_p, bound = exact_dbn(dbn, V, H)
np.testing.assert_allclose(log_p, logp_rbm, atol=2e-3)  # the DBN is the RBM
np.testing.assert_allclose(bound, log_p, atol=2e-3)  # and its bound is tight
start = float(tf.reduce_sum(p_data * logp_rbm))
q_hat = tf.linalg.matvec(tf.exp(log_prob(first.logits_h(V), H)), p_data, transpose_a=True)  # (64,)
room = float(tf.reduce_sum(q_hat * (tf.math.log(q_hat) - tf.nn.log_softmax(-dbn.top.free_energy(H)))))
print(f"tied: DBN and RBM agree on all 512 images; log-likelihood of the data {start:.4f} nats per image")
print(f"a second layer can raise the bound by at most KL(q̂ ‖ p₁(h1)) = {room:.4f} nats")

# %% [markdown] greedy_text
# **Condition 2, kept and broken.** From the tied start the top RBM is now trained in two ways, without any sampling
# noise: by the exact gradient, and by the *expected* CD-1 update, in which the model phase is the exact distribution
# after one Gibbs step. A third run starts from small random weights with the exact gradient, as if condition 1 did
# not matter.
#
# **Predict:** which of the three bounds ever lies below the dashed line, the RBM's own log-likelihood?

# %% greedy
bounds, tight = {}, tf.reduce_sum(q_hat * tf.nn.log_softmax(-dbn.top.free_energy(H)))
for name, tied, cd in [("exact gradient", True, False), ("CD-1", True, True), ("random start", False, False)]:
    top = upside_down(first) if tied else RBM(6, 9, scale=0.1, seed=seed)
    objective = ascend(top, H, V, q_hat, tf.constant(0.5), tf.constant(3000), cd)
    bounds[name] = (objective - tight).numpy()  # against the RBM
    log_p, bound = (float(tf.reduce_sum(p_data * x)) for x in exact_dbn(DBN(first, top), V, H))
    print(f"{name:>14}: bound {bound - start:+.4f}, log-likelihood {log_p - start:+.4f} nats against the RBM")
assert bounds["exact gradient"].min() > -1e-5 > -1e-3 > bounds["CD-1"].min()
gradient_steps = np.arange(3000)
plotting.learning_curves(
    {name: (gradient_steps, np.maximum(values, -0.06)) for name, values in bounds.items()}
    | {"the RBM itself": (gradient_steps, np.zeros(3000))},
    "gradient steps of the top RBM",
    "bound minus the RBM's log-likelihood (nats)",
    f"From the tied start the exact gradient never lowers the bound; it gains {bounds['exact gradient'][-1]:.4f} "
    f"nats of the {room:.4f} that there are. CD-1, from the same start and without any noise, loses "
    f"{-bounds['CD-1'][-1]:.4f} nats. The random start begins {-bounds['random start'][0]:.1f} nats below the RBM "
    "(cut off here) and has to earn what the tied start has for nothing.",
    "Four curves against gradient steps: one a little above zero, one falling below zero, one rising from below.",
)

# %% [markdown] sampling_text
# ## 2 · Sampling, and a DBN of the digits
#
# A DBN is sampled from top to bottom: Gibbs sampling in the top RBM, whose "visible" layer is $h_1$, until the chain
# has forgotten its start, then *one* directed step down to the pixels. (No Gibbs steps between $h_1$ and $v$: that
# would be another model.) On the toy we can compare with exact probabilities.


# %% sampling
def gibbs(rbm, v, rng):
    """One block Gibbs step, v: (B, D) → (B, D)."""
    return bernoulli(rbm.p_v_h(bernoulli(rbm.p_h_v(v), rng)), rng)


second = RBM(6, 9, scale=1.0, seed=1)  # random weights, so that the chain mixes
random_dbn = DBN(RBM(9, 6, scale=1.0, seed=2), second)
h1 = tf.zeros([20_000, 6])
for _ in range(50):
    h1 = gibbs(second, h1, rng)
v = bernoulli(random_dbn.p_v_h1(h1), rng)
state = tf.linalg.matvec(v, 2.0 ** tf.range(9.0)).numpy().astype(int)
visited, p_v = np.bincount(state, minlength=512) / 20_000, tf.exp(exact_dbn(random_dbn, V, H)[0]).numpy()
z_scores = (visited - p_v) / np.sqrt(p_v * (1 - p_v) / 20_000)
print(
    f"probabilities sum to {p_v.sum():.5f}; mean square of the 512 z-scores {np.mean(z_scores**2):.2f} (about 1)"
)

# %% [markdown] digits_text
# **On the digits.** The first RBM is that of week 3. Its hidden layer, drawn afresh from $q(h_1 \mid v)$ in each
# epoch, is the data of the second. With 64 pixels and 64 units in $h_2$ the top RBM can start tied, and the DBN
# starts as the RBM.
#
# **The estimated lower bound.** The bound needs an expectation over $q$, which sampling gives without bias, and $\log
# Z_2$, which week 3's AIS estimates, here for the top RBM with $h_1$ as its visible layer. With
#
# $$w(v, h_1) = \frac{p(v \mid h_1)\, e^{-F_2(h_1)}}{q(h_1 \mid v)}, \qquad h_1 \sim q(h_1 \mid v),$$
#
# the bound is $\mathbb{E}[\log w] - \log Z_2$. AIS tends to underestimate $\log Z_2$, hence to raise this number:
# that is why it is called an *estimated* lower bound. The same draws give a second, higher one. Averaging R of the
# weights *before* the logarithm, $\mathbb{E}\big[\log \frac1R \sum_r w_r\big] - \log Z_2$, is still at most $\log
# p(v)$ by Jensen's inequality, and approaches it as R grows (week 6 trains with this, as IWAE). The distance of the
# two says how much of a loss is the fault of $q$, not of the model.
#
# Beside the error bar of AIS stands its **effective sample size**, $(\sum_r w_r)^2 / \sum_r w_r^2$ with AIS's weights:
# R if all runs weigh the same, near 1 if a single run decides. An error bar with an effective sample size of 3 is
# not worth printing.


# %% ais
def log_p_star(rbm, b0, v, x, beta):
    """log p*_β(v), nats, at inverse temperature β. v: (R, D), x = c + vW: (R, H) → (R,)."""
    visible = (1 - beta) * tf.linalg.matvec(v, b0) + beta * tf.linalg.matvec(v, rbm.b)
    return visible + tf.reduce_sum(tf.nn.softplus(beta * x), axis=-1)


@tf.function
def anneal(rbm, b0, betas, v, rng):
    """Walk v (R, D) along betas (K + 1,) → log weights (R,) in float64, and the last v (R, D) (week 3)."""
    x, log_w = rbm.logits_h(v), tf.zeros([len(v)], tf.float64)
    for t in tf.range(1, len(betas)):
        ratio = log_p_star(rbm, b0, v, x, betas[t]) - log_p_star(rbm, b0, v, x, betas[t - 1])
        log_w += tf.cast(ratio, tf.float64)
        h = bernoulli(tf.sigmoid(betas[t] * x), rng)
        v = bernoulli(tf.sigmoid((1 - betas[t]) * b0 + betas[t] * rbm.logits_v(h)), rng)
        x = rbm.logits_h(v)
    return log_w, v


def ais(rbm, means, K, R, rng):
    """log Z by R runs of K steps from independent units with these means → Estimate, effective size, last v (R, D)."""
    b0 = log_odds(means)
    log_z0 = rbm.W.shape[1] * np.log(2) + float(tf.reduce_sum(tf.nn.softplus(b0)))
    v = bernoulli(tf.tile(tf.sigmoid(b0)[None], [R, 1]), rng)
    log_w, v = anneal(rbm, b0, tf.linspace(0.0, 1.0, K + 1), v, rng)
    top = log_w.numpy().max()
    w = np.exp(log_w.numpy() - top)
    error = w.std(ddof=1) / w.mean() / np.sqrt(R)
    return evaluation.Estimate(log_z0 + top + np.log(w.mean()), error), w.sum() ** 2 / (w**2).sum(), v


def log_odds(means):
    """Log-odds of means kept between 1 % and 99 %."""
    means = np.clip(means, 0.01, 0.99)
    return tf.constant(np.log(means / (1 - means)), tf.float32)


# %% bounds
@tf.function
def log_weights(model, v, n, rng):
    """n draws of log w(v, h1), h1 ~ q(h1 | v), for v: (B, D) → (n, B) nats, without log Z."""
    log_w, q = tf.TensorArray(tf.float32, n), model.q_h1_v(v)
    for i in tf.range(n):
        log_w = log_w.write(i, model.log_ratio(v, bernoulli(q, rng)))
    return log_w.stack()


def estimated_bounds(model, v, log_z, n, rng):
    """v: (B, D) → the variational bound and the one from n importance weights, nats (B,) each."""
    log_w = log_weights(model, tf.constant(v), n, rng).numpy().astype(float) - log_z
    return log_w.mean(axis=0), np.logaddexp.reduce(log_w, axis=0) - np.log(n)


D = digits.train.shape[1]
# Grey images are binarised once for the evaluation; images of 0 and 1 stay as they are.
fresh = np.random.default_rng(seed)
parts = {
    name: (fresh.random(part.shape) < part).astype(np.float32)
    for name, part in [("train", digits.train), ("validation", digits.validation), ("test", digits.test)]
}
means, some = parts["train"].mean(axis=0), tf.constant(parts["train"][:2000])
images = tf.constant(digits.train)
draw_images = lambda: bernoulli(images, rng)  # noqa: E731
common = {"B": batch_size, "M": chains, "decay": averaging, "rng": rng}


def report(name, model, rbm, means):
    """Print log Z of the undirected part, and the bounds of the training and validation images; returns log Z."""
    log_z, size, _ = ais(rbm, means, ais_temperatures, ais_chains, rng)
    values = []
    for part in [parts["train"][:2000], parts["validation"]]:
        values += [x.mean() for x in estimated_bounds(model, part, log_z.value, importance_samples, rng)]
    print(
        f"{name:>22}: train ≳ {values[0]:.2f} ({values[1]:.2f}), validation ≳ {values[2]:.2f} ({values[3]:.2f}); "
        f"log Z {log_z}, effective size {size:.0f} of {ais_chains}"
    )
    return log_z


# %% stack
began = time.perf_counter()
rbm = train(
    RBM(D, hidden1, log_odds(means), seed=seed), RBM(D, hidden1), draw_images, epochs, learning_rate, **common
)
rbm_seconds = time.perf_counter() - began
rbm_log_z, rbm_size, _ = ais(rbm, means, ais_temperatures, ais_chains, rng)
rbm_test = -rbm.free_energy(parts["test"]).numpy() - rbm_log_z.value
for name, part in parts.items():
    value = np.mean(-rbm.free_energy(part).numpy() - rbm_log_z.value)
    print(f"RBM {name:>10}: {value:.2f} nats per image (estimate, log Z {rbm_log_z})")


def draw_hidden():
    """The data of the second layer for one epoch."""
    return bernoulli(rbm.p_h_v(draw_images()), rng)


def top_rbm(H2):
    """An RBM on h1, tied to the first as far as H2 goes."""
    top, n = RBM(hidden1, H2, rbm.c, seed=seed), min(D, H2)
    top.W[:, :n].assign(tf.transpose(rbm.W)[:, :n])
    top.c[:n].assign(rbm.b[:n])
    return top


hidden_means = rbm.p_h_v(some).numpy().mean(axis=0)
began = time.perf_counter()
top = train(top_rbm(hidden2), RBM(hidden1, hidden2), draw_hidden, top_epochs, fine_rate, **common)
random_top = RBM(hidden1, hidden2, log_odds(hidden_means), seed=seed)
dbn = DBN(rbm, top)
dbn_seconds = rbm_seconds + time.perf_counter() - began
print("bounds in nats per image; in parentheses those from importance weights")
report("DBN, tied start", DBN(rbm, top_rbm(hidden2)), top_rbm(hidden2), hidden_means)
report("DBN, greedy by PCD", dbn, top, hidden_means)
random_top = train(random_top, RBM(hidden1, hidden2), draw_hidden, top_epochs, fine_rate, **common)
report("DBN, random start", DBN(rbm, random_top), random_top, hidden_means)

# %% [markdown] stack_says
# The tied start repeats the RBM's value, as it must. Then PCD, which gives no guarantee, *lowers* the bound a little
# on the very images it is trained on. And a top RBM from random weights, trained as long, costs more than a nat; much
# of that comes back in parentheses, so it is partly $q$ that no longer fits. This is no failure of the theorem: its
# condition 2 does not hold. Nor was there much to gain. The gain is at most $\mathrm{KL}(\hat q \,\|\, p_1(h_1))$, and
# the first RBM was trained until its own hidden layer looked like the one that the data produce.
#
# ## 3 · Wake and sleep
#
# So far the layers below were frozen. To fine-tune all of them, let the recognition model $q(h_1 \mid v) =
# \sigma(r + v^\top R)$ have weights of its own and improve both (Hinton, Dayan, Frey and Neal, 1995).
#
# **Wake: the bound's gradient.** Draw $h_1 \sim q(h_1 \mid v)$ for an image $v$. In
#
# $$\mathcal{L}(v) = \mathbb{E}_q[\log p(v \mid h_1)] + \mathbb{E}_q[\log p(h_1)] + \mathrm{H}(q)$$
#
# the generative weights $W_1, b$ occur in the first term only, and $\log p(v \mid h_1) = \sum_i \big(v_i x_i - \log(1 +
# e^{x_i})\big)$ with $x = b + W_1 h_1$. The derivative of softplus is $\sigma$, so
#
# $$\frac{\partial \mathcal{L}}{\partial W_1} = \mathbb{E}_q\big[(v - p(v \mid h_1))\, h_1^\top\big], \qquad
# \frac{\partial \mathcal{L}}{\partial b} = \mathbb{E}_q\big[v - p(v \mid h_1)\big],$$
#
# logistic regression of the pixels on the hidden units: no negative phase. The second term belongs to the top RBM,
# which learns from $h_1 \sim \hat q$ by PCD as before. The wake phase is (up to PCD's bias) gradient ascent on the
# bound.
#
# **Sleep: another objective.** The bound's gradient with respect to $R$ goes through the distribution one samples
# from. Wake-sleep avoids it. It draws $(v, h_1)$ from the *model*, a dream, whose hidden cause is known, and maximises
# $\log q(h_1 \mid v)$ there:
#
# $$\mathbb{E}_{p(v, h_1)}[\log q(h_1 \mid v)]
# = -\mathbb{E}_{p(v)}\big[\mathrm{KL}(p(h_1 \mid v) \,\|\, q(h_1 \mid v))\big] + \text{const}, \qquad
# \frac{\partial}{\partial R} = \mathbb{E}_p\big[v\, (h_1 - q(h_1 \mid v))^\top\big].$$
#
# Compare with the bound, whose gap is $\mathrm{KL}(q \,\|\, p)$ at the *data*: sleep turns the KL divergence round, and
# takes it where the model dreams. Both are 0 for $q = p(h_1 \mid v)$. Where $q$ cannot match, the two phases pull at
# different things, and no single objective is guaranteed to rise.
#
# With a top RBM, whose chain runs on from step to step, this is the *up-down algorithm* (Hinton, Osindero and Teh,
# 2006): up to get $h_1$, chain steps at the top, down to get a dream.


# %% wake_sleep
def wake(dbn, v, h1):
    """Images v: (B, D) with h1 ~ q(h1 | v): (B, H1) → gradients of the mean bound: dW1 (D, H1), db (D,)."""
    error = v - dbn.p_v_h1(h1)
    return moments(error, h1)[:2]


def sleep(dbn, v, h1):
    """Dreams (v, h1) ~ p: (B, D), (B, H1) → gradients of the mean log q(h1 | v): dR (D, H1), dr (H1,)."""
    surprise = h1 - dbn.q_h1_v(v)
    return moments(v, surprise)[::2]


toy = DBN(RBM(9, 6, scale=1.0, seed=2), RBM(6, 9, scale=1.0, seed=1))
toy.R.assign(np.random.default_rng(seed).normal(size=(9, 6)))
with tf.GradientTape() as tape:
    bound = tf.reduce_mean(exact_dbn(toy, bars, H)[1])
exact_wake = tape.gradient(bound, [toy.W1, toy.b])
log_p = tf.transpose(log_prob(toy.logits_v(H), V)) + tf.nn.log_softmax(-second.free_energy(H))  # (512, 64)
with tf.GradientTape() as tape:
    divergence = tf.reduce_sum(
        tf.exp(log_p) * (log_p - log_prob(toy.logits_h1(V), H))
    )  # Σ p(v) KL(p ‖ q) + const
exact_sleep = [-g for g in tape.gradient(divergence, [toy.R, toy.r])]

v = tf.repeat(bars, 10_000, axis=0)  # as many draws for each image
sampled_wake = wake(toy, v, bernoulli(toy.q_h1_v(v), rng))
pair = np.random.default_rng(seed).choice(512 * 64, 140_000, p=(p := tf.exp(log_p).numpy().ravel()) / p.sum())
sampled_sleep = sleep(toy, tf.gather(V, pair // 64), tf.gather(H, pair % 64))
for name, ours, exact in zip(
    ["dW1", "db", "dR", "dr"], [*sampled_wake, *sampled_sleep], [*exact_wake, *exact_sleep]
):
    print(
        f"{name:>3}: largest difference to automatic differentiation {np.abs(ours - exact).max():.4f} (140,000 draws)"
    )


# %% up_down
@tf.function
def up_down_epoch(dbn, average, data, chain, rates, decay, rng, B):
    """One pass of wake-sleep with PCD-1 in the top RBM, all gradients centred; returns the chains h2 (M, H2)."""
    order = tf.argsort(rng.uniform([len(data)]))
    keys = rng.uniform([len(rates)], maxval=2**31 - 1, dtype=tf.int32)
    for i in tf.range(len(rates)):
        draws = Draws(keys[i])
        v = tf.gather(data, tf.reshape(order[i * B : (i + 1) * B], [B]))
        h1 = bernoulli(dbn.q_h1_v(v), draws)  # up
        dream_h1 = bernoulli(dbn.top.p_v_h(chain), draws)  # one Gibbs step at the top
        dream_h2 = dbn.top.p_h_v(dream_h1)
        chain = bernoulli(dream_h2, draws)
        dream_v = bernoulli(dbn.p_v_h1(dream_h1), draws)  # down
        (dW1, db), (dR, dr) = wake(dbn, v, h1), sleep(dbn, dream_v, dream_h1)
        h2 = dbn.top.p_h_v(h1)
        top = [data - model for data, model in zip(moments(h1, h2), moments(dream_h1, dream_h2))]
        top = centre(*top, tf.reduce_mean(h1, axis=0), tf.reduce_mean(h2, axis=0))
        dW1, db, _ = centre(dW1, db, tf.zeros_like(dr), tf.zeros_like(db), tf.reduce_mean(h1, axis=0))
        dR, _, dr = centre(dR, tf.zeros_like(db), dr, tf.reduce_mean(dream_v, axis=0), tf.zeros_like(dr))
        variables = [dbn.W1, dbn.b, dbn.R, dbn.r, dbn.top.W, dbn.top.b, dbn.top.c]
        for parameter, delta in zip(variables, [dW1, db, dR, dr, *top]):
            parameter.assign_add(rates[i] * delta)
        for mean, parameter in zip(average.variables, dbn.variables):
            mean.assign_add((1 - decay) * (parameter - mean))
    return chain


# %% fine_tune
began = time.perf_counter()
tuned = copy(dbn, DBN(rbm, RBM(hidden1, hidden2)))
moving, chain = copy(dbn, DBN(rbm, RBM(hidden1, hidden2))), bernoulli(tf.fill([chains, hidden2], 0.5), rng)
for rates in tqdm(
    falling(fine_rate / 3, tune_epochs, len(images) // batch_size), desc="up-down", unit="epoch"
):
    chain = up_down_epoch(moving, tuned, draw_images(), chain, rates, averaging, rng, batch_size)
dbn_seconds += time.perf_counter() - began
dbn_log_z = report("DBN after up-down", tuned, tuned.top, tuned.q_h1_v(some).numpy().mean(axis=0))
dbn_test, dbn_weighted = estimated_bounds(tuned, parts["test"], dbn_log_z.value, importance_samples, rng)
