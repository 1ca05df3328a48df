"""Backward transfer, forgetting and forward transfer by the metrics of Avalanche, task by task, over matrices of scores."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

from avalanche.evaluation.metrics.forgetting_bwt import BWT, Forgetting  # noqa: E402
from avalanche.evaluation.metrics.forward_transfer import ForwardTransfer  # noqa: E402

# R[i][j]: the score on task j after task i; b: before any. In the last one no task was better later than after itself.
STREAMS = [
    {"matrix": [[0.9, 0.2], [0.4, 0.8]], "baseline": [0.1, 0.15]},
    {"matrix": [[0.5, 0.1, 0.3], [0.7, 0.6, 0.2], [0.55, 0.65, 0.9]], "baseline": [0.2, 0.05, 0.25]},
    {
        "matrix": [[0.9, 0.1, 0.2, 0.3], [0.7, 0.8, 0.25, 0.1], [0.6, 0.75, 0.95, 0.4], [0.65, 0.3, 0.5, 0.85]],
        "baseline": [0.12, 0.2, 0.3, 0.05],
    },
]


def measured(matrix: list, baseline: list) -> dict:
    lost, gained, ahead = Forgetting(), BWT(), ForwardTransfer()
    for j in range(len(matrix)):
        ahead.update(j, baseline[j], initial=True)
        for i in range(len(matrix)):
            if i == j:
                lost.update(j, matrix[i][j], initial=True)
                gained.update(j, matrix[i][j], initial=True)
            elif i > j:
                lost.update(j, matrix[i][j])
                gained.update(j, matrix[i][j])
            elif i == j - 1:
                ahead.update(j, matrix[i][j])
    tasks = range(len(matrix) - 1)
    return {
        "matrix": matrix,
        "baseline": baseline,
        "backward_transfer": [gained.result(k=j) for j in tasks],
        "forward_transfer": [ahead.result(k=j + 1) for j in tasks],
        # Of Avalanche it is what is lost since the task itself, which is that since the best where that was then.
        "forgetting": [lost.result(k=j) for j in tasks],
    }


def main() -> None:
    write_json(output_folder(__file__) / "avalanche.json", {"streams": [measured(**stream) for stream in STREAMS]})


if __name__ == "__main__":
    main()
