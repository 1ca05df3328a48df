"""Folders of models that see images, as transformers saves them, with the logits of a text alone."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import golden  # noqa: E402

OUT = golden.output_folder(__file__)

import torch  # noqa: E402
from transformers import (  # noqa: E402
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    MistralConfig,
    PixtralVisionConfig,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
)

torch.set_num_threads(1)

TEXT = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
}
EYE = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 8, "patch_size": 4}
MROPE = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1000000.0}


def llava() -> torch.nn.Module:
    config = LlavaConfig(vision_config=CLIPVisionConfig(**EYE, projection_dim=16), text_config=LlamaConfig(**TEXT), image_token_index=39)
    return LlavaForConditionalGeneration(config)


def mistral3() -> torch.nn.Module:
    text = MistralConfig(**TEXT, head_dim=8, sliding_window=None, rms_norm_eps=1e-5)
    config = Mistral3Config(vision_config=PixtralVisionConfig(**EYE), text_config=text, image_token_index=39)
    return Mistral3ForConditionalGeneration(config)


def qwen2_vl() -> torch.nn.Module:
    eye = {"depth": 1, "embed_dim": 16, "hidden_size": 32, "num_heads": 2, "patch_size": 4, "mlp_ratio": 1}
    tokens = {"image_token_id": 39, "video_token_id": 38, "vision_start_token_id": 37, "vision_end_token_id": 36}
    return Qwen2VLForConditionalGeneration(Qwen2VLConfig(text_config=TEXT | {"rope_parameters": MROPE}, vision_config=eye, **tokens))


def qwen2_5_vl() -> torch.nn.Module:
    eye = {"depth": 1, "hidden_size": 16, "out_hidden_size": 32, "intermediate_size": 16, "num_heads": 2, "patch_size": 4, "fullatt_block_indexes": [0]}
    tokens = {"image_token_id": 39, "video_token_id": 38, "vision_start_token_id": 37, "vision_end_token_id": 36}
    text = TEXT | {"rope_parameters": MROPE, "tie_word_embeddings": False}
    return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=eye, **tokens))


def main() -> None:
    for seed, make in enumerate([llava, mistral3, qwen2_vl, qwen2_5_vl]):
        torch.manual_seed(4300 + seed)
        model = make().eval()
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_((0.25 * torch.randn(parameter.shape, generator=generator) + (parameter.dim() == 1)).bfloat16().float())
        folder = OUT / make.__name__.replace("_", "-")
        model.bfloat16().save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        # Afresh, since the frequencies of positions are rounded too.
        model = type(model).from_pretrained(folder, dtype=torch.float32).eval()
        ids = torch.randint(3, 36, (2, 9), generator=generator)
        with torch.no_grad():
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        golden.write_tensors(folder / "expected.safetensors", {"input_ids": ids, "logits": logits})
        print(folder.name, sum(file.stat().st_size for file in folder.iterdir()))


if __name__ == "__main__":
    main()
