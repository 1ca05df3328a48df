"""PRIME by its authors' recipe for verl: advantages of rewards of tokens and outcomes, and the loss of the reward model; value and gradient."""

import ast
import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Optional

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

import torch

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
# Only some functions of the packages, whose modules bring Ray with them.
verl = Path(importlib.util.find_spec("verl").submodule_search_locations[0])


def take(file: Path, into: dict, *wanted: str) -> None:
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name in wanted:
            node.decorator_list, node.returns = [], None
            for argument in node.args.args:
                argument.annotation = None
            exec(compile(ast.Module([node], []), str(file), "exec"), into)  # noqa: S102


functional = {"torch": torch, "Optional": Optional}
take(verl / "utils/torch_functional.py", functional, "masked_sum", "masked_mean", "masked_var", "masked_whiten")
names = {"torch": torch, "verl_F": SimpleNamespace(**{k: v for k, v in functional.items() if k.startswith("masked")})}
take(verl.parent / "recipe/prime/prime_core_algos.py", names, "compute_rloo_advantage_return", "compute_ce_dpo_loss_rm")

GROUP, LENGTHS, BETA = 3, [5, 3, 4, 1, 5, 2], 0.3


class Config(SimpleNamespace):
    def get(self, name, default=None):
        return getattr(self, name, default)


def main() -> None:
    generator = torch.Generator().manual_seed(71)

    def draw() -> torch.Tensor:
        return torch.round(torch.randn(6, 5, generator=generator) * 1024) / 1024

    mask = torch.arange(5)[None] < torch.tensor(LENGTHS)[:, None]
    rewards, ratios = draw(), draw()
    accuracies = torch.tensor([1.0, 0.0, 0.5, 1.0, 1.0, 0.0])
    cases = []
    for dpo, gt in ((5.0, 5.0), (1.0, 0.0), (0.5, 2.0)):
        batch = {
            "rm_scores": rewards * mask,
            "acc": accuracies,
            "prompts": torch.zeros(6, 2, dtype=torch.long),
            "attention_mask": torch.cat([torch.ones(6, 2), mask.double()], 1).long(),
        }
        coefficients = {"reward_dpo_coef": dpo, "reward_gt_coef": gt, "dpo_coef": dpo, "gt_coef": gt}
        config = Config(algorithm=Config(**coefficients))
        advantages, _ = names["compute_rloo_advantage_return"](SimpleNamespace(batch=batch), mask.double(), GROUP, config)
        cases.append({"options": {"dpoCoef": dpo, "gtCoef": gt}, "advantages": (advantages * mask).tolist()})
    leaf = ratios.clone().requires_grad_()
    loss = names["compute_ce_dpo_loss_rm"](leaf, accuracies, mask.double(), BETA)
    loss.backward()
    inputs = {"n": GROUP, "beta": BETA, "lengths": LENGTHS, "accuracies": accuracies.tolist(), "token_rewards": (rewards * mask).tolist()}
    found = {"log_ratios": ratios.tolist(), "cases": cases, "loss": loss.item(), "gradient": leaf.grad.tolist()}
    write_json(output_folder(__file__) / "prime.json", {**inputs, **found})


if __name__ == "__main__":
    main()
