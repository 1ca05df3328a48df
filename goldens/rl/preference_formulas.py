"""Preference losses that TRL 1.16 does not have, from their definitions: float64, one prompt after the other, with loops."""

import math
from itertools import combinations

import torch
import torch.nn.functional as F
from dpo import PAIRS, draw
from stand_in import rounded

# Completions of each prompt and what they are worth; the last has ties.
RANKINGS = [[0.9, 0.2], [0.1, 0.8, 0.5], [1.0, 0.0, 0.25, 0.75], [0.5, 1.0, 0.5, 0.0, 0.0]]

# Whether the chosen and the rejected completion of each pair is safe.
SAFE = [(1, 1), (1, 0), (0, 1), (0, 0), (1, 0)]


def plackett_luce(h: list, scores: list, beta: float):
    """-log P of the ranking: the best of those that are left is drawn, again and again, until only the worst are left."""
    total = torch.zeros(())
    left = list(range(len(h)))
    while left:
        top = max(scores[i] for i in left)
        if top == min(scores):
            break
        drawn = [i for i in left if scores[i] == top]
        denominator = torch.stack([beta * h[i] for i in left]).exp().sum().log()
        for i in drawn:
            total = total - (beta * h[i] - denominator)
        left = [i for i in left if i not in drawn]
    return total


def lipo(h: list, scores: list, beta: float):
    """Pairs weighted by what swapping them would change of the DCG of the policy's own order."""
    values = [beta * x for x in h]
    order = sorted(range(len(h)), key=lambda i: -values[i].item())
    place = {i: order.index(i) + 1 for i in range(len(h))}
    total = torch.zeros(())
    for i, j in combinations(range(len(h)), 2):
        if scores[i] == scores[j]:
            continue
        better, worse = (i, j) if scores[i] > scores[j] else (j, i)
        gain = abs((2 ** scores[i] - 1) - (2 ** scores[j] - 1))
        discount = abs(1 / math.log(1 + place[i]) - 1 / math.log(1 + place[j]))
        total = total + gain * discount * torch.log1p(torch.exp(-(values[better] - values[worse])))
    return total


def group_margin(h: list, scores: list):
    best = [x for x, score in zip(h, scores) if score == max(scores)]
    rest = [x for x, score in zip(h, scores) if score != max(scores)]
    return sum(best) / len(best) - sum(rest) / len(rest)


def mipo(h: list, scores: list, beta: float):
    """Of each group what two different draws give, not the square of one mean: E h · E h is estimated by h_i h_j, i ≠ j (a group of one: h²)."""
    groups = [[x for x, score in zip(h, scores) if (score == max(scores)) == best] for best in (True, False)]
    means = [sum(group) / len(group) for group in groups]
    squares = []
    for group in groups:
        apart = [a * b for i, a in enumerate(group) for j, b in enumerate(group) if i != j or len(group) == 1]
        squares.append(sum(apart) / len(apart))
    target = 1 / (2 * beta)
    return squares[0] + squares[1] - 2 * means[0] * means[1] - 2 * target * (means[0] - means[1]) + target**2


RANKED = {
    "plackett_luce": plackett_luce,
    "lipo": lipo,
    "mdpo": lambda h, scores, beta: -F.logsigmoid(beta * group_margin(h, scores)),
    "mipo": mipo,
    "mipo (plain)": lambda h, scores, beta: (group_margin(h, scores) - 1 / (2 * beta)) ** 2,
}


def rankings() -> dict:
    generator = torch.Generator().manual_seed(67)
    count = sum(map(len, RANKINGS))
    lengths = torch.randint(1, 5, (count,), generator=generator)
    mask = (torch.arange(4)[None] < lengths[:, None]).double()
    ref = rounded(-torch.rand((count, 4), generator=generator) - 0.05) * mask
    logps = (ref + rounded(torch.randn((count, 4), generator=generator))) * mask
    cases = []
    for name, loss in RANKED.items():
        for beta in (0.1, 0.5):
            leaf = logps.clone().requires_grad_()
            ratios = iter(((leaf - ref) * mask).sum(1))
            losses = [loss([next(ratios) for _ in scores], scores, beta) for scores in RANKINGS]
            total = sum(losses) / len(losses)
            (gradient,) = torch.autograd.grad(total, leaf)
            cases.append({"name": name, "beta": beta, "loss": total.item(), "gradient": gradient.tolist()})
    inputs = {"lengths": lengths, "logps": logps, "ref_logps": ref}
    return {"scores": RANKINGS, "inputs": {key: value.tolist() for key, value in inputs.items()}, "cases": cases}


def pairs() -> list:
    """On the inputs of dpo-loss.json. cDPO: as the code that came with DPO has `label_smoothing`; DPOP: arXiv 2402.13228;
    BFPO: arXiv 2408.15313, as its authors' code has it."""
    inputs = draw()
    cases = []
    for name, options in (
        ("cdpo", {"beta": 0.1, "label_smoothing": 0.1}),
        ("cdpo", {"beta": 0.5, "label_smoothing": 0.25}),
        ("dpop", {"beta": 0.3, "lambda": 50}),
        ("dpop", {"beta": 0.1, "lambda": 2}),
        ("bfpo", {"beta": 0.1}),
        ("bfpo", {"beta": 0.5, "b1": 2, "alpha": 0.25}),
    ):
        leaf = inputs["logps"].clone().requires_grad_()
        h = ((leaf - inputs["ref_logps"]) * inputs["mask"][:, 1:]).sum(1)
        chosen, rejected, beta = h[:PAIRS], h[PAIRS:], options["beta"]
        if name == "cdpo":
            share = options["label_smoothing"]
            x = beta * (chosen - rejected)
            loss = -((1 - share) * torch.sigmoid(x).log() + share * torch.sigmoid(-x).log()).mean()
        elif name == "bfpo":
            b1, alpha = options.get("b1", 3), options.get("alpha", 0.5)
            wanted = [(b1 * safe - other) / (b1 - 1) - alpha for safe, other in SAFE]
            loss = ((chosen - rejected - torch.tensor(wanted) / beta) ** 2).mean()
        else:
            penalty = options["lambda"] * torch.clamp(-chosen, min=0)
            loss = -F.logsigmoid(beta * (chosen - rejected - penalty)).mean()
        loss.backward()
        cases.append({"name": name, "options": options, "loss": loss.item(), "gradient": leaf.grad.tolist()})
    return cases


# Of what the probability of the token leaves, the shares of the two other tokens of the vocabulary.
REST = (0.7, 0.3)


def token_distributions(logps):
    """log p of three tokens at every place, of which the second is the one that follows."""
    left = (1 - logps.exp()).log()
    return torch.stack([left + math.log(REST[0]), logps, left + math.log(REST[1])], -1)


def tdpo() -> dict:
    """TDPO1 and TDPO2 (arXiv 2404.11999), pair by pair and token by token, the divergence as a sum over the vocabulary."""
    generator = torch.Generator().manual_seed(73)
    lengths = torch.tensor([3, 1, 4, 2, 4, 3])
    mask = (torch.arange(4)[None] < lengths[:, None]).double()
    # Outside of the completions nothing is looked at.
    logps, ref = (rounded(-0.05 - 2 * torch.rand((6, 4), generator=generator)) for _ in range(2))
    out = []
    for options in ({"variant": "tdpo1"}, {"variant": "tdpo1", "beta": 0.7}, {}, {"beta": 0.7, "alpha": 1.5}, {"alpha": 0.0}):
        beta, alpha = options.get("beta", 0.1), options.get("alpha", 0.5)
        leaf = logps.clone().requires_grad_()
        policy, reference = token_distributions(leaf), token_distributions(ref)
        h, divergence = [], []
        for i, length in enumerate(lengths.tolist()):
            h.append(sum(leaf[i, t] - ref[i, t] for t in range(length)))
            terms = [reference[i, t, v].exp() * (reference[i, t, v] - policy[i, t, v]) for t in range(length) for v in range(3)]
            divergence.append(sum(terms))
        losses = []
        for chosen, rejected in ((0, 3), (1, 4), (2, 5)):
            margin = beta * (h[chosen] - h[rejected])
            if options.get("variant") == "tdpo1":
                apart = beta * (divergence[rejected] - divergence[chosen])
            else:
                apart = alpha * (beta * divergence[rejected] - (beta * divergence[chosen]).detach())
            losses.append(-F.logsigmoid(margin - apart))
        loss = sum(losses) / len(losses)
        loss.backward()
        of = {"chosen": sum(divergence[:3]) / 3, "rejected": sum(divergence[3:]) / 3}
        metrics = {f"kl/{name}": value.item() for name, value in of.items()}
        out.append({"options": options, "loss": loss.item(), "gradient": leaf.grad.tolist(), "metrics": metrics})
    # The prompt is three tokens, as in dpo-loss.json.
    prompt = torch.zeros((6, 2))
    full = torch.cat([torch.zeros((6, 3)), mask], 1).long()
    inputs = {"logps": torch.cat([prompt, logps * mask], 1), "ref_logps": torch.cat([prompt, ref * mask], 1), "mask": full}
    for case in out:
        case["gradient"] = [[0.0, 0.0, *row] for row in case["gradient"]]
    return {"pairs": 3, "inputs": {key: value.tolist() for key, value in inputs.items()}, "cases": out}


def cases() -> dict:
    return {"safe": SAFE, "pairs": pairs(), "rankings": rankings(), "tdpo": tdpo()}
