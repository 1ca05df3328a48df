"""Losses of reward models that no library has, as their papers write them, with torch's own functions and its gradients (float64)."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402


def draw(seed: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).mul(1.5).requires_grad_()


def found(inputs: torch.Tensor, loss: torch.Tensor, **more) -> dict:
    loss.backward()
    return {"logits": inputs.tolist(), "loss": loss.item(), "gradient": inputs.grad.tolist(), **more}


def plackett_luce() -> dict:
    """-log of the probability of choosing without replacement, one after the other; tied ones each from what is not ahead of them."""
    rankings = [[3.0, 2.0, 1.0], [2.0, 5.0], [1.0, 4.0, 4.0, 2.0, 1.0]]
    rewards = draw(1, sum(map(len, rankings)))
    losses, start = [], 0
    for scores in rankings:
        own = rewards[start : start + len(scores)]
        terms = []
        for i, score in enumerate(scores):
            if score == min(scores):
                continue
            left = torch.tensor([other <= score for other in scores])
            terms.append(-torch.log_softmax(own[left], 0)[int(left[:i].sum())])
        losses.append(torch.stack(terms).sum())
        start += len(scores)
    return found(rewards, torch.stack(losses).mean(), scores=rankings)


def soft_labels() -> dict:
    rewards, probability, margin = draw(2, 4, 2), [1.0, 0.5, 0.2, 0.0], [0.0, 0.0, 0.5, -1.0]
    difference = rewards[:, 0] - rewards[:, 1] - torch.tensor(margin, dtype=torch.float64)
    loss = F.binary_cross_entropy_with_logits(difference, torch.tensor(probability, dtype=torch.float64))
    return found(rewards, loss, probability=probability, margin=margin)


def implicit_feedback() -> dict:
    rewards, clicked, propensity, floor = draw(3, 5), [True, False, True, True, False], [1.0, 0.4, 0.25, 0.05, 0.9], 0.1
    share = torch.tensor(clicked).double() / torch.tensor(propensity, dtype=torch.float64).clamp(min=floor)
    loss = (-share * F.logsigmoid(rewards) - (1 - share) * F.logsigmoid(-rewards)).mean()
    return found(rewards, loss, clicked=clicked, propensity=propensity, min_propensity=floor)


def odin() -> dict:
    """Rows are chosen and rejected in turn; logits are quality and length."""
    hidden, lengths = draw(4, 6, 3).detach(), [5, 9, 7, 4, 6, 3]
    weight = draw(5, 2, 3)
    logits = hidden @ weight.T
    logits.retain_grad()
    sums = logits.sum(1)
    preference = -F.logsigmoid(sums[0::2] - sums[1::2]).mean()
    of = [torch.corrcoef(torch.stack([logits[:, i], torch.tensor(lengths, dtype=torch.float64)]))[0, 1] for i in (0, 1)]
    overlap = F.cosine_similarity(weight[0], weight[1], dim=0).abs()
    loss = preference + 0.7 * (of[0].abs() - of[1]) + 0.3 * overlap
    loss.backward()
    return {
        "hidden": hidden.tolist(),
        "lengths": lengths,
        "weight": weight.tolist(),
        "length_weight": 0.7,
        "orthogonal_weight": 0.3,
        "loss": loss.item(),
        "gradient": weight.grad.tolist(),
        "correlations": [x.item() for x in of],
        "overlap": overlap.item(),
    }


def implicit_prm() -> dict:
    """Cross-entropy of the outcome with the sigmoid of beta times the summed log-ratio (arXiv 2412.01981)."""
    policy, reference = draw(6, 4), draw(7, 4).detach()
    label, beta = [True, False, True, False], 0.05
    ratio = beta * (policy - reference)
    loss = F.binary_cross_entropy_with_logits(ratio, torch.tensor(label).double())
    return found(policy, loss, reference=reference.tolist(), label=label, beta=beta)


def step_value() -> dict:
    """Pairs of steps: the squared error to Q with torch's margin ranking loss."""
    values, wanted = draw(8, 4, 2), [[0.9, 0.2], [0.5, 0.25], [1.0, -1.0], [0.1, 0.0]]
    ranked = F.margin_ranking_loss(values[:, 0], values[:, 1], torch.ones(4).double(), margin=0.3)
    loss = F.mse_loss(values, torch.tensor(wanted).double()) + 0.5 * ranked
    return found(values, loss, values=wanted, margin=0.3, rank_weight=0.5)


write_json(
    output_folder(__file__) / "expected.json",
    {f.__name__: f() for f in (plackett_luce, soft_labels, implicit_feedback, odin, implicit_prm, step_value)},
)
