"""Vocabularies that the tokenizers library learns. Where it breaks ties by chance, the texts have none: each is trained eight times."""

import json
import random
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))
from golden import output_folder, write_json  # noqa: E402

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers  # noqa: E402

SYLLABLES = ["ba", "ke", "ri", "so", "tun", "mel", "ga", "dor", "pi", "lan", "é", "ß", "ü", "xo"]


def texts(seed: int, count: int) -> list[str]:
    """Sentences of words that are more frequent the earlier they were made, as in languages."""
    drawn = random.Random(seed)
    words = ["".join(drawn.choice(SYLLABLES) for _ in range(drawn.randrange(1, 5))) for _ in range(60)]
    weights = [1 / (i + 1) ** 1.1 for i in range(len(words))]
    return [" ".join(drawn.choices(words, weights, k=drawn.randrange(4, 12))).capitalize() + drawn.choice([".", "!", "?", " 42"]) for _ in range(count)]


def bpe(corpus, **options):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(corpus, trainers.BpeTrainer(initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False, **options))
    return tokenizer


def plain_bpe(corpus, **options):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(corpus, trainers.BpeTrainer(show_progress=False, **options))
    return tokenizer


def word_piece(corpus, **options):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(corpus, trainers.WordPieceTrainer(show_progress=False, **options))
    return tokenizer


def unigram(corpus, **options):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(corpus, trainers.UnigramTrainer(show_progress=False, **options))
    return tokenizer


def learnt(kind: str, tokenizer: Tokenizer) -> dict:
    model = json.loads(tokenizer.to_str())["model"]
    if kind == "unigram":
        scores = sorted(([piece, round(score, 7)] for piece, score in model["vocab"]), key=lambda one: one[0])
        return {"pieces": [piece for piece, _ in scores], "scores": [score for _, score in scores], "unk_id": model["unk_id"]}
    if kind == "word_piece":
        return {"tokens": sorted(model["vocab"])}
    return {"tokens": sorted(model["vocab"], key=model["vocab"].get), "merges": [" ".join(pair) for pair in model["merges"]]}


KINDS = {"bpe": bpe, "plain_bpe": plain_bpe, "word_piece": word_piece, "unigram": unigram}
CASES = [
    ("bpe", 1, 60, {"vocab_size": 330, "min_frequency": 2, "special_tokens": ["<|endoftext|>"]}),
    ("bpe", 2, 40, {"vocab_size": 1000, "min_frequency": 3, "special_tokens": ["<s>", "</s>"]}),
    ("plain_bpe", 3, 50, {"vocab_size": 120, "special_tokens": ["<unk>"], "max_token_length": 5}),
    ("plain_bpe", 4, 30, {"vocab_size": 1000, "limit_alphabet": 14, "min_frequency": 2}),
    ("word_piece", 5, 300, {"vocab_size": 90, "special_tokens": ["[UNK]", "[SEP]"]}),
    ("word_piece", 6, 300, {"vocab_size": 70, "min_frequency": 20, "special_tokens": ["[UNK]"]}),
    ("unigram", 7, 80, {"vocab_size": 90, "special_tokens": ["<unk>", "</s>"], "unk_token": "<unk>"}),
    ("unigram", 8, 200, {"vocab_size": 70, "special_tokens": ["</s>"], "unk_token": "<unk>", "n_sub_iterations": 3, "shrinking_factor": 0.6, "max_piece_length": 6}),
    ("unigram", 9, 40, {"vocab_size": 400}),
]

if __name__ == "__main__":
    cases = []
    for kind, seed, count, options in CASES:
        corpus = texts(seed, count)
        runs = [learnt(kind, KINDS[kind](corpus, **options)) for _ in range(8)]
        first = runs[0]
        if kind == "unigram":
            # Characters that no cut had get scores 0.0001 apart, in an order of chance.
            assert all(run["pieces"] == first["pieces"] for run in runs), "another vocabulary every time"
            by_chance = [i for i, score in enumerate(first["scores"]) if any(abs(run["scores"][i] - score) > 1e-5 for run in runs)]
            first["chance_scores"] = sorted(first["scores"][i] for i in by_chance)
            first["scores"] = [None if i in by_chance else score for i, score in enumerate(first["scores"])]
        else:
            assert all(run == first for run in runs), "another vocabulary every time"
        cases.append({"kind": kind, "texts": corpus, "options": options, **first})
    write_json(output_folder(__file__) / "vocabularies.json", {"cases": cases})
