"""Confidences of DEER, walks of MUR, populations of RSA, programs of PAL, skeletons of SoT."""

import collections
import contextlib
import copy
import io
import json
import math
import random
import re
import runpy
import signal
import types
from typing import Callable, Optional
from unittest import mock

import numpy as np
import torch
from golden import pick
from stand_ins import module, modules, read_json


def deer(root):
    function = pick(root / "vllm-deer.py", ["calculate_average_max_prob_from_logprobs"], {"torch": torch, "math": math})["calculate_average_max_prob_from_logprobs"]
    draw = random.Random(13)
    cases = []
    for tokens in (1, 2, 3, 7, 12):
        # Theirs leaves out the first token, a brace.
        log_probs = [round(-draw.expovariate(3), 4) for _ in range(tokens)]
        given = [{0: types.SimpleNamespace(logprob=x)} for x in [-0.5, *log_probs]]
        cases.append({"logProbs": log_probs, **{name: function(given, policy) for name, policy in (("geometric", "avg2"), ("arithmetic", "avg1"))}})
    return {"cases": cases}


def mur(root):
    runs = [walk(root, seed, *settings) for seed, settings in enumerate([(0.9, 0.9, 3), (0.9, 0.8, 4), (0.5, 1.0, 2), (0.25, 0.7, 3), (1.0, 0.9, 2)])]
    return {"runs": runs}


def walk(root, seed, momentum, gamma, candidates):
    """One question of their loop: what is drawn first of each step, its candidates, and what the critic says of them."""
    draw = random.Random(60 + seed)
    steps = [
        {
            "first": [round(-draw.expovariate(2), 4) for _ in range(draw.randint(1, 4))],
            "again": [[round(-draw.expovariate(2), 4) for _ in range(draw.randint(1, 4))] for _ in range(candidates)],
            # Two of the same now and then.
            "scores": [round(draw.random(), 1) for _ in range(candidates)],
        }
        for _ in range(7)
    ]
    said = lambda log_probs, text: types.SimpleNamespace(text=text, token_ids=log_probs, cumulative_logprob=sum(log_probs))  # noqa: E731
    ends = lambda t: "the answer is 1" if t == len(steps) - 1 else "on"  # noqa: E731

    class Policy:
        def __init__(self, **_):
            self.step = -1

        def generate(self, prompts, sampling):
            if isinstance(prompts, list):
                return self.judge(prompts, sampling)
            at = int(re.findall(r"Step(\d+):$", prompts)[0])
            if sampling.get("n") is None:
                return [types.SimpleNamespace(outputs=[said(steps[at]["first"], f"0 {ends(at)}")])]
            return [types.SimpleNamespace(outputs=[said(x, f"{i + 1} {ends(at)}") for i, x in enumerate(steps[at]["again"])])]

        def judge(self, prompts, sampling):
            if "n" in sampling:
                # Thoughts about a step, which its score is read of.
                at = [int(re.findall(r"the paragraph (\d+) ", prompt)[-1]) for prompt in prompts]
                self.scores = [steps[t]["scores"][i] for i, t in enumerate(at)]
                return [types.SimpleNamespace(outputs=[types.SimpleNamespace(text="so")]) for _ in prompts]
            token = lambda score: types.SimpleNamespace(decoded_token="Yes", logprob=math.log(score) if score > 0 else -math.inf)  # noqa: E731
            return [types.SimpleNamespace(outputs=[types.SimpleNamespace(logprobs=[{0: token(score)}])]) for score in self.scores]

    tokenizer = types.SimpleNamespace(pad_token="_", eos_token="</s>", apply_chat_template=lambda chat, **_: "")
    transformers = module("transformers", AutoTokenizer=types.SimpleNamespace(from_pretrained=lambda *_, **__: tokenizer))
    critique = lambda question, steps: {"system_prompt": "", "user_prompt": ""}  # noqa: E731
    prompts = module("utils.generate_prompts", ciritique_last_generation=critique, ciritique_last_generation_math=critique)
    with modules("utils", vllm=module("vllm", LLM=Policy, SamplingParams=dict), transformers=transformers, utils__generate_prompts=prompts):
        script = runpy.run_path(str(root / "guided_search-mur.py"), run_name="guided_search")
    written = {}

    class Written(io.StringIO):
        def close(self):
            written[self.name] = self.getvalue()

    def opened(name, *_, **__):
        file = io.StringIO('[{"input": "q", "target": "1"}]') if name == "data" else Written()
        file.name = name
        return file

    arguments = {"aim_gpu": 0, "policy": "p", "critic": "c", "data_path": "data", "max_steps": len(steps), "candidate_num": candidates, "verify_num": 1, "scaling_rate": gamma, "momentum_rate": momentum, "file_name": "f"}
    with mock.patch("builtins.open", opened), contextlib.redirect_stdout(io.StringIO()):
        script["main"](types.SimpleNamespace(**arguments))
    (found,) = read_json(written, "f.json")
    chosen = [int(re.search(r"(\d) (?:on|the)", line)[1]) for line in found["current_traj"].split("\n")]
    # The momentum before each step that was scaled; theirs divides it by the momentum's rate in the log.
    before = {int(one["step_idx"]): -math.log(float(one["momentum_uncertainty/gamma"]) * momentum) for one in found["candidate_traj"]}
    return {"momentum": momentum, "gamma": gamma, "steps": steps, "chosen": chosen, "before": [before.get(t) for t in range(len(steps))]}


# Of each population after the first, the subsets that our search draws with seed 0.
SUBSETS = {
    (4, 2, 3): [[[1, 3], [1, 0], [1, 3], [1, 3]], [[2, 0], [2, 0], [3, 2], [0, 2]]],
    (5, 3, 4): [
        [[0, 4, 3], [1, 3, 4], [1, 4, 2], [0, 1, 3], [0, 1, 4]],
        [[0, 2, 4], [0, 2, 3], [3, 4, 2], [2, 4, 1], [0, 2, 4]],
        [[0, 3, 4], [1, 2, 4], [4, 0, 3], [0, 3, 1], [1, 3, 0]],
    ],
    (3, 1, 3): [[[1], [0], [1]], [[1], [1], [1]]],
    (3, 3, 2): [[[1, 2, 0], [0, 1, 2], [1, 0, 2]]],
}


def self_aggregation(root):
    return {"runs": [populations(root, i, *shape, draws) for i, (shape, draws) in enumerate(SUBSETS.items())]}


def populations(root, seed, n, subset, loops, draws):
    uniform = random.Random(90 + seed)
    first = [uniform.randint(1, 9) for _ in range(n)]
    asked: list[list[int]] = []
    waiting = [list(one) for step in draws for one in step]
    sample = types.SimpleNamespace(sample=lambda candidates, k: [candidates[i] for i in waiting.pop(0)])
    names = ["generate_candidates", "reshape_list", "run", "build_prompt", "aggregate_prompt", "evaluate_k_answers_math"]
    wanted = lambda text: text[len("\\boxed{") : -1]  # noqa: E731
    scope = pick(root / "eval_loop.py", names, {
        **{"LLM": object, "AutoTokenizer": object, "SamplingParams": object, "json": json, "np": np, "random": sample},
        **{"List": list, "Dict": dict, "Any": object, "Optional": Optional, "Callable": Callable},
        **{"last_boxed_only_string": lambda text: text, "remove_boxed": wanted, "is_equiv": lambda a, b: a == b},
    })

    def said(prompt):
        shown = [int(x) for x in re.findall(r"---- (?:Solution \d+|Candidate) ----\n\\boxed{(\d+)}", prompt)]
        if not shown:
            return first.pop(0)
        asked.append(shown)
        # Depends on which are shown, and on their order.
        return sum((i + 1) * x for i, x in enumerate(shown)) % 7

    outputs = lambda prompts, **_: [types.SimpleNamespace(outputs=[types.SimpleNamespace(text=f"\\boxed{{{said(prompt)}}}")]) for prompt in prompts]  # noqa: E731
    tokenizer = types.SimpleNamespace(encode=list)
    begun = list(first)
    data = [{"orig_prompt": "q", "gt": "", "dataset_name": "d", "candidates": None}]
    with contextlib.redirect_stdout(io.StringIO()):
        for _ in range(loops):
            data, _ = scope["run"](types.SimpleNamespace(generate=outputs), tokenizer, None, subset, n, data, "math", False, lambda _, prompt: prompt)
        last = [int(wanted(text)) for text in data[0]["candidates"]]
        # Their vote says only whether it is right: the answer is the one for which it is.
        vote = lambda answer: scope["evaluate_k_answers_math"](data[0]["candidates"], str(answer))["majority_vote_correct"]  # noqa: E731
        (majority,) = [answer for answer in set(last) if vote(answer)]
    return {"n": n, "subset": subset, "steps": loops, "draws": draws, "first": begun, "asked": asked, "last": last, "majority": majority}


# The body of `solution` of each program (null: a program without one), in the arithmetic that Python and JavaScript share.
PROGRAMS = [
    ["7 * 48"],
    ["7 + 48", "7 * 48", "336.0", "missing"],
    ["1", "2", "2", "1"],
    ["missing", "missing + 1"],
    ["(3 + 4) * 2", "14 / 1", "3 + 4 * 2", "11", "11"],
    ["3", None, "4", "4"],
    ["3", None],
]


def programs(root):
    runtime = pick(root / "pal/core/runtime.py", ["GenericRuntime"], {"copy": copy, "Dict": dict, "Any": object})["GenericRuntime"]
    given = {"io": io, "signal": signal, "Counter": collections.Counter, "GenericRuntime": runtime, "redirect_stdout": contextlib.redirect_stdout, "Any": object, "List": list, "Optional": list}
    interface = pick(root / "pal/core/interface.py", ["timeout", "ProgramInterface"], given)
    runs = []
    for bodies in PROGRAMS:
        texts = ["x = 1" if body is None else f"def solution():\n    return {body}" for body in bodies]
        interface["call_gpt"] = lambda *_, texts=texts, **__: texts
        with contextlib.redirect_stdout(io.StringIO()):
            answer = interface["ProgramInterface"](get_answer_expr="solution()").run("q", majority_at=len(texts))
        runs.append({"programs": bodies, "answer": answer})
    return {"runs": runs}


SKELETONS = [
    "1. Sleep well\n2. Eat greens\n3. Walk",
    "1. Sleep well.\n2. Eat greens.\n\n3. Walk.\n",
    "1.Sleep\n2.Eat",
    "Here is the skeleton:\n1. Sleep\n2. Eat\n\nI hope that it helps.",
    "1. Sleep\n1. Sleep again\n2. Eat",
    "2. Eat\n1. Sleep",
]


def skeletons(root):
    given = {"Scheduler": object, "re": re, "logging": types.SimpleNamespace(debug=lambda _: None), "colored": lambda text, _: text}
    scheduler = pick(root / "sot/schedulers/outline_scheduler.py", ["OutlineScheduler"], given)
    runs = []
    for skeleton in SKELETONS:
        asked = []

        class Model:
            def get_response(self, requests, stream):
                (request,) = requests
                if request[0].startswith("outline"):
                    yield {"text": skeleton, "time": 0}  # noqa: B023
                else:
                    asked.append(request[0])  # noqa: B023
                    yield {"text": f"about {len(asked)}", "time": 0}  # noqa: B023

        made = object.__new__(scheduler["OutlineScheduler"])
        made._model = Model()
        made._outline_prompt, made._point_prompt = "outline {request}", "{point}|{point_outline}"
        *_, last = made._get_response_stream(["q"])
        runs.append({"skeleton": skeleton, "asked": asked, "contents": last["contents"]})
    return {"runs": runs}
