import { realize, type Tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { custom, type Given, integer, options, text } from '@posttrain/interfaces';
import type { CausalLM, ModuleInfo, QuantizationOptions } from '@posttrain/lm';
import { copied, createAdapter, withAdapterParameters } from '../adapters/adapter.js';
import { AdapterConfigError } from '../adapters/errors.js';
import type { PeftAdapter } from '../adapters/peft-adapter.js';
import { leadingSingular } from '../adapters/singular.js';
import { type LoraConfig, lora, scalingOf } from './lora.js';

const isMethod = (value: unknown): boolean => typeof value === 'object' && value !== null && 'method' in value;
const loftqOptions = options('loftq', {
  /** How the base is quantised, as `CausalLM.quantize` has it. Default NF4. */
  quantization: custom<QuantizationOptions>()('a method of quantisation', isMethod, { default: { method: 'nf4' } }),
  /** T: how often the rest is quantised and decomposed in turns. Default 1, as PEFT's `loftq_iter`. */
  iterations: integer({ default: 1, min: 1 }),
  /** For what is not decomposed. Default 0. */
  seed: integer({ default: 0, min: 0 }),
  /** Of the adapter. Default `default`. */
  name: text({ default: 'default' }),
});
/** Options of `loftq`. */
export type LoftqOptions = Given<typeof loftqOptions>;

/** What `loftq` gives. */
export interface LoftqResult {
  /** The quantised base. */
  readonly model: CausalLM;
  /** LoRA over it, which starts where the two are nearest to the float model. Its reference is itself as it was made. */
  readonly adapter: PeftAdapter<LoraConfig>;
  /** Of every target ‖W − Q‖ and ‖W − (Q + s·B·A)‖ (Frobenius). */
  readonly errors: Readonly<Record<string, { readonly base: number; readonly withAdapter: number }>>;
}

/**
 * LoftQ (arXiv 2310.08659): quantises a model and begins a LoRA adapter over it so that the two together are near what the model was, by
 * turns for t = 1 … T, from A₀ = B₀ = 0:
 *
 *     Q_t = q(W − s·B_{t−1}·A_{t−1}),    s·B_t·A_t = the r leading singular vectors of W − Q_t,
 *
 * where B = U √(S / s) and A = √(S / s) Vᵀ. With `loraAlpha` = `r`, so s = 1, it is PEFT's `init_lora_weights="loftq"`, which has no s.
 * Layers that the adapter does not target are quantised only.
 *
 * @throws AdapterConfigError for `useDora`, `loraBias` and another `initLoraWeights`, a target that is not quantised, or a rank above its singular values; and what
 * `createAdapter` and `CausalLM.quantize` throw
 */
export async function loftq(
  model: CausalLM,
  config: Partial<LoraConfig> = {},
  given: LoftqOptions = {},
): Promise<LoftqResult> {
  const { quantization, iterations, seed, name } = loftqOptions.read(given);
  if (config.useDora || config.loraBias || (config.initLoraWeights ?? true) !== true) {
    throw new AdapterConfigError('loftq is a start of plain LoRA: leave out useDora, loraBias and initLoraWeights');
  }
  const { engine } = model.network;
  let base = await model.quantize(quantization);
  const start = await createAdapter(base, lora, config, { seed, name });
  const targets = targetsOf(base, start);
  for (const target of targets) {
    const few = Math.min(target.inFeatures, target.outFeatures);
    const r = start.parameters[namesOf(target).a]!.shape[0]!;
    if (r > few) throw new AdapterConfigError(`loftq: ${target.name}: the weight has ${few} singular values, not ${r}`);
  }
  let parameters: Named = start.parameters;
  const errors: Record<string, { base: number; withAdapter: number }> = {};
  for (let round = 0; round < iterations; round++) {
    if (round > 0) {
      const rest = targets.map((target): [string, Tensor] => {
        const weight = `${target.name}.weight`;
        return [weight, model.weights[weight]!.sub(update(target, parameters, start.config))];
      });
      await realize(
        rest.map(([, value]) => value),
        { engine },
      );
      base = await model.withWeights({ ...model.weights, ...Object.fromEntries(rest) }).quantize(quantization);
    }
    const { weights } = await base.dequantize();
    const factors: Record<string, Tensor> = {};
    for (const target of targets) {
      const off = model.weights[`${target.name}.weight`]!.sub(weights[`${target.name}.weight`]!);
      const names = namesOf(target);
      const r = start.parameters[names.a]!.shape[0]!;
      const { u, values, v } = await leadingSingular(target.transposed ? off.transpose() : off, r);
      const root = values.div(scalingOf(start.config, target.name)).sqrt();
      factors[names.a] = v.mul(root.expandDims(1));
      factors[names.b] = u.mul(root.expandDims(0));
      const left = off.sub(update(target, factors, start.config));
      const [whole, rest] = await Promise.all([off, left].map((x) => x.square().sum().sqrt().item()));
      errors[target.name] = { base: whole!, withAdapter: rest! };
    }
    parameters = { ...start.parameters, ...(await copied(factors, engine)) };
  }
  const adapter = withAdapterParameters(await createAdapter(base, lora, config, { seed, name }), parameters);
  const reference = { name: `${name} as it was made`, parameters, hooks: adapter.hooks };
  return { model: base, adapter: { ...adapter, reference }, errors };
}

const namesOf = ({ name }: ModuleInfo) => ({ a: `${name}.lora_A.weight`, b: `${name}.lora_B.weight` });

/** The modules that the adapter is on. */
function targetsOf({ network }: CausalLM, { parameters }: PeftAdapter<LoraConfig>): readonly ModuleInfo[] {
  const targets = [...network.modules.values()].filter(({ name }) =>
    Object.keys(parameters).some((parameter) => parameter.startsWith(`${name}.lora_`)),
  );
  const float = targets.find(({ quantization }) => quantization === undefined);
  if (!float) return targets;
  throw new AdapterConfigError(
    `loftq: ${float.name} is not quantised, so there is no error to make up for; leave it out`,
  );
}

/** s·B·A in the layout of the weight. */
function update(target: ModuleInfo, parameters: Named, config: LoraConfig): Tensor {
  const names = namesOf(target);
  const product = parameters[names.b]!.matmul(parameters[names.a]!).mul(scalingOf(config, target.name));
  return target.transposed ? product.transpose() : product;
}
