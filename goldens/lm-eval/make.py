"""What lm-evaluation-harness asks and scores of a model that is a function of the text, over tasks/*.yaml and data.json."""

import hashlib
import json
import logging
import multiprocessing
import os
import re
import sys
import types
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
import datasets

# Its models, which are not used, name a class that newer transformers has not.
models = types.SimpleNamespace(huggingface=types.SimpleNamespace(HFLM=type("HFLM", (), {})))
sys.modules["lm_eval.models"] = types.ModuleType("lm_eval.models")
import lm_eval
from lm_eval import evaluator

lm_eval.models = models
from lm_eval.api.model import LM
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks import TaskManager

HERE = Path(__file__).parent
DATA = json.loads((HERE / "data.json").read_text())
logging.disable(logging.WARNING)


def download(self, dataset_kwargs=None, **kwargs):
    self.dataset = datasets.DatasetDict(
        {name: datasets.Dataset.from_list(rows) for name, rows in DATA[self.config.dataset_path].items()}
    )


ConfigurableTask.download = download


class OneProcess:
    """In the place of a pool of processes: their order is the same, and forks of a process with threads may wait for ever."""

    def __init__(self, _):
        self.imap = map

    def close(self):
        pass


multiprocessing.Pool = OneProcess


def draw(*texts):
    """A whole number of 32 bits."""
    return int.from_bytes(hashlib.sha256("\0".join(texts).encode()).digest()[:4], "little")


class StandIn(LM):
    """Its numbers are a hash of what it is asked; its answers are sums, right or near, in several forms."""

    tokenizer_name = "stand-in"

    def loglikelihood(self, requests):
        return [self.score(*request.args) for request in requests]

    def score(self, context, continuation):
        number = draw(context, continuation)
        return (-(number % 10007) / 1000 - 0.5, number % 3 == 0)

    def loglikelihood_rolling(self, requests):
        return [self.score("", request.args[0])[0] for request in requests]

    def generate_until(self, requests):
        seen = {}
        answers = []
        for request in requests:
            context = request.args[0]
            seen[context] = seen.get(context, -1) + 1
            answers.append(self.answer(context, seen[context]))
        return answers

    def answer(self, context, place):
        number = draw(context, str(place))
        numbers = [int(one) for one in re.findall(r"\d+", context)]
        total = sum(numbers[-2:]) + (0 if number % 2 else number // 2 % 3)
        forms = [f"Let me see.\n#### {total}", f"It is ${total:,}.", f" (B), or {total}.", "The answer: Salt", f"blue {total}"]
        return forms[number // 7 % len(forms)]

    def apply_chat_template(self, chat_history, add_generation_prompt=True):
        text = "".join(f"<{turn['role']}>{turn['content']}" for turn in chat_history)
        return text + "<assistant>" if add_generation_prompt else text


def plain(value):
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value.tolist() if hasattr(value, "tolist") else value


RUNS = [
    *[{"task": name} for name in ["sums", "sums_vote", "sums_prefix", "choices", "yes_no", "blank", "last_word", "pages", "several", "letters", "own"]],
    {"task": "sums", "num_fewshot": 3, "fewshot_random_seed": 7, "system_instruction": "Be exact."},
    {"task": "sums", "apply_chat_template": True, "system_instruction": "Be exact."},
    {"task": "sums", "apply_chat_template": True, "fewshot_as_multiturn": True},
    {"task": "sums_prefix", "apply_chat_template": True, "fewshot_as_multiturn": True},
    {"task": "choices", "apply_chat_template": True, "fewshot_as_multiturn": True},
    {"task": "choices", "apply_chat_template": True},
    {"task": "all_chosen"},
]

if __name__ == "__main__":
    manager = TaskManager(include_path=str(HERE / "tasks"), include_defaults=False)
    runs = []
    for run in RUNS:
        options = {key: value for key, value in run.items() if key != "task"}
        result = evaluator.simple_evaluate(
            model=StandIn(), tasks=[run["task"]], task_manager=manager, bootstrap_iters=100, log_samples=True, **options
        )
        samples = {
            name: [
                {
                    "doc": row["doc_id"],
                    "filter": row["filter"],
                    "arguments": plain([argument[:2] if isinstance(argument[1], str) else argument[:1] for argument in row["arguments"]])
                    if len(row["arguments"][0]) > 1
                    else plain(row["arguments"]),
                    "filtered": plain(row["filtered_resps"]),
                    "values": {metric: plain(row[metric]) for metric in row["metrics"]},
                }
                for row in rows
            ]
            for name, rows in (result["samples"].items() if run["task"] != "all_chosen" else [])
        }
        results = {
            name: {key: plain(value) for key, value in values.items() if "," in key}
            for name, values in result["results"].items()
        }
        runs.append({**run, "samples": samples, "results": results})
    (HERE / "expected.json").write_text(json.dumps(runs, indent=1) + "\n")
