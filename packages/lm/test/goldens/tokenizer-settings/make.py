"""What transformers' AutoTokenizer makes of tokenizer_config.json and the files beside it: options, added tokens, classes.

Writes settings.json: cases, each a tokenizer.json (by name of a base, with changes), the other files, and either what is
expected or that transformers fails.
"""

import json
import logging
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[5] / "goldens"))
from golden import output_folder, write_json  # noqa: E402

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors  # noqa: E402
from transformers import AutoTokenizer  # noqa: E402
from transformers.utils import logging as transformers_logging  # noqa: E402

transformers_logging.set_verbosity_error()
logging.disable(logging.CRITICAL)

ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())


def pieces(tokens, merges):
    vocab = {token: index for index, token in enumerate(tokens)}
    for left, right in merges:
        vocab.setdefault(left + right, len(vocab))
    return dict(vocab=vocab, merges=merges)


def byte_level():
    t = Tokenizer(models.BPE(**pieces(ALPHABET, [("a", "b"), ("Ġ", "a"), ("Ġ", "Ġ"), ("Ġa", "b"), ("1", "2"), ("12", "3")])))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([AddedToken("<s>", special=True), AddedToken("</s>", special=True)])
    t.add_tokens([AddedToken("<tool>", normalized=False)])
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", t.token_to_id("<s>"))])
    return t


def sentencepiece():
    head = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + list("\u2581Habiltxé.")
    t = Tokenizer(models.BPE(**pieces(head, [("\u2581", "\u2581"), ("\u2581", "H"), ("\u2581", "a"), ("a", "b")]), unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    t.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    t.add_special_tokens(["<unk>", "<s>", "</s>"])
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)])
    return t


def word_piece():
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "##b", "ab", "##l", "hi", "é", "e", "A", "漢", "n", "'", "t", ".", "do"]
    t = Tokenizer(models.WordPiece({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    t.normalizer = normalizers.Lowercase()
    t.pre_tokenizer = pre_tokenizers.Whitespace()
    t.decoder = decoders.WordPiece(cleanup=False)
    t.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    return t


def unigram():
    t = Tokenizer(models.Unigram([("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), ("\u2581", -2.0), ("a", -1.0), ("b", -1.5), ("ab", -1.0), (".", -1.0), ("\u2581ab", -2.0)], unk_id=0))
    t.pre_tokenizer = pre_tokenizers.Metaspace("\u2581", "always")
    t.decoder = decoders.Metaspace("\u2581", "always")
    t.add_special_tokens(["<unk>", "<s>", "</s>"])
    return t


BASES = {name: json.loads(build().to_str()) for name, build in dict(byte_level=byte_level, sentencepiece=sentencepiece, word_piece=word_piece, unigram=unigram).items()}
TEXTS = ["ab  ab 123", " ab<s>ab </s> ab.", "<tool>a <x> b<y>", "Hab H<s>Hi", "é漢 AÉ don't .", "<pad>ab<mask> [MASK] ab", ""]
FLAGS = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)


def added(content, **flags):
    return {"content": content, **FLAGS, **flags}


DIGITS = json.loads(pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)]).__getstate__())
PLAIN = dict(tokenizer_class="PreTrainedTokenizerFast")
LLAMA = dict(tokenizer_class="LlamaTokenizer", legacy=False, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
CASES = {
    "plain": ("byte_level", PLAIN, {}),
    "add-bos-and-eos": ("byte_level", {**PLAIN, "bos_token": "<s>", "eos_token": "</s>", "add_bos_token": False, "add_eos_token": True}, {}),
    "add-bos-without-post-processor": ("byte_level", {**PLAIN, "bos_token": "<s>", "add_bos_token": True}, {"tokenizer": {"post_processor": None}}),
    "pad-only-in-config": ("byte_level", {**PLAIN, "pad_token": "<pad>"}, {}),
    "pad-of-vocabulary": ("byte_level", {**PLAIN, "pad_token": "a"}, {}),
    "pad-of-padding": ("byte_level", PLAIN, {"tokenizer": {"padding": {"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "<pad>"}}}),
    "truncation": ("byte_level", PLAIN, {"tokenizer": {"truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}}}),
    "special-as-object": ("byte_level", {**PLAIN, "mask_token": {"__type": "AddedToken", **added("<mask>", lstrip=True)}}, {}),
    "split-special-tokens": ("byte_level", {**PLAIN, "split_special_tokens": True, "eos_token": "</s>"}, {}),
    "added-tokens-decoder": ("byte_level", {**PLAIN, "added_tokens_decoder": {"700": added("<x>", special=False), "300": added("<y>", rstrip=True), "262": added("<tool>", lstrip=True)}}, {}),
    "added-tokens-decoder-defaults": ("byte_level", {**PLAIN, "added_tokens_decoder": {"300": {"content": "<x>"}}}, {}),
    "decoder-and-map": ("byte_level", {**PLAIN, "added_tokens_decoder": {"300": added("<x>")}}, {"special_tokens_map": {"bos_token": "<s>", "pad_token": "<pad>"}}),
    "map": ("byte_level", {**PLAIN, "bos_token": "</s>"}, {"special_tokens_map": {"bos_token": "<s>", "pad_token": {"content": "<pad>", "lstrip": True, "rstrip": False, "single_word": False, "normalized": False}}}),
    "added-tokens-json": ("byte_level", {**PLAIN, "eos_token": "<y>"}, {"added_tokens": {"<x>": 290, "<y>": 280}}),
    "additional-special-tokens": ("byte_level", {**PLAIN, "additional_special_tokens": ["<x>", "<tool>"]}, {}),
    "extra-special-tokens": ("byte_level", {**PLAIN, "extra_special_tokens": ["<y>"]}, {}),
    "extra-special-tokens-named": ("byte_level", {**PLAIN, "extra_special_tokens": {"x_token": "<x>"}}, {}),
    "model-specific-token": ("byte_level", {**PLAIN, "image_token": "<x>"}, {}),
    "add-prefix-space-plain": ("byte_level", {**PLAIN, "add_prefix_space": True}, {}),
    "clean-up-bpe": ("byte_level", {**PLAIN, "clean_up_tokenization_spaces": True}, {}),
    "clean-up-bpe-forced": ("byte_level", {**PLAIN, "clean_up_tokenization_spaces": True, "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output": True}, {}),
    "clean-up-unigram": ("unigram", {**PLAIN, "clean_up_tokenization_spaces": True}, {}),
    "clean-up-word-piece": ("word_piece", {**PLAIN, "clean_up_tokenization_spaces": True}, {}),
    "single-word": ("byte_level", {**PLAIN, "added_tokens_decoder": {"300": added("ab", single_word=True, special=False)}}, {}),
    "unknown-class": ("byte_level", dict(tokenizer_class="NobodysTokenizer"), {}),
    "no-class": ("byte_level", {}, {"config": {"model_type": "llama"}}),
    "llama": ("sentencepiece", LLAMA, {"config": {"model_type": "llama"}}),
    "llama-fast-legacy": ("sentencepiece", {**LLAMA, "tokenizer_class": "LlamaTokenizerFast", "legacy": True}, {"config": {"model_type": "llama"}}),
    "llama-no-prefix": ("sentencepiece", {**LLAMA, "add_prefix_space": False, "add_bos_token": False}, {}),
    "llama-of-mistral": ("sentencepiece", LLAMA, {"config": {"model_type": "mistral"}}),
    "llama-of-phi3": ("sentencepiece", LLAMA, {"config": {"model_type": "phi3"}}),
    "llama-byte-level": ("byte_level", LLAMA, {"config": {"model_type": "llama"}}),
    "llama-defaults": ("sentencepiece", dict(tokenizer_class="LlamaTokenizer"), {}),
    "llama-of-unigram": ("unigram", dict(tokenizer_class="LlamaTokenizer"), {}),
    "gemma": ("sentencepiece", dict(tokenizer_class="GemmaTokenizer", bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>"), {"config": {"model_type": "gemma"}}),
    "gemma-by-model": ("sentencepiece", dict(unk_token="<unk>"), {"config": {"model_type": "gemma3_text"}}),
    "qwen2": ("byte_level", dict(tokenizer_class="Qwen2Tokenizer", eos_token="</s>", pad_token="<pad>", added_tokens_decoder={"256": added("<s>", lstrip=True), "257": added("</s>", rstrip=True)}), {"config": {"model_type": "qwen2"}}),
    "qwen2-wrong-class": ("byte_level", PLAIN, {"config": {"model_type": "qwen2"}}),
    "qwen3-plain-class": ("byte_level", PLAIN, {"config": {"model_type": "qwen3"}}),
    "qwen3-5": ("byte_level", dict(tokenizer_class="Qwen2TokenizerFast"), {"config": {"model_type": "qwen3_5"}}),
    "gpt2": ("byte_level", dict(tokenizer_class="GPT2Tokenizer", add_prefix_space=True, bos_token="<s>", eos_token="</s>", unk_token="</s>"), {}),
    # The class drops the step that cuts digits, as it does for SmolLM2.
    "gpt2-with-digits": ("byte_level", dict(tokenizer_class="GPT2Tokenizer"), {"tokenizer": {"pre_tokenizer": DIGITS}}),
    "plain-with-digits": ("byte_level", PLAIN, {"tokenizer": {"pre_tokenizer": DIGITS}}),
    "gpt2-of-olmo2": ("byte_level", dict(tokenizer_class="GPT2Tokenizer", add_prefix_space=True), {"config": {"model_type": "olmo2"}}),
    "gpt-neox": ("byte_level", dict(tokenizer_class="GPTNeoXTokenizerFast", bos_token="<s>", eos_token="</s>"), {"config": {"model_type": "gpt_neox"}}),
    "codegen": ("byte_level", dict(tokenizer_class="CodeGenTokenizer"), {}),
    "cohere": ("byte_level", dict(tokenizer_class="CohereTokenizerFast", bos_token="<s>"), {"config": {"model_type": "cohere"}}),
    "roberta": ("byte_level", dict(tokenizer_class="RobertaTokenizer", add_prefix_space=True), {}),
    "bert": ("word_piece", dict(tokenizer_class="BertTokenizer"), {"config": {"model_type": "bert"}}),
    "bert-cased": ("word_piece", dict(tokenizer_class="BertTokenizerFast", do_lower_case=False, strip_accents=True, tokenize_chinese_chars=False), {}),
    "distilbert": ("word_piece", dict(tokenizer_class="DistilBertTokenizer"), {}),
    "t5": ("unigram", dict(tokenizer_class="T5TokenizerFast"), {}),
    "xlm-roberta": ("unigram", dict(tokenizer_class="XLMRobertaTokenizer"), {}),
}


def load(folder: Path):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = []
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]
        plain = tokenizer(text, add_special_tokens=False)["input_ids"]
        rows.append(dict(ids=ids, plain=plain, decoded=tokenizer.decode(ids), skipped=tokenizer.decode(ids, skip_special_tokens=True)))
    named = {key: value for key, value in tokenizer.special_tokens_map.items() if isinstance(value, str)}
    return dict(tokenizer_class=type(tokenizer).__name__, special_tokens=named, **{key: [row[key] for row in rows] for key in rows[0]})


def main() -> None:
    out = output_folder(__file__)
    cases = {}
    for name, (base, config, files) in CASES.items():
        changes = files.get("tokenizer", {})
        with tempfile.TemporaryDirectory() as path:
            folder = Path(path)
            (folder / "tokenizer.json").write_text(json.dumps({**BASES[base], **changes}))
            (folder / "tokenizer_config.json").write_text(json.dumps(config))
            (folder / "config.json").write_text(json.dumps(files.get("config", {"model_type": "llama"})))
            for key in ("special_tokens_map", "added_tokens"):
                if key in files:
                    (folder / f"{key}.json").write_text(json.dumps(files[key]))
            case = dict(base=base, changes=changes, config=config, files={k: v for k, v in files.items() if k != "tokenizer"})
            case["files"].setdefault("config", {"model_type": "llama"})
            try:
                case["expected"] = load(folder)
            except Exception as error:  # that it fails is what is expected
                case["error"] = f"{type(error).__name__}: {str(error)[:200]}".replace(str(folder), "")
        cases[name] = case
        print(name, case.get("error") or case["expected"]["tokenizer_class"])
    write_json(out / "settings.json", dict(bases=BASES, texts=TEXTS, cases=cases))


if __name__ == "__main__":
    main()
