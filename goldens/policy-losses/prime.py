"""PRIME (arXiv 2502.01456) as its authors' recipe for verl has it, which no package of verl holds: written down again, with verl's own masked_whiten."""

import torch

GROUP, LENGTHS, BETA = 3, [5, 3, 4, 1, 5, 2], 0.3


def left_over(values: torch.Tensor, means: torch.Tensor) -> torch.Tensor:
    n = len(means)
    return (n * values - means.sum()) / (n - 1)


def advantages_of(rewards, accuracies, mask, dpo: float, gt: float, masked_whiten) -> torch.Tensor:
    total = torch.zeros_like(rewards)
    for start in range(0, len(rewards), GROUP):
        own = slice(start, start + GROUP)
        means = (rewards[own] * mask[own]).sum(1) / mask[own].sum(1)
        total[own] += dpo * left_over(rewards[own], means) * mask[own]
        for i in range(start, start + GROUP):
            total[i, int(mask[i].sum()) - 1] += gt * left_over(accuracies[i], accuracies[own])
    returns = total.flip(1).cumsum(1).flip(1)
    return masked_whiten(returns, mask) * mask


def cases(masked_whiten) -> dict:
    generator = torch.Generator().manual_seed(71)

    def draw() -> torch.Tensor:
        return torch.round(torch.randn(6, 5, generator=generator) * 1024) / 1024

    mask = (torch.arange(5)[None] < torch.tensor(LENGTHS)[:, None]).double()
    rewards, ratios = draw() * mask, draw()
    accuracies = torch.tensor([1.0, 0.0, 0.5, 1.0, 1.0, 0.0])
    found = [
        {"options": {"dpoCoef": dpo, "gtCoef": gt}, "advantages": advantages_of(rewards, accuracies, mask, dpo, gt, masked_whiten).tolist()}
        for dpo, gt in ((5.0, 5.0), (1.0, 0.0), (0.5, 2.0))
    ]
    leaf = ratios.clone().requires_grad_()
    scores = torch.sigmoid(BETA * (leaf * mask).sum(1))
    loss = torch.nn.functional.binary_cross_entropy(scores, accuracies)
    loss.backward()
    inputs = {"n": GROUP, "beta": BETA, "lengths": LENGTHS, "accuracies": accuracies.tolist(), "token_rewards": rewards.tolist()}
    return {**inputs, "log_ratios": ratios.tolist(), "cases": found, "loss": loss.item(), "gradient": leaf.grad.tolist()}
