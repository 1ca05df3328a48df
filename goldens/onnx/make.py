"""Two AdamW steps of a small transformer block in torch, for what exported ONNX files compute of the same."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_tensors  # noqa: E402

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

torch.set_num_threads(1)
VOCABULARY, WIDTH, INNER, HEADS, ROWS, LENGTH = 12, 8, 16, 2, 2, 7
WINDOW, CAP, RATE, DECAY, STEPS = 3, 2.0, 0.01, 0.1, 2
SHAPES = {
    "embedding": (VOCABULARY, WIDTH),
    "norm.weight": (WIDTH,),
    "norm.bias": (WIDTH,),
    "q": (WIDTH, WIDTH),
    "k": (WIDTH, WIDTH),
    "v": (WIDTH, WIDTH),
    "o": (WIDTH, WIDTH),
    "up": (WIDTH, INNER),
    "down": (INNER, WIDTH),
    "head": (VOCABULARY, WIDTH),
}


def logits_of(w: dict[str, torch.Tensor], ids: torch.Tensor) -> torch.Tensor:
    """Attention that is causal, sees WINDOW tokens and has capped scores; an MLP with the exact GELU; all [in, out]."""
    x = F.embedding(ids, w["embedding"])
    h = F.layer_norm(x, (WIDTH,), w["norm.weight"], w["norm.bias"], 1e-5)
    q, k, v = (torch.stack((h @ w[name]).chunk(HEADS, -1), 1) for name in "qkv")
    scores = q @ k.transpose(-1, -2) / (WIDTH // HEADS) ** 0.5
    scores = CAP * torch.tanh(scores / CAP)
    at = torch.arange(LENGTH)
    visible = (at[None] <= at[:, None]) & (at[None] > at[:, None] - WINDOW)
    mixed = scores.masked_fill(~visible, -torch.inf).softmax(-1) @ v
    x = x + torch.cat(mixed.unbind(1), -1) @ w["o"]
    x = x + F.gelu(x @ w["up"]) @ w["down"]
    return x @ w["head"].T


def main() -> None:
    out = output_folder(__file__)
    generator = torch.Generator().manual_seed(11)
    w = {name: 0.4 * torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    w["norm.weight"] += 1
    ids = torch.randint(0, VOCABULARY, (ROWS, LENGTH), generator=generator)
    tensors = {"ids": ids} | {f"before.{name}": value.clone() for name, value in w.items()}
    for value in w.values():
        value.requires_grad_()
    matrices, vectors = ([value for value in w.values() if (value.dim() > 1) is kind] for kind in (True, False))
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.95), eps=1e-8)
    losses = []
    for step in range(STEPS):
        logits = logits_of(w, ids)
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            tensors |= {"logits": logits} | {f"gradient.{name}": value.grad.clone() for name, value in w.items()}
        optimizer.step()
        losses.append(loss.detach())
        tensors |= {f"after-{step + 1}.{name}": value.detach().clone() for name, value in w.items()}
    write_tensors(out / "step.safetensors", tensors | {"losses": torch.stack(losses)})
    print("losses", [loss.item() for loss in losses])


if __name__ == "__main__":
    main()
