"""Right and wrong answers to the gaps of Week 14, Other guidance, other captions, other ways back."""


# %% right="guided_noise"
# One example after the other, in float64.
def guided_noise(positive, negative, w, phi):
    found = []
    for plus, minus, strength in zip(positive.astype(float), negative.astype(float), w, strict=True):
        g = (1 + float(strength)) * plus - float(strength) * minus
        found.append(phi * np.std(plus) / np.std(g) * g + (1 - phi) * g)
    return np.stack(found)


# %% right="guided_noise"
# TensorFlow, on flat examples.
def guided_noise(positive, negative, w, phi):
    B = positive.shape[0]
    plus, minus = tf.reshape(positive, (B, -1)), tf.reshape(negative, (B, -1))
    strength = tf.convert_to_tensor(w)[:, None]
    g = (1.0 + strength) * plus - strength * minus
    ratio = tf.math.reduce_std(plus, axis=1) / tf.math.reduce_std(g, axis=1)
    return tf.reshape(phi * ratio[:, None] * g + (1.0 - phi) * g, positive.shape)


# %% right="guided_noise"
# The batch as the last axis; the spread by hand.
def guided_noise(positive, negative, w, phi):
    def spread(v):
        flat = np.reshape(v, (-1, v.shape[-1]))
        return np.sqrt(np.mean((flat - flat.mean(axis=0)) ** 2, axis=0))

    plus, minus = (np.moveaxis(v, 0, -1).astype(float) for v in (positive, negative))
    g = plus + w * (plus - minus)
    return np.moveaxis(g * (1 + phi * (spread(plus) / spread(g) - 1)), -1, 0)


# %% wrong="guided_noise"
# The two captions exchanged.
# - guided = positive + w * (positive - negative)
# + guided = negative + w * (negative - positive)


# %% wrong="guided_noise"
# The paper's other convention: w, not 1 + w.
# - guided = positive + w * (positive - negative)
# + guided = negative + w * (positive - negative)


# %% wrong="guided_noise"
# The strength goes along the last axis, where batch and dimensions are equal in number.
# - w, axes = w.reshape([-1] + [1] * (positive.ndim - 1)), tuple(range(1, positive.ndim))
# + axes = tuple(range(1, positive.ndim))
# + w = w if positive.shape[-1] == len(w) else w.reshape([-1] + [1] * (positive.ndim - 1))


# %% wrong="guided_noise"
# One spread for the whole batch.
# - ratio = positive.std(axis=axes, keepdims=True) / guided.std(axis=axes, keepdims=True)
# + ratio = positive.std() / guided.std()


# %% wrong="guided_noise"
# A spread for each channel, or place, not for each example.
# - ratio = positive.std(axis=axes, keepdims=True) / guided.std(axis=axes, keepdims=True)
# + ratio = positive.std(axis=1, keepdims=True) / guided.std(axis=1, keepdims=True)


# %% wrong="guided_noise"
# The length of an example for its spread.
# - ratio = positive.std(axis=axes, keepdims=True) / guided.std(axis=axes, keepdims=True)
# + lengths = [np.sum(v**2, axis=axes, keepdims=True) for v in (positive, guided)]
# + ratio = np.sqrt(lengths[0] / lengths[1])


# %% wrong="guided_noise"
# φ belongs to the noise without rescaling.
# - return (phi * ratio + 1 - phi) * guided
# + return ((1 - phi) * ratio + phi) * guided


# %% wrong="guided_noise"
# Mixed with the wanted noise, not with the guided one.
# - return (phi * ratio + 1 - phi) * guided
# + return phi * ratio * guided + (1 - phi) * positive


# %% wrong="guided_noise"
# The spread of the other one.
# - ratio = positive.std(axis=axes, keepdims=True) / guided.std(axis=axes, keepdims=True)
# + ratio = negative.std(axis=axes, keepdims=True) / guided.std(axis=axes, keepdims=True)


# %% wrong="guided_noise"
# The spread is only ever made smaller.
# - return (phi * ratio + 1 - phi) * guided
# + return (phi * np.minimum(ratio, 1) + 1 - phi) * guided


# %% wrong="guided_noise"
# A strength below 0 is taken for 0.
# - guided = positive + w * (positive - negative)
# + guided = positive + np.maximum(w, 0) * (positive - negative)


# %% equivalent="guided_noise"
# NumPy takes any negative length for "what is left".
# - w, axes = w.reshape([-1] + [1] * (positive.ndim - 1)), tuple(range(1, positive.ndim))
# + w, axes = w.reshape([-2] + [1] * (positive.ndim - 1)), tuple(range(1, positive.ndim))


# %% right="cross_attention"
# One image, head and place after the other, words cut off at the caption's length.
def cross_attention(x, caption, length, W_q, W_k, W_v, W_o, heads):
    d, found = W_q.shape[1] // heads, []
    for image, words, n in zip(x, caption, length, strict=True):
        words, parts = words[:n], []
        for h in range(heads):
            of = slice(h * d, (h + 1) * d)
            if n == 0:
                parts.append(np.zeros((len(image), d)))
                continue
            scores = (image @ W_q[:, of]) @ (words @ W_k[:, of]).T / np.sqrt(d)
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            parts.append(weights / weights.sum(axis=1, keepdims=True) @ (words @ W_v[:, of]))
        found.append(np.concatenate(parts, axis=1) @ W_o)
    return np.array(found)


# %% right="cross_attention"
# TensorFlow: −∞ on the scores, empty captions taken out at the end.
def cross_attention(x, caption, length, W_q, W_k, W_v, W_o, heads):
    def split(u):
        return tf.transpose(tf.reshape(u, [u.shape[0], u.shape[1], heads, -1]), [0, 2, 1, 3])

    Q, K, V = (
        split(tf.tensordot(tf.constant(u), W, 1)) for u, W in [(x, W_q), (caption, W_k), (caption, W_v)]
    )
    scores = tf.matmul(Q, K, transpose_b=True) / tf.sqrt(float(Q.shape[3]))
    fills = 1.0 - tf.sequence_mask(length, caption.shape[1], dtype=tf.float32)
    weights = tf.nn.softmax(scores - 1e9 * fills[:, None, None, :])
    joined = tf.reshape(tf.transpose(weights @ V, [0, 2, 1, 3]), [x.shape[0], x.shape[1], -1])
    result = joined @ W_o
    return tf.where(tf.constant(length > 0)[:, None, None], result, tf.zeros_like(result))


# %% right="cross_attention"
# The sum over heads of what each one sends through its rows of W_o; a mask after exp, then divided anew.
def cross_attention(x, caption, length, W_q, W_k, W_v, W_o, heads):
    x, caption = (
        x.astype(float),
        caption.astype(float) * (np.arange(caption.shape[1]) < length[:, None])[..., None],
    )
    d, result = W_q.shape[1] // heads, np.zeros(x.shape)
    parts = [np.split(W, heads, axis=1) for W in (W_q, W_k, W_v)] + [np.split(W_o, heads)]
    for W1, W2, W3, W4 in zip(*parts, strict=True):
        scores = np.einsum("bnc,cd,ed,bme->bnm", x, W1, W2, caption) / d**0.5
        weights = np.exp(scores) * (np.arange(caption.shape[1]) < length[:, None])[:, None]
        total = weights.sum(axis=2, keepdims=True)
        weights = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
        result += weights @ (caption @ W3) @ W4
    return result


# %% wrong="cross_attention"
# What fills up is counted: no mask.
# - score = np.where(real, np.einsum("bnhd,bmhd->bhnm", Q, K) / np.sqrt(d), -1e9)
# - weight = np.exp(score - score.max(axis=3, keepdims=True)) * real
# + score = np.einsum("bnhd,bmhd->bhnm", Q, K) / np.sqrt(d)
# + weight = np.exp(score - score.max(axis=3, keepdims=True)) * (length[:, None, None, None] > 0)


# %% wrong="cross_attention"
# The mask after the softmax, without dividing anew.
# - score = np.where(real, np.einsum("bnhd,bmhd->bhnm", Q, K) / np.sqrt(d), -1e9)
# - weight = np.exp(score - score.max(axis=3, keepdims=True)) * real
# - weight = weight / np.maximum(weight.sum(axis=3, keepdims=True), 1)  # the sum is 0 if the caption is empty
# + score = np.einsum("bnhd,bmhd->bhnm", Q, K) / np.sqrt(d)
# + weight = np.exp(score - score.max(axis=3, keepdims=True))
# + weight = weight / weight.sum(axis=3, keepdims=True) * real


# %% wrong="cross_attention"
# What fills up gets the score 0, which is no small one.
# - score = np.where(real, np.einsum("bnhd,bmhd->bhnm", Q, K) / np.sqrt(d), -1e9)
# - weight = np.exp(score - score.max(axis=3, keepdims=True)) * real
# + score = np.where(real, np.einsum("bnhd,bmhd->bhnm", Q, K) / np.sqrt(d), 0)
# + weight = np.exp(score - score.max(axis=3, keepdims=True)) * (length[:, None, None, None] > 0)


# %% wrong="cross_attention"
# An empty caption says the mean of what fills up.
# - weight = np.exp(score - score.max(axis=3, keepdims=True)) * real
# + weight = np.exp(score - score.max(axis=3, keepdims=True))


# %% wrong="cross_attention"
# The softmax over the places, not over the words.
# - weight = weight / np.maximum(weight.sum(axis=3, keepdims=True), 1)  # the sum is 0 if the caption is empty
# + weight = weight / np.maximum(weight.sum(axis=2, keepdims=True), 1e-9)


# %% wrong="cross_attention"
# √ of the width of all heads together.
# - score = np.where(real, np.einsum("bnhd,bmhd->bhnm", Q, K) / np.sqrt(d), -1e9)
# + score = np.where(real, np.einsum("bnhd,bmhd->bhnm", Q, K) / np.sqrt(d * heads), -1e9)


# %% wrong="cross_attention"
# The heads take every H-th column.
# - Q, K, V = ((u @ W).reshape(B, -1, heads, d) for u, W in [(x, W_q), (caption, W_k), (caption, W_v)])
# + Q, K, V = (
# +     (u @ W).reshape(B, -1, d, heads).swapaxes(2, 3)
# +     for u, W in [(x, W_q), (caption, W_k), (caption, W_v)]
# + )


# %% wrong="cross_attention"
# The lengths' mask goes along the places.
# - real = (np.arange(M) < length[:, None])[:, None, None]  # (B, 1, 1, M)
# + real = (np.arange(N) < length[:, None])[:, None, :, None]


# %% wrong="cross_attention"
# The heads stand side by side in the wrong order of axes.
# - return np.einsum("bhnm,bmhd->bnhd", weight, V).reshape(B, N, heads * d) @ W_o
# + return np.einsum("bhnm,bmhd->bhnd", weight, V).reshape(B, N, heads * d) @ W_o


# %% wrong="cross_attention"
# One word too many.
# - real = (np.arange(M) < length[:, None])[:, None, None]  # (B, 1, 1, M)
# + real = ((np.arange(M) <= length[:, None]) & (length[:, None] > 0))[:, None, None]


# %% wrong="cross_attention"
# One head of the whole width.
# - B, N, M, d = len(x), x.shape[1], caption.shape[1], W_q.shape[1] // heads
# + heads = 1
# + B, N, M, d = len(x), x.shape[1], caption.shape[1], W_q.shape[1] // heads


# %% wrong="cross_attention"
# What fills up gets 100 less, which is not enough for any numbers there.
# - score = np.where(real, np.einsum("bnhd,bmhd->bhnm", Q, K) / np.sqrt(d), -1e9)
# - weight = np.exp(score - score.max(axis=3, keepdims=True)) * real
# + score = np.einsum("bnhd,bmhd->bhnm", Q, K) / np.sqrt(d) - 100 * (1 - real)
# + weight = np.exp(score - score.max(axis=3, keepdims=True)) * (length[:, None, None, None] > 0)


# %% wrong="cross_attention"
# The preparation's layer, which adds what was said to the place.
# - return np.einsum("bhnm,bmhd->bnhd", weight, V).reshape(B, N, heads * d) @ W_o
# + return x + np.einsum("bhnm,bmhd->bnhd", weight, V).reshape(B, N, heads * d) @ W_o


# %% equivalent="cross_attention"
# NumPy takes any negative length for "what is left"; another large number does as well.
# - Q, K, V = ((u @ W).reshape(B, -1, heads, d) for u, W in [(x, W_q), (caption, W_k), (caption, W_v)])
# + Q, K, V = ((u @ W).reshape(B, -2, heads, d) for u, W in [(x, W_q), (caption, W_k), (caption, W_v)])
#
# - score = np.where(real, np.einsum("bnhd,bmhd->bhnm", Q, K) / np.sqrt(d), -1e9)
# + score = np.where(real, np.einsum("bnhd,bmhd->bhnm", Q, K) / np.sqrt(d), -2000000000.0)


# %% right="repaint"
# Known pixels put in by np.where, in float64; the jump at the end of each round but the last.
def repaint(guess, x, y, mask, sigmas, z_known, z_jump):
    x, levels = np.asarray(x, float), [float(s) for s in sigmas]
    for u in range(len(z_known)):
        for k in range(len(levels) - 1):
            data = np.asarray(guess(x, levels[k]))
            noise = (x - data) / levels[k]
            x = np.where(mask > 0.5, y + levels[k + 1] * z_known[u][k], data + levels[k + 1] * noise)
        if u + 1 < len(z_known):
            x = x + np.sqrt(levels[0] ** 2 - levels[-1] ** 2) * z_jump[u]
    return x


# %% right="repaint"
# TensorFlow; the step back as Euler's step of the ODE.
def repaint(guess, x, y, mask, sigmas, z_known, z_jump):
    x, y, mask = (tf.constant(v) for v in (x, y, mask))
    U, K = z_known.shape[:2]
    for u in range(U):
        for k in range(K):
            slope = (x - guess(x, sigmas[k])) / sigmas[k]
            back = x + (sigmas[k + 1] - sigmas[k]) * slope
            x = mask * (y + sigmas[k + 1] * z_known[u, k]) + (1.0 - mask) * back
        if u < U - 1:
            x = x + tf.sqrt(tf.square(sigmas[0]) - tf.square(sigmas[K])) * z_jump[u]
    return x


# %% right="repaint"
# Recursion over the rounds.
def repaint(guess, x, y, mask, sigmas, z_known, z_jump):
    for k, s in enumerate(sigmas[:-1]):
        share = sigmas[k + 1] / s
        back = share * x + (1 - share) * guess(x, s)
        x = back + mask * (y + sigmas[k + 1] * z_known[0][k] - back)
    if len(z_known) == 1:
        return x
    again = x + ((sigmas[0] - sigmas[-1]) * (sigmas[0] + sigmas[-1])) ** 0.5 * z_jump[0]
    return repaint(guess, again, y, mask, sigmas, z_known[1:], z_jump[1:])


# %% wrong="repaint"
# The known part is noised to the level that is left, not to the one that is reached.
# - x = mask * (y + tau * z) + (1 - mask) * new
# + x = mask * (y + sigma * z) + (1 - mask) * new


# %% wrong="repaint"
# The known part without noise.
# - x = mask * (y + tau * z) + (1 - mask) * new
# + x = mask * y + (1 - mask) * new


# %% wrong="repaint"
# The known part gets the guessed noise.
# - x = mask * (y + tau * z) + (1 - mask) * new
# + x = mask * (y + tau / sigma * (x - x0)) + (1 - mask) * new


# %% wrong="repaint"
# The jump starts from the image without noise, q(x_σ | x_0).
# - x = x + np.sqrt(sigmas[0] ** 2 - sigmas[-1] ** 2) * z_jump[u - 1]
# + x = mask * y + (1 - mask) * x0 + sigmas[0] * z_jump[u - 1]


# %% wrong="repaint"
# The jump takes x at the last level for an image without noise.
# - x = x + np.sqrt(sigmas[0] ** 2 - sigmas[-1] ** 2) * z_jump[u - 1]
# + x = x + sigmas[0] * z_jump[u - 1]


# %% wrong="repaint"
# The jump's noise has the difference of the two standard deviations.
# - x = x + np.sqrt(sigmas[0] ** 2 - sigmas[-1] ** 2) * z_jump[u - 1]
# + x = x + (sigmas[0] - sigmas[-1]) * z_jump[u - 1]


# %% wrong="repaint"
# The preparation's jump, which shrinks.
# - x = x + np.sqrt(sigmas[0] ** 2 - sigmas[-1] ** 2) * z_jump[u - 1]
# + c = (1 + sigmas[-1] ** 2) / (1 + sigmas[0] ** 2)
# + x = np.sqrt(c) * x + np.sqrt(1 - c) * z_jump[u - 1]


# %% wrong="repaint"
# The mask the other way round.
# - x = mask * (y + tau * z) + (1 - mask) * new
# + x = (1 - mask) * (y + tau * z) + mask * new


# %% wrong="repaint"
# Only the unknown part jumps.
# - x = x + np.sqrt(sigmas[0] ** 2 - sigmas[-1] ** 2) * z_jump[u - 1]
# + x = x + (1 - mask) * np.sqrt(sigmas[0] ** 2 - sigmas[-1] ** 2) * z_jump[u - 1]


# %% wrong="repaint"
# The known part gets the same noise in each round.
# - for sigma, tau, z in zip(sigmas[:-1], sigmas[1:], noises):
# + for sigma, tau, z in zip(sigmas[:-1], sigmas[1:], z_known[0]):


# %% wrong="repaint"
# The known part comes in at the last level of a round only.
# - x = mask * (y + tau * z) + (1 - mask) * new
# + x = mask * (y + tau * z) + (1 - mask) * new if tau == sigmas[-1] else new


# %% wrong="repaint"
# A jump after the last round, too: x is returned at the first level.
# - return x
# + return x + np.sqrt(sigmas[0] ** 2 - sigmas[-1] ** 2) * (z_jump[-1] if len(z_jump) else z_known[-1, -1])


# %% wrong="repaint"
# The guess is made once a round.
# - for sigma, tau, z in zip(sigmas[:-1], sigmas[1:], noises):
# -     x0 = guess(x, sigma)
# + x0 = guess(x, sigmas[0])
# + for sigma, tau, z in zip(sigmas[:-1], sigmas[1:], noises):


# %% wrong="repaint"
# No jump: each round begins where the last one ended.
# - x = x + np.sqrt(sigmas[0] ** 2 - sigmas[-1] ** 2) * z_jump[u - 1]
# + pass


# %% wrong="repaint"
# The levels of the steps up: the time runs the wrong way.
# - for sigma, tau, z in zip(sigmas[:-1], sigmas[1:], noises):
# + for sigma, tau, z in zip(np.maximum(sigmas[::-1], 1e-3)[:-1], sigmas[::-1][1:], noises):


# %% equivalent="repaint"
# After a round x is a new array, not the one that came in.
# - x = x + np.sqrt(sigmas[0] ** 2 - sigmas[-1] ** 2) * z_jump[u - 1]
# + x[...] = x + np.sqrt(sigmas[0] ** 2 - sigmas[-1] ** 2) * z_jump[u - 1]


# %% right="heun"
# Jacobians of the whole batch, float64.
def heun(denoise, x, sigmas):
    def rate(x, sigma):
        with tf.GradientTape() as tape:
            tape.watch(x)
            v = (x - tf.cast(denoise(x, sigma), tf.float64)) / sigma
        return v, -tf.linalg.trace(tape.batch_jacobian(v, x))

    x, log_p = tf.constant(x, tf.float64), tf.zeros(len(x), tf.float64)
    levels = [float(s) for s in sigmas]
    for k in range(len(levels) - 1):
        h = levels[k + 1] - levels[k]
        v, r = rate(x, levels[k])
        if levels[k + 1] == 0:
            return x + h * v, log_p + h * r
        v2, r2 = rate(x + h * v, levels[k + 1])
        x, log_p = x + h * 0.5 * (v + v2), log_p + h * 0.5 * (r + r2)
    return x, log_p


# %% right="heun"
# The trace of the guess's Jacobian, by forward derivatives; the step to 0 jumps to the guess.
def heun(denoise, x, sigmas):
    x = tf.convert_to_tensor(x)
    D, change = x.shape[1], tf.zeros([x.shape[0]])

    def look(x, sigma):
        trace = 0.0
        for i in range(D):
            direction = tf.tile(tf.one_hot([i], D), [x.shape[0], 1])
            with tf.autodiff.ForwardAccumulator(x, direction) as forward:
                data = denoise(x, sigma)
            trace += forward.jvp(data)[:, i]
        return data, trace

    for s, t in zip(sigmas[:-1], sigmas[1:], strict=True):
        data, trace = look(x, s)
        if t == 0:
            return data, change + (D - trace)
        slope, spread = (x - data) / s, (D - trace) / s
        there = x + (t - s) * slope
        data, trace = look(there, t)
        slope, spread = 0.5 * (slope + (there - data) / t), 0.5 * (spread + (D - trace) / t)
        x, change = x + (t - s) * slope, change - (t - s) * spread
    return x, change


# %% right="heun"
# Each point on its own, position and density as NumPy arrays.
def heun(denoise, x, sigmas):
    def rates(point, sigma):
        z = tf.constant(point[None], tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(z)
            v = (z - denoise(z, sigma)) / sigma
        J = tape.jacobian(v, z)[0, :, 0].numpy()
        return v.numpy()[0], float(np.sum(np.diag(J)))

    ends, changes = [], []
    for point in x:
        log_p = 0.0
        for s, t in zip(sigmas[:-1], sigmas[1:], strict=True):
            v, div = rates(point, s)
            if t != 0:
                v2, div2 = rates(point + (t - s) * v, t)
                v, div = (v + v2) / 2, (div + div2) / 2
            point, log_p = point + (t - s) * v, log_p - (t - s) * div
        ends.append(point)
        changes.append(log_p)
    return np.array(ends), np.array(changes)


# %% wrong="heun"
# Euler's steps: the old slope twice.
# - second, its_divergence = slope(x + (tau - sigma) * v, tau)
# + second, its_divergence = v, divergence


# %% wrong="heun"
# The second slope at the old place.
# - second, its_divergence = slope(x + (tau - sigma) * v, tau)
# + second, its_divergence = slope(x, tau)


# %% wrong="heun"
# The second slope at the old level.
# - second, its_divergence = slope(x + (tau - sigma) * v, tau)
# + second, its_divergence = slope(x + (tau - sigma) * v, sigma)


# %% wrong="heun"
# The second slope alone.
# - v, divergence = (v + second) / 2, (divergence + its_divergence) / 2
# + v, divergence = second, its_divergence


# %% wrong="heun"
# A second slope at σ = 0, too: NaN.
# - if tau > 0:
# + if True:


# %% wrong="heun"
# A second slope at a very small σ, so that nothing is divided by 0.
# - if tau > 0:
# -     second, its_divergence = slope(x + (tau - sigma) * v, tau)
# + if True:
# +     second, its_divergence = slope(x + (tau - sigma) * v, max(tau, 1e-3))


# %% wrong="heun"
# The density by Euler's steps.
# - v, divergence = (v + second) / 2, (divergence + its_divergence) / 2
# + v = (v + second) / 2


# %% wrong="heun"
# The divergence is overwritten in the loop, not summed.
# - return v, sum(tape.gradient(v_i, x)[:, i] for i, v_i in enumerate(parts))
# + for i, v_i in enumerate(parts):
# +     divergence = tape.gradient(v_i, x)[:, i]
# + return v, divergence


# %% wrong="heun"
# The mean over the dimensions.
# - return v, sum(tape.gradient(v_i, x)[:, i] for i, v_i in enumerate(parts))
# + return v, sum(tape.gradient(v_i, x)[:, i] for i, v_i in enumerate(parts)) / len(parts)


# %% wrong="heun"
# The gradient of the sum of all v_i: not only the diagonal of the Jacobian.
# - return v, sum(tape.gradient(v_i, x)[:, i] for i, v_i in enumerate(parts))
# + return v, tf.reduce_sum(tape.gradient(v, x), axis=1)


# %% wrong="heun"
# The sign of the density's change.
# - x, change = x + (tau - sigma) * v, change - (tau - sigma) * divergence
# + x, change = x + (tau - sigma) * v, change + (tau - sigma) * divergence


# %% wrong="heun"
# The divergence of the guess.
# - return v, sum(tape.gradient(v_i, x)[:, i] for i, v_i in enumerate(parts))
# + with tf.GradientTape(persistent=True) as tape:
# +     tape.watch(x)
# +     parts = tf.unstack(denoise(x, sigma), axis=1)
# + return v, -sum(tape.gradient(v_i, x)[:, i] for i, v_i in enumerate(parts)) / sigma


# %% wrong="heun"
# The time runs the wrong way.
# - for sigma, tau in zip(sigmas[:-1], sigmas[1:]):
# + for sigma, tau in zip(sigmas[::-1][:-1], sigmas[::-1][1:]):
# +     sigma = max(sigma, 1e-3)


# %% wrong="heun"
# The change is that of the last step only.
# - x, change = x + (tau - sigma) * v, change - (tau - sigma) * divergence
# + x, change = x + (tau - sigma) * v, -(tau - sigma) * divergence


# %% wrong="heun"
# The divergence summed over the batch, one number for all.
# - return x, change
# + return x, tf.reduce_mean(change) * tf.ones(len(x))


# %% wrong="heun"
# One slope in the last step down, wherever it ends.
# - if tau > 0:
# + if tau > sigma or tau != sigmas[-1]:


# %% right="train_words"
# Keras's fit on noisy points drawn in advance; words left out by a number for each of the four cases.
def train_words(x, first, second, seed):
    keras.utils.set_random_seed(seed)
    network = build_network()
    rng = np.random.default_rng(seed)
    i = np.concatenate([rng.permutation(len(x)) for _ in range(80)])
    case = rng.integers(4, size=len(i))
    words = one_hot(np.where(case % 2, first[i], -1), np.where(case // 2, second[i], -1)).numpy()
    eps = rng.normal(size=(len(i), 2)).astype(np.float32)
    log_snr = rng.uniform(-5, 5, len(i)).astype(np.float32)
    alpha, sigma = np.sqrt(1 / (1 + np.exp(-log_snr)))[:, None], np.sqrt(1 / (1 + np.exp(log_snr)))[:, None]
    noisy, v = alpha * x[i] + sigma * eps, alpha * eps - sigma * x[i]
    steps = len(i) // 250
    network.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.01, steps)),
        "mse",
        steps_per_execution=steps // 4,
    )
    network.fit([noisy, waves(tf.constant(log_snr)).numpy(), words], v, batch_size=250, epochs=1, verbose=0)
    return network.get_weights()


# %% right="train_words"
# A quarter of each batch for each case; the loss of the data, divided by σ².
def train_words(x, first, second, seed):
    keras.utils.set_random_seed(seed)
    network, steps, B = build_network(), 3000, 256
    rule = keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(0.01, steps), weight_decay=0.0)
    rule.build(network.trainable_variables)
    data, one, two = tf.constant(x), tf.constant(first), tf.constant(second)
    quarter = tf.range(B) % 4

    @tf.function
    def epoch():
        for _ in tf.range(steps):
            i = tf.random.uniform([B], 0, len(x), tf.int32)
            x0 = tf.gather(data, i)
            words = one_hot(
                tf.where(quarter % 2 == 1, tf.gather(one, i), -1),
                tf.where(quarter > 1, tf.gather(two, i), -1),
            )
            log_snr = tf.random.uniform([B], -5.0, 5.0)
            a, s = tf.sqrt(tf.sigmoid(log_snr))[:, None], tf.sqrt(tf.sigmoid(-log_snr))[:, None]
            xt = a * x0 + s * tf.random.normal([B, 2])
            with tf.GradientTape() as tape:
                guess = a * xt - s * network([xt, waves(log_snr), words])
                loss = tf.reduce_mean(((x0 - guess) / s) ** 2)
            rule.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)

    epoch()
    return [w.numpy() for w in network.weights]


# %% right="train_words"
# Words are taken away as zeros of the input; a smaller rate, more steps, half of all words missing.
def train_words(x, first, second, seed):
    keras.utils.set_random_seed(seed)
    network, steps, B = build_network(), 4000, 200
    adam = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.006, steps))
    adam.build(network.trainable_variables)
    data, words = tf.constant(x), one_hot(first, second)

    @tf.function
    def run():
        for _ in tf.range(steps):
            i = tf.random.uniform([B], maxval=len(x), dtype=tf.int32)
            x0 = tf.gather(data, i)
            kept = tf.repeat(tf.cast(tf.random.uniform([B, 2]) < 0.5, tf.float32), [2, 3], axis=1)
            log_snr, eps = tf.random.uniform([B], -5.0, 5.0), tf.random.normal([B, 2])
            alpha, sigma = tf.sqrt(tf.sigmoid(log_snr))[:, None], tf.sqrt(tf.sigmoid(-log_snr))[:, None]
            with tf.GradientTape() as tape:
                v = network([alpha * x0 + sigma * eps, waves(log_snr), kept * tf.gather(words, i)])
                loss = tf.reduce_mean((v - alpha * eps + sigma * x0) ** 2)
            adam.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)

    run()
    return network.get_weights()


# %% wrong="train_words"
# No word is ever missing.
# - left = tf.where(tf.random.uniform([B, 2]) < 0.4, -1, tf.gather(words, i))  # each word on its own
# + left = tf.gather(words, i)


# %% wrong="train_words"
# Both words are taken away together: one alone never comes up.
# - left = tf.where(tf.random.uniform([B, 2]) < 0.4, -1, tf.gather(words, i))  # each word on its own
# + left = tf.where(tf.random.uniform([B, 1]) < 0.4, -1, tf.gather(words, i))


# %% wrong="train_words"
# One word at most is taken away: none at all never comes up.
# - left = tf.where(tf.random.uniform([B, 2]) < 0.4, -1, tf.gather(words, i))  # each word on its own
# + u = tf.random.uniform([B, 1])
# + left = tf.where(tf.concat([u < 0.4, u > 0.6], axis=1), -1, tf.gather(words, i))


# %% wrong="train_words"
# A missing word becomes the word 0.
# - left = tf.where(tf.random.uniform([B, 2]) < 0.4, -1, tf.gather(words, i))  # each word on its own
# + left = tf.where(tf.random.uniform([B, 2]) < 0.4, 0, tf.gather(words, i))


# %% wrong="train_words"
# The words of other points.
# - left = tf.where(tf.random.uniform([B, 2]) < 0.4, -1, tf.gather(words, i))  # each word on its own
# + left = tf.where(tf.random.uniform([B, 2]) < 0.4, -1, tf.gather(words, tf.random.shuffle(i)))


# %% wrong="train_words"
# Guesses the noise.
# - loss = tf.reduce_mean((v - (alpha * eps - sigma * x0)) ** 2)
# + loss = tf.reduce_mean((v - eps) ** 2)


# %% wrong="train_words"
# The time runs the wrong way in the waves.
# - v = network([alpha * x0 + sigma * eps, waves(log_snr), one_hot(left[:, 0], left[:, 1])])
# + v = network([alpha * x0 + sigma * eps, waves(-log_snr), one_hot(left[:, 0], left[:, 1])])


# %% wrong="train_words"
# Only half of the levels.
# - log_snr, eps = tf.random.uniform([B], -5.0, 5.0), tf.random.normal([B, 2])
# + log_snr, eps = tf.random.uniform([B], 0.0, 5.0), tf.random.normal([B, 2])


# %% wrong="train_words"
# Too few steps.
# - network, steps, B = build_network(), 3000, 256
# + network, steps, B = build_network(), 100, 256
