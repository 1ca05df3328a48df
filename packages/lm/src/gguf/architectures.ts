/** How the tensors of one GGUF architecture become those of a Hugging Face model. */
export interface GgufArchitecture {
  /** `model_type` of the `config.json` that says the same. */
  readonly modelType: string;
  /** Names outside the blocks, GGUF's to Hugging Face's, without `.weight` and `.bias`. */
  readonly outside: Readonly<Record<string, string>>;
  /** Names inside a block, behind `blk.N.` and behind `block`. */
  readonly inside: Readonly<Record<string, string>>;
  /** Where Hugging Face has block N: `model.layers.` + N + `.`. */
  readonly block: string;
  /** Parts of a block that hold a matrix for each expert, [experts, out, in]; `*` is the expert. */
  readonly experts?: Readonly<Record<string, string>>;
  /** Parts of a block whose rows llama.cpp stores in another order: pairs that rotate together are neighbours. */
  readonly interleavedRotary?: readonly string[];
  /** Norms are stored with 1 added, since their layers multiply by 1 + weight. */
  readonly normsPlusOne?: boolean;
  /** Linear weights are stored [in, out] by Hugging Face (GPT-2's Conv1D). */
  readonly transposed?: readonly string[];
}

const DECODER_OUTSIDE = { token_embd: 'model.embed_tokens', output_norm: 'model.norm', output: 'lm_head' };
const PROJECTIONS = {
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.o_proj',
  ffn_gate: 'mlp.gate_proj',
  ffn_up: 'mlp.up_proj',
  ffn_down: 'mlp.down_proj',
};
const NORMS_BEFORE = { attn_norm: 'input_layernorm', ffn_norm: 'post_attention_layernorm' };
const NORMS_BEHIND = { post_attention_norm: 'post_attention_layernorm', post_ffw_norm: 'post_feedforward_layernorm' };
const HEAD_NORMS = { attn_q_norm: 'self_attn.q_norm', attn_k_norm: 'self_attn.k_norm' };
const DECODER_INSIDE = { ...PROJECTIONS, ...NORMS_BEFORE };
const GEMMA_INSIDE = { ...PROJECTIONS, ...NORMS_BEFORE, ...NORMS_BEHIND, ffn_norm: 'pre_feedforward_layernorm' };

const decoder = (modelType: string, inside: Readonly<Record<string, string>> = DECODER_INSIDE): GgufArchitecture => ({
  modelType,
  outside: DECODER_OUTSIDE,
  inside,
  block: 'model.layers.',
});

/** Of architecture `llama` too, with experts. */
export const MIXTRAL: GgufArchitecture = {
  ...decoder('mixtral', { ...DECODER_INSIDE, ffn_gate_inp: 'block_sparse_moe.gate' }),
  interleavedRotary: ['attn_q', 'attn_k'],
  experts: {
    ffn_gate_exps: 'block_sparse_moe.experts.*.w1',
    ffn_down_exps: 'block_sparse_moe.experts.*.w2',
    ffn_up_exps: 'block_sparse_moe.experts.*.w3',
  },
};

/** By `general.architecture`. Mistral models are of architecture `llama`. */
export const GGUF_ARCHITECTURES: Readonly<Record<string, GgufArchitecture>> = {
  llama: { ...decoder('llama'), interleavedRotary: ['attn_q', 'attn_k'] },
  qwen2: decoder('qwen2'),
  qwen3: decoder('qwen3', { ...DECODER_INSIDE, ...HEAD_NORMS }),
  qwen3moe: {
    ...decoder('qwen3_moe', { ...DECODER_INSIDE, ...HEAD_NORMS, ffn_gate_inp: 'mlp.gate' }),
    experts: {
      ffn_gate_exps: 'mlp.experts.*.gate_proj',
      ffn_up_exps: 'mlp.experts.*.up_proj',
      ffn_down_exps: 'mlp.experts.*.down_proj',
    },
  },
  gemma2: { ...decoder('gemma2', GEMMA_INSIDE), normsPlusOne: true },
  gemma3: { ...decoder('gemma3_text', { ...GEMMA_INSIDE, ...HEAD_NORMS }), normsPlusOne: true },
  phi3: decoder('phi3', {
    ...NORMS_BEFORE,
    attn_qkv: 'self_attn.qkv_proj',
    attn_output: 'self_attn.o_proj',
    ffn_up: 'mlp.gate_up_proj',
    ffn_down: 'mlp.down_proj',
  }),
  olmo2: decoder('olmo2', { ...PROJECTIONS, ...HEAD_NORMS, ...NORMS_BEHIND }),
  gpt2: {
    modelType: 'gpt2',
    outside: {
      token_embd: 'transformer.wte',
      position_embd: 'transformer.wpe',
      output_norm: 'transformer.ln_f',
      output: 'lm_head',
    },
    inside: {
      attn_norm: 'ln_1',
      attn_qkv: 'attn.c_attn',
      attn_output: 'attn.c_proj',
      ffn_norm: 'ln_2',
      ffn_up: 'mlp.c_fc',
      ffn_down: 'mlp.c_proj',
    },
    block: 'transformer.h.',
    transposed: ['attn_qkv', 'attn_output', 'ffn_up', 'ffn_down'],
  },
};

/** What a GGUF tensor is in the Hugging Face model. */
export interface MappedTensor {
  /** The Hugging Face name; with a `*` for the expert where there is a matrix for each. Undefined for what it has not. */
  readonly name: string | undefined;
  /** The name inside the block without `.weight` or `.bias`: `attn_q`. */
  readonly part: string;
}

/** The Hugging Face name of a GGUF tensor: `blk.3.attn_q.weight` is `model.layers.3.self_attn.q_proj.weight`. */
export function mapTensor(architecture: GgufArchitecture, ggufName: string): MappedTensor {
  const match = /^(?:blk\.(0|[1-9]\d*)\.)?([a-z0-9_]+)\.(weight|bias)$/.exec(ggufName);
  const [, layer, part = '', kind] = match ?? [];
  const { outside, inside, experts } = architecture;
  const names: Readonly<Record<string, string>> = layer === undefined ? outside : { ...inside, ...experts };
  if (!Object.hasOwn(names, part)) return { name: undefined, part };
  const prefix = layer === undefined ? '' : `${architecture.block}${layer}.`;
  return { name: `${prefix}${names[part]}.${kind}`, part };
}

/** Where a Hugging Face parameter is in a GGUF file. */
export interface GgufPlace {
  /** `blk.3.attn_q.weight`. */
  readonly name: string;
  /** The name inside the block without `.weight` or `.bias`: `attn_q`. */
  readonly part: string;
  /** Which matrix of a tensor that holds one for each expert. */
  readonly expert?: number;
}

/** The inverse of `mapTensor`; undefined for what a file of the architecture has no place for. */
export function ggufPlaceOf(architecture: GgufArchitecture, parameter: string): GgufPlace | undefined {
  const { block, outside, inside, experts = {} } = architecture;
  const [, path = '', kind] = /^(.*)\.(weight|bias)$/.exec(parameter) ?? [];
  const keyOf = (names: Readonly<Record<string, string>>, name: string) =>
    Object.keys(names).find((key) => names[key] === name);
  if (!path.startsWith(block)) {
    const part = keyOf(outside, path);
    return part === undefined ? undefined : { name: `${part}.${kind}`, part };
  }
  const [, layer, rest = ''] = /^(\d+)\.(.*)$/.exec(path.slice(block.length)) ?? [];
  const whole = keyOf(inside, rest);
  if (whole !== undefined) return { name: `blk.${layer}.${whole}.${kind}`, part: whole };
  const [, before, expert, behind] = /^(.*\.)(\d+)(\..*)$/.exec(rest) ?? [];
  const part = keyOf(experts, `${before}*${behind}`);
  return part === undefined ? undefined : { name: `blk.${layer}.${part}.${kind}`, part, expert: Number(expert) };
}
