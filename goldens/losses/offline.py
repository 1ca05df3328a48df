"""Losses over trajectories of another policy, as they are written down, on whole tensors: OREO (arXiv 2412.16145) and readings of Q."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

ROOT = Path(__file__).resolve().parents[1]


def load(name: str):
    return AutoModelForCausalLM.from_pretrained(ROOT / "models" / name, dtype=torch.float32)


def log_softmaxes(model, rows: list[list[int]]) -> list[torch.Tensor]:
    """One row at a time, without padding."""
    return [torch.log_softmax(model(torch.tensor([row])).logits[0, :-1], -1) for row in rows]


def count(n: int) -> torch.Tensor:
    return torch.arange(n, dtype=torch.float64)


def wave(n: int, scale: float, start: float = 0.0) -> torch.Tensor:
    return (scale * torch.sin(1.7 * count(n) + start)).float()


def oreo(rows: list[list[int]], untrained: int) -> dict:
    beta, alpha = 0.3, 0.05
    policy, reference = load("llama"), load("mistral")
    with torch.no_grad():
        before = log_softmaxes(reference, rows)
    losses, gradients_of = {}, {}
    annotations = []
    for mode in ("policy", "policy_with_kl"):
        policy.zero_grad()
        total = torch.zeros(())
        annotations = []
        for i, (row, now, then) in enumerate(zip(rows, log_softmaxes(policy, rows), before)):
            target = torch.tensor(row[1:]).unsqueeze(-1)
            is_action = (torch.arange(len(row) - 1) >= untrained).float()
            reference_log_probs = then.gather(-1, target).squeeze(-1)
            values, rewards = wave(len(row) - 1, 0.5, i), wave(len(row) - 1, 0.25, 2.0 + i) * is_action
            ratios = (now.gather(-1, target).squeeze(-1) - reference_log_probs) * is_action
            residuals = torch.stack(
                [
                    values[t] - rewards[t:].sum() + beta * (ratios[t] + ratios[t + 1 :].sum().detach())
                    for t in range(len(row) - 1)
                ]
            )
            weights = is_action / is_action.sum() / len(rows)
            total = total + (weights * residuals.square()).sum()
            if mode == "policy_with_kl":
                total = total + alpha * (weights * (now.exp() * (now - then)).sum(-1)).sum()
            annotations.append(
                {
                    "reference_log_probs": reference_log_probs.tolist(),
                    "values": values.tolist(),
                    "rewards": rewards.tolist(),
                    "log_ratios": ratios.tolist(),
                }
            )
        total.backward()
        losses[mode] = total.item()
        gradients_of[mode] = policy.model.norm.weight.grad.tolist()
    critic = load("llama")
    head = torch.cos(0.9 * count(critic.config.hidden_size)).float().requires_grad_()
    total = torch.zeros(())
    for row, given in zip(rows, annotations):
        is_action = (torch.arange(len(row) - 1) >= untrained).float()
        values = critic.model(torch.tensor([row])).last_hidden_state[0, :-1] @ head
        ratios, rewards = torch.tensor(given["log_ratios"]), torch.tensor(given["rewards"])
        to_come = torch.stack([beta * ratios[t:].sum() - rewards[t:].sum() for t in range(len(row) - 1)])
        total = total + (is_action / is_action.sum() / len(rows) * (values + to_come).square()).sum()
    total.backward()
    losses["value"] = total.item()
    gradients_of["value"] = critic.model.norm.weight.grad.tolist()
    return {
        **{"beta": beta, "alpha": alpha, "untrained": untrained, "rows": annotations},
        **{"losses": losses, "norm": gradients_of, "head": head.grad.tolist()},
    }


def q_values(rows: list[list[int]]) -> dict:
    """Readings of Q of a head with a bias (whose numbers are a formula), and of the model's own logits; each summed with weights of its own."""
    alpha = 0.7
    cases = {}
    for head in ("q_head", "lm_head"):
        model = load("llama")
        vocabulary, width = model.lm_head.weight.shape
        weight = torch.sin(0.37 * count(vocabulary).unsqueeze(1) + 1.3 * count(width)).float().requires_grad_()
        bias = torch.cos(0.11 * count(vocabulary)).float().requires_grad_()
        readings = {"chosen": [], "max": [], "soft": [], "expected": []}
        total = torch.zeros(())
        for row in rows:
            hidden = model.model(torch.tensor([row])).last_hidden_state[0, :-1]
            logits = model.lm_head(hidden)
            q = hidden @ weight.T + bias if head == "q_head" else logits
            found = {
                "chosen": q.gather(-1, torch.tensor(row[1:]).unsqueeze(-1)).squeeze(-1),
                "max": q.max(-1).values,
                "soft": alpha * torch.logsumexp(q / alpha, -1),
                "expected": (torch.softmax(logits, -1) * q).sum(-1),
            }
            for i, (name, values) in enumerate(found.items()):
                readings[name].append(values.tolist())
                total = total + (i + 1) * (wave(len(row) - 1, 1.0) * values).sum()
        total.backward()
        cases[head] = {
            **readings,
            "loss": total.item(),
            "norm": model.model.norm.weight.grad.tolist(),
            "lm_head": model.lm_head.weight.grad.sum(1).tolist(),
            "bias": bias.grad.tolist() if head == "q_head" else [],
        }
    return {"alpha": alpha, "cases": cases}
