"""The groups of PEFT's create_loraplus_optimizer over a LoRA adapter with magnitudes, biases and an embedding."""

from pathlib import Path

import torch
from golden import write_json
from peft import LoraConfig, get_peft_model
from peft.optimizers import create_loraplus_optimizer
from transformers import AutoModelForCausalLM

FOLDER = Path(__file__).resolve().parents[1] / "models" / "llama"


def lora_plus_case(out: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(FOLDER)
    config = LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj", "embed_tokens"], use_dora=True)
    model = get_peft_model(model, config)
    optimizer = create_loraplus_optimizer(
        model, torch.optim.AdamW, lr=1e-3, loraplus_lr_ratio=8.0, loraplus_lr_embedding=1e-5, loraplus_weight_decay=0.1
    )
    by_parameter = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    groups = {
        name.replace(".default", ""): {"shape": list(p.shape), "learning_rate": by_parameter[id(p)]["lr"], "weight_decay": by_parameter[id(p)]["weight_decay"]}
        for name, p in model.named_parameters()
        if p.requires_grad
    }
    write_json(out / "lora-plus.json", {"learning_rate": 1e-3, "learning_rate_ratio": 8.0, "learning_rate_of_embeddings": 1e-5, "parameters": groups})
