"""Which of several samples, agents and versions of a problem the authors' code answers with, and what it makes of verdicts."""

import contextlib
import io
import os
import random
import re
import tempfile
import types
from collections import Counter
from pathlib import Path
from unittest import mock

import numpy as np
from golden import pick


def regularized(root):
    """RBoN: tables of rewards, log-probabilities and likenesses, in the files that compute_scores reads."""
    import pandas as pd

    alphas = [0.0001, 0.01, 0.1, 0.5, 1.0, 3.0]
    scope = pick(root / "mbr/compute_rbon.py", ["compute_scores"], {"pd": pd, "np": np, "os": os, "tqdm": lambda x: x})
    draw = np.random.default_rng(4)
    tables, n = [], 6
    for _ in range(6):
        likeness = draw.random((n, n)).round(2)
        likeness = (likeness + likeness.T) / 2
        np.fill_diagonal(likeness, 1)
        tables.append({"rewards": draw.normal(size=n).round(2).tolist(), "logProbs": (-20 * draw.random(n)).round(2).tolist(), "likeness": likeness.round(3).tolist()})
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("matrix", "logprob", "reward"):
            (Path(folder) / kind / "d/m").mkdir(parents=True)
        (Path(folder) / "results").mkdir()
        for i, table in enumerate(tables):
            name = f"{i:04d}_eps-0.01_topk-00_topp-1.00"
            np.savetxt(f"{folder}/matrix/d/m/{name}_sentbert_{n}", np.array(table["likeness"]))
            pd.DataFrame({"m": table["logProbs"]}).to_csv(f"{folder}/logprob/d/m/{name}", index=False)
            pd.DataFrame({"proxy": table["rewards"]}).to_csv(f"{folder}/reward/d/m/{name}_proxy", index=False)
            # The gold reward is the sample's place, so that what they report is which was chosen.
            pd.DataFrame({"gold": range(n)}).to_csv(f"{folder}/reward/d/m/{name}_gold", index=False)
        before = os.getcwd()
        os.chdir(folder)
        try:
            scope["compute_scores"]("d", "m", "proxy", "gold", alphas, ninstances=len(tables), ncandidates=n)
        finally:
            os.chdir(before)
        found = pd.read_csv(f"{folder}/results/klbon_proxy_gold_{n}.csv")
    for table, (_, row) in zip(tables, found.iterrows(), strict=True):
        table["best"] = int(row["BoN"])
        table["wasserstein"] = [int(row[f"WD-BoN-{alpha}"]) for alpha in alphas]
        table["kl"] = [int(row[f"KL-BoN-{alpha}"]) for alpha in alphas]
    return {"betas": alphas, "tables": tables}


# Of each round, what its three reasoners answer and whether the validator says yes.
ROUNDS = [
    [[("1", 1), ("1", 1), ("2", 1)]],
    [[("1", 0), ("1", 0), ("2", 1)], [("2", 1), ("3", 0), ("2", 1)]],
    [[("1", 1), ("2", 1), ("3", 1)], [("2", 1), ("2", 1), ("3", 0)]],
    [[("5", 1), ("4", 1), ("4", 0)], [("4", 1), ("6", 0), ("5", 0)], [("4", 1), ("7", 1), ("8", 0)]],
    [[("1", 0), ("2", 0), ("3", 0)], [("1", 0), ("2", 0), ("3", 0)], [("9", 1), ("2", 0), ("3", 0)]],
    [[("1", 1), ("2", 0), ("2", 0)], [("1", 1), ("2", 0), ("2", 0)], [("1", 1), ("2", 1), ("2", 1)]],
    [[("7", 0), ("7", 0), ("2", 0)], [("7", 0), ("3", 0), ("4", 0)], [("5", 0), ("7", 0), ("6", 0)]],
]


def agents(root):
    names = ["answer_review", "verify_reasoning", "filter_output"]
    runs = []
    for rounds in ROUNDS:
        waiting = [one for each in rounds for one in each]
        shown = []

        def solve(args, task, prompt, waiting=waiting, shown=shown):
            shown.append(waiting.pop(0))
            return [f"{len(shown) - 1}) the answer is {shown[-1][0]}"], ""

        def ask(_, prompt, args, shown=shown):
            return "Reasoning is Valid" if shown[int(re.search(r"(\d+)\) the answer", prompt)[1])][1] else "Reasoning is Invalid"

        given = {"re": re, "random": random, "Counter": Counter, "tot_solve": solve, "create_verifier_prompt": lambda: "", "get_single_run_gpt": ask}
        scope = pick(root / "run_gsm8k_multiple_reasoners.py", names, given)
        answer, _ = scope["answer_review"](None, "q", args=types.SimpleNamespace(model="gpt"))
        runs.append({"rounds": rounds, "answer": answer, "asked": len(shown)})
    return {"runs": runs}


# What the versions of a problem are answered with, the first its own.
VERSIONS = [["3", "3"], ["3", "5", "5", "9"], ["1", "2", "1", "2", "1"], ["4", "4.0"], ["7", "8", "9", "9"], ["2", "6", "7", "8", "8"]]


def versions(root):
    """Self-Polish: each version of the problem is its number."""
    runs = []
    for answers in VERSIONS:
        for times in (2, 4):
            asked: list[str] = []
            method = types.SimpleNamespace(forward=lambda question, answers=answers, **_: answers[int(question)])
            given = {"AnswerMethod": object, "time": types.SimpleNamespace(sleep=lambda _: None), "traceback": types.SimpleNamespace(print_exc=lambda: None)}
            scope = pick(root / "ProblemMethod.py", ["ProblemMethod", "ProblemSelfPolish"], given)

            def polish(prompt_input, asked=asked, **_):
                asked.append(re.search(r"Original: (\d+)\nNew:$", prompt_input)[1])
                return {"choices": [{"text": str(int(asked[-1]) + 1)}]}

            scope["create_response"] = polish
            # Theirs breaks off in the round after the last.
            made = scope["ProblemSelfPolish"](final_choose="last_one", max_times=times + 1, answer_method=method)
            opened = lambda **_: io.StringIO("")  # noqa: E731
            with mock.patch("builtins.open", opened), contextlib.redirect_stdout(io.StringIO()):
                _, _, _, answer = made.forward("0", "0", "", "gsm8k", 0)
            runs.append({"answers": answers, "iterations": times, "polished": asked, "answer": answer})
    return {"runs": runs}


def verdicts(root):
    """Scores of solutions from what several verifications think of Yes and No, by the code of arXiv 2504.01005."""
    names = ["extract_final_verification_from_logprobs", "get_solution_score"]
    scope = pick(root / "llmonk/evaluate/eval_utils.py", names, {"np": np})
    draw = np.random.default_rng(12)
    cases = []
    for n in (1, 2, 5):
        yes = draw.random(n).round(3).tolist()
        scores = [scope["extract_final_verification_from_logprobs"](p, 1 - p) for p in yes]
        cases.append({"yes": yes, "score": float(scope["get_solution_score"](np.array([[scores]]), 0, 0, n))})
    return {"cases": cases}
