"""Character offsets as transformers reports them for the texts of the tokenizer goldens. Run: python make.py

offsets.json: kind -> list of {text, offsets}: one [start, end) in UTF-16 code units per token of
tokenizer(text, add_special_tokens=False).
"""
import json, pathlib
from transformers import AutoTokenizer

here = pathlib.Path(__file__).parent
goldens = here.parents[4] / "goldens" / "tokenizers"
result = {}
for kind in ["byte-level-bpe", "sentencepiece-bpe", "unigram"]:
    tokenizer = AutoTokenizer.from_pretrained(goldens / kind)
    texts = [case["text"] for case in json.loads((goldens / kind / "expected.json").read_text())["encode"]]
    texts += [case["rendered"] for case in json.loads((goldens / kind / "expected.json").read_text())["chat"]
              if "rendered" in case][:20]
    rows = []
    for text in texts:
        units = [0]
        for c in text:
            units.append(units[-1] + (2 if ord(c) > 0xFFFF else 1))
        offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        rows.append({"text": text, "offsets": [[units[a], units[b]] for a, b in offsets]})
    result[kind] = rows
(here / "offsets.json").write_text(json.dumps(result))
