"""Rotary frequencies of every scaling, and cos and sin at positions up to the context, from transformers' own modules."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from golden import output_folder, write_json, write_tensors  # noqa: E402

import torch  # noqa: E402
from transformers import LlamaConfig, Phi3Config, Qwen2Config  # noqa: E402
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding  # noqa: E402
from transformers.models.phi3.modeling_phi3 import Phi3RotaryEmbedding  # noqa: E402
from transformers.models.qwen2.modeling_qwen2 import Qwen2RotaryEmbedding  # noqa: E402

torch.set_num_threads(1)
KINDS = {"llama": (LlamaConfig, LlamaRotaryEmbedding), "qwen2": (Qwen2Config, Qwen2RotaryEmbedding), "phi3": (Phi3Config, Phi3RotaryEmbedding)}
FACTORS = [1 + 0.37 * i for i in range(24)]
# Kind, context, head size, rope parameters: those of known models.
CASES = {
    "llama-2": ("llama", 4096, 128, {"rope_type": "default", "rope_theta": 10000.0}),
    "smollm2": ("llama", 8192, 64, {"rope_type": "default", "rope_theta": 100000.0}),
    "qwen2.5": ("qwen2", 32768, 128, {"rope_type": "default", "rope_theta": 1000000.0}),
    "linear": ("llama", 16384, 96, {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.1}),
    "dynamic": ("llama", 8192, 128, {"rope_type": "dynamic", "rope_theta": 500000.0, "factor": 2.0}),
    "llama-3.1": ("llama", 131072, 128, {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}),
    "llama-3.2": ("llama", 131072, 64, {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}),
    "yarn": ("qwen2", 131072, 128, {"rope_type": "yarn", "rope_theta": 1000000.0, "factor": 4.0, "original_max_position_embeddings": 32768}),
    "yarn-all": ("llama", 65536, 64, {"rope_type": "yarn", "rope_theta": 150000.0, "factor": 16.0, "original_max_position_embeddings": 4096, "beta_fast": 24.0, "beta_slow": 2.0, "mscale": 1.2, "mscale_all_dim": 0.7, "truncate": False}),
    "longrope": ("phi3", 131072, 96, {"rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 0.5, "short_factor": [1 + x / 9 for x in FACTORS], "long_factor": [x * 4 for x in FACTORS], "original_max_position_embeddings": 4096}),
}


def main() -> None:
    out = output_folder(__file__)
    tensors, cases = {}, {}
    for name, (kind, context, head, rope) in CASES.items():
        config_class, module = KINDS[kind]
        config = {"hidden_size": 2 * head, "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": context, "rope_parameters": rope}
        config |= {"intermediate_size": 8, "num_hidden_layers": 1, "vocab_size": 8}
        if kind == "phi3":
            config |= {"original_max_position_embeddings": rope["original_max_position_embeddings"], "pad_token_id": 0, "eos_token_id": 1}
        embedding = module(config_class(**{key: dict(value) if isinstance(value, dict) else value for key, value in config.items()}))
        # Phi-3 has other factors beyond its original context.
        last = (rope["original_max_position_embeddings"] if kind == "phi3" else context) - 1
        positions = [0, 1, 7, 1000, last // 3, last - 1, last]
        cos, sin = embedding(torch.zeros(1, 1, 1), torch.tensor([positions]))
        pairs = embedding.inv_freq.numel()
        tensors |= {f"{name}.frequencies": embedding.inv_freq.clone(), f"{name}.cos": cos[0, :, :pairs], f"{name}.sin": sin[0, :, :pairs]}
        if kind == "phi3":
            embedding(torch.zeros(1, 1, 1), torch.tensor([[last + 1]]))
            tensors[f"{name}.long_frequencies"] = embedding.inv_freq.clone()
        cases[name] = {"config": {"model_type": kind, **config}, "positions": positions}
    write_json(out / "rotary.json", cases)
    write_tensors(out / "rotary.safetensors", tensors)


if __name__ == "__main__":
    main()
