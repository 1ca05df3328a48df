"""The peer on the card: plain PyTorch, nothing else installed. The same shapes and the same made-up weights as ours.

usage: peer.py STEP JSON   prints one JSON object as the last line. Steps: info, matmul, copy, lora, generate.
JSON: {"config": {...}, "device": "cuda", "dtype": "bfloat16", "rows": 4, "length": 256, "compile": false, "quick": false,
"batches": [...], "prompt": 128, "steps": 64}
"""

import json
import math
import sys
import time

import torch
import torch.nn.functional as F

step, given = sys.argv[1], json.loads(sys.argv[2])
device = given.get("device", "cuda")
dtype = getattr(torch, given.get("dtype", "bfloat16"))
quick = given.get("quick", False)
torch.manual_seed(0)


def wait():
    if device == "cuda":
        torch.cuda.synchronize()


def least(repetitions, work):
    """Smallest time in seconds, after two to warm up."""
    best = math.inf
    for i in range(-2, repetitions):
        wait()
        start = time.perf_counter()
        work()
        wait()
        if i >= 0:
            best = min(best, time.perf_counter() - start)
    return best


def info():
    figures = {"torch": torch.__version__, "cuda": torch.version.cuda, "available": torch.cuda.is_available()}
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        figures |= {"device": properties.name, "GiB": properties.total_memory / 2**30}
        figures |= {"multiprocessors": properties.multi_processor_count}
    return figures


def matmul():
    figures = {}
    kinds = [("float32", False), ("float32", True), ("float16", False), ("bfloat16", False)]
    for name, tf32 in kinds:
        if device == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = tf32
        for size in [128] if quick else [1024, 2048, 4096, 8192]:
            a, b = (torch.randn(size, size, device=device, dtype=getattr(torch, name)) for _ in range(2))
            calls = 8

            def work():
                for _ in range(calls):
                    a @ b

            label = f"{'tf32' if tf32 else name} {size} GFLOP/s"
            figures[label] = calls * 2 * size**3 / least(5, work) / 1e9
    return figures


def copy():
    size = 2**20 if quick else 2**30
    a = torch.empty(size, device=device, dtype=torch.uint8)
    b = torch.empty_like(a)
    return {"GB/s": 2 * size / least(10, lambda: b.copy_(a)) / 1e9, "bytes": size}


PATTERN, DEVIATION = 2**20, 0.02


def pattern():
    i = torch.arange(PATTERN, dtype=torch.int64)
    return (((i * 2654435761) & 0xFFFFFFFF).double() / 2**32 - 0.5).float() * (DEVIATION * math.sqrt(12))


class Model(torch.nn.Module):
    """A llama: RMS norms, rotary positions, grouped queries, SwiGLU, the head tied to the embedding. LoRA on every linear
    layer when `rank` is given."""

    def __init__(self, config, rank=None):
        super().__init__()
        self.config = config
        width, inner = config["hidden_size"], config["intermediate_size"]
        self.heads, self.groups = config["num_attention_heads"], config["num_key_value_heads"]
        self.size = width // self.heads
        keys = self.size * self.groups
        shapes = {"q": (width, width), "k": (keys, width), "v": (keys, width), "o": (width, width)}
        shapes |= {"gate": (inner, width), "up": (inner, width), "down": (width, inner)}
        source, index = pattern().to(device), 0

        def weight(shape):
            nonlocal index
            start, count = index * 7919 % PATTERN, math.prod(shape)
            repeated = source.repeat(count // PATTERN + 2)[start : start + count]
            index += 1
            return repeated.reshape(shape).to(dtype)

        self.embedding = weight((config["vocab_size"], width))
        self.layers = []
        self.trained = torch.nn.ParameterList()
        for _ in range(config["num_hidden_layers"]):
            layer = {}
            for name in shapes:
                layer[name] = weight(shapes[name])
            for name in ("input norm", "post norm"):
                layer[name] = torch.ones(width, device=device, dtype=dtype)
                index += 1  # they have their places in our list of parameters, from which the patterns start
            if rank:
                for name, (out, into) in shapes.items():
                    a = torch.nn.Parameter((torch.rand(rank, into, device=device) - 0.5) * (2 / math.sqrt(into)))
                    b = torch.nn.Parameter(torch.zeros(out, rank, device=device))
                    self.trained.extend([a, b])
                    layer[name] = (layer[name], a, b)
            self.layers.append(layer)
        self.norm = torch.ones(width, device=device, dtype=dtype)

    def linear(self, x, weight):
        if not isinstance(weight, tuple):
            return F.linear(x, weight)
        base, a, b = weight
        return F.linear(x, base) + 2 * F.linear(F.linear(x, a.to(dtype)), b.to(dtype))

    def rotate(self, x, positions):
        theta = self.config["rope_theta"]
        inverse = theta ** (-torch.arange(0, self.size, 2, device=device, dtype=torch.float32) / self.size)
        angles = positions[:, None].float() * inverse
        cos, sin = (f(angles).repeat(1, 2).to(dtype) for f in (torch.cos, torch.sin))
        low, high = x.chunk(2, -1)
        return x * cos + torch.cat([-high, low], -1) * sin

    def normed(self, x, weight):
        return F.rms_norm(x, (x.shape[-1],), weight, self.config["rms_norm_eps"])

    def forward(self, tokens, positions, cache=None):
        """Hidden states. `cache`: per layer the keys and values of all positions, written at `positions`."""
        b, s = tokens.shape
        x = F.embedding(tokens, self.embedding)
        for i, layer in enumerate(self.layers):
            h = self.normed(x, layer["input norm"])
            q, k, v = (
                self.linear(h, layer[name]).view(b, s, -1, self.size).transpose(1, 2) for name in ("q", "k", "v")
            )
            q, k = self.rotate(q, positions), self.rotate(k, positions)
            if cache is None:
                h = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
            else:
                keys, values = cache[i]
                keys.index_copy_(2, positions, k)
                values.index_copy_(2, positions, v)
                seen = torch.arange(keys.shape[2], device=device) <= positions[:, None]
                h = F.scaled_dot_product_attention(q, keys, values, attn_mask=seen, enable_gqa=True)
            x = x + self.linear(h.transpose(1, 2).reshape(b, s, -1), layer["o"])
            h = self.normed(x, layer["post norm"])
            x = x + self.linear(F.silu(self.linear(h, layer["gate"])) * self.linear(h, layer["up"]), layer["down"])
        return self.normed(x, self.norm)

    def loss(self, tokens):
        hidden = self(tokens, torch.arange(tokens.shape[1], device=device))[:, :-1]
        logits = F.linear(hidden, self.embedding).float()
        return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), tokens[:, 1:].reshape(-1))


def random_tokens(rows, length, vocabulary):
    """Numerical Recipes' generator, as ours."""
    state, out = 1, []
    for _ in range(rows * length):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        out.append(state * vocabulary >> 32)
    return torch.tensor(out, device=device).reshape(rows, length)


def lora():
    config, rows, length = given["config"], given["rows"], given["length"]
    model = Model(config, rank=16)
    tokens = random_tokens(rows, length, config["vocab_size"])
    optimizer = torch.optim.AdamW(model.trained, lr=1e-4, weight_decay=0.0, fused=True)
    loss_of = torch.compile(model.loss) if given.get("compile") else model.loss
    losses = []

    def work():
        loss = loss_of(tokens)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())

    seconds = least(1 if quick else 10, work)
    figures = {"seconds a step": seconds, "tokens/s": rows * length / seconds, "losses": losses[:4]}
    if device == "cuda":
        figures["peak GiB"] = torch.cuda.max_memory_allocated() / 2**30
    return figures


@torch.inference_mode()
def generate():
    config, rows, prompt, steps = given["config"], given["rows"], given["prompt"], given["steps"]
    model = Model(config)
    prompts = random_tokens(rows, prompt, config["vocab_size"])
    shape = (rows, model.groups, prompt + steps, model.size)
    cache = [[torch.zeros(shape, device=device, dtype=dtype) for _ in range(2)] for _ in model.layers]

    def extend(tokens, positions):
        return F.linear(model(tokens, positions, cache)[:, -1], model.embedding).argmax(-1, keepdim=True)

    first = torch.arange(prompt, device=device)
    prefill = least(3, lambda: extend(prompts, first))
    token, position = extend(prompts, first), torch.full((1,), prompt, device=device)
    figures = {"prefill tokens/s": rows * prompt / prefill}

    def decode(one):
        def work():
            current = token.clone()
            for i in range(steps - 1):
                current = one(current, position + i)
            return current

        return least(3, work)

    def report(name, seconds):
        figures[f"{name}new tokens/s"] = rows * (steps - 1) / seconds
        figures[f"{name}seconds a decode step"] = seconds / (steps - 1)

    report("", decode(extend))
    if device == "cuda":
        try:
            held, at = token.clone(), position.clone()
            wait()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                out = extend(held, at)

            def replay(tokens, positions):
                held.copy_(tokens)
                at.copy_(positions)
                graph.replay()
                return out.clone()

            report("CUDA graph: ", decode(replay))
        except Exception as error:
            figures["CUDA graph"] = f"failed: {error}"
    bytes_read = sum(w.numel() * w.element_size() for layer in model.layers for w in layer.values())
    bytes_read += model.embedding.numel() * model.embedding.element_size()
    figures["weights GB/s"] = bytes_read / figures["seconds a decode step"] / 1e9
    chosen = [int(token[0])]
    current = token
    for i in range(min(7, steps - 1)):
        current = extend(current, position + i)
        chosen.append(int(current[0]))
    figures["first tokens of row 0"] = chosen
    return figures


print(json.dumps({"info": info, "matmul": matmul, "copy": copy, "lora": lora, "generate": generate}[step]()))
