"""What IFEval's checkers, in lm-evaluation-harness's copy, say of answers of our own; sentences and languages are told by stand-ins."""

import json
import os
import re
import runpy
import sys
import types
from pathlib import Path

import nltk
from nltk.tokenize import NLTKWordTokenizer

# The checkers look for downloaded data when they are imported.
nltk.data.find = lambda *_: True
sys.modules["lm_eval.models"] = types.ModuleType("lm_eval.models")
from lm_eval.tasks.ifeval import instructions, instructions_util, utils


def sentences(text):
    return [one for one in re.split(r"(?<=[.!?])\s+", text.strip()) if one]


def language(text):
    if not re.search("[a-zA-Z]", text):
        raise instructions.langdetect.LangDetectException(0, "no letters")
    return "de" if re.search(r"\b(der|und|ist)\b", text, re.IGNORECASE) else "en"


instructions_util.count_sentences = lambda text: len(sentences(text))
instructions.langdetect.detect = language
words = NLTKWordTokenizer()
nltk.word_tokenize = lambda text: [token for sentence in sentences(text) for token in words.tokenize(sentence)]
instructions_util.nltk.word_tokenize = nltk.word_tokenize

HERE = Path(__file__).parent
ANSWERS = [
    "", "  \n", "My answer is yes.", "ONE TWO, THREE. NASA's CAN'T", "it is a small text. der Hund ist da!", "THE DOG IS HERE. IT'S WARM; \"GO\" (NOW)--OK... USA.",
    "* a point\n* another\n- a third\n\n***\n\nLast *one* and **two** [name] [place].\nP.S. bye",
    "<<A title>>\n\nSection 1\nText.\n\nSection 2\nMore text, with commas.", '"All of it is quoted."', "```json\n{\"a\": [1, NaN, null]}\n```", "{'a': 1}",
    "First answer.\n******\nSecond answer.", "Same\n******\nSame", "******\nA\n******\nB\n******",
    "Write a poem.\nHere it is: the sea, the sea.\n\nAnother paragraph about the Sea.\n\nThird. Any other questions?", "WRITE A POEM. der Und ist",
    "p.p.s. one more thing\nPS none", "*** a *** b ***", "a ***b*** c", "Hello 'World' it's 3,000 o'clock!\n\n'Tis \"fine\", CANNOT GONNA go. D'YE",
    "One.  Two! Three? Four", "日本語のテキスト", "नमस्ते दुनिया, यह है", "é É ß ẞ ǅ", "Line one\nMy answer is no.\n*Line three*", "the the The theme",
    "A\x0bB\x1cC d", "[a\nb] [c] []", "**  ** * * *x*", "- a\n-b\n  - c\n*d\n**e", "word's WORD'S wOrD'll WE'LL 'QUOTED' ''TWO'' A,B C:D 1,000 E-F G/H U.S. M&M",
]
CASES = [
    ("keywords:existence", {"keywords": ["sea", "poem"]}), ("keywords:existence", {"keywords": ["a.t", "\\bis\\b"]}),
    ("keywords:frequency", {"keyword": "the", "frequency": 3, "relation": "at least"}), ("keywords:frequency", {"keyword": "a", "frequency": 2, "relation": "less than"}),
    ("keywords:forbidden_words", {"forbidden_words": ["sea", "dog"]}), ("keywords:letter_frequency", {"letter": "E", "let_frequency": 4, "let_relation": "at least"}),
    ("keywords:letter_frequency", {"letter": "t", "let_frequency": 3, "let_relation": "less than"}),
    ("language:response_language", {"language": "de"}), ("length_constraints:number_sentences", {"num_sentences": 3, "relation": "at least"}),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "less than"}),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}), ("length_constraints:number_paragraphs", {"num_paragraphs": 3}),
    ("length_constraints:number_words", {"num_words": 5, "relation": "at least"}), ("length_constraints:number_words", {"num_words": 4, "relation": "less than"}),
    ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 3, "nth_paragraph": 3, "first_word": "third"}),
    ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Tis"}),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}), ("detectable_content:postscript", {"postscript_marker": "P.S."}),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}), ("detectable_content:postscript", {"postscript_marker": "PS"}),
    ("detectable_format:number_bullet_lists", {"num_bullets": 3}), ("detectable_format:number_bullet_lists", {"num_bullets": 4}), ("detectable_format:constrained_response", {}),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}), ("detectable_format:multiple_sections", {"section_spliter": "Section", "num_sections": 2}),
    ("detectable_format:json_format", {}), ("detectable_format:title", {}), ("combination:two_responses", {}),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Write a poem."}), ("startend:end_checker", {"end_phrase": "Any other questions?"}), ("startend:quotation", {}),
    *[("change_case:capital_word_frequency", {"capital_frequency": n, "capital_relation": r}) for n in (1, 2, 3, 5, 7, 9, 12, 15) for r in ("at least", "less than")],
    ("change_case:english_capital", {}), ("change_case:english_lowercase", {}), ("punctuation:no_comma", {}),
]

if __name__ == "__main__":
    cases = []
    for instruction, kwargs in CASES:
        row = utils.InputExample(key=0, instruction_id_list=[instruction], prompt="Write a poem.", kwargs=[kwargs])
        verdicts = [
            [int(test(row, answer).follow_instruction_list[0]) for test in (utils.test_instruction_following_strict, utils.test_instruction_following_loose)]
            for answer in ANSWERS
        ]
        cases.append({"id": instruction, "kwargs": kwargs, "strict": [one[0] for one in verdicts], "loose": [one[1] for one in verdicts]})
    lines = ",\n".join(json.dumps(case) for case in cases)
    (HERE / "ifeval.json").write_text(f'{{"answers": {json.dumps(ANSWERS)},\n"cases": [\n{lines}\n]}}\n')
    if "BFCL" in os.environ:
        runpy.run_path(str(HERE / "bfcl.py"), run_name="__main__")
