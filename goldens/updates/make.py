"""Updates that are no first-order step: products with curvature, TRPO's direction, DP-SGD by Opacus, its accountant."""

import math
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))
from golden import output_folder, write_json, write_tensors  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from opacus.accountants.analysis import rdp as opacus_rdp  # noqa: E402
from opacus.optimizers import DPOptimizer  # noqa: E402
from torch.func import functional_call, grad, jvp, vjp  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

torch.set_num_threads(1)
TEMPERATURE = 0.8
MAX_KL, DAMPING, ITERATIONS = 0.01, 0.1, 10
PROMPT, LENGTHS, REWARDS = 3, [9, 6, 7], [1.0, -0.5, 0.25]
MAX_GRAD_NORM, EXPECTED_BATCH_SIZE = 7.0, 4
SHOWN = ["model.norm.weight", "model.layers.0.self_attn.k_proj.weight"]
PRIVACY = [
    {"sampleRate": 0.01, "noiseMultiplier": 1.1, "steps": 1000, "delta": 1e-5},
    {"sampleRate": 0.004, "noiseMultiplier": 0.7, "steps": 3000, "delta": 1e-6},
    {"sampleRate": 0.2, "noiseMultiplier": 4.0, "steps": 60, "delta": 1e-5},
    {"sampleRate": 1.0, "noiseMultiplier": 5.0, "steps": 10, "delta": 1e-5},
]


def load(dtype):
    return AutoModelForCausalLM.from_pretrained(ROOT / "models/llama", dtype=dtype, attn_implementation="eager").eval()


def sequences() -> list[list[int]]:
    generator = torch.Generator().manual_seed(11)
    return [torch.randint(4, 256, (length,), generator=generator).tolist() for length in LENGTHS]


def shown(prefix: str, tree: dict) -> dict:
    return {f"{prefix}.{name}": tree[name].float() for name in SHOWN}


def curvature(rows: list[list[int]]) -> tuple[dict, dict]:
    model = load(torch.float64)
    parameters = {name: p.detach().clone() for name, p in model.named_parameters()}
    count = sum(len(row) - PROMPT for row in rows)
    # A vector that can be written down: cos(0.7 j + i) for element j of parameter i, in the order of their names.
    place = {name: i for i, name in enumerate(sorted(parameters))}
    vector = {
        name: torch.cos(0.7 * torch.arange(p.numel(), dtype=torch.float64) + place[name]).reshape(p.shape)
        for name, p in parameters.items()
    }

    def logits(p, temperature=TEMPERATURE):
        """Those that predict completion tokens, [tokens, vocabulary]."""
        each = [functional_call(model, p, (torch.tensor([row]),)).logits[0, PROMPT - 1 : -1] for row in rows]
        return torch.cat(each) / temperature

    targets = torch.tensor([token for row in rows for token in row[PROMPT:]])
    rewards = torch.tensor([reward for row, reward in zip(rows, REWARDS) for _ in row[PROMPT:]], dtype=torch.float64)

    def nll(p):
        return F.cross_entropy(logits(p, 1.0), targets)

    def fisher_product(p, v):
        output, tangent = jvp(logits, (p,), (v,))
        probabilities = output.softmax(-1)
        curved = probabilities * (tangent - (probabilities * tangent).sum(-1, keepdim=True)) / count
        return vjp(logits, p)[1](curved)[0]

    _, hessian = jvp(grad(nll), (parameters,), (vector,))
    old = F.log_softmax(logits(parameters), -1)

    def surrogate(p):
        chosen = F.log_softmax(logits(p), -1).gather(1, targets[:, None])[:, 0]
        return (torch.exp(chosen - old.gather(1, targets[:, None])[:, 0]) * rewards).sum() / count

    def divergence(p):
        return (old.exp() * (old - F.log_softmax(logits(p), -1))).sum() / count

    # Conjugate gradients in NumPy, and the length of the step, as in the appendix of the paper.
    names = list(parameters)
    flat = lambda tree: np.concatenate([tree[name].detach().numpy().ravel() for name in names])  # noqa: E731

    def tree(values):
        result, at = {}, 0
        for name in names:
            p = parameters[name]
            result[name] = torch.from_numpy(values[at : at + p.numel()].copy()).reshape(p.shape)
            at += p.numel()
        return result

    product = lambda x: flat(fisher_product(parameters, tree(x))) + DAMPING * x  # noqa: E731
    gradient = flat(grad(surrogate)(parameters))
    x, residual = np.zeros_like(gradient), gradient.copy()
    direction, square = residual.copy(), residual @ residual
    for _ in range(ITERATIONS):
        curved = product(direction)
        alpha = square / (direction @ curved)
        x, residual = x + alpha * direction, residual - alpha * curved
        square, before = residual @ residual, square
        direction = residual + square / before * direction
    step = math.sqrt(2 * MAX_KL / (x @ product(x))) * x
    after = {name: parameters[name] + change for name, change in tree(step).items()}
    tensors = shown("hessian_vector", hessian) | shown("step", tree(step))
    tensors |= shown("fisher_vector", fisher_product(parameters, vector))
    # How far the vector would take the policy, times 0.02.
    moved = {name: p + 0.02 * vector[name] for name, p in parameters.items()}
    facts = {
        "divergence_along_vector": divergence(moved).item(),
        "trpo": {
            "step_norm": float(np.linalg.norm(step)),
            "gradient_norm": float(np.linalg.norm(gradient)),
            "surrogate_before": surrogate(parameters).item(),
            "surrogate_after": surrogate(after).item(),
            "divergence_after": divergence(after).item(),
        },
    }
    return tensors, facts


def dp_sgd(rows: list[list[int]]) -> tuple[dict, dict]:
    """Opacus' own optimizer over gradients of rows, each the mean over its trained tokens; without noise."""
    model = load(torch.float32)
    named = dict(model.named_parameters())
    each = []
    for row in rows:
        model.zero_grad()
        logits = model(torch.tensor([row])).logits[0, PROMPT - 1 : -1]
        F.cross_entropy(logits, torch.tensor(row[PROMPT:])).backward()
        each.append({name: p.grad.clone() for name, p in named.items()})
    for name, p in named.items():
        p.grad_sample = torch.stack([gradients[name] for gradients in each])
    optimizer = DPOptimizer(
        torch.optim.SGD(list(named.values()), lr=1.0),
        noise_multiplier=0.0,
        max_grad_norm=MAX_GRAD_NORM,
        expected_batch_size=EXPECTED_BATCH_SIZE,
    )
    optimizer.clip_and_accumulate()
    optimizer.add_noise()
    optimizer.scale_grad()
    norms = [math.sqrt(sum(g.square().sum().item() for g in gradients.values())) for gradients in each]
    return shown("private", {name: p.grad for name, p in named.items()}), {"norms": norms}


def accountant() -> list[dict]:
    orders = [1 + x / 10 for x in range(1, 100)] + list(range(12, 64))
    cases = []
    for case in PRIVACY:
        values = opacus_rdp.compute_rdp(
            q=case["sampleRate"], noise_multiplier=case["noiseMultiplier"], steps=case["steps"], orders=orders
        )
        epsilon, order = opacus_rdp.get_privacy_spent(orders=orders, rdp=values, delta=case["delta"])
        at = {str(alpha): float(values[orders.index(alpha)]) for alpha in (1.5, 2.0, 3.7, 8.0, 32)}
        cases.append(case | {"epsilon": float(epsilon), "order": float(order), "rdp": at})
    return cases


def main() -> None:
    out = output_folder(__file__)
    rows = sequences()
    tensors, facts = curvature(rows)
    private, norms = dp_sgd(rows)
    write_tensors(out / "updates.safetensors", tensors | private)
    options = {"temperature": TEMPERATURE, "max_kl": MAX_KL, "damping": DAMPING, "iterations": ITERATIONS}
    data = {"prompt": PROMPT, "sequences": rows, "rewards": REWARDS, "shown": SHOWN}
    dp = {"max_grad_norm": MAX_GRAD_NORM, "expected_batch_size": EXPECTED_BATCH_SIZE, **norms}
    write_json(out / "updates.json", {**data, "options": options, **facts, "dp_sgd": dp, "privacy": accountant()})


main()
