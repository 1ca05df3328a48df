"""The peer of lm-eval.ts: lm-evaluation-harness with transformers, on the same task file, rows and model folder, in one process and one thread.

usage: lm-eval-peer.py FOLDER TASK BATCH    prints one JSON line: wall and processor seconds, accuracy and the log-likelihood of each row's choices

Imports, loading and a first small run are not timed.
"""

import json
import logging
import os
import sys
import time

folder, task, batch = sys.argv[1:]
os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["HF_HOME"] = os.path.join(folder, "hub")
logging.disable(logging.CRITICAL)

import torch  # noqa: E402

torch.set_num_threads(1)

import lm_eval  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

model = HFLM(pretrained=os.path.join(folder, "model"), device="cpu", dtype="float32", batch_size=int(batch), max_length=2048)
manager = TaskManager(include_path=folder, include_defaults=False)


def run(split):
    return lm_eval.simple_evaluate(model=model, tasks=[f"{task}-{split}"], task_manager=manager, bootstrap_iters=0, log_samples=True)


run("warm")
start, used = time.perf_counter(), time.process_time()
result = run("test")
wall, processor = time.perf_counter() - start, time.process_time() - used
name = f"{task}-test"
samples = sorted(result["samples"][name], key=lambda sample: sample["doc_id"])
print()
print(
    json.dumps(
        {
            "wall": wall,
            "processor": processor,
            "accuracy": result["results"][name]["acc,none"],
            "logProbs": [[float(answer[0][0] if isinstance(answer[0], (list, tuple)) else answer[0]) for answer in sample["resps"]] for sample in samples],
        }
    )
)
