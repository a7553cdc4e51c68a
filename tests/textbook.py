"""Textbook training steps, written out plainly: what our step must equal.

Everything a framework would hide is spelled out: each forward, each loss, each optimizer.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass
class Networks:
    """The four networks of a CycleGAN."""

    g_x_to_y: nn.Module
    g_y_to_x: nn.Module
    d_x: nn.Module
    d_y: nn.Module


def adam(*networks: nn.Module) -> torch.optim.Adam:
    parameters = [p for net in networks for p in net.parameters()]
    return torch.optim.Adam(parameters, lr=2e-4, betas=(0.5, 0.999))


@dataclass
class SeedTraining:
    """The seed's step: discriminator X, discriminator Y, then both generators."""

    n: Networks
    lambda_weight: float = 10.0

    def __post_init__(self) -> None:
        self.d_x_optimizer = adam(self.n.d_x)
        self.d_y_optimizer = adam(self.n.d_y)
        self.g_optimizer = adam(self.n.g_x_to_y, self.n.g_y_to_x)

    def step(self, images_x: Tensor, images_y: Tensor) -> None:
        n = self.n
        self.d_x_optimizer.zero_grad()
        d_x_real_loss = real_mse_loss(n.d_x(images_x))
        fake_x = n.g_y_to_x(images_y)
        d_x_fake_loss = fake_mse_loss(n.d_x(fake_x))
        (d_x_real_loss + d_x_fake_loss).backward()
        self.d_x_optimizer.step()

        self.d_y_optimizer.zero_grad()
        d_y_real_loss = real_mse_loss(n.d_y(images_y))
        fake_y = n.g_x_to_y(images_x)
        d_y_fake_loss = fake_mse_loss(n.d_y(fake_y))
        (d_y_real_loss + d_y_fake_loss).backward()
        self.d_y_optimizer.step()

        self.g_optimizer.zero_grad()
        fake_x = n.g_y_to_x(images_y)
        g_y_to_x_loss = real_mse_loss(n.d_x(fake_x))
        reconstructed_y = n.g_x_to_y(fake_x)
        y_loss = cycle_consistency_loss(images_y, reconstructed_y, self.lambda_weight)
        fake_y = n.g_x_to_y(images_x)
        g_x_to_y_loss = real_mse_loss(n.d_y(fake_y))
        reconstructed_x = n.g_y_to_x(fake_y)
        x_loss = cycle_consistency_loss(images_x, reconstructed_x, self.lambda_weight)
        (g_y_to_x_loss + g_x_to_y_loss + y_loss + x_loss).backward()
        self.g_optimizer.step()


def real_mse_loss(scores: Tensor) -> Tensor:
    return torch.mean((scores - 1) ** 2)


def fake_mse_loss(scores: Tensor) -> Tensor:
    return torch.mean(scores**2)


def cycle_consistency_loss(real: Tensor, reconstructed: Tensor, weight: float) -> Tensor:
    return weight * torch.mean(torch.abs(real - reconstructed))


@dataclass
class ImagePool:
    """The paper's history of fakes; draws from the generator it is given."""

    size: int
    images: list[Tensor] = field(default_factory=list)

    def query(self, images: Tensor, draw: random.Random) -> Tensor:
        shown = []
        for image in images:
            if len(self.images) < self.size:
                self.images.append(image.clone())
                shown.append(image)
            elif draw.random() < 0.5:
                shown.append(image)
            else:
                index = draw.randrange(self.size)
                shown.append(self.images[index].clone())
                self.images[index] = image.clone()
        return torch.stack(shown)


@dataclass
class PaperTraining:
    """The paper's step: both generators, then both discriminators on pooled fakes, halved."""

    n: Networks
    pool_x: ImagePool
    pool_y: ImagePool

    def __post_init__(self) -> None:
        self.g_optimizer = adam(self.n.g_x_to_y, self.n.g_y_to_x)
        self.d_optimizer = adam(self.n.d_x, self.n.d_y)

    def step(self, x: Tensor, y: Tensor, draw_x: random.Random, draw_y: random.Random) -> None:
        n = self.n
        fake_y, fake_x = n.g_x_to_y(x), n.g_y_to_x(y)
        rec_x, rec_y = n.g_y_to_x(fake_y), n.g_x_to_y(fake_x)
        set_requires_grad(n.d_x, n.d_y, value=False)
        self.g_optimizer.zero_grad()
        gan = real_mse_loss(n.d_y(fake_y)) + real_mse_loss(n.d_x(fake_x))
        cycle = 10 * (rec_x - x).abs().mean() + 10 * (rec_y - y).abs().mean()
        identity = 5 * (n.g_x_to_y(y) - y).abs().mean() + 5 * (n.g_y_to_x(x) - x).abs().mean()
        (gan + cycle + identity).backward()
        self.g_optimizer.step()

        set_requires_grad(n.d_x, n.d_y, value=True)
        self.d_optimizer.zero_grad()
        shown_y = self.pool_y.query(fake_y.detach(), draw_y)
        loss_y = 0.5 * (real_mse_loss(n.d_y(y)) + fake_mse_loss(n.d_y(shown_y)))
        loss_y.backward()
        shown_x = self.pool_x.query(fake_x.detach(), draw_x)
        loss_x = 0.5 * (real_mse_loss(n.d_x(x)) + fake_mse_loss(n.d_x(shown_x)))
        loss_x.backward()
        self.d_optimizer.step()


def set_requires_grad(*networks: nn.Module, value: bool) -> None:
    for network in networks:
        for parameter in network.parameters():
            parameter.requires_grad_(value)
