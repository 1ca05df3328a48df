"""Python's re.fullmatch on patterns as adapter configs have them, and on random ones."""

import random
import re
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from golden import output_folder, write_json  # noqa: E402

warnings.simplefilter("ignore")
TEXTS = [
    "model.layers.0.self_attn.q_proj",
    "model.layers.11.mlp.up_proj",
    "visual.blocks.3.attn.qkv",
    "lm_head",
    "",
    "aab",
    "a.b",
    "q_proj\u00e9",
]
PATTERNS = [
    r".*\.(q|k|v|o)_proj",
    r"^(?!.*visual).*\.(q_proj|up_proj)$",
    r"^(model(?=\.).*\.(q_proj|k_proj|up_proj))$",
    r"model\.layers\.(?:[0-9]|1[01])\..*_proj",
    r".*\.layers\.\d{1,2}\.(self_attn|mlp)\.[a-z]+_proj",
    r".*(?<!visual\.blocks)\.\d+\..*",
    r"(?i)MODEL\..*",
    r"(?P<part>lm)_head",
    r"(?:a|ab)*b?",
    r"[^\W\d]+_head",
    r"[]a.b]+",
    r"[a-]+b",
    r"a{,2}b",
    r"a{2}b|x{,}",
    r"a{b",
    r"a{2,1}",
    r"a**",
    r"*a",
    r"a|*",
    r"(a",
    r"a)",
    r"[a",
    r"a\\",
    "a\\",
    r"\q",
    r"\Aaab\Z",
    r"a\.b",
    r"\x61\x61b",
    r"\u0061ab",
    r"(?s:.*)",
    r"(?i:AA)b",
    r"(?-i:aa)b",
    r"\bq_proj\b.*",
    r".*\Bproj",
    r"(?#comment)aab",
    r".*(?<=up)_proj",
    r"(?<=a+)b",
    r".{3}",
    r"(a?){3}b",
    r"(a*)*b",
    r"(|a)+b",
    r"\w+",
    r"[\w.]+",
    r"[\d-z]+",
    r"^^a",
    r"$",
    r"(?=a)(?=.*b)a.*",
    r"(?!(?!a))aab",
]
ATOMS = ["a", "b", ".", r"\.", "q", "_", r"\w", r"\d", "[ab]", "[^a]", "[a-q_]", r"[\w.]", "l", r"\b", "^", "$"]
SUFFIXES = ["", "", "", "", "*", "+", "?", "{2}", "{1,3}", "*?", "{,2}"]


def random_pattern(rng: random.Random, depth: int = 0) -> str:
    parts = []
    for _ in range(rng.randint(1, 4)):
        if depth < 3 and rng.random() < 0.35:
            opening = rng.choice(["(", "(?:", "(?:", "(?=", "(?!", "(?P<x%d>" % rng.randrange(10**6), "(?i:"])
            # Groups are not repeated without end: Python itself would not come to one.
            suffix = rng.choice(["", "", "?", "{2}", "{1,2}"])
            atom = opening + "|".join(random_pattern(rng, depth + 1) for _ in range(rng.randint(1, 3))) + ")"
        else:
            atom, suffix = rng.choice(ATOMS), rng.choice(SUFFIXES)
        parts.append(atom + suffix)
    return "".join(parts)


def verdict(pattern: str) -> list[bool] | str:
    try:
        expression = re.compile(pattern)
    except (re.error, OverflowError) as error:
        return str(error)
    return [expression.fullmatch(text) is not None for text in TEXTS]


def main() -> None:
    out = output_folder(__file__)
    rng = random.Random(7)
    count = 300
    patterns = PATTERNS + [random_pattern(rng) for _ in range(count)]
    cases = {pattern: verdict(pattern) for pattern in patterns}
    write_json(out / "patterns.json", {"texts": TEXTS, "cases": [[pattern, found if isinstance(found, str) else [int(x) for x in found]] for pattern, found in cases.items()]})


if __name__ == "__main__":
    main()
