"""torch's parameter groups: AdamW, each group with a rate, a schedule, a decay and a clip of its own; one is frozen."""

import torch
from golden import write_json, write_tensors
from transformers import get_cosine_schedule_with_warmup

STEPS = 5
LEARNING_RATE = 0.02
GROUPS = {
    "matrix": {"weight_decay": 0.1, "max_norm": 0.05, "factor": 1.0, "gradient_factor": 1.0},
    "kernel": {"weight_decay": 0.0, "max_norm": 2.0, "factor": 0.25, "gradient_factor": 3.0},
    "vector": {"weight_decay": 0.3, "max_norm": None, "factor": 2.0, "gradient_factor": 1.0},
}
SHARED_MAX_NORM = 0.7  # of the parameters whose group has no clip of its own
SCHEDULE = {"num_warmup_steps": 2, "num_training_steps": 8}  # of "matrix"


def groups_case(out, initial: dict, gradients: dict) -> None:
    parameters = {name: torch.nn.Parameter(value.clone()) for name, value in initial.items()}
    frozen = torch.nn.Parameter(torch.tensor([1.0, 2.0]), requires_grad=False)
    groups = [
        {"params": [parameters[name]], "lr": LEARNING_RATE * group["factor"], "weight_decay": group["weight_decay"]}
        for name, group in GROUPS.items()
    ]
    optimizer = torch.optim.AdamW([*groups, {"params": [frozen]}], foreach=False)
    waves = get_cosine_schedule_with_warmup(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0), **SCHEDULE)
    history, norms = {name: [] for name in parameters}, {name: [] for name in parameters}
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * waves.lr_lambdas[0](step)
        for name, group in GROUPS.items():
            parameters[name].grad = gradients[name][step] * group["gradient_factor"]
            max_norm = group["max_norm"] or SHARED_MAX_NORM
            norm = torch.nn.utils.clip_grad_norm_([parameters[name]], max_norm, foreach=False)
            norms[name].append(norm.item())
        optimizer.step()
        for name, parameter in parameters.items():
            history[name].append(parameter.detach().clone())
    assert torch.equal(frozen, torch.tensor([1.0, 2.0]))
    after = {f"after.{name}": torch.stack(values) for name, values in history.items()}
    write_tensors(out / "groups.safetensors", after)
    facts = {"steps": STEPS, "learning_rate": LEARNING_RATE, "shared_max_norm": SHARED_MAX_NORM, "schedule": SCHEDULE}
    write_json(out / "groups.json", facts | {"groups": GROUPS, "norms": norms})
