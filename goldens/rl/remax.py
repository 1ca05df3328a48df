"""The loss of ReMax: r - r(greedy) times log p, with the mean over tokens of its authors' trainer and with the sum of the paper's
eq. 4. Their trainer needs DeepSpeed, so the two lines are written here, in torch and float64."""

import torch

COUNT, LENGTH = 4, 5


def cases() -> dict:
    generator = torch.Generator().manual_seed(43)
    lengths = torch.tensor([5, 2, 4, 1])
    mask = (torch.arange(LENGTH)[None] < lengths[:, None]).double()
    logps = (-2 * torch.rand(COUNT, LENGTH, generator=generator)).round(decimals=4) * mask
    rewards = torch.randn(COUNT, generator=generator).round(decimals=4)
    baselines = torch.randn(COUNT, generator=generator).round(decimals=4)
    results = []
    for name in ("token-mean", "sequence-sum"):
        x = logps.clone().requires_grad_()
        weighted = -(rewards - baselines)[:, None] * x * mask
        loss = weighted.sum() / (mask.sum() if name == "token-mean" else COUNT)
        loss.backward()
        results.append({"aggregation": name, "loss": loss.item(), "gradient": x.grad.tolist()})
    inputs = {"logps": logps.tolist(), "rewards": rewards.tolist(), "baselines": baselines.tolist(), "lengths": lengths.tolist()}
    return {"inputs": inputs, "cases": results}
