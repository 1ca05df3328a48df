"""VinePPO, whose code is on no registry, from its definition: values of the states before steps as means of the rewards of completions
that were sampled from there, differences of them as advantages of all tokens of a step, and PPO's clipped loss. Torch, float64."""

import torch

STEP = 9
LENGTH = 6


def cases() -> dict:
    generator = torch.Generator().manual_seed(71)
    completions = [[2, STEP, 3, 4, STEP, 5], [3, 3, 2], [STEP, STEP, 4], [2, 4, STEP]]
    count = len(completions)
    mask = torch.tensor([[t < len(own) for t in range(LENGTH)] for own in completions])
    rewards = torch.tensor([1.0, 0.0, 1.0, 0.25])
    results, states = [], []
    for own in completions:
        starts = [t for t in range(len(own)) if t == 0 or own[t - 1] == STEP]
        sampled = torch.rand(len(starts), 4, generator=generator).round(decimals=3)
        states.append([{"start": start, "rewards": sampled[j].tolist()} for j, start in enumerate(starts)])
    old = (-2 * torch.rand(count, LENGTH, generator=generator)).round(decimals=4) * mask
    logps = (old + 0.3 * torch.randn(count, LENGTH, generator=generator)).round(decimals=4) * mask
    for gamma in (1.0, 0.9):
        advantages = torch.zeros(count, LENGTH)
        for i, own in enumerate(completions):
            for j, state in enumerate(states[i]):
                is_last = j == len(states[i]) - 1
                value = sum(state["rewards"]) / 4
                if is_last:
                    advantage = rewards[i] - value
                else:
                    advantage = gamma * sum(states[i][j + 1]["rewards"]) / 4 - value
                end = len(own) if is_last else states[i][j + 1]["start"]
                advantages[i, state["start"] : end] = advantage
        leaf = logps.clone().requires_grad_()
        ratio = (leaf - old).exp()
        per_token = torch.max(-ratio * advantages, -ratio.clamp(0.8, 1.2) * advantages)
        loss = (per_token * mask).sum() / mask.sum()
        loss.backward()
        results.append({"gamma": gamma, "advantages": advantages.tolist(), "loss": loss.item(), "gradient": leaf.grad.tolist()})
    return {
        "step_token": STEP,
        "completions": completions,
        "states": states,
        "rewards": rewards.tolist(),
        "old_logps": old.tolist(),
        "logps": logps.tolist(),
        "cases": results,
    }
