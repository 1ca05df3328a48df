import { iota, Key, realize, type Tensor, tensor, zeros } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { boolean, type Given, integer, listOf, options } from '@posttrain/interfaces';
import { CausalLM, type LayerHooks, networkOf } from '@posttrain/lm';
import { assertAdapter, assertModel } from './arguments.js';
import { MergeError } from './errors.js';
import type { AdaptableModel, PeftAdapter } from './peft-adapter.js';
import { mergedCopies, trainsCopies } from './whole-modules.js';

const mergeOptions = options('mergeAdapter', {
  /** Token ids on which the merged model is compared with the adapter. Default: 32 ids drawn with a fixed seed. */
  probe: listOf(integer({ min: 0 }), { optional: true }),
  /**
   * Whether the base is kept as long as the merged model, so that `unmergeAdapter` gives it back bit for bit. False frees the tensors of the
   * base that have changed, once nobody else has them. Default true.
   */
  keepBase: boolean({ default: true }),
});
/** Options of `mergeAdapter`. */
export type MergeOptions = Given<typeof mergeOptions>;

/** A merged model, and how far its logits moved by rounding. */
export interface MergeResult {
  readonly model: CausalLM;
  /** Largest absolute change of a logit on the probe; rounding only, about 1e-5, unless something is wrong. */
  readonly drift: number;
}

/**
 * The model with the adapter's change in its weights: it computes without the adapter what the base computes with it. A
 * tied output layer becomes a weight of its own when the adapter changes only one of the two.
 *
 * @throws OptionError; MergeError when the architecture has no place for a tensor, or the model is quantised
 */
export async function mergeAdapter<Config extends object>(
  model: CausalLM,
  adapter: PeftAdapter<Config>,
  given: MergeOptions = {},
): Promise<MergeResult> {
  assertModel('mergeAdapter', model);
  assertAdapter('mergeAdapter', adapter);
  const { probe = defaultProbe(model), keepBase } = mergeOptions.read(given);
  refuseQuantized(model);
  const { method, config, plan, parameters, frozen } = adapter;
  const why = method.merge ? method.cannotMerge?.(config) : 'computes what no weights of the model compute';
  if (!method.merge || why !== undefined) throw new MergeError(`${method.peftType} ${why}, so it cannot be merged.`);
  const changed: Record<string, Tensor> = { ...mergedCopies(model, plan, parameters) };
  const context = { config, plan, model: model.config };
  Object.assign(changed, method.merge(context, { trained: parameters, frozen }, baseWith(model, changed)));
  const isTied = plan.tied !== undefined || (plan.tokens ?? []).some(({ tied }) => tied !== undefined);
  const merged = await withChangedWeights(model, changed, isTied);
  const [before, after] = await Promise.all([
    logitsOf(model, probe, adapter.hooks(parameters)),
    logitsOf(merged, probe, {}),
  ]);
  let drift = 0;
  before.forEach((logit, i) => {
    drift = Math.max(drift, Math.abs(logit - after[i]!));
  });
  if (keepBase) kept.set(merged, { base: model, hooks: adapter.hooks, parameters });
  return { model: merged, drift };
}

/** What merged models were made of. */
const kept = new WeakMap<CausalLM, Pick<PeftAdapter, 'hooks' | 'parameters'> & { readonly base: CausalLM }>();

const unmergeOptions = options('unmergeAdapter', {
  /** Refuse what would only come back to within rounding. Default false. */
  exact: boolean({ default: false }),
});
/** Options of `unmergeAdapter`. */
export type UnmergeOptions = Given<typeof unmergeOptions>;

/**
 * Takes a merged adapter out of the weights again. Of what `mergeAdapter` gave with this adapter (and `keepBase`, the default) it is the
 * base that went into it, bit for bit, whatever the method. Of any other model, one that was saved and loaded again, it subtracts
 * as PEFT's `unmerge` does, which rounds: in float32 a weight comes back to within 2⁻²³ of the larger of itself, its merged value and the change.
 *
 * @throws OptionError; MergeError where there is no base to give back and `exact` is asked for, or its tensors are not in the merged
 * ones: DoRA, `modulesToSave`, trained biases
 */
export async function unmergeAdapter<Config extends object>(
  merged: CausalLM,
  adapter: PeftAdapter<Config>,
  given: UnmergeOptions = {},
): Promise<CausalLM> {
  assertModel('unmergeAdapter', merged);
  assertAdapter('unmergeAdapter', adapter);
  const { method, config, plan, parameters, frozen } = adapter;
  const { exact } = unmergeOptions.read(given);
  const known = kept.get(merged);
  if (known && known.hooks === adapter.hooks && known.parameters === parameters) return known.base;
  if (exact) {
    throw new MergeError(
      'exact: the base is not known, since this is not what mergeAdapter gave with this adapter and keepBase. Keep the base model.',
    );
  }
  const { unmerge } = method;
  refuseQuantized(merged);
  if (!unmerge) throw new MergeError(`${method.peftType} has no inverse of merging. Keep the base model.`);
  if (trainsCopies(plan)) {
    throw new MergeError(
      'modulesToSave, trained tokens and biases replace tensors of the base, which cannot be taken out. Keep the base model.',
    );
  }
  const context = { config, plan, model: merged.config };
  return withChangedWeights(merged, unmerge(context, { trained: parameters, frozen }, merged), plan.tied !== undefined);
}

/** Rounding the merged weights to codes again would lose most of the change, so nobody is to do it unawares. */
function refuseQuantized({ network }: CausalLM): void {
  const quantized = [...network.modules.values()].find((module) => module.quantization);
  if (!quantized) return;
  throw new MergeError(
    `${quantized.name} is quantised (${quantized.quantization!.method}): merge into await model.dequantize().`,
  );
}

/** The model with some of its weights changed, for a method to look at. */
const baseWith = ({ name, config, network, weights, storage }: AdaptableModel, changed: Named): AdaptableModel => {
  return { name, config, network, weights: { ...weights, ...changed }, storage };
};

/** `isTied`: the output layer has what changes of the embedding, and stays of the same weight. */
async function withChangedWeights(model: CausalLM, changed: Named, isTied = false): Promise<CausalLM> {
  const head = model.network.modules.get('lm_head');
  const tiedTo = head?.tiedTo;
  const untie = tiedTo !== undefined && !isTied && (`${tiedTo}.weight` in changed || 'lm_head.weight' in changed);
  const own: Named = untie ? { 'lm_head.weight': model.weights[`${tiedTo}.weight`]! } : {};
  const weights = { ...model.weights, ...own, ...changed };
  await realize(Object.values(weights), { engine: model.engine });
  if (!untie) return model.withWeights(weights);
  const { tokenizer, generationConfig, chatTemplate, name } = model;
  const config = { ...model.config, tieWordEmbeddings: false };
  const network = networkOf(config, undefined, model.engine);
  return new CausalLM({ config, weights, tokenizer, generationConfig, chatTemplate, name }, network);
}

function defaultProbe({ config }: CausalLM): number[] {
  const draws = Key.fromSeed(0).uniformHost(Math.min(32, config.maxPositionEmbeddings));
  return Array.from(draws, (u) => Math.floor(u * config.vocabSize));
}

/** Logits of every position, flat. */
async function logitsOf(model: CausalLM, tokens: readonly number[], hooks: LayerHooks): Promise<number[]> {
  const { network, weights } = model;
  const shape = [1, tokens.length];
  const input = {
    tokens: tensor(Int32Array.from(tokens), shape, 'int32'),
    positions: iota(shape, 1),
    segments: zeros(shape, 'int32'),
  };
  const hidden = network.hidden(weights, input, hooks);
  const states = hidden.reshape([tokens.length, hidden.shape[2]!]);
  const logits = network.logits(weights, states, hooks);
  await realize([logits], { engine: model.engine });
  return logits.toArray();
}
