"""Kernels forward and with gradients: attention by torch's scaled_dot_product_attention and transformers' eager code,
activations by torch, token merging token by token in torch."""

import sys
from pathlib import Path
from types import SimpleNamespace

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json, write_tensors  # noqa: E402

import torch  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.nn.functional import scaled_dot_product_attention  # noqa: E402
from transformers.models.bloom.modeling_bloom import build_alibi_tensor  # noqa: E402
from transformers.models.gemma2.modeling_gemma2 import eager_attention_forward as gemma2_attention  # noqa: E402
from transformers.models.gpt_oss.modeling_gpt_oss import eager_attention_forward as gpt_oss_attention  # noqa: E402

torch.set_num_threads(1)
B, S, D = 2, 7, 4
SEGMENTS = torch.tensor([[0, 0, 0, 1, 1, 1, 2], [0, 1, 1, 1, 1, 1, 1]])

CASES = {
    "causal": {"heads": [3, 3]},
    "bidirectional": {"heads": [3, 3], "causal": False},
    "grouped": {"heads": [6, 2], "scale": 0.3},
    "window": {"heads": [4, 2], "slidingWindow": 3},
    "packed": {"heads": [4, 2], "segments": True},
    "packed-window": {"heads": [4, 1], "segments": True, "slidingWindow": 2},
    "soft-cap": {"heads": [4, 2], "softCap": 1.5, "segments": True},
    "sinks": {"heads": [4, 2], "sinks": True, "slidingWindow": 4},
    "alibi": {"heads": [6, 3], "alibi": True},
}


def visible(case: dict) -> torch.Tensor:
    """bool [B or 1, 1, S, S], True where a row sees a column."""
    row, column = torch.arange(S)[:, None], torch.arange(S)[None, :]
    mask = torch.ones(1, 1, S, S, dtype=torch.bool)
    if case.get("causal", True):
        mask = mask & (column <= row)
    if "slidingWindow" in case:
        mask = mask & (row - column < case["slidingWindow"])
    if case.get("segments"):
        mask = mask & (SEGMENTS[:, None, :, None] == SEGMENTS[:, None, None, :])
    return mask


def output_of(case: dict, q, k, v, sinks) -> torch.Tensor:
    scale = case.get("scale", D**-0.5)
    mask = visible(case)
    if "softCap" in case or sinks is not None:
        additive = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
        groups = q.shape[1] // k.shape[1]
        module = SimpleNamespace(num_key_value_groups=groups, training=False, sinks=sinks)
        if sinks is None:
            result, _ = gemma2_attention(module, q, k, v, additive, scaling=scale, softcap=case["softCap"])
        else:
            result, _ = gpt_oss_attention(module, q, k, v, additive, scaling=scale)
        return result.transpose(1, 2)
    if case.get("alibi"):
        alibi = build_alibi_tensor(torch.ones(1, S), q.shape[1], torch.float32).reshape(1, q.shape[1], 1, S)
        mask = alibi.masked_fill(~mask, float("-inf"))
    if list(case) == ["heads"]:
        return scaled_dot_product_attention(q, k, v, is_causal=True)
    return scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale, enable_gqa=True)


def attention(folder: Path) -> None:
    tensors = {"segments": SEGMENTS.int()}
    for seed, (name, case) in enumerate(CASES.items()):
        generator = torch.Generator().manual_seed(seed)
        heads, kv = case["heads"]

        def draw(*shape):
            return torch.randn(*shape, generator=generator).requires_grad_()

        q, k, v, weights = draw(B, heads, S, D), draw(B, kv, S, D), draw(B, kv, S, D), draw(B, heads, S, D)
        sinks = draw(heads) if case.get("sinks") else None
        out = output_of(case, q, k, v, sinks)
        (out * weights.detach()).sum().backward()
        values = {"q": q, "k": k, "v": v, "weights": weights, "out": out, "dq": q.grad, "dk": k.grad, "dv": v.grad}
        if sinks is not None:
            values |= {"sinks": sinks, "dsinks": sinks.grad}
        tensors |= {f"{name}.{key}": value for key, value in values.items()}
    write_tensors(folder / "attention.safetensors", tensors)
    write_json(folder / "attention.json", CASES)


def activations(folder: Path) -> None:
    generator = torch.Generator().manual_seed(100)
    x = torch.cat([torch.randn(40, generator=generator) * 3, torch.tensor([0.0, -30.0, 30.0])]).requires_grad_()
    up = torch.randn(x.shape, generator=generator).requires_grad_()
    weights = torch.randn(x.shape, generator=generator)
    functions = {
        "silu": functional.silu,
        "gelu": functional.gelu,
        "geluTanh": lambda v: functional.gelu(v, approximate="tanh"),
        "swiglu": lambda v: functional.silu(v) * up,
    }
    tensors = {"x": x, "up": up, "weights": weights}
    for name, function in functions.items():
        out = function(x)
        gradients = torch.autograd.grad((out * weights).sum(), [x, up] if name == "swiglu" else [x])
        tensors |= {name: out} | {f"{name}.d{key}": g for key, g in zip(["x", "up"], gradients)}
    write_tensors(folder / "activations.safetensors", tensors)


MERGES = {
    "plain": {"tokens": 8, "r": 3},
    "odd": {"tokens": 9, "r": 4},
    "protected": {"tokens": 8, "r": 3, "protectFirst": True},
    "sizes": {"tokens": 7, "r": 2, "sizes": True},
}


def merged(metric: torch.Tensor, x: torch.Tensor, sizes: torch.Tensor, r: int, protect: bool):
    """Tokens and sizes after merging, row by row: kept even tokens in their order, then the odd ones."""
    rows, counts = [], []
    for keys, values, size in zip(metric, x, sizes):
        odd = list(range(1, len(keys), 2))
        partner = {}
        for i in range(2 if protect else 0, len(keys), 2):
            cosines = functional.cosine_similarity(keys[i], keys[odd], dim=-1)
            partner[i] = (cosines.max().item(), odd[cosines.argmax().item()])
        gone = sorted(partner, key=lambda i: -partner[i][0])[:r]
        groups = [[i] for i in range(0, len(keys), 2) if i not in gone]
        groups += [[j] + [i for i in gone if partner[i][1] == j] for j in odd]
        counts.append(torch.stack([size[group].sum() for group in groups]))
        rows.append(torch.stack([(values[group] * size[group, None]).sum(0) for group in groups]) / counts[-1][:, None])
    return torch.stack(rows), torch.stack(counts)


def token_merging(folder: Path) -> None:
    tensors = {}
    for seed, (name, case) in enumerate(MERGES.items()):
        generator = torch.Generator().manual_seed(200 + seed)
        metric = torch.randn(B, case["tokens"], 5, generator=generator)
        x = torch.randn(B, case["tokens"], 3, generator=generator).requires_grad_()
        sizes = torch.randint(1, 5, (B, case["tokens"]), generator=generator).float()
        sizes = sizes if case.get("sizes") else torch.ones_like(sizes)
        out, size = merged(metric, x, sizes, case["r"], case.get("protectFirst", False))
        weights = torch.randn(out.shape, generator=generator)
        (gradient,) = torch.autograd.grad((out * weights).sum(), x)
        values = {"metric": metric, "x": x, "sizes": sizes, "weights": weights, "out": out, "size": size, "dx": gradient}
        tensors |= {f"{name}.{key}": value for key, value in values.items()}
    write_tensors(folder / "token-merging.safetensors", tensors)
    write_json(folder / "token-merging.json", MERGES)


if __name__ == "__main__":
    folder = output_folder(__file__)
    attention(folder)
    activations(folder)
    token_merging(folder)
