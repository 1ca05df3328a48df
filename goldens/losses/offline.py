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
        "levels": oreo_levels(rows, untrained, annotations, before, beta, alpha),
    }


def oreo_levels(rows, untrained, annotations, before, beta, alpha) -> dict:
    """The variants whose actions are steps of two tokens, or the whole response: written down step by step."""
    found = {}
    for level in ("step", "response"):
        policy, total, steps = load("llama"), torch.zeros(()), []
        for row, now, then, given in zip(rows, log_softmaxes(policy, rows), before, annotations):
            places = range(untrained, len(row) - 1)
            parts = [list(places)] if level == "response" else [list(places)[i : i + 2] for i in range(0, len(places), 2)]
            ratio = lambda t: now[t, row[t + 1]] - then[t, row[t + 1]]  # noqa: B023, E731
            for k, part in enumerate(parts):
                later = sum((ratio(t).detach() for following in parts[k + 1 :] for t in following), torch.zeros(()))
                to_come = sum(given["rewards"][t] for following in parts[k:] for t in following)
                residual = given["values"][part[0]] - to_come + beta * (sum(ratio(t) for t in part) + later)
                distance = sum((now[t].exp() * (now[t] - then[t])).sum() for t in part)
                total = total + (residual.square() + alpha * distance) / len(parts) / len(rows)
            steps.append([0] * untrained + [k + 1 for k, part in enumerate(parts) for _ in part])
        total.backward()
        found[level] = {"steps": steps, "loss": total.item(), "norm": policy.model.norm.weight.grad.tolist()}
    return found


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


def ilql(rows: list[list[int]]) -> dict:
    """ILQL (arXiv 2206.11871), as trlX's ILQLConfig.loss has it, with linear heads whose numbers are a formula. Some tokens are no actions."""
    options = {"gamma": 0.9, "tau": 0.8, "cqlScale": 0.2, "awacScale": 0.5, "beta": 0.3}
    model = load("llama")
    vocabulary, width = model.lm_head.weight.shape
    heads = [
        (0.1 * torch.sin(0.37 * count(vocabulary).unsqueeze(1) + 1.3 * count(width) + i)).float().requires_grad_() for i in range(4)
    ]
    v_head = (0.3 * torch.cos(0.9 * count(width))).float().requires_grad_()
    terms = {"q_loss": torch.zeros(()), "v_loss": torch.zeros(()), "cql_loss": torch.zeros(()), "awac_loss": torch.zeros(())}
    masks = [[0 if t in (0, 3) else 1 for t in range(len(row) - 1)] for row in rows]
    total = sum(map(sum, masks))
    rewards = [wave(len(row) - 1, 0.5, i) for i, row in enumerate(rows)]
    for row, mask, reward in zip(rows, masks, rewards):
        hidden = model.model(torch.tensor([row])).last_hidden_state[0, :-1]
        at = [t for t, is_action in enumerate(mask) if is_action]
        states, actions = hidden[at], torch.tensor([row[t + 1] for t in at])
        values = states @ v_head
        following = torch.cat([values[1:], torch.zeros(1)]).detach()
        goal = reward[at] + options["gamma"] * following
        qs = [states @ head.T for head in heads]
        chosen = [q.gather(-1, actions.unsqueeze(-1)).squeeze(-1) for q in qs]
        target = torch.minimum(chosen[2], chosen[3]).detach()
        above = target - values
        terms["q_loss"] = terms["q_loss"] + sum((q - goal).square().sum() for q in chosen[:2])
        factor = torch.where(above >= 0, options["tau"], 1 - options["tau"])
        terms["v_loss"] = terms["v_loss"] + (factor * above.square()).sum()
        terms["cql_loss"] = terms["cql_loss"] + sum(torch.nn.functional.cross_entropy(q, actions, reduction="sum") for q in qs[:2])
        surprise = torch.nn.functional.cross_entropy(model.lm_head(states), actions, reduction="none")
        terms["awac_loss"] = terms["awac_loss"] + (surprise * (options["beta"] * above).exp().detach()).sum()
    terms = {name: value / total for name, value in terms.items()}
    scales = {"q_loss": 1, "v_loss": 1, "cql_loss": options["cqlScale"], "awac_loss": options["awacScale"]}
    loss = sum(scales[name] * value for name, value in terms.items())
    loss.backward()
    return {
        **{"options": options, "masks": masks, "rewards": [reward.tolist() for reward in rewards]},
        **{"loss": loss.item(), "metrics": {name: value.item() for name, value in terms.items()}},
        **{"norm": model.model.norm.weight.grad.tolist(), "v_head": v_head.grad.tolist(), "q1_head": heads[0].grad.sum(1).tolist()},
    }


def cql(rows: list[list[int]]) -> dict:
    """CQL(H) (arXiv 2006.04779, eq. 4) with one Q head and its target, as it is written down. Some tokens are no actions."""
    options = {"gamma": 0.9, "alpha": 0.4}
    model = load("llama")
    vocabulary, width = model.lm_head.weight.shape
    head, target = [
        (0.1 * torch.sin(0.37 * count(vocabulary).unsqueeze(1) + 1.3 * count(width) + i)).float().requires_grad_() for i in (0, 2)
    ]
    masks = [[0 if t in (0, 3) else 1 for t in range(len(row) - 1)] for row in rows]
    total = sum(map(sum, masks))
    rewards = [wave(len(row) - 1, 0.5, i) for i, row in enumerate(rows)]
    bellman, conservative = torch.zeros(()), torch.zeros(())
    for row, mask, reward in zip(rows, masks, rewards):
        hidden = model.model(torch.tensor([row])).last_hidden_state[0, :-1]
        at = [t for t, is_action in enumerate(mask) if is_action]
        for k, t in enumerate(at):
            q = head @ hidden[t]
            with torch.no_grad():
                following = (target @ hidden[at[k + 1]]).max() if k + 1 < len(at) else torch.zeros(())
            goal = reward[t] + options["gamma"] * following
            bellman = bellman + 0.5 * (q[row[t + 1]] - goal).square()
            conservative = conservative + torch.log(q.exp().sum()) - q[row[t + 1]]
    bellman, conservative = bellman / total, conservative / total
    loss = bellman + options["alpha"] * conservative
    loss.backward()
    return {
        **{"options": options, "masks": masks, "rewards": [reward.tolist() for reward in rewards]},
        **{"loss": loss.item(), "metrics": {"bellman_loss": bellman.item(), "conservative_loss": conservative.item()}},
        **{"norm": model.model.norm.weight.grad.tolist(), "q1_head": head.grad.sum(1).tolist()},
    }
