"""What the code of their authors does over tables in the place of models: python authors.py GOT RAG REFINE DEBATE LTT, the folders of
spcl/graph-of-thoughts at commit 363421c61c7bc11edf32845a697ae2aaccd75463 (graph_of_thoughts 0.0.2, arXiv 2308.09687), of AkariAsai/self-rag at commit
1fcdc420e48f50a7d7ab1ece5494221b93252e99 (arXiv 2310.11511), of madaan/self-refine at commit 9a206d41e5d2d0c241bb441f41eeadb945afaa55
(arXiv 2303.17651, its loop over GSM8K), of composable-models/llm_multiagent_debate at commit 9846749350eb917ae5bfaaff4c645fc705b8d3af
(arXiv 2305.14325, its debate over GSM8K) and of aangelopoulos/ltt at commit 3ad7a64adad9f356e29f40e73935a6114f896396 (Learn then Test, arXiv
2110.01052). What they import beside numpy and scipy is stood in for."""

import builtins
import io
import json
import random
import re
import runpy
import sys
import types
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

got, rag, refine, debate, ltt = (Path(sys.argv.pop(1)).resolve() for _ in range(5))
out = output_folder(__file__)


class StandIn(types.ModuleType):
    """Has whatever is asked of it."""

    __path__ = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        # As a decorator too.
        return lambda *given, **__: (lambda function: function) if given else None


def stand_in(*names, **attributes):
    for name in names:
        sys.modules[name] = StandIn(name)
        vars(sys.modules[name]).update(attributes)


# Graph of Thoughts

stand_in("backoff", "openai", "openai.types", "openai.types.chat", "openai.types.chat.chat_completion", "torch", "transformers")
sys.path.insert(0, str(got))
from graph_of_thoughts import controller, operations  # noqa: E402
from graph_of_thoughts.language_models import AbstractLanguageModel  # noqa: E402
from graph_of_thoughts.parser import Parser  # noqa: E402
from graph_of_thoughts.prompter import Prompter  # noqa: E402


class Letters(AbstractLanguageModel):
    """Says of each prompt words of two letters, drawn once."""

    def __init__(self, seed):
        self.draw, self.replies = random.Random(seed), {}

    def query(self, query, num_responses=1):
        known = self.replies.setdefault(query, [])
        while len(known) < num_responses:
            known.append("".join(self.draw.choice("abcde") for _ in range(2)))
        return known[:num_responses]

    def get_response_texts(self, query_responses):
        return query_responses


class Prompts(Prompter):
    def generate_prompt(self, num_branches, current, **_):
        return "q" if current is None else f"better:{current}"

    def aggregation_prompt(self, state_dicts, **_):
        return "together:" + ",".join(state["current"] for state in state_dicts)

    improve_prompt = validation_prompt = score_prompt = lambda self, *_, **__: None


class Words(Parser):
    def parse_generate_answer(self, state, texts):
        return [{"current": text} for text in texts]

    parse_aggregation_answer = parse_generate_answer
    parse_improve_answer = parse_validation_answer = parse_score_answer = lambda self, *_, **__: None


def thoughts(seed, n, keep, aggregates, refinements, width):
    draw = random.Random(100 + seed)
    # One decimal: there are ties.
    scores = {a + b: round(draw.random(), 1) for a in "abcde" for b in "abcde"}
    lm = Letters(seed)
    graph = operations.GraphOfOperations()

    def add(operation, *before):
        graph.add_operation(operation)
        for one in before:
            operation.add_predecessor(one)
        return operation

    score = lambda: operations.Score(1, False, lambda state: scores[state["current"]])  # noqa: E731
    first = add(operations.Generate(1, n))
    kept = add(operations.KeepBestN(keep), add(score(), first))
    best = add(operations.KeepBestN(1), kept, add(score(), add(operations.Aggregate(aggregates), kept)))
    for _ in range(refinements):
        best = add(operations.KeepBestN(1), best, add(score(), add(operations.Generate(1, width), best)))
    controller.Controller(lm, graph, Prompts(), Words(), {"current": None}).run()
    given = {"n": n, "keep": keep, "aggregates": aggregates, "refinements": refinements, "refinementWidth": width}
    (chosen,) = best.get_thoughts()
    return {**given, "scores": scores, "replies": lm.replies, "chosen": chosen.state["current"], "score": chosen.score}


shapes = [(3, 2, 1, 0, 1), (5, 3, 2, 1, 2), (6, 2, 3, 3, 1), (4, 4, 2, 2, 3)]
runs = [thoughts(10 * i + s, *shape) for i, shape in enumerate(shapes) for s in range(4)]
write_json(out / "graph-of-thoughts.json", {"runs": runs})

# Self-RAG

stand_in("spacy", "jsonlines", "vllm", "openai", "tqdm")
sys.modules["torch"].backends = types.SimpleNamespace(cudnn=types.SimpleNamespace())
sys.modules["torch"].cuda = types.SimpleNamespace(manual_seed_all=lambda _: None)
sys.path.insert(0, str(rag / "retrieval_lm"))
import run_short_form as short_form  # noqa: E402

RELEVANT = {"[Irrelevant]": 1, "[Relevant]": 2}
GROUNDED = {"[Fully supported]": 3, "[Partially supported]": 4, "[No support / Contradictory]": 5}
USEFUL = {f"[Utility:{i}]": 5 + i for i in range(1, 6)}


def reflections(seed, passages, weights):
    draw = random.Random(200 + seed)
    said, reports = [], []
    for i in range(passages):
        p = {token: round(draw.uniform(0.01, 0.3), 3) for token in [*RELEVANT, *GROUNDED, *USEFUL]}
        at = lambda tokens: {id: np.log(p[token]) for token, id in tokens.items()}  # noqa: E731, B023
        # A token of each kind, and a word between the first two.
        report = types.SimpleNamespace(
            token_ids=[2, 99, 3, 6],
            text=f"answer {i}",
            logprobs=[at(RELEVANT), {99: 0.0}, at(GROUNDED), at(USEFUL)],
            cumulative_logprob=-1.0,
        )
        said.append(types.SimpleNamespace(outputs=[report]))
        reports.append(p)
    names = dict(zip(("w_rel", "w_sup", "w_use"), weights))
    best, results, _ = short_form.call_model_rerank_w_scores_batch(
        "q",
        [{"title": str(i), "text": f"passage {i}"} for i in range(passages)],
        types.SimpleNamespace(generate=lambda *_: said),
        rel_tokens=RELEVANT,
        grd_tokens=GROUNDED,
        ut_tokens=USEFUL,
        mode="always_retrieve",
        **names,
    )
    found = [float(results[f"retrieval_{i}"]["score"]) for i in range(passages)]
    return {
        "weights": weights,
        "passages": [
            {
                "relevance": [p[token] for token in RELEVANT],
                "support": [p[token] for token in GROUNDED],
                "utility": [p[token] for token in USEFUL],
                "score": score,
            }
            for p, score in zip(reports, found)
        ],
        "chosen": int(best.split()[1]),
    }


all_weights = [[1.0, 1.0, 0.5], [1.0, 1.0, 0.5], [0.0, 1.0, 1.0], [2.0, 0.5, 0.0]]
runs = [reflections(seed, 3 + seed, weights) for seed, weights in enumerate(all_weights)]
write_json(out / "self-rag.json", {"runs": runs})

# Self-Refine

stand_in("src.gsm.task_init", "src.gsm.feedback", "src.utils", "pandas", "tqdm")
sys.modules["src.utils"].retry_parse_fail_prone_cmd = lambda function: function
loop = runpy.run_path(str(refine / "src" / "gsm" / "run.py"), run_name="run")


def refinement(start, content, attempts):
    """Counts up from `start`; the critic is content with `content`."""
    asked = []

    def feedback(solution):
        asked.append(solution)
        if solution == str(content):
            return {"feedback": "It is correct.", "solution": solution}
        return {"feedback": f"{solution} is too low", "solution": str(int(solution) + 1)}

    names = loop["iterative_gsm"].__globals__
    names["GSMInit"] = lambda **_: lambda solution: str(start)
    names["GSMFeedback"] = lambda **_: feedback
    log = loop["iterative_gsm"]("q", attempts, "rich", 0.0)
    return {"start": start, "content": content, "attempts": attempts, "judged": asked, "end": log[-1]["solution_fixed"]}


runs = [refinement(0, content, attempts) for content in (0, 1, 3, 9) for attempts in (1, 2, 4)]
write_json(out / "self-refine.json", {"runs": runs})

# Debate

evaluation = runpy.run_path(str(debate / "gsm" / "eval_gsm.py"), run_name="evaluation")


class Stop(Exception):
    pass


def stop():
    raise Stop


def discussion(seed):
    """Three agents who say numbers, two rounds: the authors' script as it is, with a table for the model and for the questions."""
    draw = random.Random(300 + seed)
    heard, written = [], {}

    def create(model, messages, n):
        heard.append([message["content"] for message in messages])
        answer = f"\\boxed{{{draw.randint(1, 3)}}}"
        return {"choices": [{"message": {"content": answer}}]}

    def opened(path, mode="r"):
        if mode == "r":
            return io.StringIO(json.dumps({"question": "q", "answer": "#### 2"}))
        file = io.StringIO()
        file.close = lambda: written.update(json.loads(file.getvalue()))
        return file

    sys.modules["openai"].ChatCompletion = types.SimpleNamespace(create=create)
    sys.modules["pdb"] = types.SimpleNamespace(set_trace=stop)
    really, dumped = builtins.open, json.dump
    contexts = {}
    try:
        builtins.open = opened
        json.dump = lambda value, _: contexts.update(value)
        runpy.run_path(str(debate / "gsm" / "gen_gsm.py"), run_name="__main__")
    except Stop:
        pass
    finally:
        builtins.open, json.dump = really, dumped
    agents, _ = contexts["q"]
    said = [[message["content"] for message in agent if message["role"] == "assistant"] for agent in agents]
    # Whom each agent of the second round reads, by its place.
    others = [re.findall(r"```(.*?)```", agent[2]["content"]) for agent in agents]
    answers = [evaluation["parse_answer"](texts[-1]) for texts in said]
    return {"said": said, "others": others, "answer": evaluation["most_frequent"](answers)}


write_json(out / "debate.json", {"runs": [discussion(seed) for seed in range(6)]})

# Learn then Test

stand_in("confseq")
del sys.modules["torch"]
bounds = runpy.run_path(str(ltt / "core" / "bounds.py"), run_name="bounds")
# Without a loss theirs is not a number in one of its two bounds.
shapes = [(20, 1, 0.3), (50, 1, 0.1), (100, 4, 0.1), (100, 10, 0.1), (400, 12, 0.05), (400, 30, 0.1), (1000, 170, 0.2), (30, 25, 0.5), (30, 30, 0.9)]
cases = [{"n": n, "wrong": k, "tolerance": a, "p": float(bounds["hb_p_value"](k / n, n, a))} for n, k, a in shapes]
write_json(out / "learn-then-test.json", {"cases": cases})
