"""verl's policy losses, rejection masks, importance weights and KL controller, of given log-probabilities; value and gradient."""

import ast
import importlib.util
import math
import sys
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Optional

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

import numpy as np
import prime
import torch

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
# Only some functions of the package, whose modules bring Ray with them.
package = Path(importlib.util.find_spec("verl").submodule_search_locations[0])


class ActorConfig(SimpleNamespace):
    """What the losses ask of verl's configuration."""

    def get(self, name, default=None):
        return getattr(self, name, default)


names = {"torch": torch, "np": np, "math": math, "Any": Any, "Callable": Callable, "Optional": Optional, "Enum": Enum}
names |= {"DictConfig": dict, "ActorConfig": ActorConfig, "AlgoConfig": type("AlgoConfig", (), {})}


def take(file: str, into: dict, *wanted: str) -> None:
    for node in ast.parse((package / file).read_text()).body:
        named = [target.id for target in node.targets if isinstance(target, ast.Name)] if isinstance(node, ast.Assign) else [getattr(node, "name", None)]
        named += [node.target.id] if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) else []
        if not set(named) & set(wanted):
            continue
        if isinstance(node, ast.FunctionDef):
            node.decorator_list = []
        exec(compile(ast.Module([node], []), file, "exec"), into)  # noqa: S102


functional = {"torch": torch, "Optional": Optional, "distributed_masked_mean": None}
take("utils/torch_functional.py", functional, "masked_sum", "masked_mean", "masked_var", "masked_whiten")
names["verl_F"] = SimpleNamespace(**{name: value for name, value in functional.items() if name.startswith("masked")})
LOSSES = ["vanilla", "dppo_tv", "dppo_kl", "gspo", "sapo", "clip_cov", "kl_cov", "geo_mean", "dro", "cispo"]
take("trainer/ppo/core_algos.py", names, "agg_loss", "AdaptiveKLController", *(f"compute_policy_loss_{name}" for name in LOSSES))
take(
    "trainer/ppo/rollout_corr_helper.py",
    names,
    *("SAFETY_BOUND", "SUPPORTED_ROLLOUT_RS_OPTIONS", "TOKEN_LEVEL_ROLLOUT_RS_OPTIONS", "_parse_rollout_is_threshold", "_parse_rollout_rs_thresholds"),
    *("compute_rollout_rejection_mask", "compute_rs_metrics", "compute_rollout_correction_weights", "compute_is_metrics", "compute_offpolicy_metrics"),
)


def draw() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(29)

    def normal(scale, *shape):
        return scale * torch.randn(*(shape or (6, 5)), generator=generator)

    def rounded(x):
        return torch.round(x * 1024) / 1024

    old = rounded(-normal(1.2).abs() - 0.05)
    mask = (torch.arange(5)[None] < torch.tensor([5, 3, 4, 1, 5, 2])[:, None]).to(torch.float64)
    mask[0, 2] = 0
    drift = torch.tensor([0.3, 0.7, -0.35, 0.0, 0.3, 0.2])[:, None]
    return {
        "logps": torch.clamp(rounded(old + normal(0.4) + drift), max=-1 / 1024),
        "old_logps": old,
        "sampler_logps": rounded(old + normal(0.3)),
        "advantages": torch.tensor([1.25, -0.75, -0.5, 0.0, 0.875, -0.875]),
        "mask": mask,
    }


DEFAULTS = dict(clip_ratio=0.2, clip_ratio_low=None, clip_ratio_high=None, clip_ratio_c=3.0, tau_pos=1.0, tau_neg=1.05, global_batch_info={})
CASES = [
    ("dual-clip", "vanilla", {}),
    ("dual-clip-tight", "vanilla", dict(clip_ratio_c=1.4)),
    ("dppo-tv", "dppo_tv", dict(clip_ratio=0.1, clip_ratio_c=20.0)),
    ("dppo-tv-sides", "dppo_tv", dict(clip_ratio_low=0.05, clip_ratio_high=0.2, clip_ratio_c=1.5)),
    ("dppo-kl", "dppo_kl", dict(clip_ratio=0.02, clip_ratio_c=20.0)),
    ("gspo", "gspo", dict(clip_ratio=0.2)),
    ("sapo", "sapo", {}),
    ("gmpo", "geo_mean", dict(clip_ratio=0.4)),
    ("gmpo-sides", "geo_mean", dict(clip_ratio_low=0.1, clip_ratio_high=0.3)),
    ("dro", "dro", dict(dro_beta=0.3)),
    ("cispo", "cispo", dict(clip_ratio_low=0.1, clip_ratio_high=0.2)),
    ("clip-cov", "clip_cov", dict(clip_cov_ratio=1.0, clip_cov_lb=0.2, clip_cov_ub=5.0, on_policy=True)),
    ("kl-cov", "kl_cov", dict(kl_cov_ratio=0.3, ppo_kl_coef=0.7)),
]


def loss_case(inputs: dict, name: str, kind: str, options: dict) -> dict:
    given = {**DEFAULTS, **options}
    config = ActorConfig(**given, policy_loss=SimpleNamespace(**given))
    mask = inputs["mask"]
    logps = (inputs["old_logps"] if options.get("on_policy") else inputs["logps"]).clone().requires_grad_()
    advantages = inputs["advantages"][:, None].expand_as(mask).clone()
    loss, metrics = names[f"compute_policy_loss_{kind}"](inputs["old_logps"], logps, advantages, mask, "token-mean", config)
    loss.backward()
    return {"name": name, "options": options, "loss": loss.item(), "gradient": logps.grad.tolist(), "metrics": metrics}


REJECTIONS = [
    ("token_k1", "0.8_1.25"),
    ("token_k2", "0.02"),
    ("token_k3", "0.03"),
    ("seq_sum_k1", "0.7_1.5"),
    ("seq_sum_k2", "0.2"),
    ("seq_sum_k3", "0.2"),
    ("seq_mean_k1", "0.9_1.1"),
    ("seq_mean_k2", "0.05"),
    ("seq_mean_k3", "0.05"),
    ("seq_max_k2", "0.1"),
    ("seq_max_k3", "0.1"),
    ("token_k1,seq_mean_k3", "0.8_1.25,0.06"),
]


def mismatch(inputs: dict) -> dict:
    log_ratio, mask = inputs["old_logps"] - inputs["sampler_logps"], inputs["mask"]
    rejections = []
    for modes, thresholds in REJECTIONS:
        kept, _ = names["compute_rollout_rejection_mask"](log_ratio, mask, modes, thresholds)
        rejections.append({"modes": modes, "thresholds": thresholds, "kept": kept.tolist()})
    weights = []
    for level in ("token", "sequence"):
        for threshold in ("1.2", "0.8_1.25"):
            found, metrics = names["compute_rollout_correction_weights"](log_ratio, mask, level, threshold)
            weights.append({"level": level, "threshold": threshold, "weights": found.tolist(), "metrics": metrics})
    report = names["compute_offpolicy_metrics"](inputs["old_logps"], inputs["sampler_logps"], mask)
    return {"rejections": rejections, "weights": weights, "report": report}


def controller() -> dict:
    own = names["AdaptiveKLController"](0.2, 6.0, 100)
    seen, betas = [2.0, 5.5, 6.0, 9.0, 30.0, 6.5], []
    for kl in seen:
        own.update(kl, 8)
        betas.append(own.value)
    return {"init": 0.2, "target": 6.0, "horizon": 100, "completions": 8, "kl": seen, "betas": betas}


def main() -> None:
    inputs = draw()
    out = output_folder(__file__)
    write_json(
        out / "losses.json",
        {"inputs": {key: value.tolist() for key, value in inputs.items()}, "cases": [loss_case(inputs, *case) for case in CASES]},
    )
    write_json(out / "mismatch.json", mismatch(inputs))
    write_json(out / "controller.json", controller())
    write_json(out / "prime.json", prime.cases(functional["masked_whiten"]))


if __name__ == "__main__":
    main()
