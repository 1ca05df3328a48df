"""Logs of inspect_ai: one that it writes (JSON and .eval), and what its reader says of those that this project wrote."""

import json
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

from inspect_ai import Task, eval  # noqa: E402
from inspect_ai.dataset import Sample  # noqa: E402
from inspect_ai.log import EvalLog, read_eval_log, write_eval_log  # noqa: E402
from inspect_ai.model import ChatMessageSystem, ChatMessageUser, ModelOutput, ModelUsage, get_model  # noqa: E402
from inspect_ai.scorer import includes, match, value_to_float  # noqa: E402

here = Path(__file__).resolve().parent
out = output_folder(__file__)

samples = [
    Sample(id="a", input="1+1", target="2"),
    Sample(
        id="b",
        input=[ChatMessageSystem(content="Be short."), ChatMessageUser(content="2+2 " + "long " * 60)],
        target="4",
        metadata={"level": 3},
    ),
    Sample(id=3, input="3+3", target=["6", "six"]),
]
outputs = [ModelOutput.from_content("mockllm/model", text) for text in ["2", "3", "four", "4 is 4", "6", "it is six, no"]]
outputs[1].choices[0].stop_reason = "max_tokens"
for i, one in enumerate(outputs):
    one.usage = ModelUsage(input_tokens=10, output_tokens=i + 1, total_tokens=11 + i)


def summary(log):
    """What Inspect's reader sees."""
    return {
        "version": log.version,
        "status": log.status,
        "task": log.eval.task,
        "model": log.eval.model,
        "epochs": log.eval.config.epochs,
        "temperature": log.plan.config.temperature,
        "sample_ids": [str(one) for one in log.eval.dataset.sample_ids],
        "usage": {name: [used.input_tokens, used.output_tokens] for name, used in log.stats.model_usage.items()},
        "scores": [
            {
                "name": score.name,
                "scorer": score.scorer,
                "metrics": {name: metric.value for name, metric in score.metrics.items()},
            }
            for score in log.results.scores
        ],
        "samples": [
            {
                "id": str(sample.id),
                "epoch": sample.epoch,
                "input": sample.input if isinstance(sample.input, str) else [[m.role, m.text] for m in sample.input],
                "target": sample.target,
                "metadata": sample.metadata,
                "completion": sample.output.completion,
                "stop_reason": sample.output.stop_reason,
                "usage": [sample.output.usage.input_tokens, sample.output.usage.output_tokens],
                "scores": {
                    name: [score.value, score.answer, score.explanation, value_to_float()(score.value)]
                    for name, score in sample.scores.items()
                },
            }
            for sample in log.samples
        ],
    }


with tempfile.TemporaryDirectory() as folder:
    model = get_model("mockllm/model", custom_outputs=outputs, memoize=False)
    task = Task(dataset=samples, scorer=[match(), includes()], name="sums", epochs=2)
    log = eval(task, model=model, log_dir=folder, display="none", max_samples=1, max_connections=1, temperature=0.5)[0]
    assert log.status == "success", log.error
    log = read_eval_log(log.location)
    log.eval.model_args = {}
    log.eval.revision = None
    for sample in log.samples:
        sample.events = []
        sample.events_data = None
    # The same every time: names that are drawn, times, and how long it took.
    text = log.model_dump_json(exclude_none=True)
    names = list(dict.fromkeys(re.findall(r'"(?:id|uuid|eval_id|run_id|task_id)":"([A-Za-z0-9]{22})"', text)))
    for i, name in enumerate(names):
        text = text.replace(name, f"name{i:018d}")
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?[+]00:00", "2026-01-01T00:00:00+00:00", text)
    text = re.sub(r'"(total_time|working_time|time)":[\d.e-]+', r'"\1":0.5', text)
    log = EvalLog.model_validate_json(text)
    time.localtime = lambda *_: time.struct_time((2026, 1, 1, 0, 0, 0, 3, 1, 0))
    for name in ("theirs.json", "theirs.eval"):
        write_eval_log(log, str(out / name))
    write_json(out / "theirs-read.json", summary(read_eval_log(str(out / "theirs.eval"))))

for name in ("ours.json", "ours.eval"):
    if out != here:
        shutil.copy(here / name, out / name)
    if (here / name).exists():
        read = summary(read_eval_log(str(here / name)))
        write_json(out / f"{name.replace('.', '-')}-read.json", read)
