"""Tables of replacements as SentencePiece compiles them, for the normalizer `Precompiled`. Needs sentencepiece 0.2.3.

charsmaps.json: name -> base64. `small` has rules of our own, some of several characters; `nmt` the ones below U+3000 of
nmt_nfkc, by which most tables of real models were made.
"""

import base64
import sys
import tempfile
import unicodedata
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[5] / "goldens"))
from golden import output_folder, write_json  # noqa: E402

import sentencepiece  # noqa: E402
from sentencepiece import sentencepiece_model_pb2 as pb  # noqa: E402

SMALL = {
    "\r": " ", "\n": " ", "\t": " ", "\ufeff": "", "\u200b": " ", "ﬁ": "fi", "Ａ": "A", "e\u0301": "é", "o\u0302\u0301": "ô", "\u0301": "",
    "½": "1/2", "ｶﾞ": "ガ", "漢": "han", "a\u200d": "A", "©\u200d": "(c)", "😀": ":)", "Σ": "s", "ab": "X", "\u0600a": "Y", "×": "",
}


def charsmap(rules: dict[str, str]) -> str:
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        lines = [f"{' '.join(f'{ord(c):X}' for c in k)}\t{' '.join(f'{ord(c):X}' for c in v)}" for k, v in rules.items()]
        (folder / "rules.tsv").write_text("\n".join(lines) + "\n")
        (folder / "corpus.txt").write_text("\n".join(["the quick brown fox jumps over the lazy dog"] * 20))
        sentencepiece.SentencePieceTrainer.train(
            input=str(folder / "corpus.txt"), model_prefix=str(folder / "m"), vocab_size=40, hard_vocab_limit=False,
            normalization_rule_tsv=str(folder / "rules.tsv"), minloglevel=2,
        )
        model = pb.ModelProto()
        model.ParseFromString((folder / "m.model").read_bytes())
        return base64.b64encode(model.normalizer_spec.precompiled_charsmap).decode()


def nfkc_below(limit: int) -> dict[str, str]:
    rules = {}
    for point in range(1, limit):
        text = unicodedata.normalize("NFKC", chr(point))
        if text != chr(point):
            rules[chr(point)] = text
            decomposed = unicodedata.normalize("NFD", text)
            if decomposed != text:
                rules[decomposed] = text
    return rules


if __name__ == "__main__":
    write_json(output_folder(__file__) / "charsmaps.json", {"small": charsmap(SMALL), "nmt": charsmap({**nfkc_below(0x800), **SMALL})})
