# %% [markdown] title
# # Week 2 · Hopfield networks and Boltzmann machines
#
# {{colab}}
#
# One energy function, three uses: run downhill it is a memory, heated it is a model of a magnet, and with learned
# couplings it is a generative model.
#
# **After this notebook you can**
#
# 1. store patterns in a Hopfield network, prove that recall lowers the energy, and measure how much fits in;
# 2. find the memories that nobody stored, and get rid of most of them;
# 3. write a Gibbs sampler, and check it against its full transition matrix and against exact probabilities;
# 4. derive the learning rule of a Boltzmann machine, and train one exactly and by sampling;
# 5. recognise a chain that is stuck, derive parallel tempering, and measure how well it works;
# 6. say why retrieval from a modern Hopfield network is attention, and use it to repair images.
#
# *Time:* reading 3 hours, this notebook 2 to 3 hours. It computes for less than a minute on two CPU cores.

# %% [markdown] reading
# ## Reading
#
# | what | minutes |
# |---|---|
# | **Main:** Goodfellow, Bengio and Courville, *Deep Learning* (DLB): 16.2.2 to 16.2.4 (undirected models, the partition function, energy-based models), 16.3 (sampling), 17.3 to 17.5 (Markov chains, Gibbs sampling, mixing between modes), 20.1 (Boltzmann machines). Skip 17.1 and 17.2 if Monte Carlo and importance sampling are familiar. | 90 |
# | MacKay (2003), *Information Theory, Inference, and Learning Algorithms* (ITILA): chapter 42 (Hopfield networks) and chapter 43 (Boltzmann machines). | 70 |
# | ITILA chapter 31 (Ising models): look at the figures. | 20 |
#
# **Focus questions.** Have an answer to each before you go on.
#
# 1. Which two properties of the weights make recall in a Hopfield network end? What may happen without them?
# 2. Why must one divide by $Z$, and why is $Z$ hard to compute?
# 3. A Gibbs step changes one unit. Why does the chain still reach the joint distribution of all units?
# 4. The learning rule of a Boltzmann machine needs two averages. Which of them needs a Markov chain?
#
# **Letters.** N units of a network, P stored patterns, B batch, D units with data (pixels), M chains, K
# temperatures. Units are $s_i = \pm 1$ in sections 1 and 2, as in the literature, and 0 or 1 from section 3 on.

# %% setup

# %% parameters tags=["parameters"]
dataset = "digits"  # "mnist" for larger images: see "Going bigger"
epochs = 40  # passes over the training images
batch_size = 20  # images a step
chains = 100  # persistent Markov chains
learning_rate = 0.5  # falls linearly to 0
averaging = 0.999  # how slowly the averaged weights follow
ais_temperatures = 1000  # steps of an annealed importance sampling run
ais_chains = 100  # independent runs, at most as many as persistent chains
memories = 1197  # training images that the modern Hopfield network stores
seed = 0

# %% imports

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from scipy.special import erfc, expit, logsumexp

from utils import datasets, evaluation, plotting

digits = datasets.load(dataset)
rng = np.random.default_rng(seed)
print(digits)

# %% [markdown] hopfield_text
# ## 1 · A memory that runs downhill
#
# Take N units $s_i \in \{-1, +1\}$, biases $b$ and weights $W$ that are **symmetric** with a **zero diagonal**. A
# state has the energy
#
# $$E(s) = -\tfrac12\, s^\top W s - b^\top s .$$
#
# **Recall.** Visit the units one after the other. Each looks at its *local field* $a_i$ and aligns with it:
#
# $$a_i = \sum_{j} W_{ij} s_j + b_i, \qquad s_i \leftarrow \operatorname{sign}(a_i) \quad (\text{unchanged if } a_i = 0).$$
#
# **The energy never rises.** Collect the terms of $E$ that contain $s_i$. The pair $\{i, j\}$ stands twice in
# $s^\top W s$, as $ij$ and as $ji$, and both are equal because $W$ is symmetric; so the ½ cancels and what is left is
# $-s_i a_i$. Since $W_{ii} = 0$, the field $a_i$ does not depend on $s_i$ itself. Changing $s_i$ to $s_i'$
# therefore changes the energy by
#
# $$\Delta E = -(s_i' - s_i)\, a_i .$$
#
# If the unit flips, $s_i' - s_i = 2 \operatorname{sign}(a_i)$ and $\Delta E = -2 |a_i| < 0$. There are finitely many
# states, none can come twice, so recall ends in a *fixed point*: a state that no single flip improves. (With all
# units updated *at once* the argument fails, and the network may oscillate between two states.)
#
# **Storing.** Given patterns $\xi^1, \dots, \xi^P \in \{-1,+1\}^N$, Hebb's rule gives units that agree a positive
# link:
#
# $$W_{ij} = \frac1N \sum_{\mu=1}^P \xi_i^\mu \xi_j^\mu, \qquad W_{ii} = 0, \qquad b = 0.$$
#
# With $m_\mu = \frac1N \sum_i \xi_i^\mu s_i$, the **overlap** of the state with pattern $\mu$ (1 is equal, −1 is the
# negative), the energy becomes
#
# $$E(s) = -\frac{N}{2} \sum_{\mu} m_\mu^2 + \frac{P}{2},$$
#
# where $P/2$ is the diagonal that we took out. Each pattern digs a valley.


# %% hopfield
def hebb(xi):
    """xi: (P, N) ±1 → W (N, N): W_ij = (1/N) Σ_μ ξ_i ξ_j, zero diagonal."""
    W = xi.T @ xi / xi.shape[1]
    np.fill_diagonal(W, 0)
    return W


def energy(s, W, b=0.0):
    """s: (..., N) → (...): E(s) = −½ sᵀWs − bᵀs. The same formula for ±1 and for 0/1 units."""
    return -0.5 * ((s @ W) * s).sum(axis=-1) - (s * b).sum(axis=-1)


def updates(s, W, order):
    """Align the units of s: (B, N) with their fields, in this order; gives s after each unit. s changes in place."""
    for i in order:
        a = s @ W[i]  # (B,) the local field
        s[:, i] = np.where(a == 0, s[:, i], np.sign(a))
        yield s


def recall(s, W, sweeps=50):
    """s: (B, N) → (B, N): sweeps over all units until none changes."""
    s = s.copy()
    for _ in range(sweeps):
        before = s.copy()
        for _ in updates(s, W, range(len(W))):
            pass
        if np.array_equal(s, before):
            break
    return s


def signs(*shape, rng):
    """Random ±1."""
    return rng.choice(np.float32([-1, 1]), shape)


# %% [markdown] letters_text
# **Four letters.** 64 units, one for each pixel of an 8×8 image. A fifth of the pixels of each letter is flipped,
# and the network runs downhill.

# %% letters
codes = {"X": "C3E77E3C3C7EE7C3", "T": "FFFF181818181818", "E": "FFFFC0F8F8C0FFFF", "V": "C3C3C3C366663C18"}
letters = np.array([np.unpackbits(np.frombuffer(bytes.fromhex(code), np.uint8)) for code in codes.values()])
letters = 2 * letters.astype(np.float32) - 1  # (4, 64)
W_letters = hebb(letters)
assert np.array_equal(recall(letters, W_letters), letters)  # each letter is a fixed point

damaged = np.where(rng.random(letters.shape) < 0.2, -letters, letters)
s, states, energies = damaged.copy(), [damaged], [energy(damaged, W_letters)]
for _ in range(2):  # two sweeps, each in a random order
    for _ in updates(s, W_letters, rng.permutation(64)):
        energies.append(energy(s, W_letters))
    states.append(s.copy())
energies = np.array(energies)  # (129, 4)
assert np.diff(energies, axis=0).max() < 1e-5  # it never rises
right = (states[-1] == letters).all(axis=1).sum()
plotting.image_grid(
    np.concatenate([letters, damaged, states[-1]]),
    (8, 8),
    f"Stored letters, damaged ones (a fifth of the pixels flipped), and what recall makes of them: {right} of 4 are "
    "restored without a fault.",
    "Three rows of four letters X, T, E, V: clean, speckled, and recalled.",
    columns=4,
    row_titles=["stored", "damaged", "recalled"],
)
plotting.learning_curves(
    {name: (np.arange(len(energies)), e) for name, e in zip(codes, energies.T)},
    "units visited",
    "energy E(s) (no unit)",
    "The energy of the four states. It is level where a unit agrees with its field, and never rises. Most of the fall "
    "is over after one sweep of 64 units.",
    "Four staircases that fall from about -10 to below -25 and then stay level.",
)

# %% [markdown] landscape_text
# **The landscape, drawn.** With two patterns the energy depends on the two overlaps alone, so the whole landscape
# fits into a plane. Not every pair $(m_1, m_2)$ is possible: units on which the patterns agree move both overlaps
# together, the others move them apart, which leaves a rectangle that stands on a corner.
#
# **Predict:** two patterns are stored. How many valleys are there?

# %% landscape
N = 400
pair = signs(2, N, rng=rng)
agree = (pair[0] == pair[1]).mean()
m = np.linspace(-1, 1, 201)
m1, m2 = np.meshgrid(m, m)
possible = (np.abs(m1 + m2) <= 2 * agree) & (np.abs(m1 - m2) <= 2 * (1 - agree))
height = np.where(possible, -0.5 * (m1**2 + m2**2), np.nan)  # E / N

fig, ax = plt.subplots(figsize=(6.4, 5.2))
shown = ax.contourf(m1, m2, height, levels=14, cmap="Blues_r")
ax.contour(m1, m2, height, levels=shown.levels, colors="#33333366", linewidths=0.6)
fig.colorbar(shown, ax=ax, label="energy per unit, E / N")
s = signs(40, N, rng=rng)
path = [s @ pair.T / N]
for _ in updates(s, hebb(pair), rng.permutation(N)):
    path.append(s @ pair.T / N)
path = np.array(path)  # (N + 1, 40, 2)
ax.plot(*path.transpose(2, 0, 1), color=plotting.VERMILLION, linewidth=0.9)
ax.plot(*path[-1].T, "o", color=plotting.BLACK)
ticks = [-1, -0.5, 0, 0.5, 1]
ax.set(xlabel="overlap with pattern 1, m₁", ylabel="overlap with pattern 2, m₂", xticks=ticks, yticks=ticks)
ax.grid(False)
plotting.show(
    fig,
    "The energy of all states of a network with 400 units and two patterns, and the paths of 40 random starts. "
    f"They end in {len(np.unique(path[-1].round(3), axis=0))} valleys: the two patterns and their two negatives, "
    "because E(s) = E(−s) when b = 0.",
    "A square on its corner with a hill in the middle and a valley in each corner; paths lead into the four corners.",
)

# %% [markdown] spurious_text
# ### What goes wrong, first part: memories that nobody stored
#
# Two kinds come for free with Hebb's rule:
#
# - **Inverses.** $-\xi^\mu$ has the same energy as $\xi^\mu$ and is as stable.
# - **Mixtures** such as $\operatorname{sign}(\xi^1 + \xi^2 + \xi^3)$. A unit of the mixture agrees with a given
#   one of three random patterns in three cases of four, so all three overlaps are about ½, and the field is
#   $a_i \approx \frac12 (\xi_i^1 + \xi_i^2 + \xi_i^3)$: its sign is that of the mixture.
#
# With 16 units we need not guess. The next cell takes three 4×4 pictures, writes down all 65,536 states, and keeps
# those that are strictly lower than all their 16 neighbours.
#
# **Predict:** three patterns, and how many minima?


# %% spurious
def all_states(n):
    """All ±1 vectors of length n: (2^n, n); n ≤ 20 or so."""
    return (2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1) - 1).astype(np.float32)


y, x = np.mgrid[:4, :4]
pictures = np.float32([np.where(on, 1, -1) for on in (x < 2, y < 2, (x + y) % 2 == 0)]).reshape(3, 16)
W_pictures, S = hebb(pictures), all_states(16)
E = energy(S, W_pictures)
overlaps = S @ pictures.T / 16  # (65536, 3)
np.testing.assert_allclose(E, -8 * (overlaps**2).sum(axis=1) + 1.5, atol=1e-4)  # −(N/2) Σ m² + P/2
stable = (S * (S @ W_pictures) > 0).all(axis=1)
order = np.lexsort((-overlaps[stable].max(axis=1), E[stable].round(3)))
minima, depth = S[stable][order], E[stable][order]
ends = recall(S, W_pictures)
into = np.array([(ends == minimum).all(axis=1).mean() for minimum in minima])
plotting.image_grid(
    minima,
    (4, 4),
    f"All {len(minima)} minima of a network in which three pictures are stored, with their energies. First the three "
    f"pictures, then their inverses; the {len(minima) - 6} others are mixtures of all three, in every combination of "
    f"signs. Of all 65,536 starts, {into[:3].sum():.0%} end in a picture, {into[3:6].sum():.0%} in an inverse, "
    f"{into[6:].sum():.0%} in a mixture.",
    "Fourteen small pictures: halves and a chessboard, their negatives, and eight blends.",
    columns=6,
    titles=[f"{e:.1f}".replace("-", "−") for e in depth],
)

# %% [markdown] cure_text
# **Two cures.** Hebb's rule goes wrong where patterns overlap.
#
# - The **pseudo-inverse rule** (Personnaz, Guyon and Dreyfus, 1985) asks for what we want, $W \xi^\mu = \xi^\mu$
#   for every pattern. With the patterns as rows of $\Xi$, (P, N) and linearly independent, the projection onto
#   their span does it: $Q = \Xi^\top (\Xi\, \Xi^\top)^{-1} \Xi$. Taking out its diagonal leaves each
#   pattern stable, since $a_i = (1 - Q_{ii})\, \xi_i$ and a projection has $Q_{ii} \le 1$. The energy $-\frac12 s^\top Q s
#   = -\frac12 |Qs|^2$ is lowest, $-N/2$, exactly on states *within* the span: the patterns are there, most mixtures are not.
# - **Unlearning** (Hopfield, Feinstein and Palmer, 1983): let the network fall from a random start into a state
#   $s$, wherever that is, and unlearn it a little, $W \leftarrow W - \frac{\varepsilon}{N} s s^\top$. That raises the
#   energy of $s$ by about $\varepsilon N / 2$, whatever its depth: shallow valleys fill up first. Keep
#   this rule in mind: in section 3 it comes back as one half of the learning rule of a Boltzmann machine.
#
# We store 15 random patterns in 100 units. Two things are measured: does recall repair a memory with 15 % of its bits
# flipped, and do random starts end in a memory or its inverse?
#
# **Predict:** can one unlearn too much?


# %% cure
def pseudo_inverse(xi):
    """xi: (P, N) → W (N, N), the projection onto the patterns' span without its diagonal."""
    Q = np.linalg.pinv(xi) @ xi
    return (Q - np.diag(np.diag(Q))).astype(np.float32)


def quality(W, xi, rng, n=300):
    """→ share of damaged memories (15 % flipped) that recall restores, share of random starts that end in ±memory."""
    truth = np.repeat(xi, n // len(xi), axis=0)
    restored = recall(np.where(rng.random(truth.shape) < 0.15, -truth, truth), W)
    ends = recall(signs(n, xi.shape[1], rng=rng), W)
    return (restored == truth).all(axis=1).mean(), (np.abs(ends @ xi.T) == xi.shape[1]).any(axis=1).mean()


xi = signs(15, 100, rng=rng)
W_dream, dreams = hebb(xi), [quality(hebb(xi), xi, rng)]
for _ in range(30):
    s = recall(signs(50, 100, rng=rng), W_dream)  # 50 dreams at once
    W_dream = W_dream - 0.01 / 100 * s.T @ s
    np.fill_diagonal(W_dream, 0)
    dreams.append(quality(W_dream, xi, rng))
dreams, projected = np.array(dreams), quality(pseudo_inverse(xi), xi, rng)
best = dreams[:, 1].argmax()
steps = 50 * np.arange(len(dreams))
plotting.learning_curves(
    {
        "damaged memories restored": (steps, dreams[:, 0]),
        "random starts that end in ± a memory": (steps, dreams[:, 1]),
    },
    "states unlearned",
    "share",
    f"Hebb's rule restores {dreams[0, 0]:.0%} of the damaged memories, and {dreams[0, 1]:.0%} of the random starts end in a "
    f"memory. After {steps[best]} unlearned states it is {dreams[best, 0]:.0%} and {dreams[best, 1]:.0%}; with the "
    f"pseudo-inverse {projected[0]:.0%} and {projected[1]:.0%}. Unlearn too much, and the memories go too.",
    "Both curves rise at first and fall at the right end.",
)

# %% [markdown] capacity_text
# ### How much fits in?
#
# Put the network into memory $\nu$ and look at unit $i$. Its field is signal plus noise:
#
# $$a_i = \underbrace{\tfrac{N-1}{N}\, \xi_i^\nu}_{\text{signal}}
# + \underbrace{\frac1N \sum_{\mu \ne \nu} \sum_{j \ne i} \xi_i^\mu \xi_j^\mu \xi_j^\nu}_{\text{noise: } (P-1)(N-1) \text{ random signs}/N} .$$
#
# For random patterns the noise has mean 0 and variance about $P/N$; call $\alpha = P/N$ the *load*. The bit flips if
# the noise beats the signal, with probability about
#
# $$q = \tfrac12 \operatorname{erfc}\sqrt{N / (2P)} .$$
#
# Two questions, two answers.
#
# - **All bits right.** One memory is a fixed point with probability about $(1-q)^N$. For $q \approx 1/N$ the tail $q \approx
#   e^{-N/2P}$ gives $P \approx N / (2 \ln N)$. Measured in bits per unit, this capacity *falls* as N grows.
# - **A few wrong bits allowed.** A few flips change the fields of others, which flip in turn. Amit, Gutfreund and
#   Sompolinsky (1985) showed that for $N \to \infty$ this avalanche stays small up to $\alpha \approx 0.138$, where
#   1.6 % of the bits are wrong, and above it sweeps the memory away. This capacity is *proportional* to N.
#
# The first count needs no $N \times N$ matrix: all fields at once are $\frac1N (\Xi\,\Xi^\top)\, \Xi - \alpha\,
# \Xi$, and $\Xi\, \Xi^\top$ is only (P, P).

# %% capacity
loads = np.arange(0.06, 0.25, 0.03)
curves = {}
for N, repeats in [(50, 16), (150, 5), (400, 2)]:
    overlap = []
    for load in loads:
        sets = [signs(round(load * N), N, rng=rng) for _ in range(repeats)]
        overlap.append(np.mean([(recall(xi, hebb(xi), sweeps=12) * xi).mean() for xi in sets]))
    curves[f"N = {N}"] = (loads, overlap)
at = {name: np.interp([0.12, 0.2], *curve) for name, curve in curves.items()}
curves["α = 0.138"] = ([0.138, 0.138], [0.3, 1.0])
plotting.learning_curves(
    curves,
    "load α = P / N",
    "overlap with the memory after recall",
    "Start in a memory, run downhill: how much of it is left? The larger the network, the steeper the fall beyond the "
    f"load 0.138. From α = 0.12 to 0.20 the overlap goes from {at['N = 50'][0]:.2f} to {at['N = 50'][1]:.2f} with 50 "
    f"units, from {at['N = 400'][0]:.2f} to {at['N = 400'][1]:.2f} with 400.",
    "Three curves near 1 that fall beyond a dashed vertical line at 0.138, the one for 400 units most steeply.",
)

sizes, exact, theory = 2 ** np.arange(6, 12), [], []
for N in sizes:
    P = np.unique(np.geomspace(0.05 * N, 0.25 * N, 16).astype(int))
    q = 0.5 * erfc(np.sqrt(N / (2 * P)))
    theory.append(np.interp(0.5, (1 - q)[::-1] ** N, P[::-1]) / N)
    fixed = []
    for p in P:
        xi = np.concatenate(
            [signs(p, N, rng=rng)[None] for _ in range(max(1, 256 // N))]
        )  # repeats for small N
        a = (xi @ xi.transpose(0, 2, 1)) @ xi / N - p / N * xi
        fixed.append((a * xi > 0).all(axis=2).mean())
    exact.append(np.interp(0.5, np.minimum.accumulate(fixed)[::-1], P[::-1]) / N)
plotting.learning_curves(
    {
        "measured": (sizes, exact),
        "(1 − q)ᴺ = ½": (sizes, theory),
        "1 / (2 ln N)": (sizes, 1 / (2 * np.log(sizes))),
        "a few wrong bits: 0.138": (sizes, np.full(len(sizes), 0.138)),
    },
    "units N",
    "memories per unit, P / N",
    "The load at which half of the memories are fixed points with all bits right. It falls as N grows, slowly towards the "
    f"asymptotic 1 / (2 ln N): {exact[0]:.3f} at N = {sizes[0]}, {exact[-1]:.3f} at N = {sizes[-1]}. With a few wrong bits "
    "allowed it would stay at 0.138.",
    "Measured and predicted curve fall together and lie close above 1 / (2 ln N); a level line at 0.138.",
    xlog=True,
)

# %% [markdown] ising_text
# ## 2 · The same energy, heated: Ising model and Gibbs sampling
#
# The **Ising model** puts the units on a grid. Neighbours have $W_{ij} = J > 0$ and like to agree, all other
# links are 0, and a field $b_i = h$ pulls all units one way. Instead of running downhill, the units are now in contact
# with heat: at temperature $T$ a state has the *Boltzmann probability*
#
# $$p(s) = \frac{1}{Z} e^{-E(s)/T}, \qquad Z = \sum_{s} e^{-E(s)/T}.$$
#
# **Gibbs sampling** draws one unit from its distribution given all others. The terms of $E$ that contain $s_i$
# are $-s_i a_i$, everything else cancels:
#
# $$p(s_i = +1 \mid \text{rest}) = \frac{e^{a_i / T}}{e^{a_i / T} + e^{-a_i / T}} = \sigma(2 a_i / T),
# \qquad \sigma(x) = \frac{1}{1 + e^{-x}}.$$
#
# For $T \to 0$ this is Hopfield's rule: the unit aligns with its field. For $T \to \infty$ it is a coin.
#
# **Why it samples from p: detailed balance.** Let $P_i(s \to s')$ be the probability to go from $s$ to $s'$ by
# redrawing unit $i$. If both agree on all other units, call these $r$; then
#
# $$p(s)\, P_i(s \to s') = p(r)\, p(s_i \mid r) \cdot p(s_i' \mid r) = p(s')\, P_i(s' \to s).$$
#
# The middle is symmetric in $s_i$ and $s_i'$. In equilibrium as many chains go from $s$ to $s'$ as back.
# Summing over $s$ gives $\sum_s p(s) P_i(s \to s') = p(s')$: the distribution is *stationary*. Every state can be
# reached from every other, and no period is possible since a unit may stay as it is, so the chain forgets its start.
#
# A **random scan** redraws a unit chosen at random, $P = \frac1N \sum_i P_i$. A **sweep** redraws all units in order,
# $P_1 P_2 \cdots P_N$.
#
# **Predict:** does a random scan fulfil detailed balance? Does a sweep? Is $p$ stationary for both?


# %% gibbs
def gibbs_sweep(s, W, b, T, rng):
    """s: (..., N) ±1 → the same after one sweep: each unit +1 with probability σ(2 a_i / T). T broadcasts to (...)."""
    s, u = s.copy(), rng.random(s.shape)
    for i in range(s.shape[-1]):
        a = s @ W[i] + b[i]  # (...,)
        s[..., i] = np.where(u[..., i] < expit(2 * a / T), 1, -1)
    return s


def boltzmann(states, W, b, T):
    """All states (2^N, N) → their probabilities (2^N,), exact by enumeration."""
    minus_energy = -energy(states, W, b) / T
    return np.exp(minus_energy - logsumexp(minus_energy))


def unit_kernels(states, W, b, T):
    """P_i for each unit: N matrices (2^N, 2^N), from the state in the row to that in the column."""
    k, kernels = np.arange(len(states)), []
    for i in range(states.shape[1]):
        on = expit(2 * (states @ W[i] + b[i]) / T)
        kernel = np.zeros((len(states), len(states)))
        kernel[k, k | (1 << i)] = on  # all_states has unit i in bit i of the row's number
        kernel[k, k & ~(1 << i)] = 1 - on
        kernels.append(kernel)
    return kernels


# %% [markdown] balance_text
# **The full transition matrix.** On a grid of 3×3 units there are 512 states, so the transition matrices are
# 512×512 and nothing needs to be believed. We check the balance, whether $p$ is stationary, and where 20,000 chains are
# after 40 sweeps.

# %% balance
row, column = np.divmod(np.arange(9), 3)
near = abs(row[:, None] - row) + abs(column[:, None] - column) == 1
W_grid, b_grid, T, S = near.astype(float), np.full(9, 0.2), 2.0, all_states(9).astype(float)
p = boltzmann(S, W_grid, b_grid, T)
kernels = unit_kernels(S, W_grid, b_grid, T)
for name, kernel in [("random scan", sum(kernels) / 9), ("sweep", np.linalg.multi_dot(kernels))]:
    flow = p[:, None] * kernel
    print(
        f"{name:>11}: largest |p(s) P(s → s') − p(s') P(s' → s)| = {abs(flow - flow.T).max():.0e}, "
        f"largest |Σ p P − p| = {abs(p @ kernel - p).max():.0e}"
    )

s = signs(20_000, 9, rng=rng)
for _ in range(40):
    s = gibbs_sweep(s, W_grid, b_grid, T, rng)
visited = np.bincount(((s > 0) @ (1 << np.arange(9))), minlength=512) / len(s)
z_scores = (visited - p) / np.sqrt(p * (1 - p) / len(s))
print(
    f"visits against exact probabilities: largest of 512 z-scores {abs(z_scores).max():.1f} (3 to 4 is normal)"
)

# %% [markdown] balance_says
# The random scan fulfils detailed balance up to rounding. The sweep does not: a film of it run backwards redraws the
# units in the opposite order. Yet $p$ is stationary for the sweep as well, because each factor $P_i$ leaves it
# unchanged, and that is all we need. Detailed balance is sufficient, not necessary.
#
# **Magnetisation.** On a large grid something new happens. The grid is a chessboard: white fields have only black
# neighbours. Given the black units all white ones are independent, so a sweep is two array operations (*block
# Gibbs*; an RBM in week 3 uses the same trick). For an infinite grid without field the magnetisation $m = \frac1N
# \sum_i s_i$ is known exactly (Onsager; proved by Yang, 1952), with $J = 1$ and edges joined:
#
# $$|m| = \left(1 - \sinh(2/T)^{-4}\right)^{1/8} \text{ for } T < T_c, \quad 0 \text{ above}, \qquad
# T_c = \frac{2}{\ln(1 + \sqrt2)} \approx 2.269.$$
#
# First the sampler is tested on 4×4 units against the sum over all 65,536 states.


# %% magnetisation
def grid_sweep(s, T, rng):
    """s: (K, L, L) ±1 on grids with joined edges, L even; T: (K, 1, 1). All white fields, then all black ones."""
    white = np.indices(s.shape[1:]).sum(axis=0) % 2 == 0
    for colour in (white, ~white):
        field = sum(np.roll(s, shift, axis) for shift in (1, -1) for axis in (1, 2))
        s = np.where(colour, np.where(rng.random(s.shape) < expit(2 * field / T), 1, -1), s)
    return s


S = all_states(16).reshape(-1, 4, 4)
E_grid = -(S * (np.roll(S, 1, 1) + np.roll(S, 1, 2))).sum(axis=(1, 2))  # each pair once
for T in [1.5, 2.5, 3.5]:
    weight = np.exp(-(E_grid - E_grid.min()) / T)
    exact = weight @ abs(S.mean(axis=(1, 2))) / weight.sum()
    s = signs(2000, 4, 4, rng=rng)
    for _ in range(60):
        s = grid_sweep(s, T, rng)
    print(
        f"4×4, T = {T}: mean |m| {exact:.4f} exact, {evaluation.mean_estimate(abs(s.mean(axis=(1, 2))))} sampled"
    )

temperatures = np.linspace(1.6, 3.4, 13)
s, magnetisation = np.ones((13, 32, 32)), []
for sweep_number in range(800):
    s = grid_sweep(s, temperatures[:, None, None], rng)
    if sweep_number >= 200:
        magnetisation.append(abs(s.mean(axis=(1, 2))))
fine = np.linspace(1.6, 3.4, 400)
infinite = np.where(fine < 2.2692, np.clip(1 - np.sinh(2 / fine) ** -4.0, 0, 1) ** 0.125, 0)
plotting.learning_curves(
    {
        "32×32, Gibbs sampling": (temperatures, np.mean(magnetisation, axis=0)),
        "infinite grid, exact": (fine, infinite),
    },
    "temperature T (in units of J)",
    "mean |m| (no unit)",
    "Below the critical temperature 2.27 the units agree on a direction although nothing prefers it; above it they do not. "
    "A finite grid rounds the corner off.",
    "Both curves are near 1 on the left and fall steeply at 2.27; the sampled one has a tail above it.",
)

# %% chains
shown = np.array([1.6, 2.27, 2.6, 4.0])
s, frames = signs(4, 32, 32, rng=rng), []
for _ in range(80):
    frames.append((s.reshape(4, 1024) + 1) / 2)
    s = grid_sweep(s, shown[:, None, None], rng)
plotting.animate(
    np.array(frames),
    (32, 32),
    "Four chains from random starts, one sweep a frame, at T = 1.6, 2.27, 2.6 and 4.0. In the cold, regions of one sign "
    "grow and then hardly move; near 2.27 there are patches of all sizes; in the heat there is only noise.",
    "An animation of four black and white grids: coarse regions, patches, small patches, noise.",
    columns=4,
    titles=[f"sweep {i}" for i in range(80)],
)

# %% [markdown] map_text
# ## 3 · Boltzmann machines: learning the couplings
#
# **From ±1 to 0/1, once and for all.** From here on units are $x_i = (s_i + 1)/2 \in \{0, 1\}$. Put $s = 2x - 1$ into
# the energy, with $\mathbf 1$ the vector of ones:
#
# $$-\tfrac12 (2x - \mathbf 1)^\top W (2x - \mathbf 1) - b^\top (2x - \mathbf 1)
# = -\tfrac12 x^\top (4W)\, x - (2b - 2W\mathbf 1)^\top x + \text{constant}.$$
#
# So it is the same form of energy with $W' = 4W$ and $b' = 2b - 2W\mathbf 1$; the constant goes into $Z$. The
# field becomes $a_i' = \sum_j W'_{ij} x_j + b_i' = 2 a_i$, so $\sigma(2a_i)$ turns into $\sigma(a_i')$. A *Boltzmann
# machine* is this model at $T = 1$, with $W$ and $b$ learned:
#
# $$p(x) = \frac1Z e^{-E(x)}, \qquad E(x) = -\tfrac12 x^\top W x - b^\top x, \qquad
# p(x_i = 1 \mid \text{rest}) = \sigma\Big(\sum_j W_{ij} x_j + b_i\Big).$$
#
# **The learning rule.** For one image, $\log p(x) = -E(x) - \log Z$. The pair $\{i, j\}$ has one weight, $W_{ij} =
# W_{ji}$, and the energy contains it as $-W_{ij} x_i x_j$. The derivative of $\log Z$ is an average over the *model*:
#
# $$\frac{\partial \log Z}{\partial W_{ij}} = \frac1Z \sum_{x'} e^{-E(x')}\, x_i' x_j' = \langle x_i x_j
# \rangle_\text{model},$$
#
# and with the mean over the training images
#
# $$\frac{\partial \langle \log p \rangle}{\partial W_{ij}} = \langle x_i x_j \rangle_\text{data} - \langle x_i x_j
# \rangle_\text{model}, \qquad
# \frac{\partial \langle \log p \rangle}{\partial b_i} = \langle x_i \rangle_\text{data} - \langle x_i \rangle_\text{model}.$$
#
# The first term is Hebb's rule on the data. The second is *unlearning* of what the network dreams, now with
# probabilities that say how much. Learning ends where the model has the moments of the data. As $\log Z$ is convex
# (its second derivative is a covariance matrix), the log-likelihood of a machine without hidden units is concave: there
# is one summit, and every path uphill leads to it.
#
# **Bars and stripes.** On a 3×3 grid the data are 14 images of full rows or full columns, equally likely: no
# model can have a mean log-likelihood above $-\log 14 = -2.64$ nats. There are 512 states, so $Z$, the moments and the
# gradient are exact. We compare with automatic differentiation through the enumerated $\log Z$, where the weights are
# $W = U + U^\top$ with $U$ above the diagonal, so that each pair has one parameter.


# %% exact
def to_bits(W, b):
    """Parameters for ±1 units at T = 1 → those for 0/1 units with the same probabilities."""
    return 4 * W, 2 * b - 2 * W.sum(axis=1)


def to_spins(W, b):
    """The inverse: parameters for 0/1 units → those for ±1 units."""
    return W / 4, b / 2 + W.sum(axis=1) / 4


def exact_log_z(W, b):
    """log Z in nats, exact by enumeration of the 2^D states with 0/1 units."""
    return logsumexp(-energy((all_states(len(b)) + 1) / 2, W, b))


def log_likelihood(x, W, b, log_z):
    """x: (B, D) 0/1 → (B,) nats, log p(x) = −E(x) − log Z."""
    return -energy(x, W, b) - log_z


def gradient(x_data, x_model, p_model=None):
    """Data moments minus model moments: dW (D, D), db (D,). x: (B, D); p_model: weights of the rows of x_model."""
    p_model = np.full(len(x_model), 1 / len(x_model)) if p_model is None else p_model
    dW = x_data.T @ x_data / len(x_data) - (x_model * p_model[:, None]).T @ x_model
    db = np.diag(dW).copy()  # x_i² = x_i
    np.fill_diagonal(dW, 0)
    return dW, db


bars, X = datasets.bars_and_stripes(3).astype(float), (all_states(9).astype(float) + 1) / 2
p_grid = boltzmann(2 * X - 1, W_grid, b_grid, 1.0)
np.testing.assert_allclose(p_grid, boltzmann(X, *to_bits(W_grid, b_grid), 1.0), rtol=1e-10)  # the map to 0/1

U, b = tf.Variable(np.triu(rng.normal(size=(9, 9)), 1)), tf.Variable(rng.normal(size=9))
with tf.GradientTape() as tape:
    f = [
        tf.reduce_sum((x @ (U + tf.transpose(U))) * x, axis=1) / 2 + tf.linalg.matvec(x, b) for x in (bars, X)
    ]
    mean_log_p = tf.reduce_mean(f[0]) - tf.reduce_logsumexp(f[1])
automatic = tape.gradient(mean_log_p, [U, b])
W = (U + tf.transpose(U)).numpy()
dW, db = gradient(bars, X, boltzmann(X, W, b.numpy(), 1.0))
np.testing.assert_allclose(np.triu(dW, 1), np.triu(automatic[0], 1), atol=1e-12)
np.testing.assert_allclose(db, automatic[1], atol=1e-12)
assert abs(np.exp(log_likelihood(X, W, b.numpy(), exact_log_z(W, b.numpy()))).sum() - 1) < 1e-12
print("the map keeps all 512 probabilities; moments and automatic differentiation agree to 1e-12")

# %% [markdown] train_text
# **Training, exactly and by sampling.** With 64 pixels there are $2^{64}$ states and the model's moments have to be
# sampled. The usual way (Younes, 1989; Tieleman, 2008) keeps M Markov chains from one gradient step to the next: the
# parameters move a little, one Gibbs sweep lets the chains follow a little. These are *persistent* chains; week 3 looks
# at them closely.
#
# `sweep` is the Gibbs sampler again, in 0/1 units, compiled by TensorFlow: one loop over the units, all chains at once.
# Its argument `beta` scales the links; it stays at 1 in training and will be of use below. `train_epoch`
# returns next to the parameters their moving average, which is less noisy.


# %% sampling
def sweep(W, b, x, key, beta=1.0):
    """One Gibbs sweep over x: (M, D) 0/1, each unit from σ(β Σ_j W_ij x_j + b_i); b: (D,) or (M, D), key: 2 integers."""
    b = tf.transpose(tf.broadcast_to(b, tf.shape(x)))  # (D, M)
    x = tf.transpose(x)
    u = tf.random.stateless_uniform(tf.shape(x), key)
    for i in tf.range(len(W)):
        p = tf.sigmoid(beta * tf.linalg.matvec(x, W[i], transpose_a=True) + b[i])  # (M,)
        x = tf.tensor_scatter_nd_update(x, i[None, None], tf.cast(u[i] < p, tf.float32)[None])
    return tf.transpose(x)


def moments(x):
    """x: (B, D) → the means over the batch of x xᵀ without diagonal (D, D) and of x (D,)."""
    xx = tf.matmul(x, x / len(x), transpose_a=True)
    return tf.linalg.set_diag(xx, tf.zeros(len(xx))), tf.reduce_mean(x, axis=0)


@tf.function(jit_compile=True)
def train_epoch(parameters, average, batches, x, rates, decay, key):
    """Ascend (W, b), one batch (B, D) of batches (steps, B, D) and one rate a step → parameters, average, chains x."""
    for t in tf.range(len(batches)):
        x = sweep(*parameters, x, tf.stack([key, t]))
        for_data, for_model = moments(batches[t]), moments(x)
        parameters = [q + rates[t] * (d - m) for q, d, m in zip(parameters, for_data, for_model)]
        average = [a + (1 - decay) * (q - a) for a, q in zip(average, parameters)]
    return parameters, average, x


# %% toy_training
W_exact, b_exact, history = (
    np.zeros((9, 9)),
    np.zeros(9),
    {"exact": [], "100 chains": [], "100 chains, averaged": []},
)
parameters = average = [tf.zeros([9, 9]), tf.zeros([9])]
x = tf.constant(rng.integers(2, size=(100, 9)), tf.float32)
batches = tf.tile(tf.constant(bars, tf.float32)[None], [100, 1, 1])  # all 14 images in each of 100 steps
for k in range(40):
    for _ in range(100):
        dW, db = gradient(bars, X, boltzmann(X, W_exact, b_exact, 1.0))
        W_exact, b_exact = W_exact + 0.5 * dW, b_exact + 0.5 * db
    parameters, average, x = train_epoch(parameters, average, batches, x, tf.fill([100], 0.5), 0.99, tf.constant(k))
    for name, (W, b) in zip(history, [(W_exact, b_exact), parameters, average]):
        W, b = np.asarray(W, float), np.asarray(b, float)
        history[name].append(log_likelihood(bars, W, b, exact_log_z(W, b)).mean())
steps = 100 * np.arange(1, 41)
plotting.learning_curves(
    {name: (steps, values) for name, values in history.items()}
    | {"best possible, −log 14": (steps, np.full(40, -np.log(14)))},
    "gradient steps",
    "log-likelihood (nats per image)",
    f"Exact log-likelihoods. With exact moments the machine reaches {history['exact'][-1]:.3f} nats, close to the best "
    f"possible {-np.log(14):.3f}; with sampled moments it ends at {history['100 chains'][-1]:.2f}, having been as low as "
    f"{min(history['100 chains'][5:]):.2f} after step 500.",
    "One smooth curve that approaches a level line from below, and noisy ones beneath it.",
)
