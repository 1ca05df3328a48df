import { concat, type Tensor } from '@posttrain/core-tensor';
import { adamW, mapNamed, type Named, type Optimizer } from '@posttrain/core-tensor/optim';
import { boolean, custom, type Given, number, options, PosttrainError } from '@posttrain/interfaces';
import { identities, inverses } from '../adapters/inverse.js';
import { patternOption } from '../adapters/method-options.js';
import { patternValue } from '../adapters/targets.js';

const loraFaOptions = options('loraFa', {
  /** Of the adapter: the update is multiplied by loraAlpha / r. Default 8, as LoRA's. */
  loraAlpha: number({ default: 8 }),
  /** Of the adapter: multiply by loraAlpha / √r instead. Default false. */
  useRslora: boolean({ default: false }),
  /** `loraAlpha` by module, as the adapter has it. Default: none. */
  alphaPattern: patternOption,
  /** The rule for the projected gradients of B, and for what is no factor of LoRA. Default AdamW with ε = 1e-6, as in PEFT. */
  optimizer: custom<Optimizer<object>>()('an optimizer', (value) => typeof value === 'object', { optional: true }),
});
/** Options of `loraFa` (arXiv 2308.03303). */
export type LoraFaOptions = Given<typeof loraFaOptions>;

/** The state of `loraFa`. */
export interface LoraFaState {
  /** (A Aᵀ)⁻¹ [r, r] of each module, by the name of its B. A stays as it is, so they are computed once. */
  readonly inverses: Named;
  readonly inner: object;
}

/**
 * LoRA-FA (arXiv 2308.03303), as PEFT's `create_lorafa_optimizer`: the factors A stay frozen, without a gradient, and B has
 * g ← g (A Aᵀ + 10⁻⁸)⁻¹ / s², with which s g A is the part of the weight's gradient that A's rows span. It is an optimizer:
 * give it to whatever trains the adapter, with the adapter's own `loraAlpha`.
 *
 * @throws PosttrainError for parameters without a pair of LoRA's factors
 */
export function loraFa(given: LoraFaOptions = {}): Optimizer<LoraFaState> {
  const { loraAlpha, useRslora, alphaPattern, optimizer = adamW({ epsilon: 1e-6 }) } = loraFaOptions.read(given);
  const scalingOf = (b: string, r: number): number =>
    (patternValue(alphaPattern, 'alphaPattern', b.slice(0, -FACTOR_B.length)) ?? loraAlpha) /
    (useRslora ? Math.sqrt(r) : r);
  const trained = (named: Named): Named =>
    Object.fromEntries(Object.entries(named).filter(([name]) => !name.endsWith(FACTOR_A)));
  return {
    name: `loraFa(${optimizer.name})`,
    settings: loraFaOptions.settings({ ...given, optimizer }),
    trains: (name, parameter) => !name.endsWith(FACTOR_A) && (optimizer.trains?.(name, parameter) ?? true),
    ...(optimizer.clips && { clips: optimizer.clips }),
    init: (parameters) => ({ inverses: gramInverses(parameters), inner: optimizer.init(trained(parameters)) }),
    update(parameters, gradients, state, learningRate) {
      const projected = mapNamed(trained(gradients), (g, name) => {
        const inverse = state.inverses[name];
        return inverse ? g.matmul(inverse).mul(scalingOf(name, inverse.shape[0]!) ** -2) : g;
      });
      const next = optimizer.update(trained(parameters), projected, state.inner, learningRate);
      return {
        parameters: mapNamed(parameters, (p, name) => next.parameters[name] ?? p),
        state: { inverses: state.inverses, inner: next.state },
      };
    },
  };
}

const [FACTOR_A, FACTOR_B] = ['.lora_A.weight', '.lora_B.weight'];
/** So that the inverse exists. */
const DELTA = 1e-8;

/** By the name of B; those of one rank together. */
function gramInverses(parameters: Named): Named {
  const byRank = new Map<number, string[]>();
  for (const [name, a] of Object.entries(parameters)) {
    if (!name.endsWith(FACTOR_A)) continue;
    const r = a.shape[0]!;
    byRank.set(r, [...(byRank.get(r) ?? []), name.slice(0, -FACTOR_A.length)]);
  }
  if (byRank.size === 0) {
    throw new PosttrainError('LORA_FA', 'loraFa: no parameter ends in .lora_A.weight; it trains adapters of LoRA');
  }
  const found: Record<string, Tensor> = {};
  for (const [r, modules] of byRank) {
    const grams = modules.map((module) => {
      const a = parameters[module + FACTOR_A]!;
      return a.matmul(a, { transposeB: true }).expandDims(0);
    });
    const all = inverses(concat(grams, 0).add(identities(grams.length, r, 'float32').mul(DELTA)));
    modules.forEach((module, i) => {
      found[module + FACTOR_B] = all.slice(0, i, i + 1).reshape([r, r]);
    });
  }
  return found;
}
