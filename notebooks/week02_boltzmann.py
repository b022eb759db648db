# %% [markdown] title
# # Week 2 · Hopfield networks and Boltzmann machines
#
# {{colab}}
#
# One energy function, three uses: run downhill it is a memory, heated it is a model of a magnet, and with
# learned couplings it is a generative model.
#
# **After this notebook you can**
#
# 1. store patterns in a Hopfield network, prove that recall lowers the energy, and measure how much fits in;
# 2. write a Gibbs sampler, and check it against its full transition matrix and against exact probabilities;
# 3. derive the learning rule of a Boltzmann machine, and train one exactly and by sampling;
# 4. recognise a chain that is stuck, derive parallel tempering, and measure how well it works;
# 5. say why retrieval from a modern Hopfield network is attention, and use it to repair images.
#
# *Time:* reading 180 minutes, this notebook 240 minutes. It computes for less than a minute on two CPU cores.

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
# temperatures. Units called $s$ are $\pm 1$ (sections 1, 2 and 6, and the samplers of section 4), as in the
# literature; units called $x$ are 0 or 1 (from section 3 on).

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
import time

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from scipy.special import erfc, expit, logsumexp, softmax
from tqdm.auto import tqdm

from utils import datasets, evaluation, plotting, quiz, scoreboard

digits = datasets.load(dataset)
rng = np.random.default_rng(seed)
print(digits)

# %% [markdown] hopfield_text
# ## 1 · A memory that runs downhill
#
# Take N units $s_i \in \{-1, +1\}$, biases $b$ and weights $W$ that are **symmetric** with a **zero
# diagonal**. A state has the energy
#
# $$E(s) = -\tfrac12\, s^\top W s - b^\top s .$$
#
# **Recall.** Visit the units one after the other. Each looks at its *local field* $a_i$ and aligns with it:
#
# $$a_i = \sum_{j} W_{ij} s_j + b_i, \qquad s_i \leftarrow \operatorname{sign}(a_i) \quad (\text{unchanged if } a_i = 0).$$
#
# **The energy never rises.** Collect the terms of $E$ that contain $s_i$. The pair $\{i, j\}$ stands twice in
# $s^\top W s$, as $ij$ and as $ji$, and both are equal because $W$ is symmetric; so the ½ cancels and what is
# left is $-s_i a_i$. Since $W_{ii} = 0$, the field $a_i$ does not depend on $s_i$ itself. Changing $s_i$ to
# $s_i'$ therefore changes the energy by
#
# $$\Delta E = -(s_i' - s_i)\, a_i .$$
#
# If the unit flips, $s_i' - s_i = 2 \operatorname{sign}(a_i)$ and $\Delta E = -2 |a_i| < 0$. There are
# finitely many states, none can come twice, so recall ends in a *fixed point*: a state that no single flip
# improves. (With all units updated *at once* the argument fails, and the network may oscillate between two
# states.)
#
# **Storing.** Given patterns $\xi^1, \dots, \xi^P \in \{-1,+1\}^N$, Hebb's rule gives units that agree a
# positive link:
#
# $$W_{ij} = \frac1N \sum_{\mu=1}^P \xi_i^\mu \xi_j^\mu, \qquad W_{ii} = 0, \qquad b = 0.$$
#
# With $m_\mu = \frac1N \sum_i \xi_i^\mu s_i$, the **overlap** of the state with pattern $\mu$ (1 is equal, −1
# is the negative), the energy becomes
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


def align(s, W, i):
    """Align unit i of the states s: (B, N) with its local field, in place (b = 0)."""
    a = s @ W[i]  # (B,)
    s[:, i] = np.where(a == 0, s[:, i], np.sign(a))


def recall(s, W, sweeps=50):
    """s: (B, N) → (B, N): sweeps over all units until none changes."""
    s = s.copy()
    for _ in range(sweeps):
        before = s.copy()
        for i in range(len(W)):
            align(s, W, i)
        if np.array_equal(s, before):
            break
    return s


def signs(*shape, rng):
    """Random ±1."""
    return rng.choice(np.float32([-1, 1]), shape)


# %% [markdown] letters_text
# **Four letters.** 64 units, one for each pixel of an 8×8 image. About a fifth of the pixels of each letter are
# flipped, and the network runs downhill.

# %% letters
codes = {"X": "C3E77E3C3C7EE7C3", "T": "FFFF181818181818", "E": "FFFFC0F8F8C0FFFF", "V": "C3C3C3C366663C18"}
bits = [np.unpackbits(np.frombuffer(bytes.fromhex(code), np.uint8)) for code in codes.values()]
letters = 2 * np.float32(bits) - 1  # (4, 64)
W_letters = hebb(letters)
assert np.array_equal(recall(letters, W_letters), letters)  # each letter is a fixed point

damaged = np.where(rng.random(letters.shape) < 0.2, -letters, letters)
s, energies = damaged.copy(), [energy(damaged, W_letters)]
for i in [*rng.permutation(64), *rng.permutation(64)]:  # two sweeps, each in a random order
    align(s, W_letters, i)
    energies.append(energy(s, W_letters))
energies = np.array(energies)  # (129, 4)
assert np.diff(energies, axis=0).max() < 1e-5  # it never rises
plotting.image_grid(
    np.concatenate([letters, damaged, s]),
    (8, 8),
    "Stored letters, damaged ones (each pixel flipped with probability 0.2), and what recall makes of them: "
    f"{(s == letters).all(axis=1).sum()} of 4 are restored without a fault.",
    "Three rows of four letters X, T, E, V: clean, speckled, and recalled.",
    columns=4,
    row_titles=["stored", "damaged", "recalled"],
)
plotting.learning_curves(
    {name: (np.arange(129), e) for name, e in zip(codes, energies.T)},
    "units visited",
    "energy E(s) (no unit)",
    "The energy of the four states. It is level where a unit agrees with its field, and never rises.",
    "Four staircases that fall from above -16 to about -30 within 64 visits, and then stay level.",
)

# %% [markdown] landscape_text
# **The landscape, drawn.** With two patterns the energy depends on the two overlaps alone, so the whole
# landscape fits into a plane. Not every pair $(m_1, m_2)$ is possible: units on which the patterns agree move
# both overlaps together, the others move them apart, which leaves a rectangle that stands on a corner.
#
# **Predict:** two patterns are stored. How many valleys are there?

# %% landscape
N, draw = 400, np.random.default_rng(seed)
pair = signs(2, N, rng=draw)
W_pair = hebb(pair)
agree = (pair[0] == pair[1]).mean()
m1, m2 = np.meshgrid(*[np.linspace(-1, 1, 201)] * 2)
possible = (np.abs(m1 + m2) <= 2 * agree) & (np.abs(m1 - m2) <= 2 * (1 - agree))
height = np.where(possible, -0.5 * (m1**2 + m2**2), np.nan)  # E / N, without the constant P / 2N
s = signs(40, N, rng=draw)
path = [s @ pair.T / N]
for i in draw.permutation(N):
    align(s, W_pair, i)
    path.append(s @ pair.T / N)
path = np.array(path)  # (N + 1, 40, 2)

fig, ax = plt.subplots(figsize=(6.4, 5.2))
shown = ax.contourf(m1, m2, height, levels=14, cmap="Blues_r")
fig.colorbar(shown, ax=ax, label="energy per unit, E / N")
ax.plot(*path.transpose(2, 0, 1), color=plotting.VERMILLION, linewidth=0.9)
ax.plot(*path[-1].T, "o", color=plotting.BLACK)
ax.set(xlabel="overlap with pattern 1, m₁", ylabel="overlap with pattern 2, m₂")
ax.grid(False)
plotting.show(
    fig,
    "The energy of all states of a network with 400 units and two patterns, and the paths of 40 random starts. They end "
    f"in {len(np.unique(path[-1].round(3), axis=0))} valleys: the two patterns and their two negatives, because E(s) = "
    "E(−s) when b = 0.",
    "A square on its corner with a hill in the middle and a valley in each corner; paths lead into the four corners.",
)

# %% [markdown] spurious_text
# ### What goes wrong, first part: memories that nobody stored
#
# Three kinds come for free with Hebb's rule:
#
# - **Inverses.** $-\xi^\mu$ has the same energy as $\xi^\mu$ and is as stable.
# - **Mixtures** such as $\operatorname{sign}(\xi^1 + \xi^2 + \xi^3)$. A unit of the mixture agrees with a given
#   one of three random patterns in three cases of four, so all three overlaps are about ½, and the field is
#   $a_i \approx \frac12 (\xi_i^1 + \xi_i^2 + \xi_i^3)$: its sign is that of the mixture.
# - **Spin glass states**, which resemble no memory and no mixture of a few (Amit, Gutfreund and Sompolinsky, 1985).
#   They come with many patterns; below, with three, there are none.
#
# With 16 units we need not guess. The next cell takes three 4×4 pictures, writes down all 65,536 states, and
# keeps those that are strictly lower than all their 16 neighbours.
#
# **Predict:** three patterns, and how many minima?


# %% spurious
def all_spins(n):
    """All ±1 vectors of length n: (2^n, n); n ≤ 20 or so."""
    return (2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1) - 1).astype(np.float32)


y, x = np.mgrid[:4, :4]
pictures = np.float32([np.where(on, 1, -1) for on in (x < 2, y < 2, (x + y) % 2 == 0)]).reshape(3, 16)
W_pictures, S = hebb(pictures), all_spins(16)
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
    f"pictures, then their inverses; the {len(minima) - 6} others are mixtures sign(± ξ¹ ± ξ² ± ξ³). Of all 65,536 starts, "
    f"{into[:3].sum():.1%} end in a picture, {into[3:6].sum():.1%} in an inverse, {into[6:].sum():.1%} in a mixture.",
    "Fourteen small pictures: halves and a chessboard, their negatives, and eight blends.",
    columns=6,
    titles=[f"{e:.1f}".replace("-", "−") for e in depth],
)

# %% [markdown] cure_text
# **A cure: unlearning** (Hopfield, Feinstein and Palmer, 1983). Let the network fall from a random start into a
# state $s$, wherever that is (a *dream*), and unlearn it a little: $W \leftarrow W - \frac{\varepsilon}{N} s
# s^\top$, the diagonal left at 0. That raises the energy of $s$ by about $\varepsilon N / 2$, whatever its
# depth: shallow valleys fill up first. Keep this rule in mind: in section 3 it comes back as one half of the
# learning rule of a Boltzmann machine.
#
# We store 15 random patterns in 100 units. Most dreams are then of the third kind: in 20 such networks three of four
# random starts ended in a state that shares less than 97.5 % of its bits with ± any memory, and less than 92.5 % with any
# mixture of three. Two things are measured: does recall repair a memory with 15 % of
# its bits flipped, and do random starts end in a memory or its inverse?
#
# **Predict:** can one unlearn too much?


# %% cure
def quality(W, xi, rng, n=300):
    """→ share of damaged memories (15 % flipped) that recall restores, share of random starts that end in ±memory."""
    truth = np.repeat(xi, n // len(xi), axis=0)
    restored = recall(np.where(rng.random(truth.shape) < 0.15, -truth, truth), W)
    ends = recall(signs(n, xi.shape[1], rng=rng), W)
    return (restored == truth).all(axis=1).mean(), (np.abs(ends @ xi.T) == xi.shape[1]).any(axis=1).mean()


xi = signs(15, 100, rng=rng)
W_dream, shares = hebb(xi), [quality(hebb(xi), xi, rng)]
for _ in range(30):
    s = recall(signs(50, 100, rng=rng), W_dream)  # 50 dreams at once
    W_dream = W_dream - 0.01 / 100 * s.T @ s
    np.fill_diagonal(W_dream, 0)
    shares.append(quality(W_dream, xi, rng))
shares, names = np.array(shares), ["damaged memories restored", "random starts that end in ± a memory"]
plotting.learning_curves(
    {name: (50 * np.arange(31), share) for name, share in zip(names, shares.T)},
    "states unlearned",
    "share",
    f"Hebb's rule restores {shares[0, 0]:.0%} of the damaged memories, and {shares[0, 1]:.0%} of the random starts end "
    f"in ± a memory. After 600 unlearned states it is {shares[12, 0]:.0%} and {shares[12, 1]:.0%}, after 1,500 "
    f"{shares[-1, 0]:.0%} and {shares[-1, 1]:.0%} (300 trials each: standard errors of up to 3 %).",
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
# For random patterns the noise has mean 0 and variance about $P/N$; call $\alpha = P/N$ the *load*. The bit
# flips if the noise beats the signal, with probability about
#
# $$q = \tfrac12 \operatorname{erfc}\sqrt{N / (2P)} .$$
#
# Two questions, two answers.
#
# - **All bits right.** One memory is a fixed point with probability about $(1-q)^N$. For $q \approx 1/N$ the
#   tail $q \approx e^{-N/2P}$ gives $P \approx N / (2 \ln N)$. Counted in memories per unit, this capacity
#   *falls* as N grows.
# - **A few wrong bits allowed.** A few flips change the fields of others, which flip in turn. Amit, Gutfreund
#   and Sompolinsky (1985) showed that for $N \to \infty$ this avalanche stays small up to $\alpha \approx
#   0.138$, where 1.6 % of the bits are wrong, and above it sweeps the memory away. This capacity is
#   *proportional* to N.
#
# The first count needs no $N \times N$ matrix: all fields at once are $\frac1N (\Xi\,\Xi^\top)\, \Xi - \alpha\,
# \Xi$, and $\Xi\, \Xi^\top$ is only (P, P).

# %% capacity
loads, curves = np.array([0.06, 0.1, 0.12, 0.14, 0.16, 0.2, 0.24]), {}
for N, repeats in [(50, 32), (150, 10), (400, 4)]:
    overlap = np.zeros((repeats, len(loads)))
    for r, k in np.ndindex(*overlap.shape):
        xi = signs(round(loads[k] * N), N, rng=rng)
        overlap[r, k] = (recall(xi, hebb(xi), sweeps=12) * xi).mean()
    curves[f"N = {N}"] = (loads, overlap.mean(axis=0))
    at = [str(evaluation.mean_estimate(overlap[:, k])) for k in (2, 5)]
    print(f"N = {N:3d}: overlap {at[0]} at α = 0.12, {at[1]} at α = 0.20")
curves["α = 0.138"] = ([0.138, 0.138], [0.4, 1.0])
plotting.learning_curves(
    curves,
    "load α = P / N",
    "overlap after recall",
    "Start in a memory, run downhill: how much of it is left? The larger the network, the steeper the fall.",
    "Three curves near 1 that fall beyond a dotted vertical line at 0.138, the one for 400 units most steeply.",
)

# %% capacity_exact
sizes, exact, theory = 2 ** np.arange(6, 12), [], []
for N in sizes:
    P = np.unique(np.geomspace(0.05 * N, 0.25 * N, 16).astype(int))
    q = 0.5 * erfc(np.sqrt(N / (2 * P)))
    fixed = []
    for p in P:
        xi = signs(max(1, 256 // N), p, N, rng=rng)  # several networks if N is small
        a = (xi @ xi.transpose(0, 2, 1)) @ xi / N - p / N * xi
        fixed.append((a * xi > 0).all(axis=2).mean())
    exact.append(np.interp(0.5, np.minimum.accumulate(fixed)[::-1], P[::-1]) / N)
    theory.append(np.interp(0.5, (1 - q)[::-1] ** N, P[::-1]) / N)
plotting.learning_curves(
    {
        "measured": (sizes, exact),
        "(1 − q)ᴺ = ½": (sizes, theory),
        "1 / (2 ln N)": (sizes, 1 / (2 * np.log(sizes))),
        "a few wrong bits: 0.138": (sizes, np.full(len(sizes), 0.138)),
    },
    "units N",
    "memories per unit, P / N",
    f"The load at which half of the memories are fixed points with all bits right: {exact[0]:.3f} at N = {sizes[0]}, "
    f"{exact[-1]:.3f} at N = {sizes[-1]}. It falls as N grows, slowly towards 1 / (2 ln N).",
    "Measured and predicted curve fall together, above 1 / (2 ln N), and cross a level line at 0.138.",
    xlog=True,
)

# %% [markdown] ising_text
# ## 2 · The same energy, heated: Ising model and Gibbs sampling
#
# The **Ising model** puts the units on a grid. Neighbours have $W_{ij} = J > 0$ and like to agree, all other
# links are 0, and a field $b_i = h$ pulls all units one way. Instead of running downhill, the units are now
# in contact with heat: at temperature $T$ a state has the *Boltzmann probability*
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
# Summing over $s$ gives $\sum_s p(s) P_i(s \to s') = p(s')$: the distribution is *stationary*. Every state
# can be reached from every other, and no period is possible since a unit may stay as it is, so the chain
# forgets its start.
#
# A **random scan** redraws a unit chosen at random, $P = \frac1N \sum_i P_i$. A **sweep** redraws all units
# in order, $P_1 P_2 \cdots P_N$.
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
    return softmax(-energy(states, W, b) / T)


def unit_kernels(states, W, b, T):
    """P_i for each unit: N matrices (2^N, 2^N), from the state in the row to that in the column."""
    k, kernels = np.arange(len(states)), []
    for i in range(states.shape[1]):
        on = expit(2 * (states @ W[i] + b[i]) / T)
        kernel = np.zeros((len(states), len(states)))
        kernel[k, k | (1 << i)] = on  # all_spins has unit i in bit i of the row's number
        kernel[k, k & ~(1 << i)] = 1 - on
        kernels.append(kernel)
    return kernels


# %% [markdown] balance_text
# **The full transition matrix.** On a grid of 3×3 units there are 512 states, so the transition matrices are
# 512×512 and nothing needs to be believed. We check the balance, whether $p$ is stationary, and where 20,000
# chains are after 40 sweeps.

# %% balance
row, column = np.divmod(np.arange(9), 3)
near = abs(row[:, None] - row) + abs(column[:, None] - column) == 1
W_grid, b_grid, T, S = near.astype(float), np.full(9, 0.2), 2.0, all_spins(9).astype(float)
p, kernels = boltzmann(S, W_grid, b_grid, T), unit_kernels(S, W_grid, b_grid, T)
for name, kernel in [("random scan", sum(kernels) / 9), ("sweep", np.linalg.multi_dot(kernels))]:
    flow = p[:, None] * kernel
    balance, still = abs(flow - flow.T).max(), abs(p @ kernel - p).max()
    print(f"{name:>11}: largest |p(s) P(s → s') − p(s') P(s' → s)| {balance:.0e}, |Σ p P − p| {still:.0e}")

s = signs(20_000, 9, rng=rng)
for _ in range(40):
    s = gibbs_sweep(s, W_grid, b_grid, T, rng)
expected = len(s) * p
z = (np.bincount((s > 0) @ (1 << np.arange(9)), minlength=512) - expected) / np.sqrt(expected * (1 - p))
z = z[expected >= 10]  # a rarer state may be far off in units of its small standard error
print(f"visits against exact probabilities: largest of {len(z)} z-scores {abs(z).max():.1f} (3 is normal)")

# %% [markdown] balance_says
# The random scan fulfils detailed balance up to rounding. The sweep does not: a film of it run backwards
# redraws the units in the opposite order. Yet $p$ is stationary for the sweep as well, because each factor
# $P_i$ leaves it unchanged, and that is all we need. Detailed balance is sufficient, not necessary.
#
# **Magnetisation.** On a large grid something new happens. The grid is a chessboard: white fields have only
# black neighbours. Given the black units all white ones are independent, so a sweep is two array operations
# (*block Gibbs*; an RBM in week 3 uses the same trick). We join opposite edges, set $J = 1$ and leave out the
# field. For an infinite grid the mean magnetisation $m = \frac1N \sum_i s_i$ of a state in which one direction
# has won is known exactly (found by Onsager, proved by Yang, 1952):
#
# $$|m| = \left(1 - \sinh(2/T)^{-4}\right)^{1/8} \text{ for } T < T_c, \quad 0 \text{ above}, \qquad
# T_c = \frac{2}{\ln(1 + \sqrt2)} \approx 2.269.$$
#
# On 4×4 units the mean of $|m|$ is a sum over 65,536 states, and the sampler has to agree with it. On 16×16 there
# are $2^{256}$ states, and only the sampler is left.


# %% magnetisation
def grid_sweep(s, T, rng):
    """s: (..., L, L) ±1 on grids with joined edges, L even; T broadcasts to s. All white fields, then all black ones."""
    white = np.indices(s.shape[-2:]).sum(axis=0) % 2 == 0
    for colour in (white, ~white):
        field = sum(np.roll(s, shift, axis) for shift in (1, -1) for axis in (-2, -1))
        s = np.where(colour, np.where(rng.random(s.shape) < expit(2 * field / T), 1, -1), s)
    return s


S = all_spins(16).reshape(-1, 4, 4)
E_grid = -(S * (np.roll(S, 1, 1) + np.roll(S, 1, 2))).sum(axis=(1, 2)).astype(float)  # each pair once
temperatures, fine = np.linspace(1.6, 3.4, 10), np.linspace(1.6, 3.4, 400)
exact = [softmax(-E_grid / T) @ abs(S.mean(axis=(1, 2))) for T in temperatures]
infinite = np.where(fine < 2.2692, np.clip(1 - np.sinh(2 / fine) ** -4.0, 0, 1) ** 0.125, 0)
fig, ax = plt.subplots()
ax.plot(fine, infinite, "--", color=plotting.BLACK, label="infinite grid, exact")
ax.plot(temperatures, exact, color=plotting.BLUE, label="4×4, exact")
for L, M, colour in [(4, 100, plotting.BLUE), (16, 10, plotting.VERMILLION)]:
    s, sizes = np.ones((10, M, L, L)), []  # M chains at each of the ten temperatures
    for _ in range(300):
        s = grid_sweep(s, temperatures[:, None, None, None], rng)
        sizes.append(abs(s.mean(axis=(2, 3))))
    sizes = np.mean(sizes[100:], axis=0)  # (10, M)
    mean, error = sizes.mean(axis=1), sizes.std(axis=1, ddof=1) / np.sqrt(M)
    ax.errorbar(temperatures, mean, 2 * error, fmt="o", color=colour, label=f"{L}×{L}, Gibbs sampling")
    if L == 4:
        print(f"4×4: largest of ten z-scores {max(abs(mean - exact) / error):.1f} (up to 3 is normal)")
ax.set(xlabel="temperature T (in units of J)", ylabel="mean |m| (no unit)")
ax.legend()
plotting.show(
    fig,
    "Below the critical temperature 2.27 the units agree on a direction although nothing prefers it. The larger the grid, "
    "the sharper the corner. Bars: two standard errors.",
    "All curves are near 1 on the left; the one for the infinite grid falls to 0 at 2.27, the others have a tail.",
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
# **From ±1 to 0/1, once and for all.** From here on units are $x_i = (s_i + 1)/2 \in \{0, 1\}$. Put
# $s = 2x - 1$ into the energy, with $\mathbf 1$ the vector of ones:
#
# $$-\tfrac12 (2x - \mathbf 1)^\top W (2x - \mathbf 1) - b^\top (2x - \mathbf 1)
# = -\tfrac12 x^\top (4W)\, x - (2b - 2W\mathbf 1)^\top x + \text{constant}.$$
#
# So it is the same form of energy with $W' = 4W$ and $b' = 2b - 2W\mathbf 1$; the constant goes into $Z$. The
# field becomes $a_i' = \sum_j W'_{ij} x_j + b_i' = 2 a_i$, so $\sigma(2a_i)$ turns into $\sigma(a_i')$. A
# *Boltzmann machine* is this model at $T = 1$, with $W$ and $b$ learned:
#
# $$p(x) = \frac1Z e^{-E(x)}, \qquad E(x) = -\tfrac12 x^\top W x - b^\top x, \qquad
# p(x_i = 1 \mid \text{rest}) = \sigma\Big(\sum_j W_{ij} x_j + b_i\Big).$$
#
# **The learning rule.** For one image, $\log p(x) = -E(x) - \log Z$. The pair $\{i, j\}$ has one weight,
# $W_{ij} = W_{ji}$, and the energy contains it as $-W_{ij} x_i x_j$. The derivative of $\log Z$ is an average
# over the *model*:
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
# This is the rule of Ackley, Hinton and Sejnowski (1985). The first term is Hebb's rule on the data. The second is
# *unlearning* of what the network dreams, now with probabilities that say how much. Learning ends where the model
# has the moments of the data. As $\log Z$ is convex (its matrix of second derivatives is a covariance matrix), the
# log-likelihood of a machine without hidden units is concave: it has no lower summit on which learning could get
# stuck. (For some data, such as bars and stripes, the weights go on growing, and the best value is only approached.)
#
# **Bars and stripes.** On a 3×3 grid the data are 14 images of full rows or full columns, equally likely: no
# model can have a mean log-likelihood above $-\log 14 = -2.64$ nats. There are 512 states, so $Z$, the
# moments and the gradient are exact. We compare with automatic differentiation through the enumerated $\log
# Z$, where the weights are $W = U + U^\top$ with $U$ above the diagonal, so that each pair has one parameter.


# %% exact
def to_bits(W, b):
    """Parameters for ±1 units at T = 1 → those for 0/1 units with the same probabilities."""
    return 4 * W, 2 * b - 2 * W.sum(axis=1)


def to_spins(W, b):
    """The inverse: parameters for 0/1 units → those for ±1 units."""
    return W / 4, b / 2 + W.sum(axis=1) / 4


def exact_log_z(W, b):
    """log Z in nats, exact by enumeration of the 2^D states with 0/1 units."""
    return logsumexp(-energy((all_spins(len(b)) + 1) / 2, W, b))


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


# %% exact_check
bars, X = datasets.bars_and_stripes(3).astype(float), (all_spins(9).astype(float) + 1) / 2
p_grid = boltzmann(2 * X - 1, W_grid, b_grid, 1.0)
np.testing.assert_allclose(p_grid, boltzmann(X, *to_bits(W_grid, b_grid), 1.0), rtol=1e-10)  # the map to 0/1

U, b = tf.Variable(np.triu(rng.normal(size=(9, 9)), 1)), tf.Variable(rng.normal(size=9))
with tf.GradientTape() as tape:
    W = U + tf.transpose(U)
    f_bars, f_all = (tf.reduce_sum((x @ W) * x, axis=1) / 2 + tf.linalg.matvec(x, b) for x in (bars, X))
    mean_log_p = tf.reduce_mean(f_bars) - tf.reduce_logsumexp(f_all)
automatic = tape.gradient(mean_log_p, [U, b])
W, b = W.numpy(), b.numpy()
dW, db = gradient(bars, X, boltzmann(X, W, b, 1.0))
np.testing.assert_allclose(np.triu(dW, 1), np.triu(automatic[0], 1), atol=1e-12)
np.testing.assert_allclose(db, automatic[1], atol=1e-12)
assert abs(np.exp(log_likelihood(X, W, b, exact_log_z(W, b))).sum() - 1) < 1e-12
print("the map keeps all 512 probabilities; moments and automatic differentiation agree to 1e-12")

# %% [markdown] train_text
# **Training, exactly and by sampling.** With 64 pixels there are $2^{64}$ states and the model's moments have
# to be sampled. The usual way (Younes, 1989; Tieleman, 2008) keeps M Markov chains from one gradient step to
# the next: the parameters move a little, one Gibbs sweep lets the chains follow a little. These are
# *persistent* chains; week 3 looks at them closely.
#
# `sweep` is the Gibbs sampler again, in 0/1 units, compiled by TensorFlow: one loop over the units, all
# chains at once. Its argument `beta` scales the links; it stays at 1 in training and will be of use below.
# `train_epoch` returns next to the parameters their moving average, which is less noisy.


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
W_exact, b_exact = np.zeros((9, 9)), np.zeros(9)
parameters = average = [tf.zeros([9, 9]), tf.zeros([9])]
history = {"exact": [], "100 chains": [], "100 chains, averaged": []}
x = tf.constant(rng.integers(2, size=(100, 9)), tf.float32)
batches = tf.tile(tf.constant(bars, tf.float32)[None], [100, 1, 1])  # all 14 images in each of 100 steps
for k in range(40):
    for _ in range(100):
        dW, db = gradient(bars, X, boltzmann(X, W_exact, b_exact, 1.0))
        W_exact, b_exact = W_exact + 0.5 * dW, b_exact + 0.5 * db
    key = tf.constant(k)
    parameters, average, x = train_epoch(parameters, average, batches, x, tf.fill([100], 0.5), 0.99, key)
    for name, model in zip(history, [(W_exact, b_exact), parameters, average]):
        W, b = (np.asarray(part, float) for part in model)
        history[name].append(log_likelihood(bars, W, b, exact_log_z(W, b)).mean())
steps, end = 100 * np.arange(1, 41), {name: values[-1] for name, values in history.items()}
plotting.learning_curves(
    {name: (steps, values) for name, values in history.items()}
    | {"best possible, −log 14": (steps, np.full(40, -np.log(14)))},
    "gradient steps",
    "log-likelihood (nats per image)",
    f"With exact moments the log-likelihood reaches {end['exact']:.3f} nats, best possible is {-np.log(14):.3f}. With sampled "
    f"ones it ends at {end['100 chains']:.2f}, having been as low as {min(history['100 chains'][5:]):.2f} after step 500; "
    f"the averaged parameters end at {end['100 chains, averaged']:.2f}. (All values are exact.)",
    "One smooth curve that approaches a level line from below, and noisy ones beneath it.",
)

# %% [markdown] toy_training_says
# The machine without hidden units comes close to the best possible value, and with exact moments the curve is
# smooth. The sampled gradient is the right one only if the chains follow the model, and here they do not
# always; averaging the parameters hides most of it. Section 4 says why. First, what no pairwise machine can
# learn.
#
# **Predict:** the data are the four vectors of three bits with an *even* number of ones, equally likely.
# Which weights does the learning rule find?

# %% parity
even = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]], float)
dW, db = gradient(even, (all_spins(3) + 1) / 2)  # the model with W = 0, b = 0: all 8 states equally likely
print(f"at W = 0, b = 0 the largest entry of the gradient is {max(abs(dW).max(), abs(db).max()):.0e}")
print(f"log-likelihood there: {-np.log(8):.3f} nats; best possible for this data {-np.log(4):.3f}")

# %% [markdown] parity_says
# The gradient is 0 and the log-likelihood is concave, so this is the summit: the uniform distribution. Each
# bit is 1 half of the time and each pair agrees half of the time, with the data as with the model; what
# distinguishes the data is a relation of all three bits, which pairs cannot see. **Hidden units** can: sums
# over $h$ of $e^{-E(v, h)}$ contain relations of any order. The learning rule stays the same with $h$ filled
# in from $p(h \mid v)$ in the data's term. But then that term needs sampling as well, and the likelihood is
# no longer concave. Week 3 makes hidden units practical by a restriction.

# %% [markdown] mixing_text
# ## 4 · What goes wrong, second part: chains that are stuck, and parallel tempering
#
# The trained machine has its mass on 14 images. From one to the next a Gibbs chain must pass through states
# with one or two wrong pixels, which are improbable: it sits in a valley and waits. How long, the transition
# matrix of section 2 can tell. After t steps of a random scan, from any start, the distribution $p_t$ of the
# chain differs from $p$ by
#
# $$p_t - p = \sum_{k \ge 2} c_k\, \lambda_k^t\, u_k, \qquad 1 = \lambda_1 > \lambda_2 \ge \dots \ge 0,$$
#
# with the eigenvalues $\lambda_k$ and eigenvectors $u_k$ of $P$, which are real: by detailed balance
# $\sqrt{p(s)}\, P(s \to s') / \sqrt{p(s')}$ is a symmetric matrix with the same eigenvalues. (None is
# negative, since P is a mean of projections.) The slowest part decays over the *relaxation time*
# $1/(1 - \lambda_2)$, in steps of one unit each.
#
# **Predict:** the same weights at temperature $T$ instead of 1: is the chain faster? What does that cost?

# %% relaxation
W_bars, b_bars = to_spins(W_exact, b_exact)  # gibbs_sweep and unit_kernels are written for ±1 units
S, is_bar = 2 * X - 1, np.isin(X @ (1 << np.arange(9)), bars @ (1 << np.arange(9)))
temperatures, relaxation, on_bars = np.geomspace(1, 8, 7), [], []
for T in temperatures:
    p = boltzmann(S, W_bars, b_bars, T)
    P = sum(unit_kernels(S, W_bars, b_bars, T)) / 9
    symmetric = np.sqrt(p)[:, None] * P / np.sqrt(p)
    second = np.linalg.eigvalsh((symmetric + symmetric.T) / 2)[-2]
    relaxation.append(1 / (1 - second) / 9)  # 9 steps are as much work as a sweep
    on_bars.append(p[is_bar].sum())
plotting.learning_curves(
    {"random-scan Gibbs": (temperatures, relaxation)},
    "temperature T (1 is the model)",
    "relaxation time (sweeps)",
    f"Exact relaxation times: {relaxation[0]:.0f} sweeps at T = 1, {relaxation[-1]:.1f} at T = 8. But the hot chain "
    f"samples another distribution: {on_bars[-1]:.0%} of its mass is on bars and stripes, {on_bars[0]:.0%} at T = 1.",
    "A curve on a logarithmic axis that falls steeply from about 200 on the left to below 2.",
    ylog=True,
)

# %% [markdown] tempering_text
# **Parallel tempering** has both, the speed of the heat and the distribution of the cold (Geyer, 1991;
# Hukushima and Nemoto, 1996). Run one chain at each of K temperatures $1 = T_1 < \dots < T_K$. Together they
# are one chain on K-tuples of states, with the joint distribution $\pi(s^1, \dots, s^K) = \prod_k
# p_{T_k}(s^k)$. Now and then propose to *swap* the states of neighbours $k$ and $l = k + 1$.
#
# **The acceptance follows from detailed balance.** A swap undoes itself, so with acceptance probabilities $A$
# and $A'$ of the move and of its reverse, balance demands $\pi(\text{before})\, A = \pi(\text{after})\, A'$.
# All other factors and all $Z$ cancel in
#
# $$r = \frac{\pi(\text{after})}{\pi(\text{before})}
# = \frac{e^{-E(s^l)/T_k}\, e^{-E(s^k)/T_l}}{e^{-E(s^k)/T_k}\, e^{-E(s^l)/T_l}}
# = \exp\left[\left(\frac{1}{T_k} - \frac{1}{T_l}\right)\left(E(s^k) - E(s^l)\right)\right].$$
#
# $A = \min(1, r)$, the *Metropolis rule*, does it: if $r \le 1$, then $A = r$ and $A' = \min(1, 1/r) = 1$, so
# both sides are $\pi(\text{after})$; if $r > 1$ both sides are $\pi(\text{before})$. A swap that hands the
# lower energy to the colder chain is always accepted.
#
# **Does it pay?** Each of the K chains costs a sweep. Too few temperatures, and swaps are refused; too many,
# and the way from the heat to the cold is long. So we measure how much work, in sweeps of single chains, a
# *ladder* (the K chains together) needs for the same standard error. The next cell starts 40 independent
# ladders at one pattern and lets each of them estimate how often the 14 patterns come.


# %% tempering
def temper(s, W, b, T, odd, rng):
    """A sweep at each temperature, then swaps of neighbours. s: (K, M, N), T: (K,) → s, the shares accepted."""
    s, accepted = gibbs_sweep(s, W, b, T[:, None], rng), []
    E = energy(s, W, b)  # (K, M)
    for k in range(odd, len(T) - 1, 2):
        log_ratio = (1 / T[k] - 1 / T[k + 1]) * (E[k] - E[k + 1])
        swap = np.log(rng.random(len(log_ratio))) < log_ratio  # (M,)
        s[k : k + 2, swap] = s[k : k + 2, swap][::-1]
        accepted.append(swap.mean())
    return s, accepted


def follow(start, W, b, T, sweeps, M, rng):
    """M ladders that start at one state (N,) → their coldest states (sweeps, M, N), mean share of accepted swaps."""
    s, cold, shares = np.tile(start, (len(T), M, 1)), [], []
    for t in range(sweeps):
        s, accepted = temper(s, W, b, T, t % 2, rng)
        cold.append(s[0])
        shares += accepted
    return np.array(cold), np.mean(shares or [0])


# %% ladders
p, M, cold, spread = boltzmann(S, W_bars, b_bars, 1.0)[is_bar], 40, {}, {}
for K in [1, 2, 5, 20]:
    T = np.geomspace(1, 8, K)
    cold[K], swapped = follow(2 * bars[3] - 1, W_bars, b_bars, T, 1500, M, rng)
    state = ((cold[K] > 0) @ (1 << np.arange(9)))[300:]  # (1200, M), the first 300 sweeps left out
    share = np.array([(state == k).mean(axis=0) for k in np.flatnonzero(is_bar)])  # (14, M)
    z = (share.mean(axis=1) - p) / (share.std(axis=1, ddof=1) / np.sqrt(M))  # the ladders are independent
    spread[K] = share.std(axis=1, ddof=1).mean()  # of one ladder's estimate of a pattern's share
    work = K * (spread[K] / spread[1]) ** 2  # sweeps of single chains for the same error, plain Gibbs = 1
    print(
        f"K = {K:2d}: {swapped:4.0%} swapped, share ± {spread[K]:.3f}, work {work:.2f}, worst z {abs(z).max():.1f}"
    )
plotting.image_grid(
    np.concatenate([(cold[K][500:700:10, 0] + 1) / 2 for K in (1, 5)]),
    (3, 3),
    "Every 10th state. Top: plain Gibbs sampling stays with a pattern for long. Bottom: the coldest of five chains.",
    "Two rows of 20 small patterns; in the upper row runs of equal ones, in the lower row hardly any.",
    columns=20,
    row_titles=["Gibbs", "tempered"],
)

# %% [markdown] tempering_says
# The z-scores compare with the exact probabilities: all four ladders agree within what chance allows. But ± says how
# precisely one ladder of 1,200 sweeps knows how often a pattern comes, and there plain Gibbs sampling is far behind.
# Its chain needs about 120 sweeps to forget a pattern (the sweep in order, by the second eigenvalue of
# $P_1 \cdots P_9$, 117; the random scan of the figure 209), so 1,200 sweeps are worth only a few independent states.
# Two temperatures far apart seldom swap; with twenty most of the work is done away from the cold. The work, known to
# about a fifth, counts both. So heat helps where valleys are narrow, and is paid for with one chain for each
# temperature. Week 3 uses tempering inside the training.

# %% [markdown] digits_text
# ## 5 · The digits
#
# Now 64 pixels, 2,016 links, 64 biases, no hidden units; $2^{64}$ states. Training is as above, with the
# chains' sweeps compiled into one graph for each epoch. The biases start at the log-odds
# $\log \frac{\mu}{1 - \mu}$ of the pixel means $\mu$.
#
# Settings were chosen by the likelihood of the 200 validation images: 40 or 100 epochs, rates 0.2 to 1,
# weight decay 0 to 0.01. Decay of 0.01 costs half a nat. Of the rates 0.5 is as good as 0.2, and 1 is worse by 0.20
# to 0.23 nats, each ± 0.05, in three of three seeds. We take 0.5, 40 epochs and no decay.
#
# **What is the likelihood?** $Z$ is now out of reach and must be estimated. *Annealed importance sampling*
# (AIS; Neal, 2001) works like this, in words; week 3 derives it. Start at a model whose $Z_0$ is known:
# independent pixels, which here means that all links are 0. Then switch the links on in 1,000 small steps. At
# each step note by which factor the (unnormalised) probability of the present state changes, and let the state
# follow by a Gibbs sweep. The product of the factors of one run is its *weight*; the mean weight of many runs
# is an unbiased estimate of $Z / Z_0$. The same walk *backwards*, from samples of the model to independent
# pixels, gives $Z_0 / Z$. The first estimate of $\log Z$ tends to be too low, which flatters the model, the
# second too high. If both agree within their error bars, believe them, as long as the backward walk starts from
# true samples of the model (week 3 says more).
#
# First the exact check: on bars and stripes $\log Z$ is known by enumeration.


# %% ais
@tf.function(jit_compile=True)
def anneal(W, b, b0, betas, x, key):
    """Walk x (R, D) along betas (K + 1,): links βW, biases (1 − β) b0 + β b → log weights (R,) in float64, last x."""

    def log_p_star(x, beta):
        links = tf.reduce_sum((x @ W) * x, axis=1) / 2
        return beta * links + tf.linalg.matvec(x, (1 - beta) * b0 + beta * b)

    log_w = tf.zeros([len(x)], tf.float64)
    for t in tf.range(1, len(betas)):
        log_w += tf.cast(log_p_star(x, betas[t]) - log_p_star(x, betas[t - 1]), tf.float64)
        x = sweep(W, (1 - betas[t]) * b0 + betas[t] * b, x, tf.stack([key, t]), betas[t])
    return log_w, x


def log_mean_exp(log_w):
    """(R,) → the log of the mean weight, with its standard error to first order."""
    w = np.exp(log_w - log_w.max())
    return evaluation.Estimate(log_w.max() + np.log(w.mean()), w.std(ddof=1) / w.mean() / np.sqrt(len(w)))


def estimate_log_z(W, b, b0, K, R, x_model, rng):
    """K steps, R runs each way; x_model: (R, D) samples of the model → log Z by AIS and by the reverse walk."""
    log_z0 = np.logaddexp(0, np.asarray(b0, float)).sum()  # independent pixels: Z₀ = Π (1 + exp b0_i)
    betas = tf.linspace(0.0, 1.0, K + 1)
    start = tf.constant(rng.random((R, len(b0))) < expit(b0), tf.float32)
    keys = tf.constant(rng.integers(2**31, size=2), tf.int32)
    forward, reverse = (
        log_mean_exp(anneal(W, b, b0, path, x, key)[0].numpy())
        for path, x, key in zip([betas, betas[::-1]], [start, x_model], keys)
    )
    below = evaluation.Estimate(log_z0 + forward.value, forward.error)
    return below, evaluation.Estimate(log_z0 - reverse.value, reverse.error)


# %% ais_check
W, b = tf.constant(W_exact, tf.float32), tf.constant(b_exact, tf.float32)
exact_samples = X[rng.choice(512, 100, p=boltzmann(X, W_exact, b_exact, 1.0))]
below, above = estimate_log_z(W, b, tf.zeros(9), 1000, 100, tf.constant(exact_samples, tf.float32), rng)
exact = exact_log_z(W_exact, b_exact)
print(f"log Z: {exact:.3f} exact, {below} by AIS, {above} by the reverse walk")
assert abs(below.value - exact) < 5 * below.error

# %% train
D = digits.train.shape[1]
means = np.clip(digits.train.mean(axis=0), 0.01, 0.99)
b0 = tf.constant(np.log(means / (1 - means)), tf.float32)  # log-odds of the pixel means


def train(images, epochs, B, M, rate, decay, b0, rng):
    """images: (N, D), grey ones are binarised afresh in each epoch → averaged W (D, D), b (D,), and the chains (M, D)."""
    D, steps = images.shape[1], len(images) // B
    parameters = average = [tf.zeros([D, D]), b0]
    x = tf.constant(rng.random((M, D)) < expit(b0), tf.float32)
    rates = np.linspace(rate, 0, epochs * steps, endpoint=False, dtype=np.float32).reshape(epochs, steps)
    for epoch in tqdm(range(epochs), desc="Boltzmann machine", unit="epoch"):
        batches = images[rng.permutation(len(images))[: steps * B]].reshape(steps, B, D)
        batches = (rng.random(batches.shape, np.float32) < batches).astype(np.float32)
        key = tf.constant(rng.integers(2**31), tf.int32)
        parameters, average, x = train_epoch(parameters, average, batches, x, rates[epoch], decay, key)
    return *average, x


start = time.perf_counter()
W, b, x_chain = train(digits.train, epochs, batch_size, chains, learning_rate, averaging, b0, rng)
train_seconds = time.perf_counter() - start


# %% likelihood
def anneal_all(W, b, b0, betas, x, rng):
    """Independent walks from x: (R, M, D), M at a time → the last states (R M, D), and milliseconds for each."""
    start, keys = time.perf_counter(), tf.constant(rng.integers(2**31, size=len(x)), tf.int32)
    last = np.concatenate([anneal(W, b, b0, betas, part, key)[1] for part, key in zip(x, keys)])
    return last, 1000 * (time.perf_counter() - start) / len(last)


parts = {"train": digits.train, "validation": digits.validation, "test": digits.test}
parts = {name: (rng.random(part.shape) < part).astype(np.float32) for name, part in parts.items()}  # 0/1
test = parts["test"]
betas = tf.linspace(0.0, 1.0, ais_temperatures + 1)
x_chain, _ = anneal_all(W, b, b0, tf.ones_like(betas), x_chain[None, :ais_chains], rng)  # β = 1: plain Gibbs
log_z, above = estimate_log_z(W, b, b0, ais_temperatures, ais_chains, tf.constant(x_chain), rng)
print(f"log Z {log_z} by AIS, {above} by the reverse walk")
log_p = {name: log_likelihood(part, W.numpy(), b.numpy(), log_z.value) for name, part in parts.items()}
print(*(f"{name} {values.mean():.2f}," for name, values in log_p.items()), "nats per image (estimates)")
start = tf.constant(rng.random((-(-400 // ais_chains), ais_chains, D)) < expit(b0), tf.float32)
samples, ms_per_sample = anneal_all(W, b, b0, betas, start, rng)

# %% look
pixel = (D + round(D**0.5)) // 2  # a pixel in the middle
plotting.filters(
    W.numpy()[:, pixel - 3 : pixel + 2],
    digits.shape,
    "The links of five neighbouring pixels in the middle to all others. Most nearest neighbours attract each other as in "
    "the Ising model; further away there are also pixels that exclude each other.",
    "Five small images with red spots around a white pixel and some blue ones.",
)
plotting.image_grid(
    np.concatenate([test[:20], samples[:20]]),
    digits.shape,
    "Two rows of test images, then two of samples (last states of annealing runs). Which digits are legible?",
    "Two rows of binary digits above two rows of drawings by the model, some of them legible.",
)

# %% [markdown] modern_text
# ## 6 · Modern Hopfield networks, attention, and the repair of images
#
# Hebb's energy is $-\frac N2 \sum_\mu m_\mu^2$: a square, and patterns disturb each other at a load of 0.14.
# A function that grows faster lets the nearest pattern win more clearly (Krotov and Hopfield, 2016), and the
# exponential raises the capacity from proportional to N to exponential in N (Demircigil et al., 2017).
# Ramsauer et al. (2021) let $s$ be any real vector and take, with the patterns as rows of $\Xi$, (P, N),
#
# $$E(s) = -\frac1\beta \log \sum_{\mu} e^{\beta\, \xi^\mu \cdot s} + \tfrac12\, s \cdot s, \qquad
# s \leftarrow \Xi^\top \operatorname{softmax}(\beta\, \Xi\, s).$$
#
# **The update lowers the energy.** Let $f(s) = \frac1\beta \log \sum_\mu e^{\beta\, \xi^\mu \cdot s}$. Its
# gradient is $\Xi^\top \operatorname{softmax}(\beta\, \Xi s)$, so the update is $s' = \nabla f(s)$. Being
# convex, $f$ lies above its tangent: $f(s') \ge f(s) + s' \cdot (s' - s)$. Therefore
#
# $$E(s') - E(s) \le -s' \cdot (s' - s) + \tfrac12 |s'|^2 - \tfrac12 |s|^2 = -\tfrac12 |s' - s|^2 \le 0 .$$
#
# **It is attention.** A transformer (week 11) computes $\operatorname{softmax}(\frac{1}{\sqrt d}\, Q
# K^\top)\, V$. Here queries $Q$ are states, keys and values are both the stored patterns, and $\beta$ is in the
# place of $1/\sqrt d$; a transformer learns a linear map for each of the three.
#
# **It is a mixture model.** On states $s \in \{-1, +1\}^N$, where $s \cdot s = N$ is constant, the Boltzmann
# distribution of this energy at temperature $1/\beta$ is
#
# $$p(s) = \frac1Z \sum_{\mu} e^{\beta\, \xi^\mu \cdot s}
# = \frac1P \sum_\mu \prod_i \frac{e^{\beta\, \xi_i^\mu s_i}}{2 \cosh \beta}, \qquad Z = P\, (2 \cosh \beta)^N,$$
#
# since the sum over $s$ factorises for each $\mu$. That is week 1's mixture of Bernoullis with one component
# for each memory, each bit flipped with probability $\sigma(-2\beta)$: an energy-based model whose $Z$ is
# known exactly.
#
# **Repair.** If the memories are the prior and a damaged image $\tilde s$ has each bit flipped with
# probability $\varepsilon$, then memory $\mu$ has posterior weight $\propto (1-\varepsilon)^{\text{bits
# equal}}\, \varepsilon^{\text{bits different}} \propto e^{\beta\, \xi^\mu \cdot \tilde s}$ with $\beta =
# \frac12 \log\frac{1 - \varepsilon}{\varepsilon}$. The posterior mean is $\Xi^\top
# \operatorname{softmax}(\beta\, \Xi \tilde s)$: one step of attention.
#
# **Predict:** we store all 1,197 training images in 64 units, 19 for each unit. What will come out for a
# damaged test image?


# %% modern
def retrieve(s, xi, beta):
    """s: (B, N), xi: (P, N) → (B, N): one update, Ξᵀ softmax(β Ξ s)."""
    return tf.nn.softmax(beta * tf.matmul(s, xi, transpose_b=True)) @ xi


def modern_log_prob(s, xi, beta):
    """s: (B, N) ±1 → (B,) nats, exact: Z = P (2 cosh β)^N."""
    log_z = np.log(len(xi)) + xi.shape[1] * np.log(2 * np.cosh(beta))
    parts = np.array_split(s, -(-len(s) // 500))  # 500 at a time, to save memory
    return np.concatenate([logsumexp(beta * (part @ xi.T), axis=1) - log_z for part in parts])


# %% modern_check
few = signs(3, 9, rng=rng)
assert abs(np.exp(modern_log_prob(all_spins(9), few, 0.7)).sum() - 1) < 1e-5  # all 512 probabilities
images, xi, noise = test[:400], 2 * parts["train"][:memories] - 1, 0.1  # xi: (P, N)
noisy = evaluation.flip_pixels(images, noise, seed)  # the damage of all weeks
query = tf.constant(2 * noisy - 1)
attention = keras.layers.Attention()([0.2 * query[None], xi[None], xi[None]])[0]  # query, value, key
np.testing.assert_allclose(retrieve(query, xi, 0.2), attention, atol=1e-4)
print("one update is attention, and the probabilities of all 512 states of a small network sum to 1")

# %% [markdown] use_text
# ### Put to work: imputing, repairing, anomalies
#
# The masks, the damage and the measures are those of week 1 and of all weeks that can do the same.
#
# **With the Boltzmann machine.** What is known of a pixel enters its log-odds as a bias. With $\tilde x$ the
# observed image, each pixel observed on its own, $p(x \mid \tilde x) \propto p(x) \prod_i p(\tilde x_i \mid
# x_i)$, so Gibbs sampling uses
#
# $$p(x_i = 1 \mid \text{rest}, \tilde x) = \sigma\Big(\sum_j W_{ij} x_j + b_i + e_i\Big), \qquad
# e_i = \log \frac{p(\tilde x_i \mid x_i = 1)}{p(\tilde x_i \mid x_i = 0)} :$$
#
# $e_i = 0$ for a missing pixel, $\pm\infty$ for a known one, $\pm \log\frac{1 - \varepsilon}{\varepsilon}$
# for one that was flipped with probability $\varepsilon = 0.1$. The mean of $p(x_i = 1 \mid \text{rest},
# \tilde x)$ along the chain estimates the posterior mean.
#
# **With the modern Hopfield network** it is one retrieval; missing pixels are 0 in the query. On the
# validation part, among ten values from 0.3 to 6, $\beta = 0.5$ was the best for repairing (0.060 of the pixels
# wrong), and for imputing within 0.001 of the best, 0.6; we use 0.5 for both. The formula's $\frac12 \log 9 =
# 1.10$ gives 0.068: it would be right if the clean image were one of the memories, and a new image is not. For
# the likelihood $\beta = 1.4$ was the best of ten values from 0.8 to 2.
#
# The digits are not in the memory. What comes out at $\beta = 0.5$ is a blend of memories, grey where they disagree.
#
# **Anomalies** are test images mirrored left to right; the score is the energy, or $-\log p$.


# %% restore
@tf.function(jit_compile=True)
def restore(W, b, evidence, x, steps, burn_in, key):
    """evidence e: (B, D), x: (B, D) to start from → posterior means of the pixels (B, D), by Gibbs sampling."""
    total = tf.zeros_like(x)
    for t in tf.range(steps):
        x = sweep(W, b + evidence, x, tf.stack([key, t]))
        if t >= burn_in:
            total += tf.sigmoid(x @ W + b + evidence)
    return total / tf.cast(steps - burn_in, tf.float32)


# %% use
missing = evaluation.lower_half(digits.shape)  # (D,)
known = np.where(missing, 0.0, np.where(images > 0.5, np.inf, -np.inf)).astype(np.float32)
flipped = ((2 * noisy - 1) * np.log((1 - noise) / noise)).astype(np.float32)
x = tf.constant(rng.random(images.shape) < expit(b0), tf.float32)
steps, burn_in, key = tf.constant(400), tf.constant(100), tf.constant(2)
beta_repair, beta_density = 0.5, 1.4
upper = tf.constant((2 * images - 1) * ~missing)
halves = {
    "Boltzmann": restore(W, b, tf.constant(known), x, steps, burn_in, key).numpy(),
    "Hopfield": (retrieve(upper, xi, beta_repair).numpy() + 1) / 2,
    "pixel means": np.tile(means, (len(images), 1)),
}
repaired = {
    "no repair": noisy,
    "Boltzmann": restore(W, b, tf.constant(flipped), x, steps, burn_in, key).numpy(),
    "Hopfield": (retrieve(query, xi, beta_repair).numpy() + 1) / 2,
}
imputing = {name: evaluation.pixel_errors(images, half > 0.5, missing) for name, half in halves.items()}
repairing = {name: evaluation.pixel_errors(images, whole > 0.5) for name, whole in repaired.items()}
print("missing pixels wrong:", *(f"{name} {share}," for name, share in imputing.items()))
print("of noisy images' pixels wrong:", *(f"{name} {share}," for name, share in repairing.items()))
filled = [np.where(missing, half, images) for half in (np.nan, halves["Boltzmann"], halves["Hopfield"])]
plotting.image_grid(
    np.concatenate([rows[:10] for rows in (images, *filled, *repaired.values())]),
    digits.shape,
    "Lower half taken away and filled in; a tenth of the pixels flipped and repaired: by the Boltzmann machine, and by one "
    "step of attention over all training images. Grey means unsure.",
    "Seven rows of ten digits: test images, upper halves, two rows of completed, one of noisy, two of repaired ones.",
    row_titles=["test image", "upper half", "Boltzmann", "Hopfield", "noisy", "Boltzmann", "Hopfield"],
)

# %% anomaly
mirrored = evaluation.mirror(images, digits.shape)
modern = modern_log_prob(2 * test - 1, xi, beta_density)  # exact
energies = [energy(x, W.numpy(), b.numpy()) for x in (images, mirrored)]
improbable = [-modern[: len(images)], -modern_log_prob(2 * mirrored - 1, xi, beta_density)]
anomaly = {"Boltzmann": evaluation.auroc(*energies), "Hopfield": evaluation.auroc(*improbable)}
print("area under the ROC curve:", *(f"{name} {area}," for name, area in anomaly.items()))
gain = evaluation.paired_difference(log_p["test"], modern)
print(f"test log-likelihood: Hopfield {modern.mean():.2f} nats; the Boltzmann machine is better by {gain}")

# %% [markdown] scoreboard_text
# ## 7 · The scoreboard
#
# Two rows. The Boltzmann machine's likelihood contains the AIS estimate of $\log Z$, so it is an *estimate*;
# that of the modern Hopfield network is *exact*, since its $Z$ is a formula.

# %% board
flips = np.where(rng.random((400, D)) < expit(-2 * beta_density), -1, 1)
remembered = (flips * xi[rng.integers(len(xi), size=400)] + 1) / 2  # exact samples of the mixture
board = {
    "Boltzmann": {
        "model": "Boltzmann machine without hidden units",
        "family": "Boltzmann machine",
        "kind": "estimate",
        "error": log_z.error,
        "per_image": log_p["test"],
        "train_seconds": train_seconds,
        "ms_per_sample": ms_per_sample,
        "parameters": D * (D + 1) // 2,
        "note": f"log Z by the reverse walk minus log Z by AIS: {above.value - log_z.value:+.2f} nats",
    },
    "Hopfield": {
        "model": f"Modern Hopfield network, {len(xi):,} memories",
        "family": "energy-based",
        "kind": "exact",
        "per_image": modern,
        "note": f"β = {beta_density} (likelihood, anomalies), {beta_repair} (imputing, repairing)",
    },
}
for (name, row), fake in zip(board.items(), [samples[:400], remembered]):
    row |= scoreboard.quality(fake, dataset, seed=seed)
    row |= {"imputing": imputing[name], "repairing": repairing[name], "anomaly": anomaly[name]}
    scoreboard.record(scoreboard.Row(week=2, data=dataset, value=row["per_image"].mean(), **row))
scoreboard.table(compare_with=board["Boltzmann"]["model"])

# %% [markdown] board_says
# The machine without hidden units has 2,080 parameters. It is 0.2 nats above week 3's RBM with 16 hidden units
# and 1,104 parameters, and 1.2 nats below the RBM with 128: relations of more than two pixels matter, and
# hidden units see them. Week 1's mixture is ahead as well, by almost a nat: its hidden cause sees such
# relations, too. The modern Hopfield network is another one and a half nats lower: it is each training image
# with flipped pixels, and nothing is put together from parts. The two-sample test notices its samples more
# easily, and it repairs a little worse. Yet it fills in the lower half better than the Boltzmann machine and is
# not worse at anomalies, without any training. A likelihood ranks models, not uses.

# %% [markdown] check_text
# ## Self-check
#
# Five questions; every answer explains itself.

# %% self_check
quiz.show("week02_boltzmann")

# %% [markdown] class
# **Bring to class** (no easy answers):
#
# 1. Unlearning needed the network's own dreams, and too much of it destroyed the memories. The learning rule
#    of a Boltzmann machine has the same two phases and does not destroy anything. What is different?
# 2. A sweep in fixed order violates detailed balance and still samples from $p$. Would you rather use it or a
#    random scan? How would you decide by measurement?
# 3. The modern Hopfield network stores its training images as they are. Is it a generative model? What would
#    you ask for before you call it one?
# 4. At low temperature the Ising model picks a direction although $p(s) = p(-s)$. Is a chain that stays in
#    one direction for a million sweeps wrong?

# %% [markdown] bigger
# ## Going bigger
#
# The same notebook on MNIST, binarised afresh each time an image is used: change the `parameters` cell only.
# (Maintainers: `make benchmark WEEK=week02_boltzmann`.)
#
# ```python
# dataset = "mnist"
# epochs = 5
# batch_size = 200
# chains = 100
# learning_rate = 0.1
# averaging = 0.998
# ais_temperatures = 3000
# ais_chains = 100
# memories = 50_000
# ```
#
# A sweep now visits 784 units one after the other, which no GPU makes much faster: that is the price of links
# between all pixels, and the reason for week 3's restriction. We know of no published likelihood for a machine
# without hidden units on MNIST. Measured on two CPU cores, 6 minutes for the whole notebook, 2.4 GB of memory:
#
# | model | measured |
# |---|---|
# | Boltzmann machine without hidden units | −111.60 ± 0.03 nats |
# | Modern Hopfield network, 50,000 memories | −182.3 nats |
#
# The first is by AIS; the reverse walk gives a $\log Z$ that is smaller by 0.06, each ± 0.03. It is 14 nats above
# week 1's mixture of 500 components and 26 nats below week 3's RBM with 500 hidden units. The modern Hopfield
# network completes the lower half better all the same: 9.9 % of the pixels wrong against 10.7 %. On a GPU it has
# not been measured.

# %% [markdown] summary
# ## Summary
#
# - With symmetric weights every recall step lowers the energy. Hebb's rule stores about 0.138 N random
#   patterns if a few wrong bits are allowed, about $N / (2 \ln N)$ without; inverses, mixtures and spin glass
#   states come for free.
# - Gibbs sampling redraws one unit at a time. Detailed balance makes $p$ stationary, and on a small model the
#   whole transition matrix can be checked.
# - The learning rule is data moments minus model moments: Hebbian learning of the data, unlearning of the
#   model's own states. Without hidden units there is one summit, and it sees pairs only.
# - A chain that is stuck gives wrong moments without a warning. Parallel tempering cures it; the spread of
#   independent ladders says how well, and at what cost.
# - $Z$ by enumeration where possible, by AIS with error bar and reverse walk where not.
# - Retrieval from a modern Hopfield network is softmax attention and lowers an energy; as a distribution it
#   is a mixture.
#
# ## References
#
# - D. Ackley, G. Hinton, T. Sejnowski (1985). A learning algorithm for Boltzmann machines. Cognitive Science 9.
# - D. Amit, H. Gutfreund, H. Sompolinsky (1985). Storing infinite numbers of patterns in a spin-glass model
#   of neural networks. Physical Review Letters 55.
# - M. Demircigil, J. Heusel, M. Löwe, S. Upgang, F. Vermet (2017). On a model of associative memory with huge
#   storage capacity. Journal of Statistical Physics 168.
# - C. Geyer (1991). Markov chain Monte Carlo maximum likelihood. Computing Science and Statistics: 23rd
#   Symposium on the Interface.
# - I. Goodfellow, Y. Bengio, A. Courville (2016). Deep Learning. MIT Press.
# - J. Hopfield (1982). Neural networks and physical systems with emergent collective computational abilities.
#   PNAS 79.
# - J. Hopfield, D. Feinstein, R. Palmer (1983). "Unlearning" has a stabilizing effect in collective memories.
#   Nature 304.
# - K. Hukushima, K. Nemoto (1996). Exchange Monte Carlo method and application to spin glass simulations.
#   Journal of the Physical Society of Japan 65.
# - D. Krotov, J. Hopfield (2016). Dense associative memory for pattern recognition. NIPS.
# - D. MacKay (2003). Information Theory, Inference, and Learning Algorithms. Cambridge University Press.
# - R. Neal (2001). Annealed importance sampling. Statistics and Computing 11.
# - H. Ramsauer et al. (2021). Hopfield networks is all you need. ICLR.
# - T. Tieleman (2008). Training restricted Boltzmann machines using approximations to the likelihood
#   gradient. ICML.
# - C. N. Yang (1952). The spontaneous magnetization of a two-dimensional Ising model. Physical Review 85.
# - L. Younes (1989). Parametric inference for imperfectly observed Gibbsian fields. Probability Theory and
#   Related Fields 82.
