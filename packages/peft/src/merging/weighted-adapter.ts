import { Key, realize, type Tensor, tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import {
  assertArgument,
  custom,
  type Given,
  integer,
  listOf,
  number,
  oneOf,
  options,
  text,
} from '@posttrain/interfaces';
import type { ModuleInfo } from '@posttrain/lm';
import { createAdapter, withAdapterParameters } from '../adapters/adapter.js';
import { assertAdapter, assertModel } from '../adapters/arguments.js';
import { MergeError } from '../adapters/errors.js';
import type { AdaptableModel, PeftAdapter } from '../adapters/peft-adapter.js';
import { leadingSingular } from '../adapters/singular.js';
import { trainsCopies } from '../adapters/whole-modules.js';
import { type LoraConfig, lora, rankOf } from '../methods/lora.js';
import { among, largest } from './largest.js';

const TYPES = [
  ...(['svd', 'linear', 'cat', 'ties', 'ties_svd', 'dare_ties', 'dare_linear', 'dare_ties_svd'] as const),
  ...(['dare_linear_svd', 'magnitude_prune', 'magnitude_prune_svd'] as const),
] as const;
type CombinationType = (typeof TYPES)[number];

const weightedOptions = options('addWeightedAdapter', {
  /** wᵢ of each adapter, which may be negative. */
  weights: listOf(number({}), {}),
  /**
   * How: `cat` puts the factors beside each other (exact, rank Σ rᵢ); `svd` takes the leading singular vectors of Σ wᵢ·ΔWᵢ; `linear`
   * adds the factors themselves (rough: B·A of sums is not the sum of B·A). With `ties`, `dare_linear`, `dare_ties` or
   * `magnitude_prune` the factors are thinned out before they are added; with `_svd` behind it, the ΔWᵢ are. Default `svd`.
   */
  combinationType: oneOf(TYPES, { default: 'svd' }),
  /** Rank of the result of a `svd`. Default: the largest of the adapters'. */
  svdRank: integer({ optional: true, min: 1 }),
  /** Fraction of the numbers that stay; needed where something is thinned out. */
  density: number({ optional: true, min: 0, max: 1 }),
  /** Whose sign is elected in `ties` and `dare_ties`: that of the sum, or the more frequent one. Default `total`. */
  majoritySignMethod: oneOf(['total', 'frequency'], { default: 'total' }),
  /** For what DARE drops. Default 0. */
  seed: integer({ default: 0, min: 0 }),
  /** Default `weighted`. */
  name: text({ default: 'weighted' }),
});
/** Options of `addWeightedAdapter`, by PEFT's names. */
export type WeightedAdapterOptions = Given<typeof weightedOptions>;

const isList = custom<readonly unknown[]>()('a list', (value) => Array.isArray(value) && value.length > 0, {});

/**
 * Several LoRA adapters of a model as one, as PEFT's `add_weighted_adapter`: ΔW = Σ wᵢ·sᵢ·Bᵢ·Aᵢ, exactly or about. A module that
 * some of them do not enter is that of the others. Biases, DoRA and modules trained whole are refused. Where the adapters
 * are rsLoRA's, the result has its own scaling of 1 (PEFT would multiply it by √r).
 *
 * @throws OptionError, MergeError
 */
export async function addWeightedAdapter(
  model: AdaptableModel,
  adapters: readonly PeftAdapter<LoraConfig>[],
  given: WeightedAdapterOptions,
): Promise<PeftAdapter<LoraConfig>> {
  assertModel('addWeightedAdapter', model);
  assertArgument('addWeightedAdapter', 'adapters', adapters, isList.isValid(adapters), 'a list of adapters');
  for (const adapter of adapters) assertAdapter('addWeightedAdapter', adapter);
  const { weights, density, svdRank, majoritySignMethod, seed, name, combinationType } = weightedOptions.read(given);
  if (weights.length !== adapters.length) {
    throw new MergeError(`${adapters.length} adapters need as many weights, not ${weights.length}`);
  }
  adapters.forEach(checkMergeable);
  // One adapter is only scaled, whatever was asked for.
  const type: CombinationType = adapters.length === 1 ? 'linear' : combinationType;
  const [kind, ofProducts] = [type.replace(/_?svd$/, ''), type.endsWith('svd')];
  const thinned = !['', 'linear', 'cat'].includes(kind);
  if (thinned && density === undefined) {
    throw new MergeError(`combinationType "${type}" needs a density, the fraction of the numbers that stay`);
  }
  const ranks = adapters.map(({ config: { r, rankPattern } }) => Math.max(r, ...Object.values(rankPattern)));
  if (!ofProducts && type !== 'cat' && new Set(ranks).size > 1) {
    throw new MergeError(
      `combinationType "${type}" adds factors of one rank, not of ${ranks.join(' and ')}: use svd or cat`,
    );
  }
  const most = Math.max(...ranks);
  const r = ofProducts ? (svdRank ?? most) : type === 'cat' ? ranks.reduce((a, b) => a + b, 0) : most;
  const combine: Combine = async (parts, place) => {
    const key = Key.fromSeed(seed).child(place);
    if (kind === '' || kind === 'linear') return weighted(parts);
    return combineThinned(parts, { kind, density: density!, majoritySignMethod, key });
  };
  const made = await createAdapter(model, lora, configOf(adapters, r), { name });
  const parameters: Record<string, Tensor> = {};
  for (const [i, module] of made.plan.targets.entries()) {
    const parts = adapters.flatMap((adapter, j) => {
      const factors = factorsOf(adapter, module);
      return factors ? [{ ...factors, weight: weights[j]! }] : [];
    });
    const factors = { cat: () => catFactors(parts), svd: () => svdFactors(parts, combine, i, r) };
    const how = type === 'cat' ? factors.cat : ofProducts ? factors.svd : () => addFactors(parts, combine, i);
    const { a, b } = await how();
    const names = namesIn(made.parameters, module);
    parameters[names.a] = padded(a, made.parameters[names.a]!.shape);
    parameters[names.b] = padded(b, made.parameters[names.b]!.shape);
  }
  await realize(Object.values(parameters));
  return withAdapterParameters(made, parameters);
}

function checkMergeable(adapter: PeftAdapter<LoraConfig>): void {
  const { name, method, config, plan, frozen } = adapter;
  const problem =
    method.peftType !== 'LORA'
      ? `is ${method.peftType}, not LORA`
      : config.useDora || config.loraBias || config.aloraInvocationTokens || Object.keys(frozen).length > 0
        ? 'has more than the factors A and B (DoRA, loraBias, invocation tokens, or a start in the weights)'
        : trainsCopies(plan)
          ? 'trains modules, tokens or biases whole'
          : plan.fused || plan.tied
            ? 'has factors of targetParameters, or of an output layer that follows its embedding'
            : undefined;
  if (problem !== undefined) throw new MergeError(`adapter "${name}" ${problem}: it cannot be merged with others`);
}

/** PEFT's: the first adapter's configuration, with all modules. */
function configOf(adapters: readonly PeftAdapter<LoraConfig>[], r: number): LoraConfig {
  const targets = adapters.map(({ config }) => config.targetModules);
  const areTexts = targets.map((target) => typeof target === 'string');
  if (areTexts.some((is) => is !== areTexts[0])) {
    throw new MergeError('targetModules must be lists in all adapters, or expressions in all');
  }
  const targetModules = areTexts[0]
    ? targets.map((target) => `(${target})`).join('|')
    : [...new Set(targets.flatMap((target) => [...(target ?? [])]))];
  const { config } = adapters[0]!;
  return { ...config, r, loraAlpha: r, useRslora: false, rankPattern: {}, alphaPattern: {}, targetModules };
}

/** A host matrix. */
interface Matrix {
  readonly data: Float64Array;
  readonly shape: readonly [number, number];
}

interface Part {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly scale: number;
  readonly weight: number;
}

interface Factors {
  readonly a: Matrix;
  readonly b: Matrix;
}

/** Σ of matrices with weights, in one of the ways; `place` says where, for what is drawn. */
type Combine = (parts: readonly { readonly x: Matrix; readonly weight: number }[], place: number) => Promise<Matrix>;

function namesIn(parameters: Named, { name }: ModuleInfo): { readonly a: string; readonly b: string } {
  const embedding = { a: `${name}.lora_embedding_A`, b: `${name}.lora_embedding_B` };
  return embedding.a in parameters ? embedding : { a: `${name}.lora_A.weight`, b: `${name}.lora_B.weight` };
}

function factorsOf(
  { parameters, config }: PeftAdapter<LoraConfig>,
  module: ModuleInfo,
): Omit<Part, 'weight'> | undefined {
  const names = namesIn(parameters, module);
  const [a, b] = [parameters[names.a], parameters[names.b]];
  if (!a || !b) return undefined;
  const { r, alpha } = rankOf(config, module.name);
  return { a, b, scale: alpha / (config.useRslora ? Math.sqrt(r) : r) };
}

/** The factors beside each other; wᵢsᵢ goes to A. */
async function catFactors(parts: readonly Part[]): Promise<Factors> {
  const a = parts.map(async (part) => scaled(await matrixOf(part.a), part.weight * part.scale));
  const b = parts.map((part) => matrixOf(part.b));
  return { a: beside(await Promise.all(a), 0), b: beside(await Promise.all(b), 1) };
}

/** The factors added up, each with √|wᵢsᵢ|; the sign goes to A. */
async function addFactors(parts: readonly Part[], combine: Combine, place: number): Promise<Factors> {
  const shapes = new Set(parts.map(({ a }) => `${a.shape}`));
  if (shapes.size > 1)
    throw new MergeError(`factors of one module have the shapes ${[...shapes].join(' and ')}: use svd or cat`);
  const of = async (factor: 'a' | 'b', child: number) =>
    combine(
      await Promise.all(
        parts.map(async (part) => {
          const total = part.weight * part.scale;
          const root = Math.sqrt(Math.abs(total)) * (factor === 'a' && total < 0 ? -1 : 1);
          return { x: await matrixOf(part[factor]), weight: root };
        }),
      ),
      2 * place + child,
    );
  return { a: await of('a', 0), b: await of('b', 1) };
}

/** B = U S and A = Vᵀ of what the products add up to. */
async function svdFactors(parts: readonly Part[], combine: Combine, place: number, r: number): Promise<Factors> {
  const products = await Promise.all(
    parts.map(async ({ a, b, scale, weight }) => ({ x: await matrixOf(b.matmul(a).mul(scale)), weight })),
  );
  const { data, shape } = await combine(products, 2 * place);
  const { u, values, v } = await leadingSingular(tensor(Float32Array.from(data), shape), Math.min(r, ...shape));
  return { a: await matrixOf(v), b: await matrixOf(u.mul(values.expandDims(0))) };
}

const weighted = (parts: readonly { readonly x: Matrix; readonly weight: number }[]): Matrix => ({
  shape: parts[0]!.x.shape,
  data: parts[0]!.x.data.map((_, i) => parts.reduce((sum, { x, weight }) => sum + weight * x.data[i]!, 0)),
});

interface Thinning {
  readonly kind: string;
  readonly density: number;
  readonly majoritySignMethod: 'total' | 'frequency';
  readonly key: Key;
}

/** PEFT's: the sign is elected before the weights, and the mean is over how many have it. */
async function combineThinned(
  parts: readonly { readonly x: Matrix; readonly weight: number }[],
  { kind, density, majoritySignMethod, key }: Thinning,
): Promise<Matrix> {
  const isDrawn = kind.startsWith('dare');
  const thinned: typeof parts = await Promise.all(
    parts.map(async ({ x, weight }, i) => {
      if (density === 1) return { x, weight };
      if (isDrawn) {
        const drawn = key.child(i).uniformHost(x.data.length);
        return { x: { ...x, data: x.data.map((value, j) => (drawn[j]! < density ? value / density : 0)) }, weight };
      }
      const magnitudes = Float32Array.from(x.data, Math.abs);
      const all = async function* () {
        yield magnitudes;
      };
      const stays = among(await largest(all, Math.floor(density * magnitudes.length)));
      return { x: { ...x, data: x.data.map((value, j) => (stays(magnitudes[j]!) ? value : 0)) }, weight };
    }),
  );
  if (!kind.endsWith('ties')) return weighted(thinned);
  const { shape, data } = thinned[0]!.x;
  const elected = data.map((_, j) => {
    const votes = thinned.map(({ x }) => (majoritySignMethod === 'total' ? x.data[j]! : Math.sign(x.data[j]!)));
    const sign = votes.reduce((sum, vote) => sum + vote, 0) >= 0 ? 1 : -1;
    const agreeing = thinned.filter(({ x }) => Math.sign(x.data[j]!) === sign);
    const sum = agreeing.reduce((total, { x, weight }) => total + weight * x.data[j]!, 0);
    return sum / Math.max(1, agreeing.length);
  });
  return { shape, data: elected };
}

async function matrixOf(x: Tensor): Promise<Matrix> {
  return { shape: x.shape as [number, number], data: Float64Array.from(await x.data(), Number) };
}

const scaled = ({ shape, data }: Matrix, factor: number): Matrix => ({ shape, data: data.map((x) => factor * x) });

function beside(parts: readonly Matrix[], axis: 0 | 1): Matrix {
  const total = parts.reduce((sum, { shape }) => sum + shape[axis], 0);
  const [rows, columns] = axis === 0 ? [total, parts[0]!.shape[1]] : [parts[0]!.shape[0], total];
  const data = new Float64Array(rows * columns);
  let at = 0;
  for (const { shape, data: own } of parts) {
    for (let i = 0; i < shape[0]; i++) {
      const target = axis === 0 ? (at + i) * columns : i * columns + at;
      data.set(own.subarray(i * shape[1], (i + 1) * shape[1]), target);
    }
    at += shape[axis];
  }
  return { shape: [rows, columns], data };
}

/** With zeros where a module has a smaller rank than the whole. */
function padded({ data, shape: [rows, columns] }: Matrix, shape: readonly number[]): Tensor {
  const all = new Float32Array(shape[0]! * shape[1]!);
  for (let i = 0; i < rows; i++) all.set(data.subarray(i * columns, (i + 1) * columns), i * shape[1]!);
  return tensor(all, shape);
}
