"""The losses of decision models in ms-swift (`swift/loss/decision.py`): values and gradients over padded options."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

import torch  # noqa: E402

# The folder of the package, which is not imported: it wants what decision losses do not.
SWIFT = Path(importlib.util.find_spec("swift").submodule_search_locations[0])


def load(name: str, file: str | None = None):
    module = ModuleType(name)
    if file is not None:
        spec = importlib.util.spec_from_file_location(name, SWIFT / file)
        module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if file is not None:
        spec.loader.exec_module(module)
    return module


class BaseLoss:
    def __init__(self, args, trainer):
        self.args, self.trainer = args, trainer


for package in ("swift", "swift.loss", "swift.model"):
    load(package).__path__ = []
load("swift.loss.base").BaseLoss = BaseLoss
head = load("swift.model.decision_head", "model/decision_head.py")
losses = load("swift.loss.decision", "loss/decision.py")

KINDS = ["choice", "score", "noul", "score"]
OPTIONS = [3, 5, 2, 4]
HARD = [[0, 1, 0, 0, 0], [0, 0, 0, 1, 0], [1, 0, 0, 0, 0], [1, 0, 0, 0, 0]]
SOFT = [[0.2, 0.5, 0.3, 0, 0], [0.1, 0.2, 0.4, 0.2, 0.1], [0.9, 0.1, 0, 0, 0], [0.4, 0.3, 0.2, 0.1, 0]]

generator = torch.Generator().manual_seed(8)
LOGITS = torch.randn(4, 5, generator=generator).mul(1.5)
mask = torch.arange(5).unsqueeze(0) < torch.tensor(OPTIONS).unsqueeze(1)


def case(loss, target: list) -> dict:
    logits = LOGITS.clone().requires_grad_()
    kinds = torch.tensor([head.QUESTION_TYPES[kind] for kind in KINDS])
    value = loss(None, None)(SimpleNamespace(logits=logits, option_mask=mask, kinds=kinds), torch.tensor(target, dtype=torch.float32))
    value.backward()
    return {"target": target, "loss": value.item(), "gradient": logits.grad.tolist()}


write_json(
    output_folder(__file__) / "expected.json",
    {
        "kinds": KINDS,
        "options": OPTIONS,
        "logits": LOGITS.tolist(),
        "cases": {
            "scoring": case(losses.ScoringLoss, SOFT),
            "ce_rps": case(losses.CERPSLoss, HARD),
            "smooth_brier": case(losses.SmoothBrierLoss, HARD),
            "distill_rps": case(losses.DistillRPSLoss, SOFT),
        },
    },
)
