"""LoRA adapters of the tiny model folders, and what PEFT's add_weighted_adapter makes of them: logits of the merged adapter."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))
from golden import output_folder, write_json  # noqa: E402

import torch  # noqa: E402
from peft import LoraConfig, PeftModel, get_peft_model  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

torch.set_num_threads(1)

ADAPTERS = {
    "llama": {
        "a": {"r": 2, "lora_alpha": 6, "target_modules": ["q_proj", "v_proj"]},
        "b": {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "down_proj"]},
        "c": {"r": 3, "lora_alpha": 3, "target_modules": ["q_proj"]},
    },
    "gpt2": {
        "a": {"r": 2, "lora_alpha": 6, "fan_in_fan_out": True, "target_modules": ["c_attn"]},
        "b": {"r": 2, "lora_alpha": 4, "fan_in_fan_out": True, "target_modules": ["c_attn", "c_proj"]},
    },
}
D = {"density": 0.5}
CASES = [
    ("llama", "ab", [0.7, 0.4], "linear", {}),
    ("llama", "ab", [0.7, -0.4], "linear", {}),
    ("llama", "abc", [0.7, -0.4, 1.5], "cat", {}),
    ("llama", "abc", [0.7, -0.4, 1.5], "svd", {}),
    ("llama", "ab", [0.7, 0.4], "svd", {"svd_rank": 4}),
    ("llama", "ab", [0.7, 0.4], "ties", D),
    ("llama", "ab", [0.7, 0.4], "ties", D | {"majority_sign_method": "frequency"}),
    ("llama", "abc", [0.7, 0.4, 0.2], "ties_svd", D),
    ("llama", "ab", [0.7, 0.4], "magnitude_prune", D),
    ("llama", "abc", [0.7, 0.4, 0.2], "magnitude_prune_svd", D),
    ("llama", "ab", [0.7, 0.4], "dare_linear", {"density": 1.0}),
    ("llama", "ab", [0.7, 0.4], "dare_ties_svd", {"density": 1.0}),
    ("gpt2", "ab", [0.7, -0.4], "cat", {}),
    ("gpt2", "ab", [0.7, 0.4], "svd", {}),
]


def load_base(name):
    return AutoModelForCausalLM.from_pretrained(f"models/{name}", dtype=torch.float32, attn_implementation="eager").eval()


out = output_folder(__file__).resolve()
os.chdir(ROOT)
for i, (base, adapters) in enumerate(ADAPTERS.items()):
    for j, (name, options) in enumerate(adapters.items()):
        model = get_peft_model(load_base(base), LoraConfig(task_type="CAUSAL_LM", **options))
        generator = torch.Generator().manual_seed(10 * i + j)
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                if "lora_" in key:
                    parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
        model.save_pretrained(out / f"{base}-{name}")
        (out / f"{base}-{name}" / "README.md").unlink(missing_ok=True)

tokens = [3, 7, 1, 12, 5, 9]
cases = []
for base, names, weights, kind, options in CASES:
    model = PeftModel.from_pretrained(load_base(base), out / f"{base}-{names[0]}", adapter_name=names[0])
    for name in names[1:]:
        model.load_adapter(out / f"{base}-{name}", adapter_name=name)
    model.add_weighted_adapter(list(names), weights, "m", combination_type=kind, **options)
    model.set_adapter("m")
    with torch.no_grad():
        logits = model(torch.tensor([tokens])).logits[0, -1]
    cases.append(
        {
            "base": base,
            "adapters": list(names),
            "weights": weights,
            "combinationType": kind,
            "options": options,
            "rank": model.peft_config["m"].r,
            "logits": [float(x) for x in logits.flatten()],
        }
    )
write_json(out / "expected.json", {"tokens": tokens, "cases": cases})
