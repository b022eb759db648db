"""The models of `make speed` in PyTorch: same networks, same loss, same update, in the usual loop.

Each function makes a model and returns a run of some steps; images stay in memory. PyTorch is nothing that
the course depends on.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

THREADS = 2

Run = Callable[[], object]


class SpeedError(RuntimeError):
    """The comparison cannot run; the message is one line that says what to do."""


def pytorch() -> Any:
    """The module, on as many threads as TensorFlow gets."""
    try:
        import torch
    except ModuleNotFoundError:
        raise SpeedError(
            "PyTorch is not installed, which this comparison needs: "
            f"{sys.executable} -m pip install -e '.[speed]', or leave it out by ARGS=rbm"
        ) from None
    torch.set_num_threads(THREADS)
    return torch


def mlp(*sizes: int) -> Any:
    """Linear layers with SiLU between them."""
    nn = pytorch().nn
    layers: list[Any] = []
    for i, o in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(i, o), nn.SiLU()]
    return nn.Sequential(*layers[:-1])


def vae(data: Any, H: int, L: int, B: int, epochs: int) -> Run:
    torch = pytorch()
    D, loss_of = data.shape[1], torch.nn.functional.binary_cross_entropy_with_logits
    encoder, decoder, images = mlp(D, H, 2 * L), mlp(L, H, D), torch.from_numpy(data)
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 1e-3)

    def loss(x: Any) -> Any:
        mean, log_scale = encoder(x).chunk(2, dim=-1)
        z = mean + log_scale.exp() * torch.randn_like(mean)
        distortion = loss_of(decoder(z), x, reduction="sum")
        kl = 0.5 * ((2 * log_scale).exp() + mean**2 - 1 - 2 * log_scale).sum()
        return (distortion + kl) / len(x)

    def run() -> None:
        for _ in range(epochs):
            order = torch.randperm(len(images))
            for rows in order[: len(images) // B * B].split(B):
                value = loss(torch.bernoulli(images[rows]))
                optimizer.zero_grad()
                value.backward()
                optimizer.step()

    return run


class Player:
    """A network with its Adam, and the moving average of its weights if ``averaged``."""

    def __init__(self, network: Any, betas: tuple[float, float], averaged: bool = False) -> None:
        self.torch, self.network = pytorch(), network
        self.weights = list(network.parameters())
        self.optimizer = self.torch.optim.Adam(self.weights, 1e-3, betas=betas)
        self.average = [weight.detach().clone() for weight in self.weights] if averaged else []

    def slopes(self, loss: Any, keep: bool = False) -> Any:
        return self.torch.autograd.grad(loss, self.weights, retain_graph=keep)

    def step(self, slopes: Any) -> None:
        for weight, slope in zip(self.weights, slopes, strict=True):
            weight.grad = slope
        self.optimizer.step()
        if self.average:
            self.torch._foreach_lerp_(self.average, self.weights, 0.01)


def dcgan_networks(shape: tuple[int, int], C: int, L: int) -> tuple[Any, Any]:
    """Week 8's generator and discriminator."""
    nn, (height, width) = pytorch().nn, shape

    def norm(n: int) -> list[Any]:
        return [nn.BatchNorm2d(n, eps=1e-3), nn.ReLU()]

    first = nn.Linear(L, height * width // 16 * 2 * C, bias=False)
    layers = [first, nn.Unflatten(1, (2 * C, height // 4, width // 4))]
    for i, o in ((2 * C, 2 * C), (2 * C, C)):
        layers += [*norm(i), nn.Upsample(scale_factor=2), nn.Conv2d(i, o, 3, padding=1, bias=False)]
    generator = nn.Sequential(*layers, *norm(C), nn.Conv2d(C, 1, 3, padding=1), nn.Sigmoid())
    halve: list[Any] = []
    for i, o, size, stride in ((1, C, 3, 1), (C, 2 * C, 4, 2), (2 * C, 4 * C, 4, 2)):
        halve += [nn.Conv2d(i, o, size, stride, 1), nn.LeakyReLU(0.2)]
    score = nn.Linear(4 * C * (height // 4) * (width // 4), 1)
    return generator, nn.Sequential(*halve, nn.Flatten(), score)


def dcgan(data: Any, C: int, L: int, B: int, gamma: float) -> Run:
    """data: (N, height, width, 1). Both players move at the same time."""
    torch = pytorch()
    softplus, images = torch.nn.functional.softplus, torch.from_numpy(data).permute(0, 3, 1, 2).contiguous()
    G, D = dcgan_networks(data.shape[1:3], C, L)
    generator, discriminator = Player(G, (0.5, 0.99), averaged=True), Player(D, (0.5, 0.99))

    def run() -> None:
        for rows in torch.randperm(len(images)).split(B):
            x = images[rows].requires_grad_()
            real = D(x)
            (slope,) = torch.autograd.grad(real.sum(), x, create_graph=True)
            fake = D(G(torch.randn(B, L)))
            r1 = slope.square().sum((1, 2, 3)).mean()
            mistakes = softplus(-real).mean() + softplus(fake).mean() + 0.5 * gamma * r1
            d_slopes = discriminator.slopes(mistakes, keep=True)
            g_slopes = generator.slopes(softplus(-fake).mean())
            discriminator.step(d_slopes)
            generator.step(g_slopes)

    return run


def wgan(data: Any, H: int, L: int, B: int, turns: int, penalty: float) -> Run:
    """data: (N, D). ``turns`` steps of the critic, each with images of its own, then one of the generator."""
    torch = pytorch()
    D, images = data.shape[1], torch.from_numpy(data)
    G, f = torch.nn.Sequential(mlp(L, H, H, D), torch.nn.Sigmoid()), mlp(D, H, H, 1)
    generator, critic = Player(G, (0.0, 0.9), averaged=True), Player(f, (0.0, 0.9))

    def run() -> None:
        for rows in torch.randperm(len(images)).split(turns * B):
            for real in images[rows].split(B):
                with torch.no_grad():
                    fake = G(torch.randn(B, L))
                alpha = torch.rand(B, 1)
                between = (alpha * real + (1 - alpha) * fake).requires_grad_()
                (slope,) = torch.autograd.grad(f(between).sum(), between, create_graph=True)
                excess = ((slope.square().sum(1) + 1e-12).sqrt() - 1).square().mean()
                critic.step(critic.slopes(penalty * excess - f(real).mean() + f(fake).mean()))
            generator.step(generator.slopes(-f(G(torch.randn(B, L))).mean()))

    return run


def pixelcnn_network(C: int, blocks: int) -> Any:
    """A masked convolution of 7×7, residual blocks of 1×1, masked 3×3, 1×1, two of 1×1, logits."""
    torch = pytorch()
    nn = torch.nn

    class Masked(nn.Conv2d):  # type: ignore[name-defined]
        def __init__(self, i: int, o: int, k: int, centre: int) -> None:
            super().__init__(i, o, k, padding=k // 2)
            mask = torch.ones(k, k)
            mask[k // 2 + 1 :] = mask[k // 2, k // 2 + centre :] = 0
            self.register_buffer("mask", mask)

        def forward(self, x: Any) -> Any:
            return nn.functional.conv2d(x, self.weight * self.mask, self.bias, padding=self.padding)

    class Residual(nn.Sequential):  # type: ignore[name-defined]
        def forward(self, x: Any) -> Any:
            return x + super().forward(x)

    def block() -> Any:
        parts = nn.Conv2d(C, C, 1), Masked(C, C // 2, 3, 1), nn.Conv2d(C // 2, C, 1)
        return Residual(*(layer for part in parts for layer in (part, nn.ReLU())))

    ends = [layer for _ in range(2) for layer in (nn.Conv2d(C, C, 1), nn.ReLU())]
    residual = [block() for _ in range(blocks)]
    return nn.Sequential(Masked(1, C, 7, 0), nn.ReLU(), *residual, *ends, nn.Conv2d(C, 1, 1))


def pixelcnn(data: Any, C: int, blocks: int, B: int) -> Run:
    """data: (N, height, width, 1), binarised afresh."""
    torch = pytorch()
    images = torch.from_numpy(data).permute(0, 3, 1, 2).contiguous()
    network, loss_of = pixelcnn_network(C, blocks), torch.nn.functional.binary_cross_entropy_with_logits
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)

    def run() -> None:
        for rows in torch.randperm(len(images)).split(B):
            x = torch.bernoulli(images[rows])
            loss = loss_of(network(x), x, reduction="sum") / B
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run


def gpt_network(V: int, T: int, E: int, layers: int, heads: int) -> Any:
    """GPT-2's form: (B, T) → logits (B, T, V)."""
    torch = pytorch()
    nn, F = torch.nn, torch.nn.functional

    class Block(nn.Module):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.before, self.between = nn.LayerNorm(E), nn.LayerNorm(E)
            self.qkv, self.out = nn.Linear(E, 3 * E), nn.Linear(E, E)
            gelu = nn.GELU(approximate="tanh")
            self.mlp = nn.Sequential(nn.Linear(E, 4 * E), gelu, nn.Linear(4 * E, E))

        def forward(self, x: Any) -> Any:
            parts = self.qkv(self.before(x)).split(E, dim=2)
            q, k, v = (part.unflatten(2, (heads, -1)).transpose(1, 2) for part in parts)
            read = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(read.transpose(1, 2).flatten(2))
            return x + self.mlp(self.between(x))

    class GPT(nn.Module):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.token, self.place = nn.Embedding(V, E), nn.Embedding(T, E)
            self.blocks = nn.Sequential(*(Block() for _ in range(layers)))
            self.last, self.head = nn.LayerNorm(E), nn.Linear(E, V, bias=False)

        def forward(self, x: Any) -> Any:
            return self.head(self.last(self.blocks(self.token(x) + self.place.weight)))

    return GPT()


def gpt(codes: Any, V: int, T: int, E: int, layers: int, heads: int, B: int, steps: int) -> Run:
    """codes: (N,), from which rows of T + 1 are cut at random places."""
    torch = pytorch()
    network, text = gpt_network(V, T, E, layers, heads), torch.from_numpy(codes).long()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, betas=(0.9, 0.99), weight_decay=0.1)

    def run() -> None:
        for _ in range(steps):
            starts = torch.randint(len(text) - T, (B,))
            rows = torch.stack([text[i : i + T + 1] for i in starts])
            logits = network(rows[:, :-1])
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()

    return run


def realnvp_networks(couplings: int, hidden: tuple[int, ...]) -> tuple[Any, ...]:
    """Week 12's networks of the couplings in the plane."""
    return tuple(mlp(2, *hidden, 4) for _ in range(couplings))


def realnvp(data: Any, couplings: int, hidden: tuple[int, ...], B: int) -> Run:
    """data: (N, 2). Each coupling keeps one of the two variables, in turn."""
    torch = pytorch()
    networks, points = realnvp_networks(couplings, hidden), torch.from_numpy(data)
    masks = [torch.tensor([i % 2, 1 - i % 2], dtype=torch.float32) for i in range(couplings)]
    optimizer = torch.optim.Adam([weight for net in networks for weight in net.parameters()], 1e-3)

    def log_p(x: Any) -> Any:
        log_det = 0.0
        for mask, network in zip(reversed(masks), reversed(networks), strict=True):
            a, m = network(mask * x).chunk(2, dim=-1)
            s = 2 * (a / 2).tanh() * (1 - mask)
            x = (x - m * (1 - mask)) * (-s).exp()
            log_det = log_det - s.sum(-1)
        return (-(x**2) / 2 - 0.5 * math.log(2 * math.pi)).sum(-1) + log_det

    def run() -> None:
        for rows in torch.randperm(len(points)).split(B):
            loss = -log_p(points[rows]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run


def unet_network(C: int, halvings: int, H: int = 64) -> Any:
    """Week 13's U-Net: (images (B, 1, height, width), waves of the noise level (B, 8)) → images."""
    nn = pytorch().nn

    class Block(nn.Module):  # type: ignore[name-defined]
        def __init__(self, i: int, o: int) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(i, o, 3, padding=1), nn.Conv2d(o, o, 3, padding=1)
            self.level, self.around = nn.Linear(H, o), nn.Identity() if i == o else nn.Conv2d(i, o, 1)

        def forward(self, h: Any, level: Any) -> Any:
            u = self.one(nn.functional.silu(h)) + self.level(level)[:, :, None, None]
            return self.two(nn.functional.silu(u)) + self.around(h)

    class UNet(nn.Module):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            sizes = [C * 2**i for i in range(halvings + 1)]
            pairs = list(zip(sizes, sizes[1:], strict=False))
            self.level = nn.Sequential(nn.Linear(8, H), nn.SiLU())
            self.first, self.last = nn.Conv2d(1, C, 3, padding=1), nn.Conv2d(C, 1, 3, padding=1)
            self.down = nn.ModuleList(Block(a, a) for a, _ in pairs)
            self.halve = nn.ModuleList(nn.Conv2d(a, b, 2, 2) for a, b in pairs)
            self.middle = nn.ModuleList(Block(sizes[-1], sizes[-1]) for _ in range(2))
            self.grow = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, 2) for a, b in reversed(pairs))
            self.up = nn.ModuleList(Block(2 * a, a) for a, _ in reversed(pairs))

        def forward(self, x: Any, waves: Any) -> Any:
            level, kept, h = self.level(waves), [], self.first(x)
            for block, halve in zip(self.down, self.halve, strict=True):
                kept.append(block(h, level))
                h = halve(kept[-1])
            for block in self.middle:
                h = block(h, level)
            for grow, block in zip(self.grow, self.up, strict=True):
                h = block(pytorch().cat([grow(h), kept.pop()], 1), level)
            return self.last(nn.functional.silu(h))

    return UNet()


def unet(data: Any, C: int, halvings: int, B: int) -> Run:
    """data: (N, height, width, 1). The simple loss at random levels, by way of the velocity."""
    torch = pytorch()
    images, network = torch.from_numpy(data).permute(0, 3, 1, 2).contiguous(), unet_network(C, halvings)
    levels = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0).float()
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    frequencies = torch.tensor([0.125, 0.25, 0.5, 1.0])

    def run() -> None:
        for rows in torch.randperm(len(images)).split(B):
            a, eps = levels[torch.randint(1000, (B,))], torch.randn(B, *images.shape[1:])
            angle = (a / (1 - a)).log()[:, None] * frequencies
            waves, a = torch.cat([angle.sin(), angle.cos()], 1), a[:, None, None, None]
            x = a.sqrt() * images[rows] + (1 - a).sqrt() * eps
            guess = (1 - a).sqrt() * x + a.sqrt() * network(x, waves)
            loss = (guess - eps).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run
