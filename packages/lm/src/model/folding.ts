import { type Tensor, tensor } from '@posttrain/core-tensor';
import { type FloatMatrix, scaleColumns } from '@posttrain/core-tensor/quantization';
import type { DecoderConfig, ModelConfig } from '../config/index.js';
import type { ModuleInfo, Weights } from './layers.js';
import type { Network } from './network.js';

/** Layers that read one input, and what computes that input: what it gives can be divided, and their columns multiplied, for nothing. */
export interface FoldGroup {
  /** A norm by its module path, or the last `width` output features of a linear layer. */
  readonly from: { readonly norm: string } | { readonly linear: ModuleInfo };
  readonly to: readonly ModuleInfo[];
}

/** Names in a block: what computes the input, a norm or a linear layer, and who reads it. */
type Fold = readonly [from: string, to: readonly string[]];

const attention = (norm: string, block = 'self_attn'): Fold[] => [
  [norm, ['q', 'k', 'v'].map((part) => `${block}.${part}_proj`)],
];
const throughAttention: Fold = ['self_attn.v_proj', ['self_attn.o_proj']];
const mlp = (norm: string): Fold[] => [[norm, ['mlp.gate_proj', 'mlp.up_proj']]];
const throughMlp: Fold = ['mlp.up_proj', ['mlp.down_proj']];

const ROTARY: readonly Fold[] = [
  ...attention('input_layernorm'),
  throughAttention,
  ...mlp('post_attention_layernorm'),
  throughMlp,
];
const GEMMA: readonly Fold[] = [
  ...attention('input_layernorm'),
  throughAttention,
  ...mlp('pre_feedforward_layernorm'),
  throughMlp,
];

/** By `modelType`, in the order in which they compute. Experts have none: their router reads the same norm. */
const FOLDS: Readonly<Record<Exclude<ModelConfig, DecoderConfig>['modelType'], readonly Fold[]>> = {
  llama: ROTARY,
  mistral: ROTARY,
  mixtral: ROTARY,
  qwen2: ROTARY,
  qwen3: ROTARY,
  qwen3_moe: ROTARY,
  gemma2: GEMMA,
  gemma3_text: GEMMA,
  gpt2: [
    ['ln_1', ['attn.c_attn']],
    ['ln_2', ['mlp.c_fc']],
  ],
  phi3: [
    ['input_layernorm', ['self_attn.qkv_proj']],
    ['self_attn.qkv_proj', ['self_attn.o_proj']],
    ['post_attention_layernorm', ['mlp.gate_up_proj']],
    ['mlp.gate_up_proj', ['mlp.down_proj']],
  ],
  // Its sublayers read the residual stream as it is; norms come after them.
  olmo2: [throughAttention, throughMlp],
};

/** The same of a decoder, from the names of its modules. */
function foldsOf({ names, norm, residual, clip, recurrence }: DecoderConfig): readonly Fold[] {
  const attends = names.queryKeyValue ? [names.queryKeyValue] : [names.query, names.key, names.value];
  const read = recurrence?.beside ? [...attends, `${recurrence.module}.in_proj`] : attends;
  const inward = names.gateUp ? [names.gateUp] : [...(names.gate ? [names.gate] : []), names.up];
  const isShared = residual === 'parallel' && names.beforeMlp === undefined;
  const behind = (name: string | undefined, readers: readonly string[]): Fold[] =>
    name !== undefined && norm.weight ? [[name, readers]] : [];
  const isSplit = !names.queryKeyValue && clip === undefined;
  return [
    ...behind(names.beforeAttention, isShared ? [...read, ...inward] : read),
    ...(isSplit ? [[names.value, [names.output]] as const] : []),
    ...(isShared ? [] : behind(names.beforeMlp, inward)),
    ...(names.gate || names.gateUp ? [[names.gateUp ?? names.up, [names.down]] as const] : []),
  ];
}

/** Norms that multiply by 1 + w. */
const ADDS_ONE: ReadonlySet<string> = new Set(['gemma2', 'gemma3_text']);

/**
 * The groups of a block whose layers are all among `modules`. A value projection counts only where every head of its own is read
 * (no grouped queries): otherwise one feature of it is several of the output projection.
 */
export function foldGroups({ config, modules: all, norms }: Network, modules: readonly ModuleInfo[]): FoldGroup[] {
  const [first] = modules;
  if (first?.layer === undefined) return [];
  const block = first.name.slice(0, first.name.indexOf(`.${first.layer}.`) + `.${first.layer}`.length);
  const named = new Map(modules.map((module) => [module.name, module]));
  const folds = 'names' in config ? foldsOf(config) : FOLDS[config.modelType];
  return folds.flatMap(([from, names]): FoldGroup[] => {
    const to = names.map((name) => named.get(`${block}.${name}`)).filter((module) => module !== undefined);
    if (to.length < names.length) return [];
    const path = `${block}.${from}`;
    if (norms.has(path)) return [{ from: { norm: path }, to }];
    const linear = all.get(path);
    // Quantised, but for those that are left as they are; their rows are divided before.
    if (!linear || !named.has(path) || !isOneToOne(config, linear, to[0]!)) return [];
    return [{ from: { linear }, to }];
  });
}

function isOneToOne(config: ModelConfig, from: ModuleInfo, { inFeatures, name }: ModuleInfo): boolean {
  const output = 'names' in config ? config.names.output : 'o_proj';
  if (!name.endsWith(output)) return from.outFeatures >= inFeatures;
  const kvHeads = 'numKeyValueHeads' in config ? config.numKeyValueHeads : config.numAttentionHeads;
  return kvHeads === config.numAttentionHeads;
}

/** Weights that are being changed: float tensors by name, and linear layers as matrices [out, in]. */
export interface Folding {
  readonly weights: Record<string, Tensor>;
  readonly matrices: Map<string, FloatMatrix>;
}

/** Divides what a group reads by `scales`, and multiplies its columns by them: the model computes what it did. */
export async function fold(
  { config }: Pick<Network, 'config'>,
  { weights, matrices }: Folding,
  { from, to }: FoldGroup,
  scales: Float64Array,
): Promise<void> {
  for (const { name } of to) matrices.set(name, scaleColumns(matrices.get(name)!, scales));
  const addsOne = 'names' in config ? config.norm.plusOne : ADDS_ONE.has(config.modelType);
  const one = addsOne ? 1 : 0;
  if ('norm' in from) {
    await divide(weights, `${from.norm}.weight`, (value, i) => (value + one) / scales[i]! - one);
    await divide(weights, `${from.norm}.bias`, (value, i) => value / scales[i]!);
    return;
  }
  const { name, outFeatures, inFeatures } = from.linear;
  const skipped = outFeatures - scales.length;
  const scaleOf = (row: number): number => (row < skipped ? 1 : scales[row - skipped]!);
  const { shape, data } = matrices.get(name)!;
  matrices.set(name, { shape, data: data.map((value, i) => value / scaleOf(Math.floor(i / inFeatures))) });
  await divide(weights, `${name}.bias`, (value, row) => value / scaleOf(row));
}

async function divide(
  weights: Record<string, Tensor>,
  name: string,
  change: (value: number, i: number) => number,
): Promise<void> {
  const stored: Weights[string] | undefined = weights[name];
  if (!stored) return;
  weights[name] = tensor(Float32Array.from(await stored.data()).map(change), stored.shape);
}
