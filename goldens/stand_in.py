"""What TRL's loss methods ask of `self` besides numbers: one process, no logging, metrics kept in a dictionary."""

import collections
import inspect
import math

import torch

class Accelerator:
    device = torch.device("cpu")
    num_processes = 1
    process_index = 0
    sync_gradients = True
    is_main_process = True
    parallelism_config = None

    def __init__(self):
        self.gathered = []

    def gather(self, tensor):
        self.gathered.append(tensor)
        return tensor

    gather_for_metrics = gather

    def reduce(self, tensor, reduction="sum"):
        return tensor

    def pad_across_processes(self, tensor, dim=0, pad_index=0):
        return tensor

    def unwrap_model(self, model):
        return model

    def autocast(self):
        return torch.autocast("cpu", enabled=False)


class StandIn:
    """A trainer without a trainer: attributes are given, methods are TRL's own, bound to this object."""

    def __init__(self, trainer, **attributes):
        self._trainer = trainer
        self.accelerator = Accelerator()
        self.aux_loss_enabled = False
        self._metrics = collections.defaultdict(lambda: collections.defaultdict(list))
        self._total_train_tokens = 0
        self._tp_size = 1
        for name, value in attributes.items():
            setattr(self, name, value)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return inspect.getattr_static(self._trainer, name).__get__(self, type(self))

    def metrics(self) -> dict[str, float | None]:
        """The values logged for one step; NaN is written as null."""
        values = {name: value[-1] for name, value in self._metrics["train"].items()}
        return {name: finite(value) for name, value in values.items()}


def fake_model() -> torch.nn.Module:
    model = torch.nn.Module()
    model.is_gradient_checkpointing = False
    return model


def finite(value):
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def rounded(tensor: torch.Tensor) -> torch.Tensor:
    """Four decimals, so that the JSON holds exactly the number that was used."""
    return (tensor * 1e4).round() / 1e4
