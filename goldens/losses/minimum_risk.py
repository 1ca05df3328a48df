"""Minimum risk training (arXiv 1512.02433, eq. 8 and 9) as it is written down: Q over the candidates of a prompt by torch.softmax."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

ROOT = Path(__file__).resolve().parents[1]


def minimum_risk(rows: list[list[int]], untrained: int) -> dict:
    groups, risks, alpha = [0, 1, 0, 1, 1, 0], [1.0, 0.25, 0.0, -0.5, 0.75, 0.5], 0.3
    model = AutoModelForCausalLM.from_pretrained(ROOT / "models/llama", dtype=torch.float64)
    log_probs = []
    for row in rows:
        every = torch.log_softmax(model(torch.tensor([row])).logits[0, :-1], -1)
        chosen = every.gather(-1, torch.tensor(row[1:]).unsqueeze(-1)).squeeze(-1)
        log_probs.append(chosen[untrained:].sum())
    log_probs = torch.stack(log_probs)
    of, total = torch.tensor(groups), torch.zeros((), dtype=torch.float64)
    for group in sorted(set(groups)):
        shares = torch.softmax(alpha * log_probs[of == group], 0)
        total = total + (shares * torch.tensor(risks, dtype=torch.float64)[of == group]).sum() / len(set(groups))
    total.backward()
    return {
        **{"untrained": untrained, "groups": groups, "risks": risks, "alpha": alpha},
        **{"loss": total.item(), "norm": model.model.norm.weight.grad.tolist()},
    }
