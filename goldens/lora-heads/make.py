"""Adapters that PEFT wrote over classifiers, with their logits and gradients: the head is trained whole."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))
from golden import output_folder, write_tensors  # noqa: E402

import torch  # noqa: E402
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification  # noqa: E402
from transformers.utils import logging  # noqa: E402

torch.set_num_threads(1)
logging.disable_progress_bar()

# Folder of goldens/heads: (class, task type, options)
CASES = {
    "llama-reward": (AutoModelForSequenceClassification, "SEQ_CLS", {"r": 2, "lora_alpha": 6}),
    "gpt2-token": (AutoModelForTokenClassification, "TOKEN_CLS", {"r": 2, "fan_in_fan_out": True, "target_modules": ["c_attn", "c_fc"]}),
}


def make(name: str, folder: Path, seed: int) -> None:
    auto, task, options = CASES[name]
    generator = torch.Generator().manual_seed(seed)
    base = auto.from_pretrained(f"heads/{name}", dtype=torch.float32, attn_implementation="eager")
    model = get_peft_model(base, LoraConfig(task_type=task, **options)).eval()
    trained = {key: p for key, p in model.named_parameters() if p.requires_grad}
    with torch.no_grad():
        for parameter in trained.values():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    inputs = load_file(f"heads/{name}/expected.safetensors")
    logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
    if logits.dim() == 3:
        logits = logits * inputs["attention_mask"][..., None]
    (logits * inputs["cotangent"]).sum().backward()
    names = {tensor.data_ptr(): key for key, tensor in get_peft_model_state_dict(model).items()}
    gradients = {f"gradient.{names[p.data_ptr()]}": p.grad for p in trained.values()}
    write_tensors(folder / "expected.safetensors", {"logits": logits} | gradients)
    print(name, sorted(names.values())[-1], logits.flatten()[:3].tolist())


def main() -> None:
    out = output_folder(__file__)
    os.chdir(ROOT)  # so that adapter_config.json names the base by a path inside this folder
    for seed, name in enumerate(CASES):
        make(name, out.resolve() / name, 5000 + seed)


if __name__ == "__main__":
    main()
