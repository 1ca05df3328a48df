"""BFPO (arXiv 2408.15313) by the trainer of its authors: python authors.py FOLDER, that of wx-zhang/bfpo at commit
a1febab15a21ca809a5cb9ee072261b40cc93063. It is no package; its module is loaded by its file, with an empty class in the place of the DPO trainer that it extends."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

import torch  # noqa: E402

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)

from dpo import PAIRS, draw  # noqa: E402
from preference_formulas import SAFE  # noqa: E402
from stand_in import StandIn  # noqa: E402


def trainer_of(folder: Path) -> type:
    for name in ("alignment", "alignment.trainer", "alignment.trainer.dpo"):
        sys.modules[name] = ModuleType(name)
    sys.modules["alignment.trainer.dpo"].DPOTrainer = object
    spec = importlib.util.spec_from_file_location("bfpo", folder / "src/alignment/trainer/bfpo.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.BFPOTrainer


def main() -> None:
    trainer = trainer_of(Path(sys.argv.pop(1)))
    inputs = draw()
    chosen_safe, rejected_safe = (torch.tensor(column) for column in zip(*SAFE))
    cases = []
    for options in ({"beta": 0.1}, {"beta": 0.5, "b1": 2, "alpha": 0.25}, {"beta": 0.01, "b1": 4}):
        b1 = options.get("b1", 3)
        # As its __init__ has them, which needs a model.
        settings = {"b1": b1, "b3": 1 / (b1 - 1), "alpha": options.get("alpha", 0.5), "beta": options["beta"]}
        leaf = inputs["logps"].clone().requires_grad_()
        policy, reference = ((x * inputs["mask"][:, 1:]).sum(1) for x in (leaf, inputs["ref_logps"]))
        losses, *_ = StandIn(trainer, **settings).bfpo(
            chosen_safe, rejected_safe, policy[:PAIRS], policy[PAIRS:], reference[:PAIRS], reference[PAIRS:]
        )
        loss = losses.mean()
        loss.backward()
        cases.append({"name": "bfpo", "options": options, "loss": loss.item(), "gradient": leaf.grad.tolist()})
    write_json(output_folder(__file__) / "bfpo-authors.json", {"cases": cases})


if __name__ == "__main__":
    main()
