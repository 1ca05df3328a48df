"""Conventions of the reference that a formula does not say: which parameters decay, and gradients at the limits of a clamp."""

from pathlib import Path

import torch
from golden import write_json
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.trainer import Trainer

MODELS = Path(__file__).resolve().parents[1] / "models"
LIMITS = [(-1.0, 1.0), (-1.0, None), (None, 1.0), (1.0, -1.0), (0.0, 0.0)]
POINTS = [-2.0, -1.0, -0.5, 0.0, 1.0, 2.0]


def decayed(model) -> dict[str, bool]:
    """By name, of the first layer of the text model: the other layers have the same names."""
    names = set(Trainer.get_decay_parameter_names(None, model))
    left_out = [f".{i}." for i in range(1, 9)] + ["vision_tower", "multi_modal_projector"]
    first = {name for name, _ in model.named_parameters() if not any(part in name for part in left_out)}
    return {name.removeprefix("base_model.model."): name in names for name in sorted(first)}


def clamp_gradient(low, high) -> list[float]:
    x = torch.tensor(POINTS, requires_grad=True)
    x.clamp(low, high).sum().backward()
    return x.grad.tolist()


def conventions(out: Path) -> None:
    torch.manual_seed(0)
    decay = {}
    for folder in sorted(path for path in MODELS.iterdir() if (path / "config.json").exists()):
        decay[folder.name] = decayed(AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder)))
    base = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(MODELS / "llama"))
    lora = LoraConfig(r=2, target_modules=["q_proj", "embed_tokens"], use_dora=False, lora_bias=False)
    decay["llama, LoRA"] = {k: v for k, v in decayed(get_peft_model(base, lora)).items() if "lora" in k}
    base = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(MODELS / "llama"))
    dora = LoraConfig(r=2, target_modules=["q_proj"], use_dora=True)
    decay["llama, DoRA"] = {k: v for k, v in decayed(get_peft_model(base, dora)).items() if "lora" in k}
    clamp = [{"low": low, "high": high, "gradient": clamp_gradient(low, high)} for low, high in LIMITS]
    write_json(out / "conventions.json", {"decay": decay, "points": POINTS, "clamp": clamp})
