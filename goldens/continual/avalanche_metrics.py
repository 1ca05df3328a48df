"""Backward transfer, forgetting and forward transfer of matrices of scores by Avalanche's metrics: python avalanche_metrics.py FOLDER, that of
ContinualAI/avalanche at version 0.6.0 (the unpacked wheel of avalanche-lib==0.6.0 will do). Of its package only the two modules are loaded, by
their files, with empty classes in the place of what they take of the others, which want torchvision and more."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

folder = Path(sys.argv.pop(1)) / "avalanche/evaluation"

# R[i][j]: the score on task j after task i; b: before any. The score on a task is the best there is right after it.
STREAMS = [
    {"matrix": [[0.9, 0.2], [0.4, 0.8]], "baseline": [0.1, 0.15]},
    {"matrix": [[0.7, 0.1, 0.3], [0.5, 0.65, 0.2], [0.55, 0.6, 0.9]], "baseline": [0.2, 0.05, 0.25]},
    {
        "matrix": [[0.9, 0.1, 0.2, 0.3], [0.7, 0.8, 0.25, 0.1], [0.6, 0.75, 0.95, 0.4], [0.65, 0.3, 0.5, 0.85]],
        "baseline": [0.12, 0.2, 0.3, 0.05],
    },
]


class Empty:
    def __class_getitem__(cls, _):
        return cls


NAMES = {
    "metric_definitions": ("Metric", "PluginMetric"),
    "metric_results": ("MetricValue", "MetricResult"),
    "metrics": ("TaskAwareAccuracy", "Mean"),
    "metric_utils": ("get_metric_name", "phase_and_task", "stream_type", "generic_get_metric_name", "default_metric_name_template"),
}


def loaded(name: str):
    for module, names in NAMES.items():
        stand_in = sys.modules.setdefault(f"avalanche.evaluation.{module}", ModuleType(module))
        for one in names:
            setattr(stand_in, one, Empty)
    for package in ("avalanche", "avalanche.evaluation"):
        sys.modules.setdefault(package, ModuleType(package))
    spec = importlib.util.spec_from_file_location(name, folder / f"metrics/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measured(matrix: list, baseline: list) -> dict:
    backwards = loaded("forgetting_bwt")
    lost, gained, ahead = backwards.Forgetting(), backwards.BWT(), loaded("forward_transfer").ForwardTransfer()
    for i, scores in enumerate(matrix):
        for j, score in enumerate(scores):
            if i >= j:
                lost.update(j, score, initial=i == j)
                gained.update(j, score, initial=i == j)
            if i == j - 1:
                ahead.update(j, baseline[j], initial=True)
                ahead.update(j, score)
    last = len(matrix) - 1
    return {
        **{"matrix": matrix, "baseline": baseline},
        "backward_transfer": [gained.result_key(j) for j in range(last)],
        "forgetting": [lost.result_key(j) for j in range(last)],
        "forward_transfer": [ahead.result_key(j + 1) for j in range(last)],
    }


def main() -> None:
    write_json(output_folder(__file__) / "avalanche.json", {"streams": [measured(**stream) for stream in STREAMS]})


if __name__ == "__main__":
    main()
