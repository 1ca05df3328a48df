"""Trajectories of torch's optimizers, gradient clipping, and learning rates of transformers' schedules."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json, write_tensors  # noqa: E402

import torch  # noqa: E402
from conventions import conventions  # noqa: E402
from eight_bit import eight_bit_cases  # noqa: E402
from groups import groups_case  # noqa: E402
from lora_fa import lora_fa_case  # noqa: E402
from lora_plus import lora_plus_case  # noqa: E402
from matrices import matrix_cases  # noqa: E402
from transformers import get_scheduler  # noqa: E402

torch.set_num_threads(1)
STEPS = 20
# Two groups: the matrices decay, the vector does not.
SHAPES = {"matrix": (4, 3), "kernel": (2, 2, 3), "vector": (5,)}
GROUPS = [["matrix", "kernel"], ["vector"]]

OPTIMIZERS = {
    "adamw": (
        torch.optim.AdamW,
        [
            {"lr": 1e-2, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.1},
            {"lr": 3e-2, "betas": [0.8, 0.95], "eps": 1e-6, "weight_decay": 0.0},
        ],
    ),
    "sgd": (torch.optim.SGD, [{"lr": 5e-2, "weight_decay": 0.0}, {"lr": 1e-2, "weight_decay": 0.0}]),
    "sgd-momentum": (
        torch.optim.SGD,
        [{"lr": 5e-2, "momentum": 0.9, "weight_decay": 0.02}, {"lr": 1e-2, "momentum": 0.5, "weight_decay": 0.0}],
    ),
    "sgd-nesterov": (
        torch.optim.SGD,
        [{"lr": 5e-2, "momentum": 0.9, "nesterov": True, "weight_decay": 0.02}, {"lr": 1e-2, "momentum": 0.5, "nesterov": True, "weight_decay": 0.0}],
    ),
}

BASE = {"num_warmup_steps": 5, "num_training_steps": 25}
SCHEDULES = [
    ("constant", {}, {}),
    ("constant_with_warmup", {"num_warmup_steps": 5}, {}),
    ("linear", BASE, {}),
    ("linear", {"num_warmup_steps": 0, "num_training_steps": 25}, {}),
    ("cosine", BASE, {}),
    ("cosine", {"num_warmup_steps": 0, "num_training_steps": 7}, {"num_cycles": 1.0}),
    ("cosine_with_restarts", BASE, {"num_cycles": 3}),
    ("cosine_with_min_lr", BASE, {"min_lr_rate": 0.1}),
    ("cosine_with_min_lr", BASE, {"min_lr": 3e-5}),
    ("polynomial", BASE, {"lr_end": 1e-5, "power": 2.0}),
    ("inverse_sqrt", {"num_warmup_steps": 5}, {}),
    ("warmup_stable_decay", BASE, {"num_decay_steps": 8}),
    ("warmup_stable_decay", BASE, {"num_decay_steps": 8, "decay_type": "linear", "min_lr_ratio": 0.1}),
    ("warmup_stable_decay", BASE, {"num_decay_steps": 8, "decay_type": "1-sqrt", "warmup_type": "cosine"}),
    ("warmup_stable_decay", BASE, {"num_decay_steps": 8, "warmup_type": "1-sqrt", "min_lr_ratio": 0.2, "num_stable_steps": 4}),
    ("cosine_warmup_with_min_lr", BASE, {"min_lr_rate": 0.1}),
    ("cosine_warmup_with_min_lr", BASE, {"min_lr": 3e-5, "warmup_lr_rate": 0.2, "num_cycles": 1.0}),
    ("polynomial", BASE, {}),
    ("inverse_sqrt", {"num_warmup_steps": 0}, {}),
    ("inverse_sqrt", {"num_warmup_steps": 5}, {"timescale": 20}),
    ("cosine_with_restarts", BASE, {}),
]
METRIC_SCHEDULES = [
    ("reduce_lr_on_plateau", {"patience": 2}),
    ("reduce_lr_on_plateau", {"mode": "max", "factor": 0.5, "patience": 1, "threshold": 0.03, "threshold_mode": "abs", "cooldown": 2, "min_lr": 1e-2}),
    ("greedy", {"patience": 2, "factor": 0.8}),
    ("greedy", {"mode": "max", "factor": 0.5, "patience": 1, "threshold": 0.03, "threshold_mode": "rel", "cooldown": 1, "warmup": 2, "min_lr": 0.02, "max_lr": 0.08}),
    ("greedy", {"patience": 1, "factor": 0.5, "smooth": True, "window_size": 3, "min_lr": 0.04, "reset_start": 2}),
]
BASE_LR = 1e-3
SCHEDULE_STEPS = 30


def draw(seed: int) -> tuple[dict, dict]:
    """Initial values, and gradients [20, ...] of very different sizes (with one step of exact zeros)."""
    generator = torch.Generator().manual_seed(seed)
    initial = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    gradients = {}
    for name, shape in SHAPES.items():
        scale = 10 ** torch.empty(STEPS).uniform_(-3, 1, generator=generator)
        gradients[name] = torch.randn((STEPS, *shape), generator=generator) * scale.view(-1, *[1] * len(shape))
        gradients[name][6] = 0
    return initial, gradients


def make_optimizer(kind: str, parameters: dict) -> torch.optim.Optimizer:
    build, groups = OPTIMIZERS[kind]
    return build([{"params": [parameters[name] for name in names], **options} for names, options in zip(GROUPS, groups)], foreach=False)


def trajectory(kind: str, initial: dict, gradients: dict, clip: float | None = None, schedule=None) -> tuple[dict, dict]:
    parameters = {name: torch.nn.Parameter(value.clone()) for name, value in initial.items()}
    optimizer = make_optimizer(kind, parameters)
    scheduler = get_scheduler(schedule[0], optimizer, **schedule[1]) if schedule else None
    history = {name: [] for name in parameters}
    norms, rates = [], []
    for step in range(STEPS):
        for name, parameter in parameters.items():
            parameter.grad = gradients[name][step].clone()
        if clip is not None:
            norms.append(torch.nn.utils.clip_grad_norm_(list(parameters.values()), clip, foreach=False).item())
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        if scheduler:
            scheduler.step()
        for name, parameter in parameters.items():
            history[name].append(parameter.detach().clone())
    tensors = {f"after.{name}": torch.stack(values) for name, values in history.items()}
    for name, parameter in parameters.items():
        for key, value in optimizer.state[parameter].items():
            if torch.is_tensor(value) and value.dim():
                tensors[f"state.{key}.{name}"] = value
    return tensors, {"total_norms": norms, "learning_rates": rates}


def clip_cases(out: Path) -> None:
    generator = torch.Generator().manual_seed(42)
    gradients = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    tensors, cases = {f"gradient.{name}": value for name, value in gradients.items()}, []
    for max_norm in (0.5, 1.0, 3.0, 100.0):
        parameters = {name: torch.nn.Parameter(torch.zeros(shape)) for name, shape in SHAPES.items()}
        for name, parameter in parameters.items():
            parameter.grad = gradients[name].clone()
        total = torch.nn.utils.clip_grad_norm_(list(parameters.values()), max_norm, foreach=False)
        cases.append({"max_norm": max_norm, "total_norm": total.item()})
        tensors |= {f"clipped.{len(cases) - 1}.{name}": parameter.grad for name, parameter in parameters.items()}
    write_tensors(out / "clip.safetensors", tensors)
    write_json(out / "clip.json", {"cases": cases})


def schedule_cases(out: Path) -> None:
    cases = []
    for name, options, specific in SCHEDULES:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=BASE_LR)
        scheduler = get_scheduler(name, optimizer, **options, scheduler_specific_kwargs=specific)
        rates = []
        for _ in range(SCHEDULE_STEPS):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        cases.append({"name": name, "options": options, "specific": specific, "learning_rates": rates})
    write_json(out / "schedules.json", {"base_learning_rate": BASE_LR, "cases": cases, "metric_cases": metric_cases()})


def metric_cases() -> list[dict]:
    """Schedules that look at a metric: it falls, stays, rises and falls again."""
    metrics = [1 / (1 + 0.2 * i) for i in range(12)] + [0.31] * 8 + [0.31 + 0.02 * i for i in range(6)] + [0.3 - 0.01 * i for i in range(10)]
    cases = []
    for name, specific in METRIC_SCHEDULES:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.05)
        scheduler = get_scheduler(name, optimizer, scheduler_specific_kwargs=specific)
        rates = []
        for metric in metrics:
            optimizer.step()
            scheduler.step(-metric if specific.get("mode") == "max" else metric)
            rates.append(optimizer.param_groups[0]["lr"])
        cases.append({"name": name, "specific": specific, "learning_rate": 0.05, "metrics": metrics, "learning_rates": rates})
    return cases


def scaler_case(out: Path) -> None:
    """torch.amp.GradScaler's scale over steps, some of which have gradients that are not finite."""
    options = {"init_scale": 2.0**16, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 3}
    found = [0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0]
    scale, tracker = torch.tensor(options["init_scale"]), torch.tensor(0, dtype=torch.int32)
    scales, trackers = [], []
    for one in found:
        torch._amp_update_scale_(
            scale, tracker, torch.tensor(float(one)), options["growth_factor"], options["backoff_factor"], options["growth_interval"]
        )
        scales.append(scale.item())
        trackers.append(tracker.item())
    write_json(out / "loss-scaler.json", {"options": options, "found_inf": found, "scales": scales, "growth_trackers": trackers})


def main() -> None:
    out = output_folder(__file__)
    initial, gradients = draw(5)
    inputs = {f"initial.{name}": value for name, value in initial.items()}
    inputs |= {f"gradient.{name}": value for name, value in gradients.items()}
    write_tensors(out / "inputs.safetensors", inputs)
    facts = {"steps": STEPS, "groups": GROUPS, "optimizers": {}}
    for kind, (_, options) in OPTIMIZERS.items():
        tensors, _ = trajectory(kind, initial, gradients)
        write_tensors(out / f"{kind}.safetensors", tensors)
        facts["optimizers"][kind] = {"groups": options}
    schedule = ("cosine", {"num_warmup_steps": 4, "num_training_steps": STEPS})
    tensors, extra = trajectory("adamw", initial, gradients, clip=1.0, schedule=schedule)
    write_tensors(out / "adamw-clip-cosine.safetensors", tensors)
    facts["optimizers"]["adamw-clip-cosine"] = {
        "groups": OPTIMIZERS["adamw"][1], "max_norm": 1.0, "schedule": schedule[0], "schedule_options": schedule[1], **extra,
    }
    write_json(out / "optimizers.json", facts)
    clip_cases(out)
    schedule_cases(out)
    matrix_cases(out)
    eight_bit_cases(out)
    groups_case(out, initial, gradients)
    scaler_case(out)
    lora_plus_case(out)
    lora_fa_case(out)
    conventions(out)


if __name__ == "__main__":
    main()
