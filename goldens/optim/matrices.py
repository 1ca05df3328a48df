"""Trajectories of optimizers that look at matrices, and of a few that torch does not have."""

import inspect
import warnings
from pathlib import Path

import torch
from golden import write_json, write_tensors

warnings.filterwarnings("ignore")
import bitsandbytes  # noqa: E402
from galore_torch import GaLoreAdamW  # noqa: E402
from galore_torch.galore_projector import GaLoreProjector  # noqa: E402
from torch.optim import _muon  # noqa: E402
from transformers import Adafactor  # noqa: E402

STEPS = 12
SHAPES = {"tall": (7, 4), "wide": (4, 6), "square": (5, 5), "vector": (6,)}
MATRICES = ["tall", "wide", "square"]


def draw() -> tuple[dict, dict]:
    generator = torch.Generator().manual_seed(11)
    initial = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    gradients = {}
    for name, shape in SHAPES.items():
        scale = 10 ** torch.empty(STEPS).uniform_(-2, 1, generator=generator)
        gradients[name] = torch.randn((STEPS, *shape), generator=generator) * scale.view(-1, *[1] * len(shape))
    return initial, gradients


def in_float32(function):
    """torch's own function with its cast to bfloat16 taken out."""
    namespace = dict(vars(_muon))
    exec(inspect.getsource(function).replace("torch.bfloat16", "torch.float32"), namespace)
    return namespace[function.__name__]


def muon(options: dict, exact: bool):
    def build(groups):
        if exact:
            _muon._zeropower_via_newtonschulz = in_float32(ORIGINAL)
        return torch.optim.Muon([parameter for group in groups for parameter in group], **options)

    return build


ORIGINAL = _muon._zeropower_via_newtonschulz
plain = lambda cls, options: lambda groups: cls([parameter for group in groups for parameter in group], **options)
BNB = {"lr": 2e-2, "betas": (0.9, 0.99), "weight_decay": 0.1}
GALORE = {"rank": 2, "update_proj_gap": 5, "scale": 0.25, "proj_type": "std"}


UNSIGNED = GaLoreProjector.get_orthogonal_matrix


def signed(self, weights, rank, type):
    """
    LAPACK leaves the signs of singular vectors open, and the moments are carried over to the next projection: so that
    there is one right answer, the largest entry of each vector is made positive.
    """
    vectors = UNSIGNED(self, weights, rank, type)
    axis = 1 if type == "right" else 0
    return vectors * torch.gather(vectors, axis, vectors.abs().argmax(axis, keepdim=True)).sign()


GaLoreProjector.get_orthogonal_matrix = signed


def galore(options: dict):
    def build(groups):
        return GaLoreAdamW(
            [{"params": groups[0], **options}, {"params": groups[1]}], lr=2e-2, eps=1e-8, weight_decay=0.1, no_deprecation_warning=True
        )

    return build


MUON = {"lr": 2e-2, "weight_decay": 0.1, "momentum": 0.95}
CASES = {
    "adam": (plain(torch.optim.Adam, {"lr": 2e-2, "weight_decay": 0.1, "foreach": False}), MATRICES, ["vector"], {"weight_decay": 0.1}),
    "lion": (plain(bitsandbytes.optim.Lion, BNB), MATRICES, ["vector"], {"weight_decay": 0.1}),
    "adafactor": (
        plain(Adafactor, {"lr": 2e-2, "scale_parameter": False, "relative_step": False, "weight_decay": 0.1}),
        MATRICES, ["vector"], {"scale_parameter": False, "weight_decay": 0.1},
    ),
    "adafactor-scaled": (
        plain(Adafactor, {"lr": 2e-2, "scale_parameter": True, "relative_step": False}), MATRICES, ["vector"], {"scale_parameter": True, "weight_decay": 0.0},
    ),
    # With these rates torch's cap of 1 / sqrt(t) is not reached, so that it is the paper's update, too.
    "adafactor-torch": (plain(torch.optim.Adafactor, {"lr": 2e-2, "foreach": False}), MATRICES, ["vector"], {"scale_parameter": True, "weight_decay": 0.0}),
    "muon": (muon(MUON, True), MATRICES, [], {}),
    "muon-bfloat16": (muon(MUON, False), MATRICES, [], {}),
    "muon-plain-momentum": (muon({**MUON, "nesterov": False, "adjust_lr_fn": "spectral_unclamped"}, True), MATRICES, [], {"nesterov": False, "adjust": "spectral_unclamped"}),
    "muon-match-rms": (muon({**MUON, "adjust_lr_fn": "match_rms_adamw", "ns_steps": 4}, True), MATRICES, [], {"adjust": "match_rms_adamw", "ns_steps": 4}),
    "galore": (galore(GALORE), MATRICES, [], GALORE),
    "galore-full-rank": (galore({**GALORE, "rank": 4, "update_proj_gap": 100, "scale": 1.0}), MATRICES, [], {**GALORE, "rank": 4, "update_proj_gap": 100, "scale": 1.0}),
}


def matrix_cases(out: Path) -> None:
    initial, gradients = draw()
    inputs = {f"initial.{name}": value for name, value in initial.items()}
    inputs |= {f"gradient.{name}": value for name, value in gradients.items()}
    write_tensors(out / "matrices-inputs.safetensors", inputs)
    facts = {}
    for kind, (build, first, second, options) in CASES.items():
        parameters = {name: torch.nn.Parameter(initial[name].clone()) for name in [*first, *second]}
        _muon._zeropower_via_newtonschulz = ORIGINAL
        optimizer = build([[parameters[name] for name in first], [parameters[name] for name in second]])
        history = {name: [] for name in parameters}
        for step in range(STEPS):
            for name, parameter in parameters.items():
                parameter.grad = gradients[name][step].clone()
            optimizer.step()
            for name, parameter in parameters.items():
                history[name].append(parameter.detach().clone())
        write_tensors(out / f"matrices-{kind}.safetensors", {f"after.{name}": torch.stack(values) for name, values in history.items()})
        facts[kind] = options
    write_json(out / "matrices.json", {"steps": STEPS, "learning_rate": 2e-2, "cases": facts})
