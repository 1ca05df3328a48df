"""Goldens of quantisation that searches (AutoAWQ, hqq, llm-compressor's SmoothQuant and Wanda, PEFT's LoftQ), and a folder of compressed-tensors."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import golden  # noqa: E402

OUT = golden.output_folder(__file__)

import torch  # noqa: E402
from awq.quantize.quantizer import AwqQuantizer  # noqa: E402
from compressed_tensors.compressors.pack_quantized.base import PackedQuantizationCompressor  # noqa: E402
from compressed_tensors.quantization import QuantizationArgs, QuantizationConfig, QuantizationScheme  # noqa: E402
from compressed_tensors.quantization.utils import calculate_qparams  # noqa: E402
from hqq.core.quantize import Quantizer  # noqa: E402
from llmcompressor.modifiers.pruning.wanda.wanda_sparsify import sparsify_weight  # noqa: E402
from llmcompressor.modifiers.transform.smoothquant.base import SmoothQuantModifier  # noqa: E402
from peft.utils.loftq_utils import loftq_init  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM  # noqa: E402

torch.set_num_threads(1)
ROWS, COLUMNS, GROUP = 64, 32, 16


def matrix(rows: int, columns: int, seed: int) -> torch.Tensor:
    """Normal numbers with a few large ones."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=generator) * 0.1
    weight[torch.rand(rows, columns, generator=generator) > 0.99] *= 8
    return weight


def inputs(rows: int, columns: int, seed: int) -> torch.Tensor:
    """Features that depend on each other, a few of them much larger than the others."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, columns // 3, generator=generator) @ torch.randn(columns // 3, columns, generator=generator)
    x = x + 0.5 * torch.randn(rows, columns, generator=generator)
    x[:, [3, 17, 26]] *= 12
    return x


class Outputs(torch.nn.Module):
    """The outputs of two layers that read the same inputs, side by side."""

    def __init__(self, weights):
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Linear(w.shape[1], w.shape[0], bias=False) for w in weights)
        for layer, weight in zip(self.layers, weights):
            layer.weight.data = weight.clone()

    def state_dict(self, *given, **named):
        """Copies: AutoAWQ keeps what `.cpu()` gives while it changes weights in place, on a CPU the same memory."""
        return {name: value.clone() for name, value in super().state_dict(*given, **named).items()}

    def forward(self, x):
        return torch.cat([layer(x) for layer in self.layers], -1)


def awq(tensors: dict) -> list:
    """The scales, the clipped weights and the rounded ones of AutoAWQ's own methods, without a model around them."""
    x = inputs(64, COLUMNS, 2)
    weights = [matrix(ROWS, COLUMNS, 3), matrix(ROWS, COLUMNS, 4)]
    tensors |= {"x": x, "weight.0": weights[0], "weight.1": weights[1]}
    cases = []
    for duo in (True, False):
        quantizer = AwqQuantizer.__new__(AwqQuantizer)
        quantizer.__dict__ |= {"group_size": GROUP, "w_bit": 4, "zero_point": True, "duo_scaling": duo}
        quantizer.__dict__ |= {"max_chunk_memory": 2**30, "n_parallel_calib_samples": None}
        module = Outputs(weights)
        with torch.no_grad():
            _, _, scales = quantizer._search_best_scale(module, module.layers[0], list(module.layers), x, module)
            scaled = weights[0] * scales
            limits = quantizer._compute_best_clip(scaled, x / scales)
        cut = torch.clamp(scaled.reshape(ROWS, -1, GROUP), -limits, limits).reshape(ROWS, COLUMNS)
        rounded, scale, zero = quantizer.pseudo_quantize_tensor(cut)
        name = "duo" if duo else "inputs"
        tensors |= {f"awq-{name}.scales": scales, f"awq-{name}.limits": limits, f"awq-{name}.weight": rounded}
        cases.append({"name": name, "duo_scaling": duo})
    return cases


def hqq(tensors: dict) -> list:
    cases = []
    for bits, optimize in ((4, True), (4, False), (2, True)):
        name = f"hqq-{bits}{'' if optimize else '-nearest'}"
        how = {"nbits": bits, "group_size": GROUP, "axis": 1, "round_zero": True, "optimize": optimize}
        codes, meta = Quantizer.quantize(tensors["weight.0"], bitpack=False, device="cpu", **how)
        tensors[f"{name}.codes"] = codes.reshape(ROWS, COLUMNS).byte()
        tensors |= {f"{name}.zero": meta["zero"], f"{name}.scale": meta["scale"]}
        cases.append({"name": name, "bits": bits, "optimize": optimize})
    return cases


def smooth_quant(tensors: dict) -> None:
    """llm-compressor counts the range of a weight from −max to max, twice the paper's max |W|: a factor 2^(1−α) of all scales."""
    layers = list(Outputs([tensors["weight.0"], tensors["weight.1"]]).layers)
    for strength in (0.5, 0.8):
        modifier = SmoothQuantModifier(smoothing_strength=strength)
        scales = modifier._calculate_smoothing_scales(layers, tensors["x"].abs().amax(0))
        tensors[f"smooth-{strength}"] = scales * 2 ** (1 - strength)


def wanda(tensors: dict) -> None:
    layer = Outputs([tensors["weight.0"]]).layers[0]
    squares = (tensors["x"] ** 2).sum(0)
    for name, sparsity, pattern in (("half", 0.5, (0, 0)), ("most", 0.75, (0, 0)), ("2-4", 0.5, (2, 4))):
        pruned = sparsify_weight(layer, {layer: squares.clone()}, sparsity, *pattern)
        tensors[f"wanda-{name}.kept"] = (pruned != 0).byte()


def loftq(tensors: dict) -> list:
    """PEFT's own NF4 (of LoftQ's normal map, in blocks of 64) and its low-rank part, on a CPU."""
    cases = []
    # loftq_init moves to "cuda" whatever there is.
    moved = torch.Tensor.to
    here = lambda given: "cpu" if isinstance(given, (str, torch.device)) and str(given) == "cuda" else given  # noqa: E731
    torch.Tensor.to = lambda x, *given, **named: moved(
        x, *map(here, given), **{key: here(value) for key, value in named.items()}
    )
    weight = matrix(24, 16, 7)
    tensors["loftq.weight"] = weight
    for steps in (1, 3):
        rest, a, b = loftq_init(weight, num_bits=4, reduced_rank=4, num_iter=steps)
        tensors |= {f"loftq-{steps}.rest": rest, f"loftq-{steps}.product": b @ a}
        cases.append({"name": f"loftq-{steps}", "rank": 4, "iterations": steps})
    torch.Tensor.to = moved
    return cases


def packed_folder() -> None:
    """A model whose linear layers compressed-tensors packed, and its logits in transformers."""
    torch.manual_seed(3)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 64}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}
    plain = LlamaForCausalLM(LlamaConfig(**sizes, **heads, tie_word_embeddings=True, initializer_range=0.2))
    tokens = torch.randint(64, (2, 10), generator=torch.Generator().manual_seed(4))
    for symmetric in (True, False):
        args = QuantizationArgs(num_bits=4, symmetric=symmetric, strategy="group", group_size=16)
        scheme = QuantizationScheme(targets=["Linear"], weights=args)
        state = dict(plain.state_dict())
        del state["lm_head.weight"]
        for name, module in plain.named_modules():
            if not isinstance(module, torch.nn.Linear) or name == "lm_head":
                continue
            weight = state.pop(f"{name}.weight")
            groups = weight.reshape(len(weight), -1, 16)
            scale, zero = calculate_qparams(groups.amin(-1), groups.amax(-1), args)
            given = {"weight": weight, "weight_scale": scale, "weight_zero_point": zero}
            for key, value in PackedQuantizationCompressor.compress(given, scheme).items():
                state[f"{name}.{key}"] = value
        folder = OUT / f"llama-packed{'-symmetric' if symmetric else ''}"
        config = QuantizationConfig(
            config_groups={"group_0": scheme},
            format="pack-quantized",
            ignore=["lm_head"],
            quantization_status="compressed",
        )
        golden.write_tensors(folder / "model.safetensors", state)
        written = plain.config.to_dict() | {"architectures": ["LlamaForCausalLM"], "dtype": "float32"}
        written["quantization_config"] = config.model_dump(mode="json") | {"quant_method": "compressed-tensors"}
        golden.write_json(folder / "config.json", json.loads(json.dumps(written)))
        if symmetric:
            model = AutoModelForCausalLM.from_pretrained(folder)
        else:
            # transformers 5.23 refuses zero points packed as compressed-tensors 0.19 packs and unpacks them.
            for name in [name.removesuffix(".weight_packed") for name in state if name.endswith(".weight_packed")]:
                parts = {key: state[f"{name}.{key}"] for key in PackedQuantizationCompressor.compression_param_names(scheme)}
                plain.get_submodule(name).weight.data = PackedQuantizationCompressor.decompress(parts, scheme)["weight"]
            model = plain
        with torch.no_grad():
            logits = model(tokens).logits
        golden.write_tensors(folder / "expected.safetensors", {"input_ids": tokens, "logits": logits})


def main() -> None:
    tensors: dict = {}
    cases = {"awq": awq(tensors), "hqq": hqq(tensors)}
    smooth_quant(tensors)
    wanda(tensors)
    cases["loftq"] = loftq(tensors)
    golden.write_tensors(OUT / "expected.safetensors", tensors)
    golden.write_json(OUT / "expected.json", cases)
    packed_folder()


main()
