"""The files that lm-evaluation-harness writes (results and samples) of two small tasks and a model of fixed answers."""

import json
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

from lm_eval import simple_evaluate  # noqa: E402
from lm_eval.api.model import LM  # noqa: E402
from lm_eval.loggers import EvaluationTracker  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

out = output_folder(__file__)
rows = [{"question": f"{a} + {b} =", "answer": str(a + b), "choices": ["5", str(a + b)], "gold": 1} for a, b in [(1, 1), (2, 3), (4, 4), (5, 2)]]
# The right choice of the second row is the wrong one, too: a tie goes to the first.
ANSWERS = ["The answer is 2", "The answer is 6", "no idea", "The answer is 7"]


class Fixed(LM):
    def generate_until(self, requests):
        return [ANSWERS[next(i for i, row in enumerate(rows) if row["question"] in one.args[0])] for one in requests]

    def loglikelihood(self, requests):
        return [(-0.25 * len(one.args[0] + one.args[1]) + (0.5 if one.args[1].strip() in ("2", "7") else 0.0), False) for one in requests]

    def loglikelihood_rolling(self, requests):
        raise NotImplementedError


with tempfile.TemporaryDirectory() as temporary:
    folder = Path(temporary)
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    common = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "doc_to_text": "{{question}}",
        "metadata": {"version": 1.0},
    }
    sums = {
        **common,
        "task": "sums",
        "output_type": "generate_until",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 16, "do_sample": False},
        "filter_list": [
            {"name": "strict", "filter": [{"function": "regex", "regex_pattern": "answer is (\\d+)"}, {"function": "take_first"}]},
            {"name": "none", "filter": [{"function": "take_first"}]},
        ],
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }
    choices = {
        **common,
        "task": "choices",
        "output_type": "multiple_choice",
        "doc_to_target": "{{gold}}",
        "doc_to_choice": "{{choices}}",
        "metric_list": [
            {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
            {"metric": "acc_norm", "aggregation": "mean", "higher_is_better": True},
        ],
    }
    manager = TaskManager()
    results = simple_evaluate(model=Fixed(), tasks=[sums, choices], task_manager=manager, log_samples=True, bootstrap_iters=0)
    samples = results.pop("samples")
    tracker = EvaluationTracker(output_path=str(folder / "out"))
    tracker.save_results_aggregated(results=results, samples=samples)
    for name in results["configs"]:
        tracker.save_results_samples(task_name=name, samples=samples[name])
    written = sorted((folder / "out").rglob("*.json*"))
    print([str(path) for path in written])
    for path in written:
        if path.name.startswith("results_"):
            kept = json.loads(path.read_text())
            # What is of this machine and this minute.
            for key in ("pretty_env_info", "date", "git_hash", "start_time", "end_time", "total_evaluation_time_seconds"):
                if key in kept:
                    kept[key] = "0" if isinstance(kept[key], str) else 0
            text = json.dumps(kept).replace(str(data), "rows.jsonl").replace(temporary, "folder")
            write_json(out / "results.json", json.loads(text))
        else:
            name = path.name.split("_2")[0]
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            write_json(out / f"{name}.json", lines)
