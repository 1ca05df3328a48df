"""REINFORCE++ as OpenRLHF computes it, which needs vLLM and DeepSpeed: returns of tokens with their KL, whitened over all tokens of the
batch (population variance, at least 1e-8), and the clipped loss as a mean over tokens. Written here in torch, with loops, float64."""

import torch

LENGTH = 5


def cases() -> dict:
    generator = torch.Generator().manual_seed(67)
    lengths, groups = [5, 2, 4, 1, 3, 5], [0, 0, 0, 1, 1, 1]
    count = len(lengths)
    mask = torch.arange(LENGTH)[None] < torch.tensor(lengths)[:, None]
    old = (-2 * torch.rand(count, LENGTH, generator=generator)).round(decimals=4) * mask
    reference = (old + 0.5 * torch.randn(count, LENGTH, generator=generator)).round(decimals=4) * mask
    logps = (old + 0.3 * torch.randn(count, LENGTH, generator=generator)).round(decimals=4) * mask
    rewards = torch.randn(count, generator=generator).round(decimals=4)
    results = []
    for gamma, beta, baseline in [(1.0, 0.1, "none"), (0.9, 0.05, "none"), (1.0, 0.0, "group")]:
        shaped = rewards.clone()
        if baseline == "group":
            for group in set(groups):
                own = [i for i in range(count) if groups[i] == group]
                shaped[own] -= rewards[own].mean()
        returns = torch.zeros(count, LENGTH)
        for i, length in enumerate(lengths):
            for t in range(length):
                for k in range(t, length):
                    paid = -beta * (old[i, k] - reference[i, k]) + (shaped[i] if k == length - 1 else 0.0)
                    returns[i, t] += gamma ** (k - t) * paid
        tokens = returns[mask]
        advantages = (returns - tokens.mean()) * tokens.var(correction=0).clamp(min=1e-8).rsqrt() * mask
        leaf = logps.clone().requires_grad_()
        ratio = (leaf - old).exp()
        per_token = -torch.min(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
        loss = (per_token * mask).sum() / mask.sum()
        loss.backward()
        options = {"gamma": gamma, "beta": beta, "baseline": baseline}
        results.append({"options": options, "advantages": advantages.tolist(), "loss": loss.item(), "gradient": leaf.grad.tolist()})
    inputs = {"old_logps": old, "ref_logps": reference, "logps": logps, "rewards": rewards}
    numbers = {key: value.tolist() for key, value in inputs.items()}
    return {"lengths": lengths, "groups": groups, **numbers, "cases": results}
