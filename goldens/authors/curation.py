"""What is made, rated and chosen by the code of Self-Instruct, MetaMath, UltraFeedback, Humpback, AlpaGasus, RFT, STaR, DEITA, LESS, Superfiltering, Cherry and DoReMi."""

import abc
import collections
import contextlib
import copy
import io
import json
import os
import random
import re
import runpy
import string
import sys
import tempfile
import types
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from golden import pick
from rows import nested
from rows import nested
from stand_ins import module, modules, read_json, run_script

INSTRUCTIONS = [
    "Name three things", "Name three good things", "Describe what you see in the picture", "Plot the growth of a small plant", "Mapping words to their kinds is fun",
    "Write a program that sorts a list", "write a program for a small robot", "Rewrite a program in plain words", '"Quote" a sentence of somebody famous', "$5 is how much in euros?",
    "Écris une phrase en bon français", "Go to the shop and buy bread", "Where did the Greeks go together?", "Explain the word mapé to a child", "Summarise the file for a busy reader",
    "   Say   it   twice,   please   ", "word " * 151, "word " * 150, "# Make a title for this", "(Re)write the following sentence for me", "Translate the menu\tinto German, please",
]
# Input and output of an instance.
INSTANCES = [
    ["", "A penguin."], ["a b", "a b"], ["", ""], ["List:", "one"], ["one", "It is:"], ["one: ", "two"], ["x", "x."], ["", "yes"], ["a:b", "c:d"], ["Numbers:\n1", "2:\n3"],
]


def self_instruct(root):
    path = root / "self_instruct/bootstrap_instructions.py"
    post = pick(path, ["find_word_in_string", "post_process_gpt3_response"], {"re": re, "string": string})["post_process_gpt3_response"]
    reply = lambda text: {"choices": [{"finish_reason": "stop", "text": text}]}  # noqa: E731
    valid = pick(root / "self_instruct/prepare_for_finetuning.py", ["filter_invalid_instances"], {})["filter_invalid_instances"]
    return {
        "instructions": [[text, len(post(reply(text))) == 1] for text in INSTRUCTIONS],
        "instances": [[*one, len(valid([("do", *one)])) == 1] for one in INSTANCES],
    }


QUESTIONS = [
    "Ann has 3 apples and buys 4 more. How many has she?", "A book of 1,200 pages costs $25, or 30% less in May. What does it cost?", "He walks 2.5 km and 7 km. How far is it?",
    "Sam ate 2/3 of a cake of 12 pieces. What is left?", "How many legs do they have?", "It took 40 minutes, 15 seconds; how long are both?", "Of 100 people 45% are tall. How many?",
    "The b2b shop sells A4 paper at 6 a sheet.",
]
# Answer, what a model says.
REPLIES = [
    ["7", "3 + 4 is 7. The answer is 7."], ["7", "The answer is: 7"], ["7", "The answer is 8."], ["1200", "The answer is 1,200."], ["2.5", "So the answer is 5. The answer is 2.50"],
    ["12", "The answer is 12 apples."], ["-3", "The answer is -3."], ["7", "I do not know."], ["5", "The answer is 5.0"], ["18", "The answer is $18."],
]


def meta_math(root):
    code = root / "code_for_generating_data/code"
    clean = pick(code / "utils/answer_clean_utils.py", ["delete_extra_zero", "answer_cleansing", "string_number_dict"], {"re": re, "MATH_DS_LIST": ["MATH"]})
    given = {"re": re, "json": json, "os": os, "copy": copy, "ABC": abc.ABC, "abstractmethod": abc.abstractmethod, "string_number_dict": clean["string_number_dict"]}
    asks = pick(code / "main_create_backward_questions.py", ["InverseQuestions"], given)["InverseQuestions"]
    own = types.SimpleNamespace(input_examples=[{"question": one} for one in QUESTIONS], unknown_var="x", search_number=asks.search_number, save_data=lambda: None)
    own.replace_number_x = lambda s: asks.replace_number_x(own, s)
    with contextlib.redirect_stdout(io.StringIO()):
        asks.make_inv_question(own)
    masked = collections.defaultdict(list)
    for one in own.output_examples:
        masked[one["question"]].append([one["inverse_question"], one["inverse_question_answer"]])
    return {
        "questions": [[one, masked[one]] for one in QUESTIONS],
        "replies": [[answer, said, clean["answer_cleansing"](said, "GSM8K"), clean["answer_cleansing"](said, "GSM8K") == clean["delete_extra_zero"](answer)] for answer, said in REPLIES],
    }


ASPECTS = ["instruction_following", "honesty", "truthfulness", "helpfulness"]
# Of four answers, by aspect.
RATINGS = [
    {"instruction_following": [5, 3, 1, 2], "honesty": [4, 4, 2, 1], "truthfulness": [5, 2, 2, 3], "helpfulness": [5, 3, 1, 1]},
    {"instruction_following": [2, 3, 4, 5], "honesty": ["N/A", 5, 1, 2], "truthfulness": [1, 2, 3, 4], "helpfulness": [4, 4, 4, 4]},
    {"instruction_following": [3, 3, 3, 3], "honesty": ["N/A", "N/A", 3, "N/A"], "truthfulness": [3, 3, 3, 3], "helpfulness": [3, 3, 3, 3]},
]


def said_of(aspect, ratings):
    """What the judge replies, as UltraFeedback's templates ask."""
    if aspect in ("instruction_following", "honesty"):
        return "\n\n".join(f"Rating: {one}\nRationale: because it is {one}" for one in ratings)
    return "\n\n".join(f"Type: {'None' if one > 3 else '1, 2'}\nRationale: of 2 kinds\nRating: {one}\nRationale: so it is" for one in ratings)


def ultra_feedback(root):
    rows = []
    for number, ratings in enumerate(RATINGS):
        answers = [f"answer {number} {i}" for i in range(4)]

        def judged(_, user_prompt, ratings=ratings, answers=answers):
            aspect, *shown = user_prompt.split("|")
            return said_of(aspect, [ratings[aspect][answers.index(one)] for one in shown])

        templates = {aspect: f"{aspect}|{{text_1}}|{{text_2}}|{{text_3}}|{{text_4}}" for aspect in ASPECTS}
        given = {"re": re, "deepcopy": copy.deepcopy, "random": random.Random(number), "get_eval": judged, "TEMPLATE": templates, "system_prompt": "", "SHUFLLE_NUM": 1, "subset": "other"}
        annotate = pick(root / "src/data_annotation/annotate_preference.py", ["process", "annotate"], given)["annotate"]
        with contextlib.redirect_stdout(io.StringIO()):
            made = annotate({"instruction": f"do {number}", "completions": [{"response": one} for one in answers]})
        mean = pick(root / "src/data_annotation/fix_overall_score_issue.py", ["calculate_average_rating"], {})["calculate_average_rating"]
        own = [{aspect: one["annotations"][aspect][0] for aspect in ASPECTS} for one in made["completions"]]
        rows.append(
            {
                "answers": answers,
                "said": {aspect: [said_of(aspect, [one]) for one in ratings[aspect]] for aspect in ASPECTS},
                "ratings": [[one[aspect]["Rating"] for aspect in ASPECTS] for one in own],
                "means": [mean(one) for one in own],
            }
        )
    return {"aspects": ASPECTS, "rows": rows}


CURATED = ["It is an expert's.\nScore: 5", "Good. Score: 4", "score: 5", "Score:5", "No number", "5", "Score: 5 of all", "The score: 3", "From 1 to 5, Score: 5", "Score: 2\nScore: 5", "Score: 5\n"]


def humpback(root):
    """Humpback by Spico197, which is not of the paper's authors."""
    saved = {}
    data = [{"raw": {"generated_instruction": f"instruction {i}", "response": f"text {i}"}, "response": said} for i, said in enumerate(CURATED)]
    given = {
        **{"re": re, "Counter": collections.Counter, "sts": __import__("statistics"), "tqdm": lambda rows, **_: rows},
        **{"load_jsonlines": lambda _: data, "dump_jsonlines": lambda rows, path: saved.update({path: rows})},
    }
    main = pick(root / "src/core/filter_curation_results.py", ["main"], given)["main"]
    with contextlib.redirect_stdout(io.StringIO()):
        main(types.SimpleNamespace(data_filepath="", scores="5", curation_response_column_name="response", middle_save_filepath="all", save_filepath="kept", min_instruction_len=10, max_instruction_len=800))
    return {"said": CURATED, "scores": [one["score"] for one in saved["all"]], "kept": [int(one["response"].split()[1]) for one in saved["kept"]]}


REVIEWS = ["4.5\n\nIt is right.", "5", "4\nSome of 5 is wrong.", "4.0\nscore: 5", "score: 4.5\nfine", "Good\nscore: 5\n", "no number at all", "4.7", "0\nwrong", "3.5\n\nOf 5."]


def alpagasus(root):
    """AlpaGasus by gpt4life, which is not of the paper's authors."""
    parse = pick(root / "rating/filter.py", ["parse_score"], {"logger": types.SimpleNamespace(error=lambda _: None)})["parse_score"]
    scores = [parse(one) for one in REVIEWS]
    data = [{"output": str(i)} for i in range(len(REVIEWS))]
    written = run_script(
        root / "rating/filter.py", ["-o", "kept.json", "--file_a", "a", "--file_b", "b"], {"a": json.dumps(data), "b": json.dumps([{"score": one} for one in scores])}
    )
    return {"reviews": REVIEWS, "scores": scores, "kept": [int(one["output"]) for one in read_json(written, "kept.json")]}


SOLUTIONS = [
    ["3 and 2 are <<3+2=5>>5.\n#### 5", "First <<2+3=5>>5, it is.\n#### 5", "By hand <<3 + 2 = 5>>five of them.\n#### 5", "<<3+2=6>>6, no.\n#### 5", "#### 4", "<<1+1=2>> and <<2+3=5>>5\n#### 5", "Quite another long way, namely <<3+2=5>>5.\n#### 5"],
    ["no answer", "<<4*3=12>>12\n#### 12", "<<4*3=12>>twelve in all\n#### 12", "<<3*4=12>>12\n#### 12", "#### 12", "all of them\n#### 12.0", "<<4*3=12>>12 exactly\n#### 12"],
]


def edits(a, b):
    """Levenshtein's distance, as the package editdistance has it."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a):
        last, row[0] = row[0], i + 1
        for j, y in enumerate(b):
            last, row[j + 1] = row[j + 1], min(row[j + 1] + 1, row[j] + 1, last + (x != y))
    return row[-1]


def rft(root):
    """RFT takes folders of more than 7000 lines only: behind ours are lines without an answer."""
    rest = 7001 - len(SOLUTIONS)
    gold = [json.dumps({"query": f"q{i}", "response": f"#### {x}"}) for i, x in enumerate([5, 12])] + [json.dumps({"query": "", "response": "#### 1"})] * rest
    files = {"../data/train_use.jsonl": "\n".join(gold) + "\n"}
    for seed in range(len(SOLUTIONS[0])):
        files[f"f/raw_generation_0.7_{seed}.json"] = "\n".join([json.dumps([["", own[seed]]]) for own in SOLUTIONS] + [json.dumps([["", ""]])] * rest) + "\n"
    written = {}

    class Written(io.StringIO):
        def close(self):
            written[self.name] = self.getvalue()
            super().close()

    def opened(name, mode="r", **_):
        made = Written() if mode == "w" else io.StringIO(files[name])
        made.name = name
        return made

    given = {"re": re, "json": json, "os": types.SimpleNamespace(path=types.SimpleNamespace(exists=lambda name: name in files)), "Counter": collections.Counter, "open": opened}
    names = ["ANS_RE", "INVALID_ANS", "TRAIN_FILE", "check_equation", "extract_answer", "parse_gold", "parse", "eval_json", "barrier", "collect"]
    scope = pick(root / "collect_rejection_sampling.py", names, given | {"editdistance": types.SimpleNamespace(eval=edits)})
    with contextlib.redirect_stdout(io.StringIO()):
        scope["collect"]("f", len(SOLUTIONS[0]))
    passed = json.loads(written["f/pass_query_7_0.7.json.v2.farest"])
    different = json.loads(written["f/equation_different_pass_query_7_0.7.json.v2.farest"])
    return {"solutions": SOLUTIONS, "right": [passed[str(i)] for i in range(2)], "different": [different[str(i)] for i in range(2)]}


# Question, right answer, what is said, and what is said with the answer as a hint.
REASONED = [
    ["q0", "5", "2 and 3.\n#### 5", "not asked"], ["q1", "7", "so it is\n#### 6", "with care\n#### 7"], ["q2", "9", "no mark at all", "still none"], ["q3", "12", "#### 12\nand more", "not asked"],
    ["q4", "3", "#### 4", "it is not\n#### 4"],
]


def star(root):
    """STaR's evaluation of a training set one question at a time, with its model and its tokenizer stood in for."""
    asked, saved = [], {}

    class Saved(io.StringIO):
        def close(self):
            saved["text"] = saved.get("text", "") + self.getvalue()
            super().close()

    class Tokenizer:
        @staticmethod
        def from_pretrained(_):
            return Tokenizer()

        def decode(self, text):
            return text[0]

        def encode(self, text):
            asked.append(text)
            return [0]

    def generate(*_):
        question = asked[-1]
        ((_, answer, said, hinted),) = [one for one in REASONED if one[0] in question]
        text = hinted if f"(#### {answer})" in question else said
        return None, [np.array([[[text]]], dtype=object)]

    args = types.SimpleNamespace(dataset_mode="gsm", eval_batch_size=1, gen_length=9, rationalize=True, p_show_hint_save=0, few_shot_train=False, no_prompt=True)
    progress = lambda rows, **_: type("Bar", (list,), {"set_description": lambda *_: None})(rows)  # noqa: E731
    given = {
        **{"np": np, "random": random.Random(0), "tqdm": progress, "transformers": types.SimpleNamespace(GPT2TokenizerFast=Tokenizer), "args": args, "seq": 1, "hint_seq": 1},
        **{"gen_params": {}, "params": {}, "target_save": "", "split": "train", "network": types.SimpleNamespace(generate=generate), "basic_open": lambda *_: Saved()},
    }
    names = ["eval_output", "get_score", "question_to_context", "examples_to_batch", "eval_batch", "eval_examples"]
    scope = pick(root / "device_inference.py", names, given)
    scope["eval_examples"]([("gsm", {"question": question, "answer": f"#### {answer}"}) for question, answer, *_ in REASONED], [], [])
    return {"rows": REASONED, "asked": asked, "kept": saved["text"].split("<|endoftext|>")[:-1]}


def deita(root):
    draw = np.random.default_rng(3)
    scorer = module("scipy.special", softmax=lambda x, axis: torch.softmax(torch.tensor(x), axis).numpy())
    with modules("scipy", "transformers", scipy__special=scorer), mock.patch.object(sys, "path", [str(root / "src"), *sys.path]):
        package = module("deita")
        with modules(deita=package, deita__selection=module("s"), deita__selection__scorer=module("s"), deita__selection__filter=module("f"), deita__pipeline=module("p")):
            files = {name: runpy.run_path(str(root / f"src/deita/{name}.py")) for name in ("selection/scorer/base", "pipeline/utils", "selection/filter/base")}
            with modules(
                deita__selection__scorer__base=module("b", **{"Scorer": files["selection/scorer/base"]["Scorer"]}),
                deita__pipeline__utils=module("u", sort_key_split=files["pipeline/utils"]["sort_key_split"]),
                deita__selection__filter__base=module("f", IterativeFilter=files["selection/filter/base"]["IterativeFilter"]),
            ):
                llama = runpy.run_path(str(root / "src/deita/selection/scorer/llama_scorer.py"))["Llama_Scorer"]
                chooser = runpy.run_path(str(root / "src/deita/selection/filter/combined_filter.py"))["Combined_Filter"]
    ratings = []
    for _ in range(4):
        logits = draw.normal(size=6).round(3) * 2
        own = llama.__new__(llama)
        own.is_vllm, own.sampling_params = True, None
        said = types.SimpleNamespace(outputs=[types.SimpleNamespace(logprobs=[dict(zip(own.id2score, logits.tolist(), strict=True))])])
        own.llm = types.SimpleNamespace(generate=lambda *_, said=said: [said])
        ratings.append([logits.tolist(), float(own.infer_complexity("x"))])
    import pandas as pd

    selections = []
    for threshold, size, dims in ((0.9, 5, 3), (0.6, 20, 3), (0.0, 20, 2)):
        rows = 14
        # Of the last, whole numbers along and between the axes: cosines that are exactly the threshold.
        vectors = draw.integers(-1, 2, size=(rows, dims)) if threshold == 0 else draw.normal(size=(rows, dims)).round(2)
        vectors[np.abs(vectors).sum(1) == 0] = 1
        scores = draw.permutation(rows)[:, None] + draw.random((rows, 2)).round(2)
        frame = pd.DataFrame({"c": scores[:, :1].tolist(), "q": scores[:, 1:].tolist(), "embedding": vectors.astype(float).tolist(), "place": range(rows)})
        chosen = chooser(threshold=threshold, data_size=size, sort_key="c,q", chunk_size=100, device="cpu").filter(frame)
        selections.append({"threshold": threshold, "count": size, "scores": scores.round(4).tolist(), "vectors": vectors.tolist(), "chosen": chosen["place"].tolist()})
    return {"ratings": ratings, "selections": selections}


def less(root):
    """Gradients are given: nine tasks of two rows each, as its TyDi QA has, at two checkpoints."""
    draw = torch.Generator().manual_seed(5)
    rates = [2e-5, 5e-6]
    train = [(torch.randn(8, 4, generator=draw) * 100).round() / 100 for _ in rates]
    valid = [(torch.randn(18, 4, generator=draw) * 100).round() / 100 for _ in rates]
    normalize = lambda x, dim: torch.nn.functional.normalize(x, dim=dim)  # noqa: E731
    merge = pick(root / "less/data_selection/collect_grad_reps.py", ["merge_and_normalize_info"], {"os": os, "torch": torch, "normalize": normalize})["merge_and_normalize_info"]
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        for i in range(len(rates)):
            for name, values in (("train", train[i]), ("tydiqa", valid[i])):
                path = Path(folder) / f"{i}-{name}"
                path.mkdir()
                torch.save(values[:5], path / "grads-5.pt")
                torch.save(values[5:], path / "grads-18.pt")
                merge(str(path), prefix="grads")
        arguments = ["--gradient_path", f"{folder}/{{}}-{{}}", "--validation_gradient_path", f"{folder}/{{}}-{{}}", "--train_file_names", "train", "--ckpts", "0", "1"]
        arguments += ["--checkpoint_weights", *map(str, rates), "--target_task_names", "tydiqa", "--output_path", folder]
        with mock.patch.object(sys, "argv", ["matching.py", *arguments]):
            runpy.run_path(str(root / "less/data_selection/matching.py"), run_name="__main__")
        influence = torch.load(f"{folder}/tydiqa/train_influence_score.pt")
    update = pick(root / "less/data_selection/collect_grad_reps.py", ["obtain_gradients_with_adam"], {"torch": torch})["obtain_gradients_with_adam"]
    layer = torch.nn.Linear(3, 1, bias=False)
    x, mean, square = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([0.1, 0.0, -0.3]), torch.tensor([0.04, 0.0, 0.01])

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return types.SimpleNamespace(loss=self.layer(x).sum())

    gamma = update(Model(), {"x": x}, mean, square)
    return {
        **{"rates": rates, "train": [one.tolist() for one in train], "valid": [one.tolist() for one in valid], "rowsPerTask": 2, "influence": influence.tolist()},
        "adam": {"gradient": x.tolist(), "mean": mean.tolist(), "square": square.tolist(), "update": gamma.tolist()},
    }


# Perplexity of an answer by itself, and behind its question.
PERPLEXITIES = [[10, 5], [8, 7.2], [4, 4], [3, 4.5], [20, 2], [6, 5.5], [9, 8.9], [2, 1.2], [7, 7.01], [0, 0]]


def superfiltering(root):
    data = [{"output": str(i)} for i in range(len(PERPLEXITIES))]
    scores = "\n".join(json.dumps({"ppl": [0, alone, 0, behind], "loss": [0, 0, 0, 0]}) for alone, behind in PERPLEXITIES)
    bar = module("tqdm", tqdm=lambda rows: rows)
    with modules(tqdm=bar):
        written = run_script(root / "code_ifd/put_analysis_to_data.py", ["--pt_data_path", "s.jsonl", "--json_data_path", "d", "--json_save_path", "o.json"], {"s.jsonl": scores, "d": json.dumps(data)})
        made = read_json(written, "o.json")
        # The count is a share of Alpaca's 52002 rows.
        chosen = run_script(root / "code_ifd/select_data.py", ["--json_data_path", "o", "--json_save_path", "k.json", "--sample_rate", str(4.5 / 52002)], {"o": json.dumps(made)})
    return {"perplexities": PERPLEXITIES, "ratios": [one["ifd_ppl"] for one in made], "count": 4, "chosen": [int(one["output"]) for one in read_json(chosen, "k.json")]}


def cherry(root):
    draw = np.random.default_rng(9)
    outputs = ["yes", "a long answer", "no", "some of it", "x", "why not", "all", "maybe so"]
    data = [{"instruction": f"i{i}", "input": "" if i % 2 else "w", "output": one} for i, one in enumerate(outputs)]
    prompt = pick(root / "cherry_seletion/data_by_IFD.py", ["PROMPT_DICT"], {})["PROMPT_DICT"]
    rows, losses = [], []
    for i, one in enumerate(data):
        whole = prompt["prompt_no_input" if one["input"] == "" else "prompt_input"].format_map(one)
        alone = "### Response:"
        own = [(draw.random(len(text + one["output"]) - 1) * (0.9 if j else 1)).round(3).tolist() for j, text in enumerate((alone, whole))]
        losses.append({"token_loss": [None, own[0], own[1]]})
        n = len(one["output"])
        rows.append({"alone": own[0][-n:], "behind": own[1][-n:]})

    class Tokenizer:
        @staticmethod
        def from_pretrained(_):
            return Tokenizer()

        def encode(self, text, return_tensors=None, max_length=10**9, **_):
            ids = [ord(x) for x in text][:max_length]
            return torch.tensor([ids]) if return_tensors else ids

    bar = module("tqdm", tqdm=lambda rows: rows)
    transformers = module("transformers", LlamaTokenizer=Tokenizer, LlamaForCausalLM=None)
    with modules(tqdm=bar, transformers=transformers), mock.patch("torch.load", lambda *_, **__: losses):
        written = run_script(root / "cherry_seletion/data_by_IFD.py", ["--pt_data_path", "p", "--json_data_path", "d", "--json_save_path", "k.json", "--sample_number", "3"], {"d": json.dumps(data)})
    kept = [one["output"] for one in read_json(written, "k.json")]
    return {"rows": rows, "count": 3, "chosen": [outputs.index(one) for one in kept]}


def doremi(root):
    draw = torch.Generator().manual_seed(4)
    weights = {"now": torch.tensor([0.5, 0.3, 0.2])}
    names = ["a", "b", "c"]
    zeros = lambda: torch.zeros(3)  # noqa: E731
    own = types.SimpleNamespace(
        args=types.SimpleNamespace(doremi_optimizer="doremiv1", reweight_eta=0.8, reweight_eps=1e-2),
        model=types.SimpleNamespace(perdomain_scores=zeros(), avg_domain_weights=zeros(), train_domain_weights=zeros()),
        domain_list=names,
        read_weights=lambda: weights["now"].clone(),
        write_weights=lambda new: weights.update(now=new),
    )
    update = nested(root / "doremi/trainer.py", ["update_domain_weights"], {"torch": torch, "wandb": types.SimpleNamespace(log=lambda *_, **__: None)})["update_domain_weights"]
    updates = []
    for step in range(3):
        excess = (torch.randn(6, 4, generator=draw) * 1000).round() / 1000
        kept = torch.rand(6, 4, generator=draw) < 0.8
        # The third domain does not come in the second batch: its last score stays.
        domains = torch.tensor([0, 1, 2, 0, 1, 2] if step != 1 else [0, 1, 0, 1, 1, 0])
        update(own, excess, kept, domains)
        updates.append({"excess": excess.tolist(), "kept": kept.tolist(), "domains": domains.tolist(), "weights": weights["now"].tolist()})
    return {"start": [0.5, 0.3, 0.2], "stepSize": 0.8, "smoothing": 1e-2, "updates": updates}


LENGTHS = {"algebra": [120, 900, 40, 410, 77], "logic": [30, 20]}


def s1(root):
    """The draws of s1's notebook: the weights that a question of each domain has, while the domains run empty."""
    (cell,) = [one for one in json.loads((root / "data/filter.ipynb").read_text())["cells"] if "length_weights" in "".join(one["source"])]
    domains = {name: {f"{name} {i}": {"gemini_length": length} for i, length in enumerate(lengths)} for name, lengths in LENGTHS.items()}
    weights, left = [], sum(map(len, LENGTHS.values()))

    class Selected(set):
        def __len__(self):
            return 0 if super().__len__() < left else 1000

    def choice(among, size=None, p=None):
        if size == 1:
            return [among[0]]
        weights.append({"left": [domains[one.split()[0]].get(one, {}).get("gemini_length") for one in among], "weights": p.tolist()})
        return among[int(np.argmin(p))]

    given = {
        **{"tqdm": lambda **_: types.SimpleNamespace(update=lambda _: None, close=lambda: None), "selected_qhashes": Selected(), "all_domains": list(domains)},
        **{"benchmark_domains": [], "uniform_sample": lambda names: choice(names, size=1)[0], "questions_ordered_by_domain": domains},
        "np": types.SimpleNamespace(array=np.array, argsort=np.argsort, power=np.power, random=types.SimpleNamespace(choice=choice)),
    }
    exec("".join(cell["source"]), given)
    return {"draws": weights}
