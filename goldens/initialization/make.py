"""How transformers starts new models: mean and standard deviation of every tensor that it saves, and rows that are zero."""

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))
from golden import output_folder, write_json  # noqa: E402

import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import AutoConfig, AutoModelForCausalLM  # noqa: E402

torch.set_num_threads(1)

SHARED = {"vocab_size": 120, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64}
CONFIGS = [
    {"model_type": "llama", **SHARED, "num_key_value_heads": 2, "pad_token_id": 3, "initializer_range": 0.05},
    {"model_type": "llama", **SHARED, "tie_word_embeddings": True, "pad_token_id": 3},
    {"model_type": "qwen2", **SHARED, "num_key_value_heads": 2, "tie_word_embeddings": True},
    {"model_type": "qwen3", **SHARED, "num_key_value_heads": 2, "head_dim": 12},
    {"model_type": "mistral", **SHARED, "num_key_value_heads": 2},
    {"model_type": "gemma2", **SHARED, "num_key_value_heads": 2, "head_dim": 12},
    {"model_type": "gemma3_text", **SHARED, "num_key_value_heads": 2, "head_dim": 12},
    {"model_type": "olmo2", **SHARED, "num_key_value_heads": 2},
    {"model_type": "phi3", **SHARED, "num_key_value_heads": 2, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1},
    {"model_type": "gpt2", "vocab_size": 120, "n_embd": 48, "n_layer": 3, "n_head": 4, "n_positions": 64},
    {"model_type": "mixtral", **SHARED, "num_key_value_heads": 2, "num_local_experts": 3},
    {"model_type": "qwen3_moe", **SHARED, "num_key_value_heads": 2, "head_dim": 12, "num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 40},
]


def saved(config: dict) -> dict:
    torch.manual_seed(11)
    known = {key: value for key, value in config.items() if key != "model_type"}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(config["model_type"], **known), dtype=torch.float32)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tensors = load_file(Path(folder) / "model.safetensors")
    found = {}
    for name, value in sorted(tensors.items()):
        value = value.float()
        rows = [i for i, row in enumerate(value.reshape(value.shape[0], -1)) if not row.any()] if value.dim() > 1 else []
        found[name] = {"mean": round(value.mean().item(), 5), "std": round(value.std(correction=0).item(), 5), "zero_rows": rows}
    return found


if __name__ == "__main__":
    write_json(output_folder(__file__) / "initialization.json", {"cases": [{"config": config, "tensors": saved(config)} for config in CONFIGS]})
