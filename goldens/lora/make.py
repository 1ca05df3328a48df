"""Adapters written by PEFT over the tiny model folders, with their logits, gradients and merged weights."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))
from golden import output_folder, write_json, write_tensors  # noqa: E402

import torch  # noqa: E402
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402
from transformers.utils import logging  # noqa: E402

torch.set_num_threads(1)
logging.disable_progress_bar()

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
MLP = ["gate_proj", "up_proj", "down_proj"]
EXPERTS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]

# name: (base folder, options of LoraConfig beside task_type)
CASES = {
    "llama-default": ("llama", {}),
    "llama-rslora": ("llama", {"r": 4, "lora_alpha": 6, "use_rslora": True, "target_modules": ATTENTION + MLP}),
    "llama-dora": ("llama", {"r": 4, "lora_alpha": 8, "use_dora": True, "target_modules": ["q_proj", "v_proj", "down_proj"]}),
    "llama-patterns": (
        "llama",
        {
            "r": 4,
            "lora_alpha": 8,
            "lora_dropout": 0.1,
            "target_modules": ["q_proj", "v_proj", "up_proj"],
            "rank_pattern": {"q_proj": 2, "^model.layers.1.self_attn.v_proj": 6, r"layers\.\d+\.mlp\.up_proj": 3},
            "alpha_pattern": {"layers.0.self_attn.q_proj": 12, "v_proj": 5},
        },
    ),
    "llama-regex-target": ("llama", {"r": 2, "target_modules": r".*layers\.1\.(self_attn\.[qk]_proj|mlp\.gate_proj)"}),
    "llama-layers": ("llama", {"r": 2, "target_modules": ["o_proj"], "layers_to_transform": [1]}),
    "llama-lora-bias": ("llama", {"r": 4, "lora_bias": True, "target_modules": ["q_proj", "o_proj"]}),
    "llama-modules-to-save": ("llama", {"r": 4, "target_modules": ["q_proj", "v_proj"], "modules_to_save": ["lm_head"]}),
    "llama-embedding": ("llama", {"r": 4, "lora_alpha": 12, "target_modules": ["embed_tokens", "q_proj"]}),
    "llama-all-linear": ("llama", {"r": 2, "lora_alpha": 4, "target_modules": "all-linear"}),
    "qwen2-default": ("qwen2", {"r": 4, "lora_alpha": 16}),
    "qwen2-lora-bias": ("qwen2", {"r": 4, "lora_bias": True, "target_modules": ["q_proj", "k_proj"]}),
    "qwen2-dora": ("qwen2", {"r": 4, "use_dora": True, "target_modules": ATTENTION}),
    "qwen2-bias-lora-only": ("qwen2", {"r": 4, "bias": "lora_only", "target_modules": ["q_proj", "v_proj"]}),
    "gpt2-default": ("gpt2", {"r": 4, "fan_in_fan_out": True}),
    "gpt2-dora": ("gpt2", {"r": 4, "use_dora": True, "fan_in_fan_out": True, "target_modules": ["c_attn", "c_fc"]}),
    "gpt2-all-linear": ("gpt2", {"r": 2, "lora_alpha": 6, "fan_in_fan_out": True, "target_modules": "all-linear"}),
    "llama-tokens": ("llama", {"r": 2, "trainable_token_indices": {"embed_tokens": [236, 84, 3], "lm_head": [5, 84]}}),
    "qwen2-tokens-norms": ("qwen2", {"r": 2, "trainable_token_indices": [84, 236], "modules_to_save": ["input_layernorm", "model.norm"]}),
    "gpt2-norms": ("gpt2", {"r": 2, "fan_in_fan_out": True, "modules_to_save": ["ln_1"]}),
    "mixtral-all-linear": ("mixture-of-experts/mixtral", {"r": 1, "target_modules": "all-linear"}),
    "mixtral-down": (
        "mixture-of-experts/mixtral",
        {"r": 2, "target_modules": ["q_proj"], "target_parameters": ["experts.down_proj"], "use_rslora": True},
    ),
    "qwen3-moe-experts": (
        "mixture-of-experts/qwen3-moe",
        {"r": 2, "lora_alpha": 6, "target_parameters": EXPERTS, "rank_pattern": {"layers.0.mlp.experts.down_proj": 1}},
    ),
    "qwen2-tied-copy": ("qwen2", {"r": 2, "modules_to_save": ["lm_head"], "ensure_weight_tying": True}),
    "qwen2-tied-factors": (
        "qwen2",
        {"r": 2, "lora_alpha": 6, "target_modules": ["embed_tokens", "q_proj"], "ensure_weight_tying": True},
    ),
    "gemma2-tied-factors": (
        "gemma2",
        {"r": 2, "target_modules": r".*(layers\.0\..*v_proj|lm_head)", "ensure_weight_tying": True},
    ),
    "qwen2-tied-tokens": (
        "qwen2",
        {"r": 2, "trainable_token_indices": {"embed_tokens": [84, 3], "lm_head": [84, 3]}, "ensure_weight_tying": True},
    ),
}


def folder_of(base: str) -> str:
    return base if "/" in base else f"models/{base}"


def load_base(name: str):
    experts = {"experts_implementation": "eager"} if "experts" in name else {}
    return AutoModelForCausalLM.from_pretrained(folder_of(name), dtype=torch.float32, attn_implementation="eager", **experts).eval()


def apart(key: str, value: torch.Tensor, base: str) -> dict[str, torch.Tensor]:
    """A parameter under its names in a checkpoint, where experts are apart."""
    if "mixtral" in base:
        key = key.replace(".mlp.", ".block_sparse_moe.")
    if ".experts." not in key:
        return {key: value}
    place, _, parameter = key.rpartition(".")
    gate, up, down = ("w1", "w3", "w2") if "mixtral" in base else ("gate_proj", "up_proj", "down_proj")
    parts = dict(zip((gate, up), value.chunk(2, dim=1))) if parameter == "gate_up_proj" else {down: value}
    return {f"{place}.{e}.{name}.weight": part[e] for name, part in parts.items() for e in range(len(value))}


def randomise(model, generator: torch.Generator) -> None:
    """Every trainable tensor away from its initial value: A and B random, magnitudes and copied weights moved a little."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator)
                if "lora_magnitude_vector" in name:
                    parameter.mul_(1 + 0.2 * noise)
                elif "lora_" in name:
                    parameter.copy_(0.2 * noise)
                else:
                    parameter.add_(0.1 * noise)


def saved_names(model) -> dict[int, str]:
    """Where a tensor lives -> the key PEFT saves it under; of tied ones the first, which is the embedding's."""
    names: dict[int, str] = {}
    for key, tensor in get_peft_model_state_dict(model).items():
        names.setdefault(tensor.data_ptr(), key)
    return names


def gradients(model) -> dict[str, torch.Tensor]:
    """By PEFT's keys. What lives in one place is one number: PEFT has tied factors as two parameters, one the other turned."""
    names = saved_names(model)
    sums: dict[str, torch.Tensor] = {}
    for parameter in model.parameters():
        if not parameter.requires_grad:
            continue
        key = f"gradient.{names[parameter.data_ptr()]}"
        if key not in sums:
            sums[key] = parameter.grad
        else:
            sums[key] = sums[key] + parameter.grad.T
    return sums


def make(name: str, folder: Path, seed: int) -> None:
    base, options = CASES[name]
    inputs = load_file(f"{folder_of(base)}/expected.safetensors")
    ids, labels, base_logits = (inputs[f"batch.{key}"] for key in ("input_ids", "labels", "logits"))
    torch.manual_seed(seed)
    model = get_peft_model(load_base(base), LoraConfig(task_type="CAUSAL_LM", **options)).eval()
    randomise(model, torch.Generator().manual_seed(seed))
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)

    output = model(ids, labels=labels)
    output.loss.backward()
    names = saved_names(model)
    tensors = {"logits": output.logits} | gradients(model)
    with torch.no_grad(), model.disable_adapter():
        off = model(ids).logits
    # Experts and wrapped modules round otherwise. bias="lora_only" trains the base layer's own bias, which disabling does not put back.
    off_is_base = torch.allclose(off, base_logits, atol=5e-6)
    assert off_is_base or options.get("bias"), "adapters off is the base"

    again = PeftModel.from_pretrained(load_base(base), folder).eval()
    assert torch.equal(again(ids).logits, output.logits), "the saved adapter is the adapter"
    facts = {"base": base, "loss": output.loss.item(), "off_is_base": off_is_base}
    try:
        merged = again.merge_and_unload().eval()
    except RuntimeError as error:  # lora_bias over a layer without bias
        write_tensors(folder / "expected.safetensors", tensors)
        write_json(folder / "expected.json", facts | {"merge_error": str(error)})
        return
    if name.endswith("tied-factors"):
        # PEFT 0.21.2 adds the change to the one weight of both twice: its merged model is another. Once is right.
        with torch.no_grad():
            embedding = merged.get_input_embeddings().weight
            embedding.copy_((embedding + load_base(base).get_input_embeddings().weight) / 2)
    with torch.no_grad():
        drift = (merged(ids).logits - output.logits).abs().max().item()
    assert drift < 1e-4, "merged, it computes the same"
    before, after = (
        {part: tensor for key, value in model.named_parameters() for part, tensor in apart(key, value, base).items()}
        for model in (load_base(base), merged)
    )
    changed = [key for key, value in after.items() if key in before and not torch.equal(value, before[key])]
    changed += [key for key in after if key not in before]
    tensors |= {f"merged.{key}": after[key] for key in (changed[:2] + changed[2:][-1:])}
    write_tensors(folder / "expected.safetensors", tensors)
    write_json(folder / "expected.json", facts | {"merge_drift": drift, "merged_parameters": changed})
    print(f"{name}: {len(names)} tensors, moved logits {(output.logits - base_logits).abs().max():.2f}, merge drift {drift:.1e}, {changed[:1]}")


def main() -> None:
    out = output_folder(__file__)
    os.chdir(ROOT)  # so that adapter_config.json names the base by a path inside this folder
    for seed, name in enumerate(CASES):
        make(name, out.resolve() / name, 2000 + seed)


if __name__ == "__main__":
    main()
