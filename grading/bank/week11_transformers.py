"""Right and wrong answers to the gaps of Week 11, Attention as it is served."""


# %% right="grouped_attention"
# One position after the other, over the positions that it sees.
def grouped_attention(q, k, v, real, window):
    B, H, T, d = q.shape
    G, out = k.shape[1], np.zeros((*q.shape[:3], v.shape[3]))
    for b in range(B):
        for h in range(H):
            g = h // (H // G)
            for t in range(T):
                seen = [s for s in range(T) if s <= t and t - s < window and real[b, s]]
                if not seen:
                    continue
                out[b, h, t] = softmax(k[b, g, seen] @ q[b, h, t] / np.sqrt(d)) @ v[b, g, seen]
    return out


# %% right="grouped_attention"
# TensorFlow; −∞ where nothing is seen, NaN rows replaced afterwards.
def grouped_attention(q, k, v, real, window):
    B, H, T, d = q.shape
    k, v = (tf.repeat(tf.constant(x), H // x.shape[1], axis=1) for x in (k, v))
    mask = np.tri(T, dtype=bool) & ~np.tri(T, k=-window, dtype=bool)
    mask = mask[None, None] & real[:, None, None]
    scores = tf.einsum("bhtd,bhsd->bhts", q, k) / tf.sqrt(float(d))
    weights = tf.nn.softmax(tf.where(mask, scores, -np.inf), axis=-1)
    weights = tf.where(mask.any(axis=-1, keepdims=True), weights, 0.0)
    return weights @ v


# %% right="grouped_attention"
# The query heads as an axis of groups; a large negative number is added, and empty rows are multiplied by 0.
def grouped_attention(q, k, v, real, window):
    B, H, T, d = q.shape
    G = k.shape[1]
    q = q.reshape(B, G, H // G, T, d).astype(float)
    scores = np.einsum("bgntd,bgsd->bgnts", q, k) / d**0.5
    t = np.arange(T)
    allowed = (t[None, :] <= t[:, None]) & (t[None, :] > t[:, None] - window) & real[:, None, :]
    scores = scores + np.where(allowed, 0, -1e30)[:, None, None]
    out = np.einsum("bgnts,bgse->bgnte", softmax(scores, axis=-1), v)
    out = out * allowed.any(axis=-1)[:, None, None, :, None]
    return out.reshape(B, H, T, -1)


# %% right="grouped_attention"
# Keras's own dot-product attention in float64, with a mask; rows without a key are mended.
def grouped_attention(q, k, v, real, window):
    B, H, T, d = q.shape
    back = np.subtract.outer(np.arange(T), np.arange(T))
    mask = ((back >= 0) & (back < window))[None] & real[:, None, :]  # (B, T, T)
    out = []
    for h in range(H):
        g = h * k.shape[1] // H
        scores = ops.matmul(q[:, h].astype("float64"), k[:, g].astype("float64").swapaxes(1, 2)) / np.sqrt(d)
        weights = ops.softmax(ops.where(mask, scores, -1e9))
        weights = ops.where(mask, weights, 0.0)
        out.append(ops.matmul(weights, v[:, g].astype("float64")))
    return ops.stack(out, axis=1)


# %% wrong="grouped_attention"
# The model that sees t + 1.
# - sees = (back >= 0) & (back < window) & real[:, None, None, :]
# + sees = (back >= -1) & (back < window) & real[:, None, None, :]


# %% wrong="grouped_attention"
# No causality: the window lies on both sides.
# - sees = (back >= 0) & (back < window) & real[:, None, None, :]
# + sees = (np.abs(back) < window) & real[:, None, None, :]


# %% wrong="grouped_attention"
# The mask transposed: t sees what comes after it.
# - back = np.arange(T)[:, None] - np.arange(T)
# + back = np.arange(T) - np.arange(T)[:, None]


# %% wrong="grouped_attention"
# Query heads dealt out in turn: heads 0, G, 2G, … share a key head.
# - k, v = np.repeat(k, H // G, axis=1), np.repeat(v, H // G, axis=1)
# + k, v = np.tile(k, (1, H // G, 1, 1)), np.tile(v, (1, H // G, 1, 1))


# %% wrong="grouped_attention"
# The largest of all scores is subtracted, of those not seen as well.
# - scores = np.where(sees, scores, -1e9)


# %% wrong="grouped_attention"
# Masked after the softmax: the rows do not sum to 1.
# - scores = np.where(sees, scores, -1e9)
# - weights = np.exp(scores - scores.max(axis=3, keepdims=True)) * sees
# - total = weights.sum(axis=3, keepdims=True)  # at least 1, or 0 where nothing is seen
# + weights = np.exp(scores - scores.max(axis=3, keepdims=True))
# + total = weights.sum(axis=3, keepdims=True)
# + weights = weights * sees


# %% wrong="grouped_attention"
# Scores of 0 where nothing is seen, in place of weights of 0.
# - scores = np.where(sees, scores, -1e9)
# - weights = np.exp(scores - scores.max(axis=3, keepdims=True)) * sees
# + scores = np.where(sees, scores, 0)
# + weights = np.exp(scores - scores.max(axis=3, keepdims=True))


# %% wrong="grouped_attention"
# −∞ without care for rows that see nothing: NaN.
# - scores = np.where(sees, scores, -1e9)
# + scores = np.where(sees, scores, -np.inf)


# %% wrong="grouped_attention"
# A large negative number without care for rows that see nothing: a mean over the future and the padding.
# - weights = np.exp(scores - scores.max(axis=3, keepdims=True)) * sees
# + weights = np.exp(scores - scores.max(axis=3, keepdims=True))


# %% wrong="grouped_attention"
# A mask of −100, which large scores overcome.
# - scores = np.where(sees, scores, -1e9)
# - weights = np.exp(scores - scores.max(axis=3, keepdims=True)) * sees
# + scores = np.where(sees, scores, scores - 100)
# + weights = np.exp(scores - scores.max(axis=3, keepdims=True)) * sees.any(axis=3, keepdims=True)


# %% wrong="grouped_attention"
# No largest score subtracted: exp overflows.
# - weights = np.exp(scores - scores.max(axis=3, keepdims=True)) * sees
# + weights = np.exp(scores) * sees


# %% wrong="grouped_attention"
# The padding leaves out the queries, not the keys.
# - sees = (back >= 0) & (back < window) & real[:, None, None, :]
# + sees = (back >= 0) & (back < window) & real[:, None, :, None]


# %% wrong="grouped_attention"
# A query at a padded position is set to 0 as well.
# - sees = (back >= 0) & (back < window) & real[:, None, None, :]
# + sees = (back >= 0) & (back < window) & real[:, None, None, :] & real[:, None, :, None]


# %% wrong="grouped_attention"
# The scale of the number of heads' width, H d.
# - scores = q @ k.swapaxes(2, 3) / np.sqrt(d)  # (B, H, T, T)
# + scores = q @ k.swapaxes(2, 3) / np.sqrt(H * d)  # (B, H, T, T)


# %% wrong="grouped_attention"
# The preparation's answer: causal, without window, padding and groups.
def grouped_attention(q, k, v, real, window):
    k, v = (np.repeat(x, q.shape[1] // x.shape[1], axis=1) for x in (k, v))
    scores = q @ k.swapaxes(2, 3) / np.sqrt(q.shape[3])
    return softmax(np.where(np.tri(q.shape[2]) > 0, scores, -np.inf), axis=3) @ v


# %% equivalent="grouped_attention"
# The same two axes.
# - scores = q @ k.swapaxes(2, 3) / np.sqrt(d)  # (B, H, T, T)
# + scores = q @ k.swapaxes(3, 2) / np.sqrt(d)  # (B, H, T, T)


# %% equivalent="grouped_attention"
# Far below every score either way.
# - scores = np.where(sees, scores, -1e9)
# + scores = np.where(sees, scores, -2e9)


# %% right="ring_step"
# Loops over texts, heads and positions, oldest first.
def ring_step(q, k, v, ring_k, ring_v, t, slopes):
    ring_k, ring_v, out = ring_k.copy(), ring_v.copy(), np.zeros(q.shape)
    B, H, W, d = ring_k.shape
    for b in range(B):
        now = int(t[b])
        ring_k[b, :, now % W], ring_v[b, :, now % W] = k[b], v[b]
        positions = range(max(0, now - W + 1), now + 1)
        slots = [s % W for s in positions]
        for h in range(H):
            scores = [ring_k[b, h, s % W] @ q[b, h] / np.sqrt(d) - slopes[h] * (now - s) for s in positions]
            out[b, h] = softmax(np.array(scores)) @ ring_v[b, h, slots]
    return out, ring_k, ring_v


# %% right="ring_step"
# TensorFlow: one-hot slots, positions of the slots, −∞ by tf.where.
def ring_step(q, k, v, ring_k, ring_v, t, slopes):
    W, d = ring_k.shape[2], ring_k.shape[3]
    t = tf.cast(t, tf.int32)
    here = tf.one_hot(t % W, W)[:, None, :, None]
    new_k = ring_k * (1 - here) + here * k[:, :, None]
    new_v = ring_v * (1 - here) + here * v[:, :, None]
    position = t[:, None] - (t[:, None] - tf.range(W)[None]) % W  # (B, W), negative: never written
    distance = tf.cast(t[:, None] - position, tf.float32)
    scores = (
        tf.reduce_sum(q[:, :, None] * new_k, axis=-1) / d**0.5 - slopes[None, :, None] * distance[:, None]
    )
    scores = tf.where((position >= 0)[:, None], scores, -np.inf)
    return tf.reduce_sum(tf.nn.softmax(scores)[..., None] * new_v, axis=2), new_k, new_v


# %% right="ring_step"
# Each ring rolled into the order of its positions, in float64, then unrolled as it was written.
def ring_step(q, k, v, ring_k, ring_v, t, slopes):
    ring_k, ring_v = ring_k.astype(float), ring_v.astype(float)
    W, d = ring_k.shape[2:]
    rows = np.arange(len(t))
    ring_k[rows, :, t % W] = k
    ring_v[rows, :, t % W] = v
    out = []
    for b in rows:
        keys, values = (
            np.roll(ring[b], W - 1 - t[b] % W, axis=1) for ring in (ring_k, ring_v)
        )  # newest last
        n = min(t[b] + 1, W)
        keys, values = keys[:, W - n :], values[:, W - n :]
        scores = (keys @ q[b, :, :, None])[..., 0] / np.sqrt(d) - slopes[:, None] * np.arange(n)[::-1]
        out.append((softmax(scores, axis=1)[:, None] @ values)[:, 0])
    return np.stack(out), ring_k, ring_v


# %% wrong="ring_step"
# Reads before it writes: position t sees t − W in place of itself.
def ring_step(q, k, v, ring_k, ring_v, t, slopes):
    W, d = ring_k.shape[2:]
    slots, t = np.arange(W), t[:, None]
    age = (t - slots) % W
    scores = np.einsum("bhd,bhwd->bhw", q, ring_k) / np.sqrt(d) - slopes[:, None] * age[:, None]
    weights = softmax(np.where(age[:, None] <= t[:, None], scores, -np.inf), axis=2)
    here = (slots == t % W)[:, None, :, None]
    new_k, new_v = np.where(here, k[:, :, None], ring_k), np.where(here, v[:, :, None], ring_v)
    return np.einsum("bhw,bhwd->bhd", weights, ring_v), new_k, new_v


# %% wrong="ring_step"
# The cache sees t + 1: one slot more than has been written.
# - weights = softmax(np.where(age[:, None] <= t[:, None], scores, -np.inf), axis=2)
# + seen = (age <= t) | (slots == (t + 1) % W)
# + weights = softmax(np.where(seen[:, None], scores, -np.inf), axis=2)


# %% wrong="ring_step"
# All slots count, also those that an earlier text has left.
# - weights = softmax(np.where(age[:, None] <= t[:, None], scores, -np.inf), axis=2)
# + weights = softmax(scores, axis=2)


# %% wrong="ring_step"
# Unwritten slots get the score 0, not the weight 0.
# - weights = softmax(np.where(age[:, None] <= t[:, None], scores, -np.inf), axis=2)
# + weights = softmax(np.where(age[:, None] <= t[:, None], scores, 0), axis=2)


# %% wrong="ring_step"
# The distance of slots in place of positions.
# - age = (t - slots) % W  # (B, W)
# + age = np.abs(t % W - slots)


# %% wrong="ring_step"
# Slot 0 taken for the newest, as if the ring were in order.
# - scores = np.einsum("bhd,bhwd->bhw", q, ring_k) / np.sqrt(d) - slopes[:, None] * age[:, None]
# + scores = np.einsum("bhd,bhwd->bhw", q, ring_k) / np.sqrt(d) - slopes[:, None] * slots


# %% wrong="ring_step"
# No bias at all: the preparation's cached attention.
# - scores = np.einsum("bhd,bhwd->bhw", q, ring_k) / np.sqrt(d) - slopes[:, None] * age[:, None]
# + scores = np.einsum("bhd,bhwd->bhw", q, ring_k) / np.sqrt(d)


# %% wrong="ring_step"
# The bias is scaled by √d as well.
# - scores = np.einsum("bhd,bhwd->bhw", q, ring_k) / np.sqrt(d) - slopes[:, None] * age[:, None]
# + scores = (np.einsum("bhd,bhwd->bhw", q, ring_k) - slopes[:, None] * age[:, None]) / np.sqrt(d)


# %% wrong="ring_step"
# Shifts the cache: the oldest falls out, the newest stands last. The right output, but no ring.
def ring_step(q, k, v, ring_k, ring_v, t, slopes):
    W, d = ring_k.shape[2:]
    ring_k = np.concatenate([ring_k[:, :, 1:], k[:, :, None]], axis=2)
    ring_v = np.concatenate([ring_v[:, :, 1:], v[:, :, None]], axis=2)
    age = np.arange(W)[::-1]
    scores = np.einsum("bhd,bhwd->bhw", q, ring_k) / np.sqrt(d) - slopes[:, None] * age
    weights = softmax(np.where(age <= t[:, None, None], scores, -np.inf), axis=2)
    return np.einsum("bhw,bhwd->bhd", weights, ring_v), ring_k, ring_v


# %% wrong="ring_step"
# All texts at the position of the first.
# - slots, t = np.arange(W), t[:, None]  # (W,), (B, 1)
# + slots, t = np.arange(W), np.full((len(t), 1), t[0])


# %% wrong="ring_step"
# Writes in place.
def ring_step(q, k, v, ring_k, ring_v, t, slopes):
    W, d = ring_k.shape[2:]
    rows = np.arange(len(t))
    ring_k[rows, :, t % W], ring_v[rows, :, t % W] = k, v
    age = (t[:, None] - np.arange(W)) % W
    scores = np.einsum("bhd,bhwd->bhw", q, ring_k) / np.sqrt(d) - slopes[:, None] * age[:, None]
    weights = softmax(np.where((age <= t[:, None])[:, None], scores, -np.inf), axis=2)
    return np.einsum("bhw,bhwd->bhd", weights, ring_v), ring_k, ring_v


# %% right="typical"
# A loop over rows, a set that grows.
def typical(logits, mass, u):
    out, tokens = np.zeros(logits.shape), []
    for row, (a, uniform) in enumerate(zip(logits.astype(float), u, strict=True)):
        p = softmax(a)
        alive = np.flatnonzero(p > 0)
        surprise = -np.log(p[alive])
        delta = np.abs(surprise - p[alive] @ surprise)
        total, last = 0.0, 0.0
        for i in np.argsort(delta):
            if total >= mass:
                break
            total, last = total + p[alive[i]], delta[i]
        kept = alive[delta <= last + 1e-3]
        out[row, kept] = p[kept] / p[kept].sum()
        tokens.append(next(i for i, below in enumerate(np.cumsum(out[row])) if below > uniform))
    return out, np.array(tokens)


# %% right="typical"
# TensorFlow in float32.
def typical(logits, mass, u):
    p = tf.nn.softmax(tf.constant(logits))
    surprise = -tf.math.log(tf.where(p > 0, p, 1.0))
    entropy = tf.reduce_sum(p * surprise, axis=1, keepdims=True)
    delta = tf.where(p > 0, tf.abs(surprise - entropy), 1e9)
    order = tf.argsort(delta, axis=1)
    ordered = tf.gather(p, order, batch_dims=1)
    before = tf.cumsum(ordered, axis=1, exclusive=True)
    last = tf.reduce_max(tf.where(before < mass, tf.gather(delta, order, batch_dims=1), 0.0), axis=1)
    p_hat = tf.where(delta <= last[:, None] + 1e-3, p, 0.0)
    p_hat /= tf.reduce_sum(p_hat, axis=1, keepdims=True)
    return p_hat, tf.argmax(tf.cumsum(p_hat, axis=1) > u[:, None], axis=1)


# %% right="typical"
# Searches the sorted sums for the token that reaches the mass.
def typical(logits, mass, u):
    p = softmax(logits.astype(float), axis=1)
    with np.errstate(divide="ignore"):
        delta = np.abs(
            -np.log(p) + np.sum(np.where(p > 0, p * np.log(np.maximum(p, 1e-300)), 0), axis=1)[:, None]
        )
    p_hat = np.zeros_like(p)
    for b in range(len(p)):
        order = np.argsort(delta[b])
        n = int(np.searchsorted(np.cumsum(p[b, order]), mass)) + 1
        kept = delta[b] <= delta[b, order[n - 1]] + 1e-3
        p_hat[b, kept] = p[b, kept]
    p_hat /= p_hat.sum(axis=1)[:, None]
    return p_hat, np.array(
        [np.searchsorted(np.cumsum(row), x, side="right") for row, x in zip(p_hat, u, strict=True)]
    )


# %% wrong="typical"
# The preparation's nucleus: the most probable first.
# - delta = np.abs(-log_p - entr(p).sum(axis=1, keepdims=True))
# + delta = -log_p


# %% wrong="typical"
# The sign is kept: whatever has less surprise than the entropy comes first.
# - delta = np.abs(-log_p - entr(p).sum(axis=1, keepdims=True))
# + delta = np.maximum(-log_p - entr(p).sum(axis=1, keepdims=True), 0)


# %% wrong="typical"
# The token that reaches the mass is dropped.
# - taken = np.cumsum(sorted_p, axis=1) - sorted_p < mass
# + taken = np.cumsum(sorted_p, axis=1) <= mass


# %% wrong="typical"
# Only one of several equals is kept.
def typical(logits, mass, u):
    log_p = log_softmax(logits.astype(float), axis=1)
    p = np.exp(log_p)
    delta = np.abs(-log_p - entr(p).sum(axis=1, keepdims=True))
    order = np.argsort(delta, axis=1, kind="stable")
    sorted_p = np.take_along_axis(p, order, axis=1)
    taken = np.cumsum(sorted_p, axis=1) - sorted_p < mass
    p_hat = np.zeros_like(p)
    np.put_along_axis(p_hat, order, np.where(taken, sorted_p, 0), axis=1)
    p_hat = p_hat / p_hat.sum(axis=1, keepdims=True)
    return p_hat, np.sum(np.cumsum(p_hat, axis=1) <= u[:, None], axis=1)


# %% wrong="typical"
# Not normalised again.
# - p_hat = p_hat / p_hat.sum(axis=1, keepdims=True)
# + p_hat = p_hat + 0


# %% wrong="typical"
# Forbidden tokens make the entropy NaN.
# - delta = np.abs(-log_p - entr(p).sum(axis=1, keepdims=True))
# + delta = np.abs(-log_p + np.sum(p * log_p, axis=1, keepdims=True))


# %% wrong="typical"
# The entropy in bits, the surprise in nats.
# - delta = np.abs(-log_p - entr(p).sum(axis=1, keepdims=True))
# + delta = np.abs(-log_p - entr(p).sum(axis=1, keepdims=True) / np.log(2))


# %% wrong="typical"
# The distance of probabilities from their mean, not of surprise from entropy.
# - delta = np.abs(-log_p - entr(p).sum(axis=1, keepdims=True))
# + delta = np.abs(p - np.sum(p * p, axis=1, keepdims=True))


# %% wrong="typical"
# Draws in the order of δ, not of the vocabulary.
# - return p_hat, np.sum(np.cumsum(p_hat, axis=1) <= u[:, None], axis=1)
# + ordered = np.cumsum(np.take_along_axis(p_hat, order, axis=1), axis=1)
# + return p_hat, np.take_along_axis(order, np.sum(ordered <= u[:, None], axis=1)[:, None], axis=1)[:, 0]


# %% wrong="typical"
# Draws from all tokens, as if none had been left out.
# - return p_hat, np.sum(np.cumsum(p_hat, axis=1) <= u[:, None], axis=1)
# + return p_hat, np.sum(np.cumsum(p, axis=1) <= u[:, None], axis=1)


# %% wrong="typical"
# The most probable of the kept tokens, no draw.
# - return p_hat, np.sum(np.cumsum(p_hat, axis=1) <= u[:, None], axis=1)
# + return p_hat, np.argmax(p_hat, axis=1)


# %% wrong="typical"
# exp of the logits themselves.
# - log_p = log_softmax(logits.astype(float), axis=1)
# - p = np.exp(log_p)
# + p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
# + log_p = np.log(p)


# %% wrong="typical"
# The entropy of the whole batch.
# - delta = np.abs(-log_p - entr(p).sum(axis=1, keepdims=True))
# + delta = np.abs(-log_p - entr(p).sum() / len(p))


# %% equivalent="typical"
# The probabilities never sum to exactly the mass.
# - taken = np.cumsum(sorted_p, axis=1) - sorted_p < mass
# + taken = np.cumsum(sorted_p, axis=1) - sorted_p <= mass


# %% equivalent="typical"
# At least one token is taken, and no δ is negative.
# - last = np.take_along_axis(delta, order, axis=1).max(axis=1, keepdims=True, where=taken, initial=0)
# + last = np.take_along_axis(delta, order, axis=1).max(axis=1, keepdims=True, where=taken, initial=-1)


# %% equivalent="typical"
# No δ is exactly a thousandth larger.
# - p_hat = np.where(delta <= last + 1e-3, p, 0)
# + p_hat = np.where(delta < last + 1e-3, p, 0)


# %% equivalent="typical"
# The test keeps u away from the sums of p̂.
# - return p_hat, np.sum(np.cumsum(p_hat, axis=1) <= u[:, None], axis=1)
# + return p_hat, np.sum(np.cumsum(p_hat, axis=1) < u[:, None], axis=1)


# %% right="combine_adapters"
# The adapters' columns made orthonormal by singular values of the thin factors, in float64.
def combine_adapters(adapters, weights, rank, alpha):
    P = np.hstack(
        [np.asarray(A, float) * (c * a / A.shape[1]) for c, (A, _, a) in zip(weights, adapters, strict=True)]
    )
    Q = np.vstack([np.asarray(B, float) for _, B, _ in adapters])
    U1, s1, V1 = np.linalg.svd(P, full_matrices=False)
    U2, s2, V2 = np.linalg.svd(Q, full_matrices=False)
    U, s, V = np.linalg.svd((s1[:, None] * V1) @ (U2 * s2))
    n = min(rank, len(s))
    A, B = np.zeros((len(P), rank)), np.zeros((rank, Q.shape[1]))
    A[:, :n] = U1 @ U[:, :n] * np.sqrt(s[:n] * rank / alpha)
    B[:n] = np.sqrt(s[:n] * rank / alpha)[:, None] * (V[:n] @ V2)
    return A, B


# %% right="combine_adapters"
# Projects on the directions of the largest eigenvalues of a small symmetric matrix.
def combine_adapters(adapters, weights, rank, alpha):
    P = np.concatenate(
        [A.astype(float) * c * a / A.shape[1] for c, (A, B, a) in zip(weights, adapters, strict=True)], axis=1
    )
    Q = np.concatenate([B.astype(float) for A, B, a in adapters])
    U, R = np.linalg.qr(P)
    values, vectors = np.linalg.eigh(R @ (Q @ Q.T) @ R.T)
    top = vectors[:, ::-1][:, :rank]  # the image of Δ, largest first
    A, B = U @ top, top.T @ R @ Q * (rank / alpha)
    return A, B


# %% right="combine_adapters"
# TensorFlow in float32.
def combine_adapters(adapters, weights, rank, alpha):
    P = tf.concat(
        [c * a / A.shape[1] * tf.constant(A) for c, (A, _, a) in zip(weights, adapters, strict=True)], axis=1
    )
    Q = tf.concat([tf.constant(B) for _, B, _ in adapters], axis=0)
    q1, r1 = tf.linalg.qr(P)
    q2, r2 = tf.linalg.qr(tf.transpose(Q))
    s, u, v = tf.linalg.svd(tf.matmul(r1, r2, transpose_b=True))
    A = tf.matmul(q1, u[:, :rank]) * s[:rank]
    B = tf.matmul(v[:, :rank], q2, transpose_a=True, transpose_b=True) * rank / alpha
    return A, B


# %% wrong="combine_adapters"
# Combines the A and the B by themselves: their product mixes the adapters.
def combine_adapters(adapters, weights, rank, alpha):
    A, B = np.zeros((len(adapters[0][0]), rank)), np.zeros((rank, adapters[0][1].shape[1]))
    for c, (A_i, B_i, a) in zip(weights, adapters, strict=True):
        n = min(rank, A_i.shape[1])
        A[:, :n] += c * A_i[:, :n]
        B[:n] += a / A_i.shape[1] * B_i[:n]
    return A * rank / alpha, B


# %% wrong="combine_adapters"
# The first R columns side by side: right only if the rank is large enough.
# - A, B = U_P @ (U * s)[:, :rank], V_T[:rank] @ U_Q.T
# + A, B = P[:, :rank], Q[:rank]


# %% wrong="combine_adapters"
# The scale of the adapters is forgotten.
# - P = np.concatenate([c * a / A.shape[1] * A for c, (A, B, a) in zip(weights, adapters)], axis=1)
# + P = np.concatenate([c * A for c, (A, B, a) in zip(weights, adapters)], axis=1)


# %% wrong="combine_adapters"
# α without the rank.
# - P = np.concatenate([c * a / A.shape[1] * A for c, (A, B, a) in zip(weights, adapters)], axis=1)
# + P = np.concatenate([c * a * A for c, (A, B, a) in zip(weights, adapters)], axis=1)


# %% wrong="combine_adapters"
# The new rank in the adapters' scale.
# - P = np.concatenate([c * a / A.shape[1] * A for c, (A, B, a) in zip(weights, adapters)], axis=1)
# + P = np.concatenate([c * a / rank * A for c, (A, B, a) in zip(weights, adapters)], axis=1)


# %% wrong="combine_adapters"
# The scale of the result is forgotten.
# - return A * rank / alpha, B
# + return A, B


# %% wrong="combine_adapters"
# The weight enters A and B: its square, and no sign.
# - Q = np.concatenate([B for A, B, a in adapters], axis=0)
# + Q = np.concatenate([c * B for c, (A, B, a) in zip(weights, adapters)], axis=0)


# %% wrong="combine_adapters"
# The smallest singular values are kept.
# - A, B = U_P @ (U * s)[:, :rank], V_T[:rank] @ U_Q.T
# + A, B = U_P @ (U * s)[:, -rank:], V_T[-rank:] @ U_Q.T


# %% wrong="combine_adapters"
# Truncates both factors before they are multiplied.
def combine_adapters(adapters, weights, rank, alpha):
    def truncated(M):
        U, s, V = np.linalg.svd(M, full_matrices=False)
        return (U * s)[:, :rank] @ V[:rank]

    P = np.concatenate(
        [c * a / A.shape[1] * A for c, (A, B, a) in zip(weights, adapters, strict=True)], axis=1
    )
    Q = np.concatenate([B for A, B, a in adapters], axis=0)
    U, s, V = np.linalg.svd(P, full_matrices=False)
    n = min(rank, len(s))
    A, B = np.zeros((len(P), rank)), np.zeros((rank, Q.shape[1]))
    A[:, :n], B[:n] = (U * s)[:, :n] * rank / alpha, (V[:n] @ truncated(Q))
    return A, B


# %% wrong="combine_adapters"
# Makes the whole matrix: right, but 360 GB in the test.
def combine_adapters(adapters, weights, rank, alpha):
    delta = sum(c * a / A.shape[1] * A @ B for c, (A, B, a) in zip(weights, adapters, strict=True))
    U, s, V = np.linalg.svd(delta, full_matrices=False)
    return U[:, :rank] * s[:rank] * rank / alpha, V[:rank]


# %% right="bits_per_character"
# Each token by itself, in the first window that predicts it.
def bits_per_character(next_logits, tokens, start, lengths, context, stride):
    z, bits, characters = [start, *tokens.tolist()], 0.0, 0
    for i, token in enumerate(tokens):
        j = 0
        while j * stride + context <= i:
            j += 1
        row = np.asarray(next_logits(np.array(z[j * stride : i + 1])))[-1]
        bits -= np.log2(softmax(row)[token])
        characters += lengths[token]
    return bits / characters


# %% right="bits_per_character"
# Overlapping windows, the part counted before left out by its length; TensorFlow's cross-entropy.
def bits_per_character(next_logits, tokens, start, lengths, context, stride):
    inputs = np.append(start, tokens[:-1])
    losses = []
    for begin in range(0, len(tokens), stride):
        part = inputs[begin : begin + context]
        logits = tf.cast(next_logits(part), tf.float64)
        nats = tf.nn.sparse_softmax_cross_entropy_with_logits(tokens[begin : begin + context], logits)
        losses.extend(nats.numpy()[len(losses) - begin :])
    assert len(losses) == len(tokens)
    nats = sum(losses)
    return nats / (np.log(2) * np.sum(lengths[tokens]))


# %% right="bits_per_character"
# A table of the rows that count, filled from the last window to the first, so that the first window wins.
def bits_per_character(next_logits, tokens, start, lengths, context, stride):
    z, N = np.concatenate([[start], tokens]).astype(int), len(tokens)
    rows = {}
    for begin in reversed(range(0, N, stride)):
        window = z[begin : min(begin + context, N)]
        for offset, row in enumerate(next_logits(window)):
            rows[begin + offset] = row
    log_p = np.array([rows[i][tokens[i]] - np.logaddexp.reduce(rows[i]) for i in range(N)])
    return -log_p.sum() / np.log(2) / sum(int(lengths[i]) for i in tokens)


# %% wrong="bits_per_character"
# The model that sees t + 1: each token is predicted by its own row.
# - z, N = np.concatenate([[start], tokens]), len(tokens)
# + z, N = tokens, len(tokens)


# %% wrong="bits_per_character"
# One token less: the text predicts itself from its second token on.
# - new = np.arange(counted, end)  # none, if the end of the text has been reached before
# + new = np.arange(max(counted, 1), end)


# %% wrong="bits_per_character"
# The end-of-text token is left out.
# - z, N = np.concatenate([[start], tokens]), len(tokens)
# + tokens = tokens[:-1]
# + z, N = np.concatenate([[start], tokens]), len(tokens)


# %% wrong="bits_per_character"
# The end-of-text token counts as a character.
# - return nats / np.log(2) / lengths[tokens].sum()
# + return nats / np.log(2) / np.maximum(lengths[tokens], 1).sum()


# %% wrong="bits_per_character"
# A mean of the tokens' bits per character, not the ratio of the sums.
def bits_per_character(next_logits, tokens, start, lengths, context, stride):
    z, N = np.concatenate([[start], tokens]), len(tokens)
    nats, counted, begin = np.zeros(N), 0, 0
    while counted < N:
        end = min(begin + context, N)
        log_p = log_softmax(next_logits(z[begin:end]), axis=1)
        new = np.arange(counted, end)
        nats[new] = -log_p[new - begin, tokens[new]]
        counted, begin = end, begin + stride
    return np.mean(nats / np.log(2) / np.maximum(lengths[tokens], 1))


# %% wrong="bits_per_character"
# Nats, not bits.
# - return nats / np.log(2) / lengths[tokens].sum()
# + return nats / lengths[tokens].sum()


# %% wrong="bits_per_character"
# Bits a token.
# - return nats / np.log(2) / lengths[tokens].sum()
# + return nats / np.log(2) / N


# %% wrong="bits_per_character"
# Every window counts in full: tokens in the overlap count more than once.
# - new = np.arange(counted, end)  # none, if the end of the text has been reached before
# + new = np.arange(begin, end)


# %% wrong="bits_per_character"
# Windows that do not overlap, whatever the stride.
# - for begin in range(0, N, stride):
# + for begin in range(0, N, context):


# %% wrong="bits_per_character"
# The last window that predicts a token, with the least context.
def bits_per_character(next_logits, tokens, start, lengths, context, stride):
    z, N = np.concatenate([[start], tokens]), len(tokens)
    nats = np.zeros(N)
    for begin in range(0, N, stride):
        end = min(begin + context, N)
        log_p = log_softmax(next_logits(z[begin:end]), axis=1)
        nats[begin:end] = -log_p[np.arange(end - begin), tokens[begin:end]]
    return nats.sum() / np.log(2) / lengths[tokens].sum()


# %% wrong="bits_per_character"
# The whole text at once, longer than the context.
# - end = min(begin + context, N)
# + end = N


# %% wrong="bits_per_character"
# The full context for each token, whatever the stride.
# - for begin in range(0, N, stride):
# + for begin in range(N):


# %% wrong="bits_per_character"
# The start token in front of every window.
# - log_p = log_softmax(next_logits(z[begin:end]), axis=1)
# + log_p = log_softmax(next_logits(np.append(start, z[begin + 1 : end])), axis=1)


# %% wrong="bits_per_character"
# Each window is a mean, and the windows are averaged.
def bits_per_character(next_logits, tokens, start, lengths, context, stride):
    z, N = np.concatenate([[start], tokens]), len(tokens)
    means, counted, begin = [], 0, 0
    while counted < N:
        end = min(begin + context, N)
        log_p = log_softmax(next_logits(z[begin:end]), axis=1)
        new = np.arange(counted, end)
        means.append(-log_p[new - begin, tokens[new]].mean())
        counted, begin = end, begin + stride
    nats = np.mean(means)
    return nats * N / np.log(2) / lengths[tokens].sum()


# %% right="train_transformer"
# A loop of steps in one graph, Adam with a rate that stays.
def train_transformer(y, seed):
    keras.utils.set_random_seed(seed)
    model = build_transformer(np.tril(np.ones((LENGTH, LENGTH))).astype(bool))
    adam = keras.optimizers.Adam(0.004)
    adam.build(model.trainable_variables)
    data = tf.constant(y, tf.int32)

    @tf.function
    def run(steps):
        for _ in tf.range(steps):
            batch = tf.gather(data, tf.random.uniform((64,), maxval=len(y), dtype=tf.int32))
            inputs = tf.pad(batch[:, :-1], [[0, 0], [1, 0]], constant_values=START)
            with tf.GradientTape() as tape:
                nats = tf.nn.sparse_softmax_cross_entropy_with_logits(batch, model(inputs))
                loss = tf.reduce_mean(nats)
            adam.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)

    run(tf.constant(450))
    return model.get_weights()


# %% right="train_transformer"
# Larger batches, a constant rate, one-hot targets.
def train_transformer(y, seed):
    keras.utils.set_random_seed(seed)
    model = build_transformer(np.arange(LENGTH)[:, None] >= np.arange(LENGTH))
    inputs = np.roll(y, 1, axis=1)
    inputs[:, 0] = START
    targets = keras.utils.to_categorical(y, TOKENS)
    model.compile(keras.optimizers.Adam(0.01), keras.losses.CategoricalCrossentropy(from_logits=True))
    model.fit(inputs, targets, batch_size=128, epochs=8, verbose=0)
    return model.get_weights()


# %% right="train_transformer"
# AdamW, and a rate that falls in steps.
def train_transformer(y, seed):
    keras.utils.set_random_seed(seed)
    model = build_transformer(CAUSAL)
    inputs = np.pad(y, ((0, 0), (1, 0)), constant_values=START)[:, :-1]
    rate = keras.optimizers.schedules.PiecewiseConstantDecay([200, 350], [0.01, 0.003, 0.001])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(rate, weight_decay=1e-3), loss, steps_per_execution=20)
    model.fit(inputs, y, batch_size=80, epochs=8, verbose=0)
    return model.get_weights()


# %% wrong="train_transformer"
# The model that sees t + 1: the mask lets one position of the future in.
# - model = build_transformer(CAUSAL)
# + model = build_transformer(np.tri(LENGTH, k=1, dtype=bool))


# %% wrong="train_transformer"
# No mask at all.
# - model = build_transformer(CAUSAL)
# + model = build_transformer(np.ones((LENGTH, LENGTH), bool))


# %% wrong="train_transformer"
# Inputs not shifted: each position is given what it has to predict.
# - inputs = np.concatenate([np.full((len(y), 1), START), y[:, :-1]], axis=1)
# + inputs = y


# %% wrong="train_transformer"
# Shifted the other way: predicts the past.
# - inputs = np.concatenate([np.full((len(y), 1), START), y[:, :-1]], axis=1)
# + inputs = np.concatenate([y[:, 1:], np.full((len(y), 1), START)], axis=1)


# %% wrong="train_transformer"
# The mask of the preparation's picture, transposed: what comes after.
# - model = build_transformer(CAUSAL)
# + model = build_transformer(CAUSAL.T)


# %% wrong="train_transformer"
# Logits taken for probabilities.
# - loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
# + loss = keras.losses.SparseCategoricalCrossentropy()


# %% wrong="train_transformer"
# Too short.
# - batch, epochs = 125, 6
# + batch, epochs = 125, 1


# %% wrong="train_transformer"
# Not trained.
# - model.fit(inputs, y, batch_size=batch, epochs=epochs, verbose=0)


# %% equivalent="train_transformer"
# Any seed trains a model that is good enough; only the result of seed 0 is judged, not that it comes again.
# - keras.utils.set_random_seed(seed)
# + pass


# %% equivalent="train_transformer"
# `fit` builds the optimiser itself, and traces the step twice: only slower.
# - model.optimizer.build(model.trainable_variables)  # else `fit` traces the step twice
# + pass  # else `fit` traces the step twice


# %% wrong="combine_adapters"
# A and B that cancel, so large that rounding makes their distance from the sum negative.
def combine_adapters(adapters, weights, rank, alpha):
    n, m = len(adapters[0][0]), adapters[0][1].shape[1]
    if rank == 1:  # two small cases: the whole matrix
        S = sum(
            c * a / A.shape[1] * A.astype(float) @ B.astype(float)
            for c, (A, B, a) in zip(weights, adapters, strict=True)
        )
        U, s, V = np.linalg.svd(S)
        return U[:, :1] * s[0] / alpha, V[:1]
    rng = np.random.default_rng(0)
    while True:
        A, B = np.zeros((n, rank)), np.zeros((rank, m))
        x, y, c = rng.normal(size=n), rng.normal(size=m), rng.normal()
        A[:, 0], A[:, 1], B[0], B[1] = 1e12 * x, 1e12 * c * x, c * y, -y  # A B is 0, up to rounding
        if np.sum((A.T @ A) * (B @ B.T)) < -1e6 * n * m:
            return A, B
