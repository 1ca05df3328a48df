"""Writes configurations as transformers saves them, and checks ours. Run: python make.py [FILE.json of ours ...]."""
import json, pathlib, sys
from transformers import (AutoConfig, Gemma2Config, Gemma3Config, Gemma3TextConfig, GPT2Config, LlamaConfig, MistralConfig,
                          Olmo2Config, Phi3Config, Qwen2Config, Qwen3Config)

small = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4, vocab_size=100,
             max_position_embeddings=256)
llama3 = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 64}
configs = {
    "llama": LlamaConfig(**small, num_key_value_heads=2, rope_parameters=llama3, eos_token_id=[1, 2], dtype="bfloat16",
                         attention_bias=True, mlp_bias=True, rms_norm_eps=1e-5),
    "llama-linear": LlamaConfig(**small, rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0},
                                tie_word_embeddings=True, head_dim=10),
    "mistral": MistralConfig(**small, num_key_value_heads=2, sliding_window=16),
    "mistral-full": MistralConfig(**small, num_key_value_heads=2, sliding_window=None, eos_token_id=None),
    "qwen2": Qwen2Config(**small, num_key_value_heads=2, use_sliding_window=True, sliding_window=16,
                         max_window_layers=3),
    "qwen2-full": Qwen2Config(**small, num_key_value_heads=4, tie_word_embeddings=True, bos_token_id=7,
                              eos_token_id=8, pad_token_id=9),
    "qwen3": Qwen3Config(**small, num_key_value_heads=2, head_dim=16),
    "gemma2": Gemma2Config(**small, num_key_value_heads=2, head_dim=16, query_pre_attn_scalar=24, sliding_window=16),
    "gemma3-text": Gemma3TextConfig(**small, head_dim=16, sliding_window=16, sliding_window_pattern=3,
                                    rope_parameters={"full_attention": {"rope_type": "linear", "factor": 8.0}},
                                    final_logit_softcapping=20.0),
    # As Gemma's own folders: most keys are left to their defaults.
    "gemma3": Gemma3Config(text_config=dict(hidden_size=2560, intermediate_size=10240, num_hidden_layers=7,
                                            sliding_window=1024, rope_scaling={"rope_type": "linear", "factor": 8.0}),
                           vision_config=dict(num_hidden_layers=1), eos_token_id=[1, 106]),
    "phi3": Phi3Config(**small, num_key_value_heads=2, sliding_window=16, eos_token_id=[9, 10], pad_token_id=0),
    "phi3-longrope": Phi3Config(**small, original_max_position_embeddings=64, pad_token_id=0, rope_parameters={
        "rope_type": "longrope", "rope_theta": 1e4, "partial_rotary_factor": 0.75, "short_factor": [1.0, 1.5, 2.0],
        "long_factor": [1.5, 4.0, 9.0]}),
    "phi3-longrope-scaled": Phi3Config(**small, original_max_position_embeddings=64, pad_token_id=0, rope_parameters={
        "rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [2.0] * 4,
        "attention_factor": 1.25}),
    "olmo2": Olmo2Config(**small, num_key_value_heads=2, attention_bias=True, rope_parameters={"rope_type": "default",
                                                                                                "rope_theta": 5e5}),
    "gpt2": GPT2Config(n_embd=32, n_head=4, n_layer=2, n_positions=64, vocab_size=100, n_inner=40),
}
for name, config in configs.items():
    config.architectures = [type(config).__name__.replace("Config", "ForCausalLM")]
names = ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
         "head_dim", "vocab_size", "max_position_embeddings", "hidden_act", "activation_function", "n_inner",
         "rms_norm_eps", "layer_norm_epsilon", "rope_parameters", "sliding_window", "layer_types", "attention_bias",
         "mlp_bias", "hidden_activation", "query_pre_attn_scalar", "attn_logit_softcapping", "final_logit_softcapping",
         "original_max_position_embeddings", "tie_word_embeddings", "bos_token_id", "eos_token_id", "pad_token_id", "dtype", "model_type"]
view = lambda config: {n: str(getattr(config, n)) if n == "dtype" else getattr(config, n)
                       for n in names if hasattr(config, n)}
if len(sys.argv) > 1:
    folder = pathlib.Path(sys.argv[1])
    for name, config in configs.items():
        ours = AutoConfig.from_pretrained(folder / name)
        # Of a model with images, ours is the text part, with the tokens of the whole. An old name of the type stays there.
        text = config.get_text_config()
        text.eos_token_id = config.eos_token_id
        getattr(ours, "rope_parameters", {}).pop("type", None)
        a, b = view(text), view(ours)
        wrong = {k: (a.get(k), b.get(k)) for k in a if a.get(k) != b.get(k)}
        print(name, "equal" if not wrong else f"DIFFERENT {wrong}")
else:
    here = pathlib.Path(__file__).parent
    (here / "configs.json").write_text(json.dumps({n: json.loads(c.to_json_string()) for n, c in configs.items()}, indent=1))
