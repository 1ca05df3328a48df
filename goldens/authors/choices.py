"""Which of several samples, agents and versions of a problem the authors' code answers with, and what it makes of verdicts."""

import argparse
import contextlib
import io
import json
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


# Nodes of explorations, parents first: parent, and the reward of a leaf.
TREES = [
    [(None, None), (0, None), (0, None), (1, 0.2), (1, 1.0), (2, 0.4)],
    [(None, None), (0, 0.5), (0, None), (2, None), (3, 0.9), (3, 0.1), (0, 0.0)],
    [(None, None), (0, None), (1, None), (2, None), (3, 0.7)],
]


def q_values(root):
    """QLASS: values of the steps of a tree whose inner nodes have no reward of their own."""
    scope = pick(root / "qlass/explore_sft_agent.py", ["TreeNode", "Node"], {"json": None})
    (cls,) = [value for value in scope.values() if hasattr(value, "update_q_values")]
    runs = []
    for tree in TREES:
        for discount in (1.0, 0.9, 0.5):
            nodes = []
            for parent, reward in tree:
                node = object.__new__(cls)
                node.children, node.reward = [], 0 if reward is None else reward
                nodes.append(node)
                if parent is not None:
                    nodes[parent].children.append(node)
            nodes[0].update_q_values(discount)
            runs.append({"nodes": tree, "discount": discount, "q": [node.q_value for node in nodes]})
    return {"runs": runs}


# What each tree answers, in order.
FORESTS = ["aab", "abab", "abcabc", "aaaa", "abbbb", "abcde", "ababaaa"]


def forests(root):
    """Forest of Thought: after how many trees it stops, and the answer of most (null: several)."""
    stop = pick(root / "utils/early_stop.py", ["most_frequent_elements"], {"Counter": Counter})["most_frequent_elements"]
    given = {"most_frequent_elements": stop}
    best = pick(root / "cgdm/get_best_results.py", ["determine_best_answer"], given)["determine_best_answer"]
    runs = []
    for answers in FORESTS:
        planted = []

        def tree(*_, answers=answers, planted=planted, **__):
            planted.append(answers[len(planted)])
            return (False, [], [planted[-1]], *[None] * 8)

        args = types.SimpleNamespace(max_iter=1, dataset="d", model_path="m", tree_nums=len(answers), output_dir="o", stop="")
        files = types.SimpleNamespace(makedirs=lambda *_, **__: None, path=os.path)
        given = {"Counter": Counter, "os": files, "np": np, "monte_carlo_tree": tree, "get_examples": lambda: {"d": [["q", "a"]]}, "get_similarity_question": lambda query, cases: cases[0]}
        given |= {"get_query_gt_list": lambda *_: (["q"], [""]), "get_ans_format": lambda *_: "", "hashlib": __import__("hashlib"), "json": types.SimpleNamespace(dump=lambda *_, **__: None), "open": lambda *_, **__: io.StringIO()}
        forest = pick(root / "run_with_mcf.py", ["Monte_Carlo_Forest"], given)["Monte_Carlo_Forest"](args)
        with contextlib.redirect_stdout(io.StringIO()):
            forest.run("example")
        runs.append({"answers": answers, "planted": len(planted), "best": best(planted, {})})
    return {"runs": runs}


def zero_shot(root):
    """What the model of zero-shot chain of thought is given, twice for each question."""
    asked: list[str] = []

    class Decoder:
        def __init__(self, _):
            pass

        def decode(self, args, text, *_):
            asked.append(text)
            return " 3 and 5, so 8" if len(asked) % 2 else " 8."

    names = ["main", "parse_arguments"]
    given = {"argparse": argparse, "Decoder": Decoder, "setup_data_loader": lambda _: [[["What is 3 + 5?"], ["8"]]], "fix_seed": lambda _: None, "print_now": lambda *_: None}
    scope = pick(root / "main.py", names, given | {"answer_cleansing": lambda _, text: text, "np": np, "os": os})
    runs = []
    for dataset in ("gsm8k", "last_letters"):
        asked.clear()
        with mock.patch("sys.argv", ["main.py", "--dataset", dataset]), contextlib.redirect_stdout(io.StringIO()):
            scope["main"]()
        runs.append({"dataset": dataset, "asked": list(asked)})
    return {"question": "What is 3 + 5?", "runs": runs}


# Questions on a line, in four clusters around the hundreds: place, words, the chain of thought, the answer that was read.
CORPUS = [
    (1, "Near one", "One.\nIt is 1.", "1"),
    (3, "Not so near", "Two.\nIt is 2.", "2"),
    (8, "Far off", "Three.\nIt is 3.", "3"),
    (101, "A long one", "1\n2\n3\n4\n5\n6\n7 it is 4.", "4"),
    (104, "Its neighbour", "It is 5.", "5"),
    (110, "Another", "It is 6.", "6"),
    (200, " ".join(["word"] * 61), "It is 7.", "7"),
    (203, "Few words", "It is 8.", "8"),
    (302, "No answer", "I do not know.", ""),
    (301, "No answer either", "Nor do I.", ""),
    (309, "An answer", "It is 9.", "9"),
]


def demonstrations(root):
    """Auto-CoT: which questions of the clusters become demonstrations. The clusters are given."""
    places = np.array([[float(place)] for place, *_ in CORPUS])
    labels = np.array([place // 100 for place, *_ in CORPUS])
    centres = np.array([places[labels == i].mean(0) for i in range(4)])

    class KMeans:
        labels_, cluster_centers_ = labels, centres

        def __init__(self, **_):
            pass

        def fit(self, vectors):
            return self

        def fit_predict(self, vectors):
            return labels

        def transform(self, vectors):
            return np.abs(places - centres[:, 0])

    written = {}

    class Written(io.StringIO):
        def close(self):
            written["demos"] = self.getvalue()

    log = "".join(f"Q: {words}\nA: Let's think step by step. {chain}\nTherefore, the answer is {answer}\npred_mode : {answer}\nGT : {answer}\n" for _, words, chain, answer in CORPUS)
    plot = types.SimpleNamespace(scatter=lambda *_, **__: None, xticks=lambda _: None, yticks=lambda _: None, savefig=lambda *_, **__: None, cm=types.SimpleNamespace(Paired=None))
    pca = lambda **_: types.SimpleNamespace(fit_transform=lambda x: np.zeros((len(CORPUS), 2)), transform=lambda x: np.zeros((4, 2)))  # noqa: E731
    encoder = lambda _: types.SimpleNamespace(encode=lambda corpus: places)  # noqa: E731
    given = {"argparse": argparse, "random": random, "np": np, "json": json, "SentenceTransformer": encoder, "KMeans": KMeans, "PCA": pca, "plt": plot, "fix_seed": lambda _: None}
    scope = pick(root / "run_demo.py", ["main", "parse_arguments"], given | {"open": lambda name, mode="r", **_: io.StringIO(log) if mode == "r" else Written()})
    with mock.patch("sys.argv", ["run_demo.py", "--task", "aqua", "--pred_file", "log", "--demo_save_dir", "demos"]), contextlib.redirect_stdout(io.StringIO()):
        scope["main"]()
    shown = [one["question"][3:-3] for one in json.loads(written["demos"])["demo"]]
    return {"corpus": CORPUS, "shown": shown, "fewShot": few_shot(root)}


# Question, chain of thought and answer.
SHOWN = [["1 + 1?", "One and one.", "2"], ["Is 7 odd?", "Half of 7 is no whole number. So it is.", "yes"]]


def few_shot(root):
    """The demonstrations of chain of thought as a text, by Auto-CoT's fork of the code of zero-shot chain of thought."""
    demo = {"demo": [{"question": f"Q: {q}\nA:", "rationale": z, "pred_ans": y} for q, z, y in SHOWN]}
    given = {"json": json, "random": random, "open": lambda *_, **__: io.StringIO(json.dumps(demo))}
    scope = pick(root / "utils.py", ["create_demo_text"], given)
    args = types.SimpleNamespace(demo_path="demo", direct_answer_trigger_for_fewshot="The answer is")
    return {"demonstrations": SHOWN, "text": scope["create_demo_text"](args, cot_flag=True)}
