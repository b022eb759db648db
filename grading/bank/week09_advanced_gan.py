"""Right and wrong answers to the gaps of Week 9, Other distances, other constraints, other styles."""


# %% right="taxi_penalty"
# One image after the other, in float64; the root only where it is needed.
def taxi_penalty(critic, theta, real, fake, alpha, K):
    parts = []
    for i in range(len(real)):
        a = float(alpha[i])
        x = tf.convert_to_tensor(a * np.float64(real[i : i + 1]) + (1 - a) * np.float64(fake[i : i + 1]))
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = critic(x, theta)[0]
        square = tf.reduce_max(tf.reduce_sum(tape.gradient(value, x) ** 2, axis=-1))
        parts.append((tf.sqrt(tf.maximum(square, K**2)) - K) ** 2)
    return tf.add_n(parts) / len(parts)


# %% right="taxi_penalty"
# The largest square first, then a root that is replaced where nothing exceeds K.
def taxi_penalty(critic, theta, real, fake, alpha, K):
    between = tf.convert_to_tensor(fake + alpha[:, None, None, None] * (real - fake))
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(between)
        total = tf.reduce_sum(critic(between, theta))
    squares = tf.einsum("bhwc,bhwc->bhw", *[tape.gradient(total, between)] * 2)
    largest = tf.reduce_max(tf.reshape(squares, (len(real), -1)), axis=1)
    steep = largest > K**2
    return tf.reduce_mean(tf.where(steep, tf.sqrt(tf.where(steep, largest, 1.0)) - K, 0.0) ** 2)


# %% right="taxi_penalty"
# Pixels in a row, their norms by the reciprocal root.
def taxi_penalty(critic, theta, real, fake, alpha, K):
    B, C = real.shape[0], real.shape[-1]
    share = alpha.reshape(B, 1)
    between = share * real.reshape(B, -1) + (1 - share) * fake.reshape(B, -1)
    between = tf.reshape(tf.constant(between), real.shape)
    with tf.GradientTape() as tape:
        tape.watch(between)
        value = critic(between, theta)
    pixels = tf.reshape(tape.gradient(value, between), (B, -1, C))
    square = tf.reduce_sum(pixels * pixels, axis=2)
    norm = square * tf.math.rsqrt(square + 1e-10)
    excess = tf.maximum(tf.reduce_max(norm, axis=1) - K, 0)
    return tf.reduce_sum(excess**2) / B


# %% wrong="taxi_penalty"
# The preparation's norm: Euclidean over all numbers of an image.
# - pixels = tf.sqrt(tf.reduce_sum(slope**2, axis=3))  # (B, H, W)
# - steepest = tf.reduce_max(pixels, axis=(1, 2))
# + steepest = tf.sqrt(tf.reduce_sum(slope**2, axis=(1, 2, 3)) + 1e-12)


# %% wrong="taxi_penalty"
# The norm of the distance, not its dual: a sum over pixels.
# - steepest = tf.reduce_max(pixels, axis=(1, 2))
# + steepest = tf.reduce_sum(pixels, axis=(1, 2))


# %% wrong="taxi_penalty"
# Two-sided: slopes below K are punished as well.
# - return tf.reduce_mean(tf.nn.relu(steepest - K) ** 2)
# + return tf.reduce_mean((steepest - K) ** 2)


# %% wrong="taxi_penalty"
# Largest single number, not the largest pixel.
# - pixels = tf.sqrt(tf.reduce_sum(slope**2, axis=3))  # (B, H, W)
# + pixels = tf.reduce_max(tf.abs(slope), axis=3)


# %% wrong="taxi_penalty"
# All too steep pixels are punished, not the steepest of each image.
# - return tf.reduce_mean(tf.nn.relu(steepest - K) ** 2)
# + return tf.reduce_mean(tf.reduce_sum(tf.nn.relu(pixels - K) ** 2, axis=(1, 2)))


# %% wrong="taxi_penalty"
# The steepest pixel of the whole batch.
# - steepest = tf.reduce_max(pixels, axis=(1, 2))
# + steepest = tf.reduce_max(pixels)


# %% wrong="taxi_penalty"
# The gradient of the critic's mean.
# - value = critic(between, theta)
# + value = tf.reduce_mean(critic(between, theta))


# %% wrong="taxi_penalty"
# The shares of real and generated image exchanged.
# - between = share * real + (1 - share) * fake
# + between = share * fake + (1 - share) * real


# %% wrong="taxi_penalty"
# In the middle between the two, whatever α.
# - share = tf.reshape(alpha, (-1, 1, 1, 1))  # one for each image
# + share = tf.constant(0.5)


# %% wrong="taxi_penalty"
# The gradient is taken as a number.
# - slope = tape.gradient(value, between)  # (B, H, W, C)
# + slope = tf.stop_gradient(tape.gradient(value, between))


# %% wrong="taxi_penalty"
# A detour over NumPy.
# - slope = tape.gradient(value, between)  # (B, H, W, C)
# + slope = np.array(tape.gradient(value, between))


# %% wrong="taxi_penalty"
# K² is subtracted from the square.
# - return tf.reduce_mean(tf.nn.relu(steepest - K) ** 2)
# + return tf.reduce_mean(tf.nn.relu(steepest**2 - K**2))


# %% wrong="taxi_penalty"
# Divided by K: the slope relative to the bound.
# - return tf.reduce_mean(tf.nn.relu(steepest - K) ** 2)
# + return tf.reduce_mean(tf.nn.relu(steepest / K - 1) ** 2)


# %% right="conv_norm"
# The matrix of the convolution, in float64, and its powers.
def conv_norm(kernel, v, stride, turns):
    kernel, shape = tf.cast(kernel, tf.float64), v.shape
    basis = np.eye(v.size).reshape(-1, *shape)
    A = tf.transpose(tf.reshape(tf.nn.conv2d(basis, kernel, stride, "SAME"), (v.size, -1)))
    v = np.asarray(v, float).ravel()
    for _ in range(turns):
        v = A.numpy().T @ (A.numpy() @ v)
        v /= np.linalg.norm(v)
    u = A.numpy() @ v
    u /= np.linalg.norm(u)
    return tf.tensordot(u, tf.linalg.matvec(A, v), 1), v.reshape(shape)


# %% right="conv_norm"
# The transpose as a gradient; σ as a norm, whose derivative is the one with u held fixed.
def conv_norm(kernel, v, stride, turns):
    fixed, v = tf.stop_gradient(kernel), tf.stop_gradient(v)[tf.newaxis]
    for _ in range(turns):
        with tf.GradientTape() as tape:
            tape.watch(v)
            Av = tf.nn.conv2d(v, fixed, [1, stride, stride, 1], "SAME")
            length = tf.norm(Av)
        v = tape.gradient(length, v)  # Aᵀ u
        v = tf.stop_gradient(v / tf.norm(v))
    return tf.norm(tf.nn.conv2d(v, kernel, stride, "SAME")), tf.squeeze(v, 0)


# %% right="conv_norm"
# All turns outside of any tape; lengths by l2_normalize over everything.
def conv_norm(kernel, v, stride, turns):
    def there(x, kernel):
        return tf.nn.convolution(x, kernel, strides=stride, padding="SAME")

    constant = tf.stop_gradient(kernel)
    v = tf.expand_dims(tf.stop_gradient(v), 0)
    shape = tf.shape(v)
    for _ in range(turns):
        u = tf.nn.l2_normalize(there(v, constant), epsilon=0)
        v = tf.nn.l2_normalize(tf.nn.conv2d_transpose(u, constant, shape, stride), epsilon=0)
    u = tf.nn.l2_normalize(there(v, constant), epsilon=0)
    return tf.einsum("bhwc,bhwc->", u, there(v, kernel)), v[0]


# %% wrong="conv_norm"
# The norm of the kernel as a matrix.
# - return tf.reduce_sum(u * Av), v[0]
# + return tf.linalg.svd(tf.reshape(kernel, (-1, kernel.shape[3])), compute_uv=False)[0], v[0]


# %% wrong="conv_norm"
# The iteration is differentiated as well.
# - v = tf.stop_gradient(v)
# + v = tf.identity(v)


# %% wrong="conv_norm"
# A gradient comes out of the returned v only.
# - v = tf.stop_gradient(v)
# - Av = tf.nn.conv2d(v, kernel, stride, "SAME")
# + Av = tf.nn.conv2d(tf.stop_gradient(v), kernel, stride, "SAME")


# %% wrong="conv_norm"
# σ itself is stopped.
# - return tf.reduce_sum(u * Av), v[0]
# + return tf.stop_gradient(tf.reduce_sum(u * Av)) + 0 * tf.reduce_sum(kernel), v[0]


# %% wrong="conv_norm"
# The u of the last turn: σ lags behind by half a turn.
# - u = tf.stop_gradient(Av / tf.norm(Av))
# + u = tf.stop_gradient(u)


# %% wrong="conv_norm"
# The square of the norm.
# - return tf.reduce_sum(u * Av), v[0]
# + return tf.reduce_sum(Av * Av), v[0]


# %% wrong="conv_norm"
# Unit length pixel by pixel.
# - v = v / tf.norm(v)
# + v = tf.nn.l2_normalize(v, axis=-1)


# %% wrong="conv_norm"
# The kernel turned by 180 degrees, but its channels not exchanged: a convolution in place of its transpose.
# - v = tf.nn.conv2d_transpose(u, kernel, v.shape, stride, "SAME")
# + v = tf.nn.conv2d(v, kernel[::-1, ::-1], stride, "SAME")
# + v = tf.nn.conv2d_transpose(v, kernel, (1, *v0.shape), stride, "SAME")
#
# - v = tf.convert_to_tensor(v)[None]
# + v0, v = v, tf.convert_to_tensor(v)[None]


# %% wrong="conv_norm"
# Returns u.
# - return tf.reduce_sum(u * Av), v[0]
# + return tf.reduce_sum(u * Av), u[0]


# %% wrong="conv_norm"
# Always starts from a vector of ones.
# - v = tf.convert_to_tensor(v)[None]
# + v = tf.ones_like(v)[None]


# %% equivalent="conv_norm"
# The length of u does not matter: v is brought to unit length after it.
# - u = u / tf.norm(u)
# + u = u
#
# - u = u / tf.norm(u)
# + u = u * tf.norm(u)


# %% equivalent="conv_norm"
# A unit vector u changes at right angles to itself, so to A v: the derivative of σ is the same.
# - u = tf.stop_gradient(Av / tf.norm(Av))
# + u = Av / tf.norm(Av)


# %% equivalent="conv_norm"
# The first of one is also the last.
# - return tf.reduce_sum(u * Av), v[0]
# + return tf.reduce_sum(u * Av), v[-1]


# %% right="cycle_losses"
# A gradient of one's own for the rounding, in float64.
def cycle_losses(G, F, theta_G, theta_F, a, b, L):
    @tf.custom_gradient
    def levels(x):
        return tf.floor(x * (L - 1) + 0.5) / (L - 1), lambda upstream: upstream

    a, b = tf.cast(a, tf.float64), tf.cast(b, tf.float64)
    errors = [
        F(levels(G(a, theta_G)), theta_F) - a,
        G(levels(F(b, theta_F)), theta_G) - b,
        G(b, theta_G) - b,
        F(a, theta_F) - a,
    ]
    means = [tf.reduce_mean(tf.abs(error)) for error in errors]
    return means[0] + means[1], means[2] + means[3]


# %% right="cycle_losses"
# One image after the other.
def cycle_losses(G, F, theta_G, theta_F, a, b, L):
    def one_way(there, back, first, second, images):
        cycle, n = 0.0, len(images)
        for i in range(n):
            x = images[i : i + 1]
            y = there(x, first)
            y = y + tf.stop_gradient(tf.round(y * (L - 1)) / (L - 1)) - tf.stop_gradient(y)
            cycle += tf.reduce_sum(tf.abs(x - back(y, second))) / images.size
        return cycle

    cycle = one_way(G, F, theta_G, theta_F, a) + one_way(F, G, theta_F, theta_G, b)
    identity = tf.reduce_sum(tf.abs(b - G(b, theta_G))) / b.size
    return cycle, identity + tf.reduce_sum(tf.abs(a - F(a, theta_F))) / a.size


# %% right="cycle_losses"
# Rounding as a constant shift; Keras's mean absolute error.
def cycle_losses(G, F, theta_G, theta_F, a, b, L):
    mae = keras.losses.MeanAbsoluteError()
    fake_b, fake_a = G(a, theta_G), F(b, theta_F)
    shift_b, shift_a = (np.round(np.array(x) * (L - 1)) / (L - 1) - np.array(x) for x in (fake_b, fake_a))
    back_a, back_b = F(fake_b + shift_b, theta_F), G(fake_a + shift_a, theta_G)
    return mae(a, back_a) + mae(b, back_b), mae(b, G(b, theta_G)) + mae(a, F(a, theta_F))


# %% wrong="cycle_losses"
# Plain rounding: no gradient reaches the first translator.
# - return x + tf.stop_gradient(tf.round((L - 1) * x) / (L - 1) - x)
# + return tf.round((L - 1) * x) / (L - 1)


# %% wrong="cycle_losses"
# No rounding: the loophole stays open.
# - return x + tf.stop_gradient(tf.round((L - 1) * x) / (L - 1) - x)
# + return x


# %% wrong="cycle_losses"
# L steps, not L levels.
# - return x + tf.stop_gradient(tf.round((L - 1) * x) / (L - 1) - x)
# + return x + tf.stop_gradient(tf.round(L * x) / L - x)


# %% wrong="cycle_losses"
# Rounds down.
# - return x + tf.stop_gradient(tf.round((L - 1) * x) / (L - 1) - x)
# + return x + tf.stop_gradient(tf.floor((L - 1) * x) / (L - 1) - x)


# %% wrong="cycle_losses"
# Clipped to [0, 1] as well.
# - return x + tf.stop_gradient(tf.round((L - 1) * x) / (L - 1) - x)
# + return x + tf.stop_gradient(tf.clip_by_value(tf.round((L - 1) * x) / (L - 1), 0, 1) - x)


# %% wrong="cycle_losses"
# Squares, which blur.
# - return tf.reduce_mean(tf.abs(x - y))
# + return tf.reduce_mean((x - y) ** 2)


# %% wrong="cycle_losses"
# Each translator leaves its own source as it is: nothing would be translated.
# - identity = distance(G(b, theta_G), b) + distance(F(a, theta_F), a)
# + identity = distance(G(a, theta_G), a) + distance(F(b, theta_F), b)


# %% wrong="cycle_losses"
# The identity loss rounds, too.
# - identity = distance(G(b, theta_G), b) + distance(F(a, theta_F), a)
# + identity = distance(rounded(G(b, theta_G)), b) + distance(rounded(F(a, theta_F)), a)


# %% wrong="cycle_losses"
# Each translator is applied twice.
# - back_a = F(rounded(G(a, theta_G)), theta_F)
# - back_b = G(rounded(F(b, theta_F)), theta_G)
# + back_a = G(rounded(G(a, theta_G)), theta_G)
# + back_b = F(rounded(F(b, theta_F)), theta_F)


# %% wrong="cycle_losses"
# The second direction is forgotten.
# - cycle = distance(back_a, a) + distance(back_b, b)
# + cycle = distance(back_a, a)


# %% wrong="cycle_losses"
# The first translation is a constant for the cycle loss.
# - back_a = F(rounded(G(a, theta_G)), theta_F)
# + back_a = F(tf.stop_gradient(rounded(G(a, theta_G))), theta_F)


# %% wrong="cycle_losses"
# Rounds what comes back, not what is in between.
# - back_a = F(rounded(G(a, theta_G)), theta_F)
# - back_b = G(rounded(F(b, theta_F)), theta_G)
# + back_a = rounded(F(G(a, theta_G), theta_F))
# + back_b = rounded(G(F(b, theta_F), theta_G))


# %% equivalent="cycle_losses"
# |x − y| = |y − x|.
# - cycle = distance(back_a, a) + distance(back_b, b)
# + cycle = distance(a, back_a) + distance(back_b, b)
#
# - cycle = distance(back_a, a) + distance(back_b, b)
# + cycle = distance(back_a, a) + distance(b, back_b)
#
# - identity = distance(G(b, theta_G), b) + distance(F(a, theta_F), a)
# + identity = distance(b, G(b, theta_G)) + distance(F(a, theta_F), a)
#
# - identity = distance(G(b, theta_G), b) + distance(F(a, theta_F), a)
# + identity = distance(G(b, theta_G), b) + distance(a, F(a, theta_F))


# %% right="bank_conv"
# NumPy, one place of the kernel after the other.
def bank_conv(x, s, logits, bank):
    e = np.exp(logits.astype(float) - logits.max(axis=1, keepdims=True))
    share = e / e.sum(axis=1, keepdims=True)
    size, before = bank.shape[1], (bank.shape[1] - 1) // 2
    y = np.zeros((*x.shape[:3], bank.shape[-1]))
    for b in range(len(x)):
        W = np.tensordot(share[b], bank.astype(float), 1) * s[b].astype(float)[:, None]
        W /= np.sqrt((W**2).sum(axis=(0, 1, 2)) + 1e-8)
        padded = np.pad(x[b], ((before, size - 1 - before), (before, size - 1 - before), (0, 0)))
        for i in range(size):
            for j in range(size):
                y[b] += padded[i : i + x.shape[1], j : j + x.shape[2]] @ W[i, j]
    return y


# %% right="bank_conv"
# One convolution of the scaled images with all kernels, mixed afterwards; norms by inner products.
def bank_conv(x, s, logits, bank):
    B, H, W, _ = x.shape
    N, size, _, C_in, C_out = bank.shape
    share = tf.nn.softmax(logits, axis=1)
    kernel = tf.reshape(tf.transpose(bank, (1, 2, 3, 0, 4)), (size, size, C_in, N * C_out))
    y = tf.reshape(tf.nn.conv2d(x * s[:, None, None], kernel, 1, "SAME"), (B, H, W, N, C_out))
    inner = tf.einsum("nhwij,mhwij->nmij", bank, bank)
    square = tf.einsum("bn,bm,bi,nmij->bj", share, share, s**2, inner)
    return tf.einsum("bn,bhwnj->bhwj", share, y) / tf.sqrt(tf.nn.relu(square) + 1e-8)[:, None, None]


# %% right="bank_conv"
# A grouped convolution: the images side by side as channels.
def bank_conv(x, s, logits, bank):
    B, H, W, C_in = x.shape
    size, C_out = bank.shape[1], bank.shape[-1]
    share = keras.ops.softmax(logits, axis=-1)
    kernels = tf.tensordot(share, bank, 1) * tf.reshape(s, (B, 1, 1, C_in, 1))
    kernels /= tf.sqrt(tf.reduce_sum(tf.square(kernels), axis=[1, 2, 3], keepdims=True) + 1e-8)
    beside = tf.reshape(tf.transpose(x, (1, 2, 0, 3)), (1, H, W, B * C_in))
    kernel = tf.reshape(tf.transpose(kernels, (1, 2, 3, 0, 4)), (size, size, C_in, B * C_out))
    y = tf.reshape(tf.nn.convolution(beside, kernel, padding="SAME"), (H, W, B, C_out))
    return tf.transpose(y, (2, 0, 1, 3))


# %% wrong="bank_conv"
# Each kernel gets unit norm before they are mixed.
# - mixed = tf.einsum("bn,nhwij->bhwij", tf.nn.softmax(logits), bank)
# + unit = bank / np.sqrt(np.sum(bank**2, axis=(1, 2, 3), keepdims=True) + 1e-8)
# + mixed = tf.einsum("bn,nhwij->bhwij", tf.nn.softmax(logits), unit)
#
# - kernels = scaled * tf.math.rsqrt(tf.reduce_sum(scaled**2, axis=(1, 2, 3), keepdims=True) + 1e-8)
# + kernels = scaled


# %% wrong="bank_conv"
# No demodulation.
# - kernels = scaled * tf.math.rsqrt(tf.reduce_sum(scaled**2, axis=(1, 2, 3), keepdims=True) + 1e-8)
# + kernels = scaled


# %% wrong="bank_conv"
# Unit norm for each input channel.
# - kernels = scaled * tf.math.rsqrt(tf.reduce_sum(scaled**2, axis=(1, 2, 3), keepdims=True) + 1e-8)
# + kernels = scaled * tf.math.rsqrt(tf.reduce_sum(scaled**2, axis=(1, 2, 4), keepdims=True) + 1e-8)


# %% wrong="bank_conv"
# Unit norm for the kernel as a whole.
# - kernels = scaled * tf.math.rsqrt(tf.reduce_sum(scaled**2, axis=(1, 2, 3), keepdims=True) + 1e-8)
# + kernels = scaled * tf.math.rsqrt(tf.reduce_sum(scaled**2, axis=(1, 2, 3, 4), keepdims=True) + 1e-8)


# %% wrong="bank_conv"
# The first StyleGAN: normalises the activations.
# - kernels = scaled * tf.math.rsqrt(tf.reduce_sum(scaled**2, axis=(1, 2, 3), keepdims=True) + 1e-8)
# + kernels = scaled
#
# - return tf.stack(images)
# + y = tf.stack(images)
# + return y * tf.math.rsqrt(tf.reduce_mean(y**2, axis=(1, 2), keepdims=True) + 1e-8)


# %% wrong="bank_conv"
# The softmax over the batch.
# - mixed = tf.einsum("bn,nhwij->bhwij", tf.nn.softmax(logits), bank)
# + mixed = tf.einsum("bn,nhwij->bhwij", tf.nn.softmax(logits, axis=0), bank)


# %% wrong="bank_conv"
# The softmax by hand, which overflows.
# - mixed = tf.einsum("bn,nhwij->bhwij", tf.nn.softmax(logits), bank)
# + e = np.exp(logits)
# + mixed = tf.einsum("bn,nhwij->bhwij", e / e.sum(axis=1, keepdims=True), bank)


# %% wrong="bank_conv"
# The best kernel alone.
# - mixed = tf.einsum("bn,nhwij->bhwij", tf.nn.softmax(logits), bank)
# + mixed = tf.gather(bank, np.argmax(logits, axis=1))


# %% wrong="bank_conv"
# The logits as weights, without softmax.
# - mixed = tf.einsum("bn,nhwij->bhwij", tf.nn.softmax(logits), bank)
# + mixed = tf.einsum("bn,nhwij->bhwij", logits, bank)


# %% wrong="bank_conv"
# The kernel of the first image for all.
# - images = [tf.nn.conv2d(x[b][None], kernels[b], 1, "SAME")[0] for b in range(len(x))]
# + images = [tf.nn.conv2d(x[b][None], kernels[0], 1, "SAME")[0] for b in range(len(x))]


# %% wrong="bank_conv"
# The norm without the scales.
# - kernels = scaled * tf.math.rsqrt(tf.reduce_sum(scaled**2, axis=(1, 2, 3), keepdims=True) + 1e-8)
# + kernels = scaled * tf.math.rsqrt(tf.reduce_sum(mixed**2, axis=(1, 2, 3), keepdims=True) + 1e-8)


# %% equivalent="bank_conv"
# The first of one is also the last.
# - images = [tf.nn.conv2d(x[b][None], kernels[b], 1, "SAME")[0] for b in range(len(x))]
# + images = [tf.nn.conv2d(x[b][None], kernels[b], 1, "SAME")[-1] for b in range(len(x))]


# %% right="class_matching"
# One row after the other, in float64.
def class_matching(real, fake, y_real, y_fake, eps):
    real = np.asarray(real, float)
    rows = tf.unstack(tf.cast(fake, tf.float64))
    inverse = 1 / (real.var(axis=0) + eps)
    loss = tf.constant(0.0, tf.float64)
    for k in np.unique(y_fake):
        own = [row for row, y in zip(rows, y_fake, strict=True) if y == k]
        if np.any(y_real == k):
            away = real[y_real == k].mean(axis=0) - tf.add_n(own) / len(own)
            loss += len(own) / len(rows) * tf.reduce_sum(away * away * inverse)
    return loss


# %% right="class_matching"
# All classes at once, by matrices of memberships.
def class_matching(real, fake, y_real, y_fake, eps):
    real, K = tf.stop_gradient(tf.convert_to_tensor(real)), int(max(y_real.max(), y_fake.max())) + 1
    in_real, in_fake = tf.one_hot(y_real, K, axis=0), tf.one_hot(y_fake, K, axis=0)  # (K, M), (K, N)
    n_real, n_fake = tf.reduce_sum(in_real, axis=1), tf.reduce_sum(in_fake, axis=1)
    mu = in_real @ real / tf.maximum(n_real, 1)[:, None]
    nu = in_fake @ fake / tf.maximum(n_fake, 1)[:, None]
    weights = n_fake * tf.cast(n_real > 0, tf.float32) / len(y_fake)
    return tf.tensordot(
        weights, tf.reduce_sum((mu - nu) ** 2 / (tf.math.reduce_variance(real, 0) + eps), 1), 1
    )


# %% right="class_matching"
# Features scaled first; each generated image looks at the difference of its class.
def class_matching(real, fake, y_real, y_fake, eps):
    spread = tf.stop_gradient(tf.sqrt(tf.math.reduce_std(real, axis=0) ** 2 + eps))
    real, fake = tf.stop_gradient(real) / spread, fake / spread
    K = 1 + max(int(np.max(y_real)), int(np.max(y_fake)))
    mu = tf.math.unsorted_segment_mean(real, y_real, K)
    nu = tf.math.unsorted_segment_mean(fake, y_fake, K)
    each = tf.gather(tf.reduce_sum((mu - nu) ** 2, axis=1), y_fake)
    return tf.reduce_mean(tf.where(np.isin(y_fake, y_real), each, tf.zeros_like(each)))


# %% wrong="class_matching"
# The preparation's loss, scaled: means over all images.
# - for k in set(np.asarray(y_real)) & set(np.asarray(y_fake)):
# - mu = tf.reduce_mean(real[y_real == k], axis=0)
# - nu = tf.reduce_mean(fake[y_fake == k], axis=0)
# - loss += np.mean(y_fake == k) * tf.reduce_sum((mu - nu) ** 2 / (variance + eps))
# + mu, nu = tf.reduce_mean(real, axis=0), tf.reduce_mean(fake, axis=0)
# + loss += tf.reduce_sum((mu - nu) ** 2 / (variance + eps))


# %% wrong="class_matching"
# A gradient reaches the real features.
# - real = tf.stop_gradient(real)
# + real = tf.convert_to_tensor(real)


# %% wrong="class_matching"
# A gradient reaches the real features by their variance.
# - real = tf.stop_gradient(real)
# - variance = tf.math.reduce_variance(real, axis=0)
# + variance = tf.math.reduce_variance(real, axis=0)
# + real = tf.stop_gradient(real)


# %% wrong="class_matching"
# The gradient is stopped on the wrong side.
# - real = tf.stop_gradient(real)
# + real, fake = tf.convert_to_tensor(real), tf.stop_gradient(fake)


# %% wrong="class_matching"
# The variance within the class.
# - loss += np.mean(y_fake == k) * tf.reduce_sum((mu - nu) ** 2 / (variance + eps))
# + within = tf.math.reduce_variance(real[y_real == k], axis=0)
# + loss += np.mean(y_fake == k) * tf.reduce_sum((mu - nu) ** 2 / (within + eps))


# %% wrong="class_matching"
# Weights by real images.
# - loss += np.mean(y_fake == k) * tf.reduce_sum((mu - nu) ** 2 / (variance + eps))
# + loss += np.mean(y_real == k) * tf.reduce_sum((mu - nu) ** 2 / (variance + eps))


# %% wrong="class_matching"
# All classes of the generated images, also those without a real one: NaN.
# - for k in set(np.asarray(y_real)) & set(np.asarray(y_fake)):
# + for k in set(np.asarray(y_fake)):


# %% wrong="class_matching"
# A class without real images has the mean 0.
# - for k in set(np.asarray(y_real)) & set(np.asarray(y_fake)):
# + for k in set(np.asarray(y_fake)):
#
# - mu = tf.reduce_mean(real[y_real == k], axis=0)
# + mu = tf.reduce_sum(real[y_real == k], axis=0) / max(1, np.sum(y_real == k))


# %% wrong="class_matching"
# Each generated image against the mean of its class: differences before the mean.
# - loss += np.mean(y_fake == k) * tf.reduce_sum((mu - nu) ** 2 / (variance + eps))
# + own = fake[y_fake == k]
# + loss += np.mean(y_fake == k) * tf.reduce_mean(tf.reduce_sum((mu - own) ** 2 / (variance + eps), axis=1))


# %% wrong="class_matching"
# Divides by the standard deviation.
# - loss += np.mean(y_fake == k) * tf.reduce_sum((mu - nu) ** 2 / (variance + eps))
# + loss += np.mean(y_fake == k) * tf.reduce_sum((mu - nu) ** 2 / (variance**0.5 + eps))


# %% wrong="class_matching"
# The weights are shares among the classes that are left.
# - loss += np.mean(y_fake == k) * tf.reduce_sum((mu - nu) ** 2 / (variance + eps))
# + left = np.mean(np.isin(y_fake, y_real))
# + loss += np.mean(y_fake == k) / left * tf.reduce_sum((mu - nu) ** 2 / (variance + eps))


# %% wrong="class_matching"
# NumPy: no gradient.
# - return loss
# + return tf.constant(np.array(loss))


# %% right="train_critic"
# Both partial derivatives are bounded, each by its own penalty; single steps from Python, all points at once.
def train_critic(x, y, seed):
    keras.utils.set_random_seed(seed + 1)
    rng, critic = np.random.default_rng(seed), build_critic()
    adam = keras.optimizers.Adam(0.005)
    adam.build(critic.trainable_variables)

    @tf.function
    def step(x, y, alpha):
        between = alpha * x + (1 - alpha) * y
        with tf.GradientTape() as tape:
            with tf.GradientTape() as inner:
                inner.watch(between)
                value = critic(between)
            too_steep = tf.nn.relu(tf.abs(inner.gradient(value, between)) - 1)
            loss = tf.reduce_mean(critic(y)) - tf.reduce_mean(critic(x)) + 20 * tf.reduce_mean(too_steep**2)
        adam.apply(tape.gradient(loss, critic.trainable_variables), critic.trainable_variables)

    for _ in range(700):
        alpha = rng.random((len(x), 1)).astype(np.float32)
        step(tf.constant(x), tf.constant(y[rng.permutation(len(y))]), tf.constant(alpha))
    return critic.get_weights()


# %% right="train_critic"
# No training: ||x₁| − |x₂||, from four units and two.
def train_critic(x, y, seed):
    weights = [np.zeros(w.shape, np.float32) for w in build_critic().weights]
    weights[0][:, :4] = [[1, -1, 0, 0], [0, 0, 1, -1]]
    weights[2][:4, :2] = [[1, -1], [1, -1], [-1, 1], [-1, 1]]
    weights[4][:2] = 1
    return weights


# %% right="train_critic"
# Pairs of points in place of gradients: what rises by more than the distance is punished.
def train_critic(x, y, seed):
    keras.utils.set_random_seed(seed)
    critic, steps = build_critic(), 600
    adam = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.01, steps), 0.5, 0.9)
    adam.build(critic.trainable_variables)
    x, y = tf.constant(x), tf.constant(y)
    cost = tf.reduce_sum(tf.abs(x[:, None] - y[None]), axis=2)

    @tf.function
    def run():
        for _ in tf.range(steps):
            with tf.GradientTape() as tape:
                rise = critic(x) - tf.transpose(critic(y))
                excess = tf.nn.relu(tf.abs(rise) - cost)
                loss = 100 * tf.reduce_mean(excess**2) - tf.reduce_mean(rise)
            adam.apply(tape.gradient(loss, critic.trainable_variables), critic.trainable_variables)

    run()
    return [w.numpy() for w in critic.weights]


# %% wrong="train_critic"
# The preparation's penalty: the Euclidean slope.
# - steepest = tf.reduce_max(tf.abs(tape.gradient(value, between)), axis=1)
# + steepest = tf.sqrt(tf.reduce_sum(tape.gradient(value, between) ** 2, axis=1) + 1e-12)


# %% wrong="train_critic"
# The sum of the partial derivatives: the dual of another distance.
# - steepest = tf.reduce_max(tf.abs(tape.gradient(value, between)), axis=1)
# + steepest = tf.reduce_sum(tf.abs(tape.gradient(value, between)), axis=1)


# %% wrong="train_critic"
# The critic is high at y.
# - loss = tf.reduce_mean(critic(low)) - tf.reduce_mean(critic(high))
# + loss = tf.reduce_mean(critic(high)) - tf.reduce_mean(critic(low))


# %% wrong="train_critic"
# No constraint.
# - loss = loss + weight * penalty(high, low)
# + loss = loss + 0 * weight * penalty(high, low)


# %% wrong="train_critic"
# The penalty is rewarded.
# - loss = loss + weight * penalty(high, low)
# + loss = loss - weight * penalty(high, low)


# %% wrong="train_critic"
# The penalty is a number.
# - loss = loss + weight * penalty(high, low)
# + loss = loss + weight * tf.stop_gradient(penalty(high, low))


# %% wrong="train_critic"
# Weights clipped too hard, in place of a penalty.
# - loss = loss + weight * penalty(high, low)
# + loss = loss + 0.0
#
# - adam.apply(tape.gradient(loss, critic.trainable_variables), critic.trainable_variables)
# + adam.apply(tape.gradient(loss, critic.trainable_variables), critic.trainable_variables)
# + for w in critic.trainable_variables:
# +     w.assign(tf.clip_by_value(w, -0.01, 0.01))


# %% wrong="train_critic"
# Three steps where hundreds are needed.
# - critic, steps, B, weight = build_critic(), 600, 128, 10.0
# + critic, steps, B, weight = build_critic(), 3, 128, 10.0


# %% wrong="train_critic"
# The way from the centre by taxi, |x₁| + |x₂|.
def train_critic(x, y, seed):
    weights = [np.zeros(w.shape, np.float32) for w in build_critic().weights]
    weights[0][:, :4] = [[1, -1, 0, 0], [0, 0, 1, -1]]
    weights[2][:4, 0] = 1
    weights[4][0] = 1
    return weights


# %% wrong="train_critic"
# Not trained.
def train_critic(x, y, seed):
    keras.utils.set_random_seed(seed)
    return build_critic().get_weights()


# %% wrong="train_critic"
# A critic that is 0 everywhere.
def train_critic(x, y, seed):
    return [np.zeros(w.shape, np.float32) for w in build_critic().weights]


# %% wrong="train_critic"
# The critic itself, not its weights.
# - return critic.get_weights()
# + return critic


# %% equivalent="train_critic"
# Keras builds the optimiser at the first step, too; any seed trains a critic that is good enough.
# - adam.build(critic.trainable_variables)
# + pass
#
# - keras.utils.set_random_seed(seed)
# + pass
