"""Rewards of open-instruct, ms-swift and OpenRLHF on texts and lengths, and TRL's reconciliation of turns.

OPEN_INSTRUCT, MS_SWIFT, OPENRLHF: folders of checkouts at the commits below, of each of which single functions are read and run, and nothing is imported.
A file whose checkout is not named is copied as it is. TRL is the installed one.
"""

import collections
import importlib.util
import itertools
import json
import logging
import math
import os
import re
import shutil
import string
import sys
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from golden import output_folder, pick, write_json  # noqa: E402

COMMITS = {
    "OPEN_INSTRUCT": "e6c3044aa6201c8bfa4573c1b03142af599e730d",
    "MS_SWIFT": "3602360a562313afbf2ef6065fdf61f271a2c5b9",
    "OPENRLHF": "3c3be6234e0cb353e76bb8019947db9dfe99fca7",
}
HERE = Path(__file__).resolve().parent


F1_TEXTS = [
    ("the quick brown fox", "The quick, brown fox!"),
    ("a fox", "quick fox"),
    ("fox fox fox", "fox and fox"),
    ("", "fox"),
    ("dog", "cat"),
    ("<think>cat</think> The dog", "dog"),
    ("<answer>An apple a day</answer>", "apple day"),
    ("It's 3,000 km.", "its 3000 km"),
    ("theory of the another", "theory another"),
    ("ÉCOLE\u00a0normale", "école normale"),
    ("x-ray  vision\n\nnow", "xray vision now"),
    ("x", ["y", "x z", "w"]),
]

LENGTHS = [0, 1, 3, 10, 12, 40]


def open_instruct(root: Path) -> dict:
    path = root / "open_instruct/ground_truth_utils.py"
    result = type("VerificationResult", (), {"__init__": lambda self, score: setattr(self, "score", score)})
    base = type("VerifierFunction", (), {"__init__": lambda self, *a, verifier_config=None, **k: setattr(self, "verifier_config", verifier_config)})
    given = {"re": re, "string": string, "Counter": collections.Counter, "VerificationResult": result, "VerifierFunction": base, "json": json, "VerifierConfig": object, "MaxLengthVerifierConfig": object}
    scope = pick(path, ["remove_thinking_section", "normalize_answer", "f1_score", "F1Verifier", "PuzzleMatcherVerifier", "ReSearchVerifierF1", "StringMatcherVerifier", "MaxLenVerifier", "UpToMaxLenVerifier"], given)
    f1, puzzle, matcher = scope["F1Verifier"](), scope["PuzzleMatcherVerifier"](), scope["StringMatcherVerifier"]()
    config = SimpleNamespace(max_length_verifier_max_length=20)
    near, up_to = scope["MaxLenVerifier"](config), scope["UpToMaxLenVerifier"](config)
    words = []
    for said, label in F1_TEXTS:
        single = label[0] if isinstance(label, list) else label
        words.append({"completion": said, "answer": label, "f1": f1([], said, label).score, "puzzle": puzzle([], said, single).score, "matcher": matcher([], said, single).score})
    lengths = [{"tokens": n, "target": target, "near": near([0] * n, "", str(target)).score, "up_to": up_to([0] * n, "", str(target)).score} for n in LENGTHS for target in (0, 3, 10)]
    return {"commit": COMMITS["OPEN_INSTRUCT"], "words": words, "lengths": lengths, "instructions": instructions(root)}


ANSWERS = [
    "",
    "My answer is yes.",
    "HELLO WORLD",
    "hello, world",
    "* one\n* two\n- three\n** not one",
    "* one\n\n* two",
    "*** \nfirst\n***\nsecond\n***",
    "first ***second*** *** third",
    "<<A title>>\nThe fox, the FOX and foxes. P.S. Bye",
    "<< >> [name] and [address], [x]",
    'Say "no" to it',
    '"All of it, quoted."',
    '```json\n{"a": [1, 2]}\n```',
    '{"a": 1,}',
    "One answer.******Another answer.",
    "******Same******Same",
    "Section 1\nA\nSection 2\nB\nSection3 C",
    "Hello there.\n\nWorld, hello.\n\n'Fox' runs",
    "Some *high* and **higher** and * * lights p. p. s. more",
    "What is it? I repeat: no. The end. Is there anything else?",
    "<think>, a comma and a fox</think>No such thing here",
]

INSTRUCTIONS = [
    ("keywords:existence", {"keywords": ["fox", "hello"]}),
    ("keywords:existence", {"keywords": ["the"]}),
    ("keywords:frequency", {"keyword": "fox", "frequency": 2, "relation": "at least"}),
    ("keywords:frequency", {"keyword": "hello", "frequency": 2, "relation": "less than"}),
    ("keywords:forbidden_words", {"forbidden_words": ["fox", "yes"]}),
    ("keywords:letter_frequency", {"letter": "o", "let_frequency": 2, "let_relation": "at least"}),
    ("keywords:letter_frequency", {"letter": "A", "let_frequency": 3, "let_relation": "less than"}),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 1}),
    ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 3, "nth_paragraph": 2, "first_word": "World"}),
    ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 3, "nth_paragraph": 3, "first_word": "fox"}),
    ("detectable_content:number_placeholders", {"num_placeholders": 3}),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}),
    ("detectable_format:number_bullet_lists", {"num_bullets": 3}),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}),
    ("detectable_format:constrained_response", {}),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 3}),
    ("detectable_format:multiple_sections", {"section_spliter": "Section", "num_sections": 3}),
    ("detectable_format:json_format", {}),
    ("detectable_format:title", {}),
    ("combination:two_responses", {}),
    ("combination:repeat_prompt", {"prompt_to_repeat": "What is it?"}),
    ("startend:end_checker", {"end_phrase": "Is there anything else?"}),
    ("startend:quotation", {}),
    ("change_case:english_capital", {}),
    ("change_case:english_lowercase", {}),
    ("punctuation:no_comma", {}),
    ("length_constraints:number_words", {"relation": "at least", "num_words": 6}),
    ("length_constraints:number_words", {"relation": "less than", "num_words": 4}),
]

CLASSES = {
    "keywords:existence": "KeywordChecker",
    "keywords:frequency": "KeywordFrequencyChecker",
    "keywords:forbidden_words": "ForbiddenWords",
    "keywords:letter_frequency": "LetterFrequencyChecker",
    "length_constraints:number_paragraphs": "ParagraphChecker",
    "length_constraints:nth_paragraph_first_word": "ParagraphFirstWordCheck",
    "length_constraints:number_words": "NumberOfWords",
    "detectable_content:number_placeholders": "PlaceholderChecker",
    "detectable_content:postscript": "PostscriptChecker",
    "detectable_format:number_bullet_lists": "BulletListChecker",
    "detectable_format:constrained_response": "ConstrainedResponseChecker",
    "detectable_format:number_highlighted_sections": "HighlightSectionChecker",
    "detectable_format:multiple_sections": "SectionChecker",
    "detectable_format:json_format": "JsonFormat",
    "detectable_format:title": "TitleChecker",
    "combination:two_responses": "TwoResponsesChecker",
    "combination:repeat_prompt": "RepeatPromptThenAnswer",
    "startend:end_checker": "EndChecker",
    "startend:quotation": "QuotationChecker",
    "change_case:english_capital": "CapitalLettersEnglishChecker",
    "change_case:english_lowercase": "LowercaseLettersEnglishChecker",
    "punctuation:no_comma": "CommaChecker",
}


def instructions(root: Path) -> dict:
    path = root / "open_instruct/IFEvalG/instructions.py"
    names = [target.id for node in ast.parse(path.read_text()).body if isinstance(node, ast.Assign) for target in node.targets if isinstance(target, ast.Name) and target.id.startswith("_") and target.id != "_LANGUAGES"]
    # Whether it is English is not looked at here.
    language = SimpleNamespace(detect=lambda text: "en", LangDetectException=ValueError)
    util = SimpleNamespace(count_words=lambda text: len(re.findall(r"\w+", text)))
    given = {"re": re, "json": json, "string": string, "collections": collections, "random": None, "logging": logging, "langdetect": language, "instructions_util": util, "Sequence": list}
    scope = pick(path, [*names, "Instruction", *CLASSES.values()], given)
    thoughts = pick(root / "open_instruct/ground_truth_utils.py", ["remove_thinking_section"], {})["remove_thinking_section"]
    cases = []
    for id, arguments in INSTRUCTIONS:
        checker = scope[CLASSES[id]](id)
        checker.build_description(**arguments)
        said = [thoughts(answer) for answer in ANSWERS]
        cases.append({"id": id, "kwargs": arguments, "followed": "".join(str(int(bool(text) and bool(checker.check_following(text)))) for text in said)})
    return {"answers": ANSWERS, "cases": cases}


REPEATED = ["", "one", "a b c", "a b a b a b", "A a a a a", "the cat sat on the mat the cat sat", "x  y\nx y x\ty"]


def ms_swift(root: Path) -> dict:
    scope = pick(root / "swift/rewards/orm.py", ["ORM", "CosineReward", "RepetitionPenalty"], {"math": math, "Optional": SimpleNamespace(__getitem__=lambda *_: None), "Union": None, "List": list, "Dict": dict, "GRPOConfig": None, "MegatronArguments": None} | typing_names())
    repeated = []
    for n, most in itertools.product((1, 2, 3), (-1.0, -0.5)):
        penalty = scope["RepetitionPenalty"](SimpleNamespace(repetition_n_grams=n, repetition_max_penalty=most))
        repeated.append({"n": n, "max_penalty": most, "rewards": penalty(REPEATED)})
    cosine = []
    for values in ((-1.0, -0.5, 1.0, 0.5), (0.0, -0.5, 2.0, 1.0)):
        args = dict(zip(("cosine_min_len_value_wrong", "cosine_max_len_value_wrong", "cosine_min_len_value_correct", "cosine_max_len_value_correct"), values))
        reward = scope["CosineReward"](SimpleNamespace(**args, cosine_max_len=40), accuracy_orm=lambda completions, solution, **_: [float(text == solution[0]) for text in completions])
        for right in (True, False):
            ids = [[0] * n for n in LENGTHS]
            said = ["1" if right else "0"] * len(LENGTHS)
            cosine.append({"values": values, "right": right, "lengths": LENGTHS, "rewards": reward(said, ["1"] * len(said), response_token_ids=ids)})
    return {"commit": COMMITS["MS_SWIFT"], "texts": REPEATED, "repeated": repeated, "cosine": cosine}


def typing_names() -> dict:
    import typing

    return {name: getattr(typing, name) for name in ("Dict", "List", "Optional", "Union")}


def openrlhf(root: Path) -> dict:
    import torch

    scope = pick(root / "openrlhf/trainer/ppo_utils/length_penalty.py", ["apply_stop_properly_penalty"], typing_names() | {"logger": None})
    cases = []
    for coefficient in (0.0, 0.25, 1.0, -0.5):
        rewards, cut = [1.0, 0.5, -2.0, 0.0], [False, True, True, True]
        experience = SimpleNamespace(rewards=torch.tensor(rewards), truncated=torch.tensor(cut), info={})
        scope["apply_stop_properly_penalty"]([experience], coefficient)
        cases.append({"coefficient": coefficient, "rewards": rewards, "cut": cut, "penalized": experience.rewards.tolist()})
    return {"commit": COMMITS["OPENRLHF"], "cases": cases}


def trl() -> dict:
    import trl

    root = Path(importlib.util.find_spec("trl").submodule_search_locations[0])
    rewards = pick(root / "rewards/other_rewards.py", ["get_repetition_penalty_reward", "_RepetitionPenalty"], {"Callable": object})
    tokens = [[], [1], [1, 2, 3], [5, 5, 5, 5, 5], [1, 2, 1, 2, 1, 2, 3], [12, 1, 2, 1, 21]]
    repeated = [{"n": n, "rewards": rewards["get_repetition_penalty_reward"](n, -1.0)(tokens)} for n in (1, 2, 3)]
    return {"version": trl.__version__, "tokens": tokens, "repeated": repeated, "turns": turns(root)}


def turns(root: Path) -> list[dict]:
    """Every script of three turns in which each prompt goes on from what is held, changes the last reply's end, or is rewritten further back."""
    import enum
    from dataclasses import dataclass, field
    from typing import TypeAlias

    names = ["RolloutId", "TurnRecord", "TrainingSequence", "_common_prefix_len", "DriftKind", "_SampleBuilder", "_chain_to_sequences"]
    path = root / "experimental/async_grpo/async_rollout_worker.py"
    given = {"enum": enum, "dataclass": dataclass, "field": field, "TypeAlias": TypeAlias, "RolloutId": str}
    # A dataclass looks its module up.
    given["__name__"] = __name__
    scope = pick(path, names, given)
    kinds = ["append", "append nothing", "last token", "last two tokens", "whole reply", "prompt", "shorter"]
    cases = []
    for threshold in (0, 2, 1024):
        for first, second in itertools.product(kinds, kinds):
            records, held = [], []
            fresh = itertools.count(100)
            for kind in ("start", first, second):
                if kind == "start":
                    prompt = [1, 2, 3]
                elif kind == "append":
                    prompt = [*held, next(fresh), next(fresh)]
                elif kind == "append nothing":
                    prompt = list(held)
                elif kind == "last token":
                    prompt = [*held[:-1], next(fresh), next(fresh)]
                elif kind == "last two tokens":
                    prompt = [*held[:-2], next(fresh)]
                elif kind == "whole reply":
                    prompt = [*held[:-3], next(fresh), next(fresh)]
                elif kind == "prompt":
                    prompt = [1, next(fresh), *held[2:], next(fresh)]
                else:
                    prompt = held[:-1]
                output = [next(fresh) for _ in range(3)]
                records.append(scope["TurnRecord"](prompt, output, [-token / 1000 for token in output]))
                held = [*prompt, *output]
            rows, _ = scope["_chain_to_sequences"](records, "r", threshold)
            cases.append(
                {
                    "threshold": threshold,
                    "kinds": [first, second],
                    "turns": [[record.prompt_ids, record.output_ids] for record in records],
                    "rows": [[row.input_ids, "".join(map(str, row.completion_mask))] for row in rows],
                }
            )
    return cases


def main() -> None:
    out = output_folder(__file__)
    write_json(out / "trl.json", trl())
    for variable, make in (("OPEN_INSTRUCT", open_instruct), ("MS_SWIFT", ms_swift), ("OPENRLHF", openrlhf)):
        file = f"{variable.lower().replace('_', '-')}.json"
        if variable in os.environ:
            write_json(out / file, make(Path(os.environ[variable])))
        elif not (out / file).exists():
            print(f"{variable} is not set: {file} is copied", file=sys.stderr)
            shutil.copy(HERE / file, out / file)


if __name__ == "__main__":
    main()
