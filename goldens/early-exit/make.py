"""Early exit (CALM, arXiv 2207.06061) over a Llama of transformers, token by token: behind its exit a token only leaves keys and values."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

import torch  # noqa: E402
from transformers import AutoModelForCausalLM, DynamicCache  # noqa: E402
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb  # noqa: E402

torch.set_num_threads(1)
MODEL = Path(__file__).resolve().parents[1] / "models" / "llama"
model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float64).eval()
inner = model.model
THRESHOLDS = ([0.003, 0.01], [0.4, 0.5])


def confidence(kind: str, hidden: torch.Tensor, before: torch.Tensor) -> float:
    if kind == "state":
        return torch.cosine_similarity(hidden[0, 0], before[0, 0], dim=0).item()
    top = model.lm_head(inner.norm(hidden))[0, 0].softmax(-1).topk(2).values
    return (top[0] - top[1]).item()


@torch.no_grad()
def decode(prompt: list[int], text: list[int], kind: str, threshold: float) -> dict:
    """Logits after each token of the text behind the prompt, and the layers that each was computed by."""
    cache = DynamicCache(config=model.config)
    model(torch.tensor([prompt]), past_key_values=cache, use_cache=True)
    logits, layers, distances = [], [], []
    for i, token in enumerate(text):
        position = torch.tensor([[len(prompt) + i]])
        hidden = inner.embed_tokens(torch.tensor([[token]]))
        rotary = inner.rotary_emb(hidden, position)
        used, done = 0, False
        for at, layer in enumerate(inner.layers):
            if done:
                # Only what later tokens see of it.
                attention, states = layer.self_attn, layer.input_layernorm(hidden)
                key, value = (
                    project(states).view(1, 1, -1, attention.head_dim).transpose(1, 2)
                    for project in (attention.k_proj, attention.v_proj)
                )
                cache.update(apply_rotary_pos_emb(key, key, *rotary)[1], value, at)
                continue
            before, used = hidden, at + 1
            hidden = layer(hidden, past_key_values=cache, use_cache=True, position_embeddings=rotary, position_ids=position)
            if used < len(inner.layers):
                sure = confidence(kind, hidden, before)
                distances.append(abs(sure - threshold))
                done = sure > threshold
        layers.append(used)
        logits.append(model.lm_head(inner.norm(hidden))[0, 0].tolist())
    assert min(distances) > 1e-4, "too close to the threshold to be the same in float32"
    return {"layers": layers, "logits": logits}


generator = torch.Generator().manual_seed(3)
vocabulary = model.config.vocab_size
prompt = torch.randint(3, vocabulary, (5,), generator=generator).tolist()
text = torch.randint(3, vocabulary, (8,), generator=generator).tolist()
cases = []
for kind, thresholds in {"softmax": THRESHOLDS[0], "state": THRESHOLDS[1]}.items():
    for threshold in thresholds:
        result = decode(prompt, text, kind, threshold)
        # A few logits of each are enough.
        result["logits"] = [row[:8] for row in result["logits"]]
        cases.append({"confidence": kind, "threshold": threshold, **result})
        print(kind, threshold, result["layers"])
write_json(output_folder(__file__) / "expected.json", {"prompt": prompt, "text": text, "cases": cases})
