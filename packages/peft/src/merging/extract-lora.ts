import { realize, type Tensor } from '@posttrain/core-tensor';
import { boolean, custom, type Given, integer, options, text } from '@posttrain/interfaces';
import { createAdapter, withAdapterParameters } from '../adapters/adapter.js';
import { targetOf } from '../adapters/adapter-target.js';
import { assertModel } from '../adapters/arguments.js';
import { MergeError } from '../adapters/errors.js';
import type { AdaptableModel, PeftAdapter } from '../adapters/peft-adapter.js';
import { leadingSingular } from '../adapters/singular.js';
import { type LoraConfig, lora } from '../methods/lora.js';

const isTargets = (value: unknown): boolean => typeof value === 'string' || Array.isArray(value);

const extractOptions = options('extractLora', {
  /** Rank of the adapter, or of each module the smaller side of its weight where that is less. Default 32. */
  r: integer({ default: 32, min: 1 }),
  /** Modules that the adapter enters, as LoRA has them. Default `all-linear`. */
  targetModules: custom<string | readonly string[]>()('a text or a list of texts', isTargets, {
    default: 'all-linear',
  }),
  /** Leave differences outside the targets (norms, embeddings, biases) out, instead of refusing them. Default false. */
  ignoreOthers: boolean({ default: false }),
  /** Default `extracted`. */
  name: text({ default: 'extracted' }),
});
/** Options of `extractLora`. */
export type ExtractLoraOptions = Given<typeof extractOptions>;

/** The adapter, and what it leaves out. */
export interface ExtractedLora {
  readonly adapter: PeftAdapter<LoraConfig>;
  /** ‖ΔW − B·A‖ / ‖ΔW‖ (Frobenius) of each module: 0 where its rank is enough. */
  readonly residuals: Readonly<Record<string, number>>;
  /** Weights that differ and are not in the adapter. */
  readonly leftOut: readonly string[];
}

/**
 * LoRA from the difference of a fine-tuned model to its base: the r leading singular vectors of every ΔW = U S Vᵀ, B = U_r √S_r and
 * A = √S_r V_rᵀ, with α = r. Nothing of that rank is nearer to ΔW (Eckart and Young 1936).
 *
 * @throws MergeError for models that are not of one architecture, or that differ outside the targets; OptionError
 */
export async function extractLora(
  base: AdaptableModel,
  tuned: AdaptableModel,
  given: ExtractLoraOptions = {},
): Promise<ExtractedLora> {
  assertModel('extractLora', base);
  assertModel('extractLora', tuned);
  const { r, targetModules, ignoreOthers, name } = extractOptions.read(given);
  for (const [weight, { shape }] of Object.entries(base.weights)) {
    if (`${tuned.weights[weight]?.shape}` === `${shape}`) continue;
    const other = tuned.weights[weight] ? `[${tuned.weights[weight].shape}]` : 'missing';
    throw new MergeError(
      `${weight} is [${shape}] in ${base.name} and ${other} in ${tuned.name}: no LoRA is between these`,
    );
  }
  const made = await createAdapter(base, lora, { r, loraAlpha: r, targetModules }, { name });
  const targets = new Set(made.plan.targets.map((module) => `${module.name}.weight`));
  const leftOut: string[] = [];
  for (const [weight, value] of Object.entries(base.weights)) {
    if (!targets.has(weight) && (await differs(value, tuned.weights[weight]!))) leftOut.push(weight);
  }
  if (leftOut.length > 0 && !ignoreOthers) {
    throw new MergeError(
      `the models differ in ${leftOut.length} weights that the adapter does not enter, such as ${leftOut[0]}: name them in targetModules, or set ignoreOthers`,
    );
  }
  const parameters: Record<string, Tensor> = {};
  const residuals: Record<string, number> = {};
  for (const module of made.plan.targets) {
    const of = (model: AdaptableModel) => {
      const { weight } = targetOf(model, module);
      return module.transposed ? weight.transpose() : weight;
    };
    const difference = of(tuned).sub(of(base));
    const { u, values, v } = await leadingSingular(difference, Math.min(r, module.inFeatures, module.outFeatures));
    const root = values.sqrt();
    const [a, b] = [v.mul(root.expandDims(1)), u.mul(root.expandDims(0))];
    const [total, left] = [difference, difference.sub(b.matmul(a))].map((x) => x.square().sum());
    const names = { a: `${module.name}.lora_A.weight`, b: `${module.name}.lora_B.weight` };
    parameters[names.a] = a.pad(0, 0, r - a.shape[0]!);
    parameters[names.b] = b.pad(1, 0, r - b.shape[1]!);
    await realize([parameters[names.a]!, parameters[names.b]!, total!, left!]);
    residuals[module.name] = Math.sqrt((await left!.item()) / ((await total!.item()) || 1));
  }
  return { adapter: withAdapterParameters(made, parameters), residuals, leftOut };
}

async function differs(a: Tensor, b: Tensor): Promise<boolean> {
  const [x, y] = await Promise.all([a.data(), b.data()]);
  return !Buffer.from(x.buffer, x.byteOffset, x.byteLength).equals(Buffer.from(y.buffer, y.byteOffset, y.byteLength));
}
