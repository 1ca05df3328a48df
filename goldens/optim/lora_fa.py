"""PEFT's LoraFAOptimizer over two pairs of factors and a bias; in float32, where it would take bfloat16."""

from pathlib import Path

import torch
from golden import write_tensors
from peft.optimizers import lorafa

lorafa.is_bf16_available = lambda: False
STEPS = 3
SCALINGS = {"one": 2.0, "two": 0.75}


def lora_fa_case(out: Path) -> None:
    generator = torch.Generator().manual_seed(41)
    parameters = {}
    for module, (r, inputs, outputs) in {"one": (3, 7, 5), "two": (2, 4, 6)}.items():
        for factor, shape in (("lora_A", (r, inputs)), ("lora_B", (outputs, r))):
            parameters[f"{module}.{factor}.weight"] = torch.nn.Parameter(torch.randn(shape, generator=generator))
        parameters[f"{module}.lora_A.weight"].requires_grad_(False)
    parameters["bias"] = torch.nn.Parameter(torch.randn(4, generator=generator))
    tensors = {f"initial.{name}": parameter.detach().clone() for name, parameter in parameters.items()}
    names = list(parameters)
    group = {
        "params": list(parameters.values()),
        "names": names,
        "scaling_factors": [SCALINGS.get(name.split(".")[0]) for name in names],
    }
    # Of ε, which PEFT has before the correction of the moments and AdamW behind it, nothing is to be seen.
    optimizer = lorafa.LoraFAOptimizer([group], lr=0.01, eps=1e-12)
    for step in range(STEPS):
        for name, parameter in parameters.items():
            if parameter.requires_grad:
                parameter.grad = torch.randn(parameter.shape, generator=generator)
                tensors[f"step{step}.gradient.{name}"] = parameter.grad.clone()
        optimizer.step()
        for name, parameter in parameters.items():
            tensors[f"step{step}.{name}"] = parameter.detach().clone()
    write_tensors(out / "lora-fa.safetensors", tensors)
