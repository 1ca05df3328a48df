"""Tiny random Hugging Face folders of every family, with logits, loss, gradients and greedy text of transformers."""

import copy
import json
import shutil
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json, write_tensors  # noqa: E402

import torch  # noqa: E402
from transformers import (  # noqa: E402
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3Config,
    Gemma3TextConfig,
    GenerationConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    Phi3Config,
    Qwen2Config,
    Qwen3Config,
)
from transformers.utils import logging  # noqa: E402

torch.set_num_threads(1)
logging.disable_progress_bar()
IGNORE = -100
NEW_TOKENS = 24
# Prompts are drawn until no greedy choice is nearly tied, so that rounding cannot change the text.
SMALLEST_GAP = 0.02

COMMON = {"hidden_size": 32, "intermediate_size": 56, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 256}
COMMON |= {"num_key_value_heads": 2, "max_position_embeddings": 128, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
# Files of at most 100 kB. llama, gpt2 and qwen2 are wider: most other goldens stand on them.
SMALL = COMMON | {"hidden_size": 16, "intermediate_size": 40}
ROPE = {"rope_type": "default", "rope_theta": 10000.0}
# Head size 16 and theta 10000 give wavelengths 6, 20, 63, 199 ...; below 16 is kept, 16 to 64 is blended, above is divided.
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}

CONFIGS = {
    "llama": LlamaConfig(**COMMON, tie_word_embeddings=False, rope_parameters=ROPE, rms_norm_eps=1e-5),
    "llama3-rope": LlamaConfig(
        **SMALL | {"eos_token_id": [2, 3]}, head_dim=16, tie_word_embeddings=False, rope_parameters=LLAMA3_ROPE, rms_norm_eps=1e-5
    ),
    "llama-bias-linear-rope": LlamaConfig(
        **SMALL,
        tie_word_embeddings=True,
        attention_bias=True,
        mlp_bias=True,
        rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0},
        rms_norm_eps=1e-6,
    ),
    "mistral": MistralConfig(**COMMON, tie_word_embeddings=False, rope_parameters=ROPE, sliding_window=5, head_dim=8),
    "qwen2": Qwen2Config(**COMMON, tie_word_embeddings=True, rope_parameters=ROPE | {"rope_theta": 1000000.0}),
    "qwen3": Qwen3Config(
        **SMALL | {"vocab_size": 300}, head_dim=16, tie_word_embeddings=False, rope_parameters=ROPE | {"rope_theta": 1000000.0}
    ),
    "gpt2": GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=64, vocab_size=256, bos_token_id=1, eos_token_id=2, pad_token_id=0),
    "smollm2": LlamaConfig(
        **COMMON | {"hidden_size": 36, "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 320, "pad_token_id": 2},
        tie_word_embeddings=True,
        rope_parameters=ROPE | {"rope_theta": 100000.0},
        rms_norm_eps=1e-5,
    ),
}
GEMMA = SMALL | {"head_dim": 16, "sliding_window": 5, "tie_word_embeddings": True}
GEMMA3 = GEMMA | {
    "num_hidden_layers": 3,
    "query_pre_attn_scalar": 10,
    "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
    "rope_parameters": {
        "sliding_attention": dict(ROPE),
        "full_attention": {"rope_type": "linear", "rope_theta": 1000000.0, "factor": 8.0},
    },
}
# Their seeds do not depend on how many there are above.
MORE_CONFIGS = {
    # Caps as small as the values they cap, so that a missing one shows.
    "gemma2": Gemma2Config(**GEMMA, query_pre_attn_scalar=24, attn_logit_softcapping=2.0, final_logit_softcapping=4.0, rope_parameters=dict(ROPE)),
    "gemma3-text": Gemma3TextConfig(**copy.deepcopy(GEMMA3), final_logit_softcapping=6.0),
    "gemma3": Gemma3Config(
        text_config=copy.deepcopy(GEMMA3) | {"num_hidden_layers": 2, "layer_types": GEMMA3["layer_types"][1:]},
        vision_config={"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 8, "patch_size": 4},
        mm_tokens_per_image=4,
        boi_token_index=250,
        eoi_token_index=251,
        image_token_index=252,
    ),
    "phi3": Phi3Config(**SMALL, tie_word_embeddings=False, rope_parameters=dict(ROPE), sliding_window=5),
    # Half of each head turns: 4 pairs.
    "phi3-longrope": Phi3Config(
        **SMALL | {"hidden_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1},
        original_max_position_embeddings=32,
        tie_word_embeddings=True,
        rope_parameters=ROPE
        | {
            "rope_type": "longrope",
            "partial_rotary_factor": 0.5,
            "short_factor": [1.0, 1.1, 1.3, 1.6],
            "long_factor": [1.2, 2.5, 6.0, 20.0],
        },
    ),
    "olmo2": Olmo2Config(**SMALL, tie_word_embeddings=False, rope_parameters=ROPE | {"rope_theta": 500000.0}),
}
SHARDED = {"mistral": "40KB"}
STORED = {"smollm2": torch.bfloat16}
OLD_CONFIG = ["llama3-rope", "qwen2", "gemma3-text", "phi3-longrope"]


def randomise(model, generator: torch.Generator) -> None:
    """Weights that show mistakes: norms away from 1, biases away from 0, activations of order 1."""
    gemma = model.config.model_type.startswith("gemma")
    tied = model.config.get_text_config().tie_word_embeddings
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() == 2:
                tied_or_inner = tied or "embed" not in name
                parameter.copy_(noise * (0.08 if gemma and "embed" in name else 0.2 if tied_or_inner else 0.5))
            elif "norm" in name and "bias" not in name or ".ln_" in name and name.endswith("weight"):
                parameter.copy_((0 if gemma else 1) + 0.3 * noise)
            else:
                parameter.copy_(0.2 * noise)


def load(folder: Path):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    return model.eval()


def log_probs(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """log p(ids[t+1] | ids[..t]), [B,T-1]."""
    return logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]


def greedy(model, prompts: list[list[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor, float]:
    """ids [N,24], their log-probs [N,24] and the smallest gap between the best two logits met on the way."""
    rows, chosen, gap = [], [], float("inf")
    for prompt in prompts:
        ids = list(prompt)
        values = []
        for _ in range(NEW_TOKENS):
            logits = model(torch.tensor([ids])).logits[0, -1]
            best = logits.topk(2)
            gap = min(gap, (best.values[0] - best.values[1]).item())
            values.append(logits.log_softmax(-1)[best.indices[0]])
            ids.append(best.indices[0].item())
        rows.append(ids[len(prompt) :])
        chosen.append(torch.stack(values))
    length = max(map(len, prompts))
    batch = torch.tensor([[pad] * (length - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (length - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    config = GenerationConfig(do_sample=False, max_new_tokens=NEW_TOKENS, eos_token_id=None, pad_token_id=pad)
    model.generation_config.eos_token_id = None
    generated = model.generate(batch, attention_mask=mask, generation_config=config)[:, length:]
    assert generated.tolist() == rows, "generate with a cache and a padded batch must agree with plain forward passes"
    return torch.tensor(rows), torch.stack(chosen), gap


def gradient_names(model, kind: str) -> list[str]:
    if kind == "gpt2":
        return [
            "transformer.wte.weight",
            "transformer.wpe.weight",
            "transformer.h.0.attn.c_attn.weight",
            "transformer.h.1.attn.c_attn.bias",
            "transformer.h.1.mlp.c_proj.weight",
            "transformer.h.0.ln_1.weight",
            "transformer.ln_f.bias",
        ]
    names = dict(model.named_parameters())
    wanted = [
        "model.embed_tokens.weight",
        "model.layers.0.self_attn.q_proj.weight",
        "model.layers.0.self_attn.q_proj.bias",
        "model.layers.0.self_attn.k_proj.weight",
        "model.layers.0.self_attn.k_norm.weight",
        "model.layers.1.mlp.down_proj.weight",
        "model.layers.1.mlp.down_proj.bias",
        "model.layers.0.self_attn.qkv_proj.weight",
        "model.layers.1.mlp.gate_up_proj.weight",
        "model.layers.0.input_layernorm.weight",
        "model.layers.0.pre_feedforward_layernorm.weight",
        "model.layers.0.post_feedforward_layernorm.weight",
        "model.norm.weight",
    ]
    if kind in MORE_CONFIGS:
        wanted += ["model.layers.0.post_attention_layernorm.weight"]
    return [name for name in wanted if name in names]


def ragged_batch(vocab: int, pad: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
    lengths, length = [12, 7, 3], 12
    ids = torch.randint(4, vocab, (len(lengths), length), generator=generator)
    mask = torch.tensor([[0] * (length - n) + [1] * n for n in lengths])
    labels = ids.masked_fill(mask == 0, IGNORE)
    return {
        "input_ids": ids.masked_fill(mask == 0, pad),
        "attention_mask": mask,
        "position_ids": (mask.cumsum(-1) - 1).clamp(min=0),
        "labels": labels,
    }


def expected(model, kind: str, generator: torch.Generator) -> tuple[dict, dict]:
    config = model.config.get_text_config()
    vocab, pad = config.vocab_size, config.pad_token_id
    ids = torch.randint(4, vocab, (2, 10), generator=generator)
    labels = ids.clone()
    labels[0, :4] = IGNORE
    labels[1, 5:7] = IGNORE
    labels[1, 9] = IGNORE

    output = model(ids, labels=labels)
    output.loss.backward()
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}
    model.zero_grad()
    tensors = {
        "batch.input_ids": ids,
        "batch.labels": labels,
        "batch.logits": output.logits,
        "batch.log_probs": log_probs(output.logits, ids),
    }
    tensors |= {f"gradient.{name}": gradients[name] for name in gradient_names(model, kind)}
    scalars = {"batch.loss": output.loss.item()}

    with torch.no_grad():
        ragged = ragged_batch(vocab, pad, generator)
        output = model(**ragged)
        real = ragged["attention_mask"].bool()
        tensors |= {f"ragged.{name}": value for name, value in ragged.items()}
        both = real[:, 1:] & real[:, :-1]
        tensors["ragged.log_probs"] = log_probs(output.logits, ragged["input_ids"]).masked_fill(~both, 0.0)
        alone = model(ragged["input_ids"][1:2, -7:]).logits[0]
        assert torch.allclose(alone, output.logits[1, -7:], atol=2e-5), "padding must not change the result"
        scalars["ragged.loss"] = torch.nn.functional.cross_entropy(
            output.logits[:, :-1].reshape(-1, vocab), ragged["labels"][:, 1:].masked_fill(~both, IGNORE).reshape(-1)
        ).item()
        gap = 0.0
        while gap < SMALLEST_GAP:
            prompts = [torch.randint(4, vocab, (n,), generator=generator).tolist() for n in (4, 7)]
            tensors["greedy.ids"], tensors["greedy.log_probs"], gap = greedy(model, prompts, pad)
        if kind == "phi3-longrope":
            long_tensors, scalars["long.greedy.prompts"] = long_expected(model, config, generator)
            tensors |= long_tensors
    scalars |= {
        "greedy.prompts": prompts,
        "greedy.smallest_gap": gap,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "gradient_norms": {name: gradient.norm().item() for name, gradient in gradients.items()},
    }
    return tensors, scalars


def long_expected(model, config, generator: torch.Generator) -> tuple[dict, list[list[int]]]:
    """The same of sequences that are longer than what the model was first trained on."""
    ids = torch.randint(4, config.vocab_size, (2, 48), generator=generator)
    logits = model(ids).logits
    gap = 0.0
    while gap < SMALLEST_GAP:
        prompts = [torch.randint(4, config.vocab_size, (n,), generator=generator).tolist() for n in (36, 40)]
        continued, values, gap = greedy(model, prompts, config.pad_token_id)
    return {
        "long.input_ids": ids,
        "long.logits": logits[:, -4:],
        "long.log_probs": log_probs(logits, ids),
        "long.greedy.ids": continued,
        "long.greedy.log_probs": values,
    }, prompts


def old_config(folder: Path, check: torch.Tensor, ids: torch.Tensor) -> None:
    """The same config with the key names of transformers 4, checked to mean the same."""
    config = json.loads((folder / "config.json").read_text())
    rope = config.pop("rope_parameters")
    if "full_attention" in rope:
        config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        config["sliding_window_pattern"] = config["num_hidden_layers"]
        rope = rope["full_attention"]
    if "partial_rotary_factor" in rope:
        config["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
        rope.pop("original_max_position_embeddings")
        rope["type"] = rope["rope_type"]
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = None if rope["rope_type"] == "default" else rope
    config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.46.0"
    config.pop("layer_types", None)
    write_json(folder / "config.v4.json", config)
    twin = folder / "copy"
    twin.mkdir()
    shutil.copy(folder / "model.safetensors", twin)
    shutil.copy(folder / "config.v4.json", twin / "config.json")
    with torch.no_grad():
        assert torch.equal(load(twin)(ids).logits, check)
    shutil.rmtree(twin)


def main() -> None:
    out = output_folder(__file__)
    seeded = [(1000 + i, *item) for i, item in enumerate(CONFIGS.items())]
    seeded += [(2000 + i, *item) for i, item in enumerate(MORE_CONFIGS.items())]
    for seed, kind, config in seeded:
        folder = out / kind
        generator = torch.Generator().manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)
        randomise(model, generator)
        model = model.to(STORED.get(kind, torch.float32))
        model.generation_config = GenerationConfig.from_model_config(config)
        model.save_pretrained(folder, max_shard_size=SHARDED.get(kind, "1GB"))
        model = load(folder)
        tensors, scalars = expected(model, kind, generator)
        if kind in OLD_CONFIG:
            old_config(folder, tensors["batch.logits"], tensors["batch.input_ids"])
        write_tensors(folder / "expected.safetensors", tensors)
        write_json(folder / "expected.json", scalars)
        print(kind, scalars["parameters"], f"loss {scalars['batch.loss']:.3f} gap {scalars['greedy.smallest_gap']:.4f}", tensors["greedy.ids"][0].tolist())


if __name__ == "__main__":
    main()
