"""TRL's BEMACallback and torch's exponential moving average over the weights of a run."""

import sys
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))
from golden import output_folder, write_json  # noqa: E402

import torch  # noqa: E402
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn  # noqa: E402
from trl import BEMACallback  # noqa: E402

torch.set_num_threads(1)
STEPS = 12


class Weights(torch.nn.Module):
    def __init__(self, config=None):
        super().__init__()
        self.config = config
        self.a = torch.nn.Parameter(torch.zeros(2, 3))
        self.b = torch.nn.Parameter(torch.zeros(2))


def path() -> list[dict[str, list[float]]]:
    """The weights before the first update and after each."""
    generator = torch.Generator().manual_seed(3)
    a, b, found = torch.randn(2, 3, generator=generator), torch.randn(2, generator=generator), []
    for _ in range(STEPS + 1):
        found.append({"a": a.flatten().tolist(), "b": b.flatten().tolist()})
        a = 0.9 * a + 0.3 * torch.randn(2, 3, generator=generator)
        b = 0.8 * b + 0.1 + 0.2 * torch.randn(2, generator=generator)
    return found


def put(model: Weights, weights: dict[str, list[float]]) -> None:
    with torch.no_grad():
        model.a.copy_(torch.tensor(weights["a"]).reshape(2, 3))
        model.b.copy_(torch.tensor(weights["b"]))


def of(model) -> dict[str, list[float]]:
    return {name: value.detach().flatten().tolist() for name, value in (("a", model.a), ("b", model.b))}


def bema(weights, **options) -> list:
    callback, model = BEMACallback(**options), Weights()
    put(model, weights[0])
    callback.on_train_begin(None, None, None, model=model)
    found = []
    for step in range(1, STEPS + 1):
        put(model, weights[step])
        callback.on_step_end(None, SimpleNamespace(global_step=step), None, model=model)
        found.append(of(callback.running_model))
    return found


def ema(weights, decay: float) -> list:
    model = Weights()
    put(model, weights[0])
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))
    averaged.update_parameters(model)  # The first call copies.
    found = []
    for step in range(1, STEPS + 1):
        put(model, weights[step])
        averaged.update_parameters(model)
        found.append(of(averaged.module))
    return found


BEMA = [
    {"update_freq": 1},
    {"update_freq": 3},
    {"update_freq": 2, "update_after": 3},
    {"update_freq": 1, "ema_power": 0.8, "bias_power": 0.0, "lag": 2, "multiplier": 2.0, "min_ema_multiplier": 0.3},
    {"update_freq": 1, "ema_power": 0.0, "bias_power": 8.0},
]

if __name__ == "__main__":
    weights = path()
    cases = [{"options": options, "average": bema(weights, **options)} for options in BEMA]
    write_json(output_folder(__file__) / "averages.json", {"weights": weights, "bema": cases, "ema": [{"options": {"decay": d}, "average": ema(weights, d)} for d in (0.5, 0.9)]})
