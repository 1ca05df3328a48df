"""How `tokenizers` reads the golden tokenizers with parts exchanged for those of well-known families. Run: python make.py

variants.json: name -> {base: folder of goldens/tokenizers, parts: fields of tokenizer.json to replace,
rows: [{text, ids (no special tokens), decoded}]}.
"""
import json, pathlib, random
from tokenizers import Tokenizer

here = pathlib.Path(__file__).parent
goldens = here.parents[4] / "goldens" / "tokenizers"
rng = random.Random(5)
pieces = list("abcABC  012'’.,!?\n\t\r\u00a0\u3000é\u0301ñÅ今日は気오늘🙂🚀İſﬁ½①٣ǅ\u200b\ufeff▁Ġ") + [
    "<s>", "</s>", "<think>", "<|im_end|>", " the", " ing", "'LL", "don't", "   x", "\n\n", "12345", "नमस्ते", "👩‍💻"]
texts = ["".join(rng.choice(pieces) for _ in range(rng.randint(1, 20))) for _ in range(40)]
texts += ["x½ 3① ٣4 2025", "a\n\n\n\n①b"]
byte_level = lambda prefix: {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": True}
split = lambda regex: {"type": "Sequence", "pretokenizers": [
    {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False},
    {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]}
metaspace = lambda scheme: {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": False}
variants = {
    "gpt2": ("byte-level-bpe", {"normalizer": None, "pre_tokenizer": byte_level(False)}),
    "gpt2-prefix": ("byte-level-bpe", {"normalizer": None, "pre_tokenizer": byte_level(True)}),
    "smollm2": ("byte-level-bpe", {"normalizer": None, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Digits", "individual_digits": True}, byte_level(False)]}}),
    "digits-together": ("byte-level-bpe", {"normalizer": None, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Digits", "individual_digits": False}, byte_level(False)]}}),
    "qwen2": ("byte-level-bpe", {"pre_tokenizer": split(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")}),
    **{f"metaspace-{scheme}": ("sentencepiece-bpe", {"normalizer": None, "pre_tokenizer": metaspace(scheme),
                                                     "decoder": metaspace(scheme)})
       for scheme in ["first", "always", "never"]},
}
result = {}
for name, (base, parts) in variants.items():
    tokenizer = Tokenizer.from_str(json.dumps(json.loads((goldens / base / "tokenizer.json").read_text()) | parts))
    rows = []
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        rows.append({"text": text, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False)})
    result[name] = {"base": base, "parts": parts, "rows": rows}
(here / "variants.json").write_text(json.dumps(result))
