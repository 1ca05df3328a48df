"""FUDGE's loss (arXiv 2104.05218) and CD-FUDGE's (arXiv 2310.17022) of `models/llama` as a classifier of prefixes, by torch."""

import torch

from offline import load, wave

LABELS = [1.0, 0.0, 0.25]


def fudge(rows: list[list[int]]) -> dict:
    model = load("llama")
    cases = {}
    for target in ("log_odds", "value"):
        model.zero_grad()
        total = torch.zeros(())
        for row, label in zip(rows, LABELS):
            z = model(torch.tensor([row])).logits[0, :-1].gather(-1, torch.tensor(row[1:])[:, None])[:, 0]
            wanted = torch.full_like(z, label)
            if target == "value":
                loss = torch.nn.functional.mse_loss(z, wanted, reduction="none")
            else:
                loss = torch.nn.functional.binary_cross_entropy_with_logits(z, wanted, reduction="none")
            total = total + (weights(row) * loss).sum()
        total.backward()
        cases[target] = {"loss": total.item(), "norm": model.model.norm.weight.grad.tolist()}
    return {"sequences": rows, "labels": LABELS, "cases": cases}


def weights(row: list[int]) -> torch.Tensor:
    return wave(len(row) - 1, 1.0, 1.0).abs()
