"""Whether transformers with GPTQModel reads a GPTQ or AWQ folder that was written here: `check.py WRITTEN FLOATS`, the second folder with what the codes stand for.

Needs `optimum==2.3.0` beside `requirements.txt`. The packed one is computed in float16, as GPTQModel's layers are made for; its logits may differ from those
of the floats in float32 by 5e-3 of the largest. How far the floats in float16 are away is printed beside it.
"""

import sys

import torch
from transformers import AutoModelForCausalLM

torch.set_num_threads(1)


def main(written: str, floats: str) -> None:
    ids = torch.arange(14).reshape(2, 7)
    load = lambda folder, dtype: AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, device_map="cpu").eval()
    packed, plain, half = load(written, torch.float16), load(floats, torch.float32), load(floats, torch.float16)
    kinds = {type(module).__name__ for name, module in packed.named_modules() if name.endswith("_proj")}
    assert kinds != {"Linear"}, "no layer is packed"
    with torch.no_grad():
        expected = plain(ids).logits
        off, control = (float((model(ids).logits.float() - expected).abs().max() / expected.abs().max()) for model in (packed, half))
    print(f"{written}: {', '.join(sorted(kinds))}; logits differ by {off:.1e} of the largest, of the floats in float16 by {control:.1e}")
    assert off < 5e-3, "the logits are others"


if __name__ == "__main__":
    main(*sys.argv[1:])
