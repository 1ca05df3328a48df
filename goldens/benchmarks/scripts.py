"""Scores of authors' scripts over small rows of our own."""

import json
import os
import random
import re
import sys
import tempfile
import types
from pathlib import Path

import numpy as np
from golden import pick


def rankings(_):
    """pytrec_eval (trec_eval), which BEIR's evaluation asks."""
    import pytrec_eval

    rng = random.Random(3)
    qrels = {f"q{q}": {f"d{d}": rng.randint(0, 3) for d in rng.sample(range(30), 8)} for q in range(6)}
    qrels["none"] = {"d1": 0, "d2": 0}
    qrels["unasked"] = {"d1": 1}
    # Scores in steps: many are equal; some differ in less than single precision has.
    run = {f"q{q}": {f"d{d}": round(rng.random() * 8) / 4 for d in rng.sample(range(30), 20)} for q in range(6)}
    run["q0"] = {f"d{d}": 1 + d * 1e-9 for d in range(30)}
    run["none"] = {"d1": 1.0, "d5": 0.5}
    run["other"] = {"d1": 1.0}
    found = {}
    for level in (1, 2):
        scores = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10", "ndcg_cut.3", "recip_rank", "recall.10", "recall.3"}, relevance_level=level).evaluate(run)
        found[str(level)] = {query: scores[query] for query in sorted(scores)}
    lines = [f"{query} 0 {document} {grade}" for query, documents in qrels.items() for document, grade in documents.items()]
    ran = [f"{query} Q0 {document} 0 {score!r} ours" for query, documents in run.items() for document, score in documents.items()]
    return {"qrels": lines, "run": ran, "scores": found}


def dialogue_states(checkout):
    module = types.SimpleNamespace(Module=object)
    trade = pick(checkout / "models" / "TRADE.py", ["TRADE"], {"nn": module})["TRADE"]
    slots = [f"{domain}-{slot}" for domain in ("hotel", "train", "taxi") for slot in ("area", "day", "name")]
    rng = random.Random(5)
    values = ["north", "two-part", "dontcare", "centre"]
    state = lambda share: {slot: rng.choice(values) for slot in slots if rng.random() < share}
    turns = []
    for dialogue in range(4):
        for turn in range(4):
            gold = state(0.3) if turn else {}
            said = dict(gold) if rng.random() < 0.4 else {**gold, **state(0.2)} if rng.random() < 0.5 else state(0.3)
            turns.append({"dialogue": f"d{dialogue}", "turn": turn, "gold": gold, "said": said})
    told = {}
    pairs = lambda one: [f"{slot}-{value}" for slot, value in one.items()]
    for one in turns:
        told.setdefault(one["dialogue"], {})[one["turn"]] = {"turn_belief": pairs(one["gold"]), "pred": pairs(one["said"])}
    joint, f1, accuracy = trade.evaluate_metrics(trade.__new__(trade), told, "pred", slots)
    return {"slots": len(slots), "turns": turns, "joint": joint, "f1": f1, "accuracy": accuracy}


def hanna(_):
    """scipy's correlations with the means of three ratings."""
    from scipy import stats

    rng = random.Random(7)
    criteria = ["Relevance", "Coherence", "Empathy", "Surprise", "Engagement", "Complexity"]
    models = ["Human", "GPT", "CTRL", "RoBERTa"]
    rows = [
        {"Story ID": story, "Prompt": "p", "Human": "h", "Story": f"s{story}", "Model": models[story % 4], **{name: rng.randint(1, 5) for name in criteria}, "Worker ID": worker}
        for story in range(12) for worker in range(3)
    ]
    scores = [round(rng.random() * 4) / 4 for _ in range(12)]
    found = {}
    for level in ("story", "system"):
        groups = [[story] for story in range(12)] if level == "story" else [[s for s in range(12) if models[s % 4] == model] for model in models]
        measured = [np.mean([scores[story] for story in group]) for group in groups]
        found[level] = {}
        for name in criteria:
            means = [np.mean([row[name] for row in rows if row["Story ID"] == story]) for story in range(12)]
            said = [np.mean([means[story] for story in group]) for group in groups]
            found[level][name] = [float(of(measured, said).statistic) for of in (stats.pearsonr, stats.spearmanr, stats.kendalltau)]
    return {"rows": rows, "scores": scores, "correlations": found}


def mt_bench(checkout):
    import ast

    import pandas

    said = ["Good. [[8]]", "Rating: [[7.5]]", "[6] then [[9]]", "[5]", "8/10", "[[10]] or [[1]]", "[[ 8 ]]", "[[8.]]", "[[A]]", "[[B]] not [[A]]", "[[C]]", "[A]", "[[C]] [[B]]", ""]
    judge_folder = checkout / "fastchat" / "llm_judge"
    answers = iter([])
    conversation = lambda _: types.SimpleNamespace(set_system_message=lambda *_: None, append_message=lambda *_: None, roles=("user", "assistant"), messages=[[0, 0]])
    scope = pick(
        judge_folder / "common.py", ["run_judge_single", "run_judge_pair", "one_score_pattern", "one_score_pattern_backup", "NEED_REF_CATS", "temperature_config", "OPENAI_MODEL_LIST"],
        {"re": re, "ast": ast, "get_conversation_template": conversation, "chat_completion_openai": lambda *_, **__: next(answers), "OPENAI_MODEL_LIST": ["judge"], "ANTHROPIC_MODEL_LIST": []},
    )
    scope["OPENAI_MODEL_LIST"] = ["judge"]
    judge = lambda template, form: types.SimpleNamespace(model_name="judge", prompt_template={"system_prompt": "s", "prompt_template": template, "output_format": form})
    question = {"turns": ["Why {a}?", "And {question}?"]}
    answer = {"choices": [{"turns": ["So.", "{{Thus}}."]}]}
    reference = {"choices": [{"turns": ["R1", "R2"]}]}
    templates = {
        "single-v1": "Q {question} A {answer} {{x}}", "single-math-v1": "Q {question} R {ref_answer_1} A {answer}",
        "single-v1-multi-turn": "{question_1}|{answer_1}|{question_2}|{answer_2}", "single-math-v1-multi-turn": "{question_1}|{ref_answer_1}|{answer_1}|{question_2}|{ref_answer_2}|{answer_2}",
    }
    ratings, verdicts, prompts = [], [], {}
    for text in said:
        answers = iter([text, text])
        ratings.append(scope["run_judge_single"](question, answer, judge("{question}{answer}", "[[rating]]"), None)[0])
        verdicts.append(scope["run_judge_pair"](question, answer, answer, judge("{question}", "[[A]]"), None)[0])
    for name, template in templates.items():
        answers = iter(["[[5]]"])
        prompts[name] = scope["run_judge_single"](question, answer, judge(template, "[[rating]]"), reference if "math" in name else None, multi_turn="multi" in name)[1]
    other = {"choices": [{"turns": ["Other {a}.", "Second."]}]}
    pair_templates = {
        "pair-v2": "{question}|{answer_a}|{answer_b}|{{}}", "pair-math-v1": "{question}|{ref_answer_1}|{answer_a}|{answer_b}",
        "pair-v2-multi-turn": "{question_1}|{answer_a_1}|{answer_b_1}|{question_2}|{answer_a_2}|{answer_b_2}",
        "pair-math-v1-multi-turn": "{question_1}|{ref_answer_1}|{answer_a_1}|{answer_b_1}|{question_2}|{ref_answer_2}|{answer_a_2}|{answer_b_2}",
    }
    pair_prompts = {}
    for name, template in pair_templates.items():
        for order in ((answer, other), (other, answer)):
            answers = iter(["[[C]]"])
            said_of = scope["run_judge_pair"](question, *order, judge(template, "[[A]]"), reference if "math" in name else None, multi_turn="multi" in name)
            pair_prompts.setdefault(name, []).append(said_of[1])

    rng = random.Random(2)
    single = [{"question_id": q, "model": "m", "turn": turn, "score": rng.choice([-1, 3, 7, 8.5, 10])} for q in range(7) for turn in (1, 2)]
    outcomes = ["model_1", "model_2", "tie", "error"]
    pairs = [{"model_1": rng.choice("ab"), "model_2": rng.choice("cd"), "g1_winner": rng.choice(outcomes), "g2_winner": rng.choice(outcomes)} for _ in range(40)]
    shown = []
    show = pick(judge_folder / "show_result.py", ["display_result_single", "display_result_pairwise"], {"pd": pandas, "print": lambda one, *_: shown.append(one)})
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / name for name in ("single", "pairs")}
        files["single"].write_text("\n".join(map(json.dumps, single)))
        files["pairs"].write_text("\n".join(map(json.dumps, pairs)))
        given = types.SimpleNamespace(input_file=str(files["single"]), model_list=None, bench_name="mt_bench", baseline_model=None)
        show["display_result_single"](given)
        given.input_file = str(files["pairs"])
        show["display_result_pairwise"](given)
    tables = [one for one in shown if not isinstance(one, str)]
    rates = {model: [float(x) for x in row[["win", "loss", "tie", "win_rate", "loss_rate", "win_rate_adjusted"]]] for model, row in tables[3].iterrows()}
    return {
        "said": said, "ratings": ratings, "verdicts": verdicts, "question": question["turns"], "answer": answer["choices"][0]["turns"], "reference": ["R1", "R2"], "templates": templates, "prompts": prompts,
        "other": other["choices"][0]["turns"], "pair_templates": pair_templates, "pair_prompts": pair_prompts,
        "with_reference": scope["NEED_REF_CATS"], "single": single, "means": [float(table["score"].iloc[0]) for table in tables[:3]], "pairs": pairs, "rates": dict(sorted(rates.items())),
        "temperatures": scope["temperature_config"],
    }


def lr2bench(checkout):
    extract = pick(checkout / "1-extract_answer.py", ["extract", "default_answer_dict", "pattern_dict"], {"re": re, "json": json, "os": os})
    names = ["calculate_dict_correct", "calculate_logic_answer_correct", "calculate_sudoku_answer_correct", "calculate_drop_answer_correct", "norm_dict"]
    script = pick(checkout / "2-merge_answer.py", names, {"json": json, "traceback": __import__("traceback"), "print": lambda *_: None})
    words = {"across 1": "CAT", "down 1": "New York", "Down 2": "AB"}
    groups = [{"day": "Jan 1", "name": "Ann", "pet": "Cat"}, {"day": "Jan 2", "name": "Bob", "pet": "Dog"}]
    grid = {"grid": [[0, 2], [1, 0]], "answer": [[1, 2], [1, 2]]}
    drop = [["A", "#", "B"], ["C", "D", "#"]]
    wrap = lambda text, tag="Answer": f"Thus.\n<{tag}>\n{text}\n</{tag}>"
    cases = [
        *[("crossword", words, wrap(text)) for text in ('{"Across 1": "C A T", "down 1": "newyork", "down 2": "ab"}', "{'across 1': 'cat'}", '{"across 1": "cat", "down 1": "x", "down 2": "AB", "more": 1}', "{1: 2}", "{", "none", '{"across 1": "dog"} {"across 1": "cat"}', '{"across 1": {"a": 1}}')],
        ("crossword", words, '{"across 1": "cat"}'), ("crossword", words, '<answer>{"across 1": "cat"}</ANSWER> <Answer>{"down 1": "New York"}</Answer>'), ("acrostic", {"1": "A", "2": "B"}, wrap("{1: 'a', '2': 'B'}")), ("cryptogram", {"X": "T", "M": "H"}, wrap('{"X": "T", "m": "h"}', "Mapping")), ("cryptogram", {"X": "T", "M": "H"}, wrap('{"X": "T"}')),
        *[("logic", groups, wrap(text)) for text in ('[{"day": "Jan 1", "name": "ann", "pet": "cat"}, {"Day": "Jan 2", "name": "bob", "pet": "cat"}]', '[{"day": "Jan 2", "name": "Bob"}]', "[]", "[1, 2]", '[{"day": "Jan 1", "name": "Ann", "pet": "Cat"}, {"day": "Jan 1", "name": "X", "pet": "Y"}]', "no")],
        *[("sudoku", grid, wrap(text)) for text in ("[[1, 2], [1, 2]]", "[[1, 2], [1, 3]]", "[[1,2,3]]", "[ [2, 2],\n [1, 2] ]", "[[]]", "[1, 2]", "[['1', 2], [1, 2]]", "[[1, 2], [1, 2.0]]")],
        *[("drop", drop, wrap(text)) for text in ('[["A", "#", "B"], ["C", "D", "#"]]', '[["A", "x", "B"], ["C"]]', '[["a"]]', "[[]]", '[("A", "#")]')],
    ]
    found = []
    for task, gold, response in cases:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "response.jsonl").write_text(json.dumps({"tag": "t", "response": response}) + "\n")
            extract["extract"](folder, task)
            answer = json.loads((Path(folder) / "answer.json").read_text())[0]["answer"]
        if task == "logic":
            right, cells, whole, half = script["calculate_logic_answer_correct"](gold, answer)
        elif task == "sudoku":
            right, cells, whole, half = script["calculate_sudoku_answer_correct"](gold["grid"], gold["answer"], answer)
        elif task == "drop":
            right, cells, whole, half = script["calculate_drop_answer_correct"](gold, answer)
        else:
            right, whole, half, _ = script["calculate_dict_correct"](gold, answer)
            cells = len(gold)
        answered = answer != extract["default_answer_dict"][task]
        found.append({"task": task, "gold": gold, "response": response, "answered": answered, "right": right, "cells": cells, "whole": bool(whole), "half": bool(half)})
    return {"cases": found}


def reward_bench(checkout):
    constants = pick(checkout / "rewardbench" / "constants.py", ["EXAMPLE_COUNTS", "SUBSET_MAPPING"], {})
    score = pick(checkout / "rewardbench" / "utils.py", ["calculate_scores_per_section"], {"Dict": dict, "List": list, "Union": dict})["calculate_scores_per_section"]
    rng = random.Random(4)
    whole = {subset: rng.randint(0, 4) / 4 for subset in constants["EXAMPLE_COUNTS"]}
    some = {subset: whole[subset] for subset in ("alpacaeval-easy", "mt-bench-hard", "llmbar-natural", "donotanswer", "math-prm", "hep-js")}
    return {"runs": [{"subsets": one, "sections": score(constants["EXAMPLE_COUNTS"], constants["SUBSET_MAPPING"], one)} for one in (whole, some)]}


def process_bench(checkout):
    """The script as a whole, its model, its data and its tokenizer stood in for."""
    said = [
        ["So \\boxed{1}", 1], ["\\boxed{0} no, \\boxed{2}", 2], ["\\boxed{-1}", 1], ["\\boxed{-1}.", -1], ["\\boxed{ 3 }", -1], ["none", -1], ["\\boxed{x}", 0], ["\\boxed{-1}", -1], ["\\boxed{+1}", 1], ["\\boxed{}", 3], ["\\boxed{{1}}", 1], ["\\boxed{1.0}", 1],
    ]
    votes = [[["\\boxed{1}", "\\boxed{2}", "\\boxed{2}"], 2], [["no", "\\boxed{1}", "\\boxed{0}"], 1], [["no", "no"], -1], [["\\boxed{-1}", "\\boxed{-1}", "\\boxed{1}"], -1], [["\\boxed{x}", "\\boxed{x}", "\\boxed{1}"], 1]]
    code = (checkout / "code" / "run_eval.py").read_text()
    lines = []
    found = {}
    for name, rows in (("single", said), ("votes", votes)):
        data = [{"problem": "p", "steps": ["a", "b", "c", "d"], "label": label} for _, label in rows]
        outputs = [types.SimpleNamespace(outputs=[types.SimpleNamespace(text=text) for text in ([texts] if isinstance(texts, str) else texts)]) for texts, _ in rows]
        modules = {
            "torch": types.SimpleNamespace(cuda=types.SimpleNamespace(device_count=lambda: 1)),
            "vllm": types.SimpleNamespace(LLM=lambda **_: types.SimpleNamespace(generate=lambda **_: outputs), SamplingParams=lambda **_: None),
            "transformers": types.SimpleNamespace(AutoTokenizer=types.SimpleNamespace(from_pretrained=lambda _: lambda *_, **__: types.SimpleNamespace(input_ids=[]))),
            "datasets": types.SimpleNamespace(load_dataset=lambda *_, **__: data),
        }
        modules["transformers"].AutoTokenizer.from_pretrained = lambda _: type("T", (), {"apply_chat_template": lambda *_, **__: "", "__call__": lambda *_, **__: types.SimpleNamespace(input_ids=[])})()
        kept = {key: sys.modules.get(key) for key in modules}
        arguments, place = sys.argv, os.getcwd()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(checkout / "code")
            sys.modules.update(modules)
            sys.argv = ["run_eval.py", "--configs", "gsm8k", "--model_path", "m", "--output_dir", folder, *(["--use_voting"] if name == "votes" else [])]
            try:
                exec(compile(code, "run_eval.py", "exec"), {"__name__": "__main__", "print": lines.append})
            finally:
                os.chdir(place)
                sys.argv = arguments
                for key, module in kept.items():
                    sys.modules.pop(key) if module is None else sys.modules.update({key: module})
            suffix = "m" if name == "single" else "m_voting"
            told = [json.loads(line) for kind in ("error", "correct") for line in (Path(folder) / suffix / f"gsm8k_{kind}.jsonl").read_text().splitlines()]
        found[name] = {"rows": [{"critiques": [one["generated_critique"]] if isinstance(one["generated_critique"], str) else one["generated_critique"], "label": one["label"], "prediction": one["prediction"]} for one in told], "printed": lines[-1]}
    return found


def prm_bench(checkout):
    script = pick(checkout / "mr_eval" / "tasks" / "prmtest_classified" / "task.py", ["evaluate_function", "eval_on_hallucination_step"], {"logger": types.SimpleNamespace(info=lambda *_: None)})
    rng = random.Random(6)
    meta, results = [], []
    for kind in ("confidence", "redundency", "correct"):
        for i in range(6):
            steps = rng.randint(2, 6)
            wrong = [] if kind == "correct" else sorted(rng.sample(range(1, steps + 1), rng.randint(1, 2)))
            labels = [rng.random() < (0.4 if step + 1 in wrong else 0.8) for step in range(steps)]
            meta.append({"idx": f"{kind}_{i}", "classification": kind, "error_steps": wrong})
            # PRMBench wants the mirror image of redundancy.
            results.append({"idx": f"{kind}_{i}", "scores": {"step_level_validity_labels": labels}})
    found = script["evaluate_function"](results, meta)
    keep = ["precision", "recall", "f1", "negative_f1", "total_step_acc"]
    return {
        "rows": [{**one, "labels": result["scores"]["step_level_validity_labels"]} for one, result in zip(meta, results)],
        "total": {name: found["total_hallucination_results"][name] for name in keep},
        "kinds": {kind: {name: found["hallucination_type_results"][name][kind] for name in ("f1", "negative_f1")} for kind in ("confidence", "redundency")},
    }


def fact_score(checkout):
    scorer = pick(checkout / "factscore" / "factscorer.py", ["FactScorer"], {"np": np, "object": object})["FactScorer"]
    texts = [[True, False, True], [True] * 12, [], [False] * 10, [True] * 9 + [False], [True], [False, True] * 6]
    runs = []
    for gamma in (10, 0, 3):
        made = scorer.__new__(scorer)
        made.retrieval, made.model_name, made.save_cache = {"k": 1}, "retrieval", lambda: None
        made._get_score = lambda topic, generation, facts, source: [{"is_supported": one} for one in facts]
        out = made.get_score(["t"] * len(texts), ["g"] * len(texts), gamma=gamma, atomic_facts=[one or None for one in texts], knowledge_source="k")
        runs.append({"gamma": gamma, "score": float(out["score"]), "init_score": float(out.get("init_score", out["score"])), "respond_ratio": float(out["respond_ratio"]), "facts": float(out["num_facts_per_response"])})
    return {"texts": texts, "runs": runs}


def hle(checkout):
    import math

    rng = random.Random(4)
    said = []
    scope = pick(checkout / "hle_eval" / "run_judge_results.py", ["calib_err", "dump_metrics"], {"np": np, "math": math, "print": said.append})
    # Equal confidences are in one bin each: their order, which is not stable there, does not count.
    cases = []
    for confidences, missing in (([10] * 100 + [55] * 100 + [80] * 50 + [81] * 50 + [99] * 37, 13), ([40] * 100 + [90] * 60, 0), ([70] * 100 + [100] * 100, 1)):
        judged = [{"correct": rng.random() < one / 110, "confidence": one} for one in confidences]
        rng.shuffle(judged)
        said.clear()
        scope["dump_metrics"]({str(i): {"judge_response": {**one, "correct": "yes" if one["correct"] else "no"}} for i, one in enumerate(judged)}, len(judged) + missing)
        order = (np.array([one["confidence"] for one in judged]) / 100, np.array([one["correct"] for one in judged]))
        cases.append({
            "confidences": [one["confidence"] for one in judged], "correct": [int(one["correct"]) for one in judged], "questions": len(judged) + missing,
            "accuracy": float(said[-2].split(": ")[1].split("%")[0]), "half_width": float(said[-2].split("+/- ")[1].split("%")[0]), "calibration_error": float(scope["calib_err"](*order)),
        })
    return {"cases": cases}


def toolcomp(checkout):
    import ast
    import json as module

    path = checkout / "grade" / "llm_grade.py"
    extract = pick(path, ["extract_student_answer"], {})["extract_student_answer"]
    block = "```json\n"
    responses = [
        "42", " 42 \n", block + '{"final_answer": [1, "a"]}\n```', block + '{"final_answer":7}```', block + '{ "final_answer": 7 }\n```', block + '{"final_answer": 7}', "Well: " + block + '{"final_answer": 7}\n```',
        block + "```", "``````json", "", block + '{"answer": "x"}\n```', "```json```",
    ]
    judgements = [
        "Reasoning: so.\nFinal Grade: CORRECT", "Final Grade: CORRECT BUT BAD FORMATTING\n", "Final Grade: INCORRECT", "Final Grade: correct", "CORRECT", "no grade", "Final Grade: INCORRECT\nFinal Grade: CORRECT",
        "Final Grade:CORRECT", "Final Grade: CORRECT.", "Final Grade:  CORRECT  ",
    ]
    # The part of `grade` behind the judge's answers, with judgements of our own in their place.
    rng = random.Random(6)
    data = [{"gpt_grader_out": rng.choice(judgements), "tools": ["t"] * rng.choice([2, 2, 3, 8])} for _ in range(60)]
    tree = ast.parse(path.read_text())
    body = next(node for node in tree.body if getattr(node, "name", None) == "grade").body
    kept = [node for node in body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).startswith(("chat_", "enterprise_"))]
    read = [node for node in ast.walk(ast.Module(body, [])) if isinstance(node, ast.Assign) and "gpt_grader_grade" in ast.unparse(node.targets[0])]
    for i in range(len(data)):
        exec(compile(ast.Module(read, []), str(path), "exec"), {"data": data, "i": i, "response": data[i]["gpt_grader_out"]})
    scope = {"data": data, "np": np}
    exec(compile(ast.Module(kept, []), str(path), "exec"), scope)
    numbers = {part: {key: float(value) for key, value in scope[f"{part}_metrics"].items()} for part in ("chat", "enterprise")}
    found = [{"judgement": one["gpt_grader_out"], "grade": one["gpt_grader_grade"], "tools": len(one["tools"])} for one in data]
    return {"responses": [[one, extract(one)] for one in responses], "rows": module.loads(module.dumps(found)), **numbers}


def truthful_qa(checkout):
    import pandas

    calculate = pick(checkout / "TruthfulQA" / "truthfulqa" / "models.py", ["MC_calcs"], {"np": np})["MC_calcs"]
    rng = random.Random(8)
    cases = []
    for _ in range(40):
        true, false = ([rng.choice([-1.0, -2.0, -3.5, round(-40 * rng.random(), 3)]) for _ in range(rng.randint(1, 4))] for _ in range(2))
        frame = pandas.DataFrame(index=[0], columns=["m lprob scores-true", "m lprob scores-false"], dtype=object)
        refs = [f"t{i}" for i in range(len(true))]
        calculate("m", frame, 0, true, false, refs, "t0")
        cases.append({"true": true, "false": false, "mc1": float(frame.loc[0, "m MC1"]), "mc2": float(frame.loc[0, "m MC2"])})
    return {"cases": cases}


def babilong(checkout):
    scope = pick(checkout / "babilong" / "metrics.py", ["TASK_LABELS", "preprocess_output", "compare_answers"], {})
    asked = ["Where is Mary?", "Where is the milk?", "Where was the milk before the kitchen?"]
    said = [
        "kitchen", "Kitchen.", "In the garden. Not the kitchen.", "garden or kitchen", "The milk was in the garden before the kitchen", "garden\nkitchen", "\nGarden", "office <context> garden", "office<example>garden",
        "the office Question garden", "", ".garden", "bedrooms", "the bathroom, the bathroom", "GARDEN!", "nowhere", "It is in Mr. Green's office", "hallway kitchen",
    ]
    cases = [
        {"question": question, "target": target, "verdicts": [int(scope["compare_answers"](target, one, question, scope["TASK_LABELS"]["qa3"])) for one in said]}
        for question in asked for target in ("garden", "kitchen", "Office")
    ]
    return {"said": said, "cases": cases}


def ruler(checkout):
    scope = pick(checkout / "scripts" / "eval" / "synthetic" / "constants.py", ["string_match_part", "string_match_all"], {})
    said = ["", "12 and 34", "The Cat", "cat, dog; 12", "1234", "CATDOG", "dog"]
    wanted = [["12"], ["12", "34"], ["cat", "DOG"], ["12", "34", "cat"], ["the cat"], ["12", "12"]]
    return {"said": said, "cases": [{"outputs": one, "all": [scope["string_match_all"]([text], [one]) for text in said], "part": [scope["string_match_part"]([text], [one]) for text in said]} for one in wanted]}


def graph_walks(checkout):
    from typing import List, Tuple

    scope = pick(checkout / "lm_eval" / "tasks" / "graphwalks" / "utils.py", ["extract_answer_list", "extract_answer_list_flexible", "process_results"], {"re": re, "List": List, "Tuple": Tuple})
    said = [
        "Final Answer: [a, b]", "Final Answer: [a]\n\n", "Final Answer: [a]\n ", "Final Answer: []", "Final Answer: [ ]", "final answer: [a]", "a, b", "", "Final Answer: a", "Final Answer:[a,b,c]", "Final Answer:   ['a', \"b\"]",
        "Final Answer: [a, a, b]", "Final Answer: [[a], b]", "Final Answer: [a] or [b]", "Final Answer: [b]\nSo it is.", "I think.\nFinal Answer: [c,, b,]", "** Final Answer: [a]. **", "Final Answer: [a", "Final Answer: ['', a]",
    ]
    wanted = [["a"], ["a", "b"], ["b", "c", "d"], []]
    return {"said": said, "cases": [{"answer": one, "f1": [scope["process_results"]({"answer_nodes": one}, [text])["f1"] for text in said]} for one in wanted]}
