"""RLOO: advantages (KL inside the reward) and the sequence-level clipped loss of trl.RLOOTrainer; REINFORCE from its definition."""

import torch
from trl import RLOOTrainer
from grpo import GENERATIONS, REWARDS, case_of, draw, scoring_stand_in
from stand_in import StandIn, fake_model


def advantages() -> dict:
    generator = torch.Generator().manual_seed(23)
    count, length = 8, 3
    old = -torch.rand(count, length, generator=generator).mul(1e4).round() / 1e4
    ref = old + torch.randn(count, length, generator=generator).mul(2e3).round() / 1e4
    variants = [
        {"beta": 0.0, "normalize_advantages": False, "reward_clip_range": None},
        {"beta": 0.05, "normalize_advantages": False, "reward_clip_range": None},
        {"beta": 0.0, "normalize_advantages": True, "reward_clip_range": None},
        {"beta": 0.05, "normalize_advantages": True, "reward_clip_range": [-0.5, 0.75]},
    ]
    cases = []
    for name, (rewards, weights) in REWARDS.items():
        for options in variants:
            stand_in = scoring_stand_in(RLOOTrainer, rewards, weights, **options)
            stand_in._get_per_token_logps_and_entropies = lambda model, *_, s=stand_in, **__: (ref if model is s.ref_model else old, None, None)
            output = stand_in._generate_and_score_completions(stand_in.prompts)
            case = case_of(name, rewards, weights, options, output, stand_in)
            case["old_sequence_logps"] = output["old_logps"].tolist()
            cases.append(case)
    return {
        "generations": GENERATIONS,
        "old_logps": old.tolist(),
        "ref_logps": ref.tolist(),
        "mask": output["completion_mask"].tolist(),
        "cases": cases,
    }


def loss_case(inputs: dict, epsilon: float, epsilon_high: float) -> dict:
    logps = inputs["logps"].clone().requires_grad_()
    stand_in = StandIn(RLOOTrainer, model=fake_model(), epsilon_low=epsilon, epsilon_high=epsilon_high)
    stand_in._get_per_token_logps_and_entropies = lambda *_, **__: (logps, inputs["entropies"], None)
    mask = inputs["mask"]
    batch = {
        "prompt_ids": torch.zeros(mask.size(0), 2, dtype=torch.long),
        "prompt_mask": torch.ones(mask.size(0), 2, dtype=torch.long),
        "completion_ids": torch.zeros_like(mask),
        "completion_mask": mask,
        "advantages": inputs["advantages"],
        "old_logps": (inputs["old_logps"] * mask).sum(1),
    }
    loss = stand_in._compute_loss(None, batch)
    loss.backward()
    options = {"epsilon": epsilon, "epsilon_high": epsilon_high}
    return {"options": options, "loss": loss.item(), "gradient": logps.grad.tolist(), "metrics": stand_in.metrics()}


def reinforce(inputs: dict) -> list[dict]:
    """Not TRL's: -A * log p from the definition, with the three usual normalisations, differentiated by torch."""
    cases = []
    mask = inputs["mask"]
    for aggregation in ("sequence-sum-mean", "token-mean", "sequence-mean-token-mean"):
        logps = inputs["logps"].clone().requires_grad_()
        per_token = -inputs["advantages"][:, None] * logps * mask
        if aggregation == "sequence-sum-mean":
            loss = per_token.sum(1).mean()
        elif aggregation == "token-mean":
            loss = per_token.sum() / mask.sum()
        else:
            loss = (per_token.sum(1) / mask.sum(1)).mean()
        loss.backward()
        cases.append({"aggregation": aggregation, "loss": loss.item(), "gradient": logps.grad.tolist()})
    return cases


def losses() -> dict:
    inputs = draw()
    return {
        "inputs": {key: inputs[key].tolist() for key in ("logps", "old_logps", "advantages", "mask")},
        "cases": [loss_case(inputs, 0.2, 0.2), loss_case(inputs, 0.1, 0.5)],
        "reinforce": reinforce(inputs),
    }
