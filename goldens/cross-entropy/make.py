"""Cross-entropy, log-probabilities and entropies of a linear head, with gradients, from torch."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json, write_tensors  # noqa: E402

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

torch.set_num_threads(1)
ROWS, WIDTH, VOCABULARY = 12, 8, 37
IGNORED = -100

CASES = [
    {"name": "mean", "scale": 1.0, "reduction": "mean", "label_smoothing": 0.0, "z_loss": 0.0},
    {"name": "sum", "scale": 1.0, "reduction": "sum", "label_smoothing": 0.0, "z_loss": 0.0},
    {"name": "none", "scale": 1.0, "reduction": "none", "label_smoothing": 0.0, "z_loss": 0.0},
    {"name": "smoothed", "scale": 1.0, "reduction": "mean", "label_smoothing": 0.1, "z_loss": 0.0},
    {"name": "smoothed-sum", "scale": 2.0, "reduction": "sum", "label_smoothing": 0.3, "z_loss": 0.0},
    {"name": "z-loss", "scale": 1.0, "reduction": "mean", "label_smoothing": 0.0, "z_loss": 1e-2},
    # Logits of about ±1e4.
    {"name": "huge", "scale": 1e3, "reduction": "mean", "label_smoothing": 0.0, "z_loss": 0.0},
]

SAMPLERS = [
    {"temperature": 0.7, "scale": 1.0, "soft_cap": None},
    {"temperature": 1.0, "scale": 1e3, "soft_cap": None},
    {"temperature": 0.7, "scale": 2.0, "soft_cap": 3.5},
]


def main() -> None:
    out = output_folder(__file__)
    generator = torch.Generator().manual_seed(11)
    hidden = torch.randn(ROWS, WIDTH, generator=generator)
    head = torch.randn(VOCABULARY, WIDTH, generator=generator)
    targets = torch.randint(0, VOCABULARY, (ROWS,), generator=generator)
    labels = targets.clone()
    labels[[2, 7, 8]] = IGNORED
    weights = torch.randn(ROWS, generator=generator)
    tensors = {"hidden": hidden, "head": head, "targets": targets.int(), "labels": labels.int(), "weights": weights}

    for case in CASES:
        h, w = (hidden * case["scale"]).double().requires_grad_(), head.double().requires_grad_()
        logits = h @ w.T
        loss = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction=case["reduction"], label_smoothing=case["label_smoothing"])
        squares = torch.where(labels == IGNORED, 0, torch.logsumexp(logits, -1) ** 2)
        penalty = {"mean": squares.sum() / (labels != IGNORED).sum(), "sum": squares.sum(), "none": squares}[case["reduction"]]
        loss = loss + case["z_loss"] * penalty
        (loss * weights.double() if case["reduction"] == "none" else loss).sum().backward()
        name = case["name"]
        tensors |= {f"{name}.loss": loss.float(), f"{name}.d_hidden": h.grad.float(), f"{name}.d_head": w.grad.float()}

    # Log-probabilities and entropies of a sampler with a temperature, in one weighted sum; the last with capped logits.
    for sampler in SAMPLERS:
        temperature, scale, cap = sampler["temperature"], sampler["scale"], sampler["soft_cap"]
        h, w = (hidden * scale).double().requires_grad_(), head.double().requires_grad_()
        logits = h @ w.T
        logits = logits if cap is None else cap * torch.tanh(logits / cap)
        distribution = torch.distributions.Categorical(logits=logits / temperature)
        log_probs, entropies = distribution.log_prob(targets), distribution.entropy()
        (log_probs * weights + 0.3 * entropies * weights.flip(0)).sum().backward()
        name = f"sampler-{temperature}" + ("" if cap is None else f"-cap-{cap}")
        tensors |= {f"{name}.log_probs": log_probs.float(), f"{name}.entropies": entropies.float()}
        tensors |= {f"{name}.d_hidden": h.grad.float(), f"{name}.d_head": w.grad.float()}

    write_tensors(out / "cross-entropy.safetensors", tensors)
    write_json(out / "cross-entropy.json", {"cases": CASES, "samplers": SAMPLERS})


main()
