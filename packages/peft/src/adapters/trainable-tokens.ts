import { type Tensor, tensor, where } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { custom, nearestName } from '@posttrain/interfaces';
import { floatWeight, type LayerHooks, type ModuleInfo } from '@posttrain/lm';
import { AdapterConfigError, TargetModulesError } from './errors.js';
import { orNull } from './method-options.js';
import type { AdaptableModel } from './peft-adapter.js';

/** Rows of an embedding or of the output layer that are trained, as copies. */
export interface TokenRows {
  /** PEFT's key of the rows [tokens, width]. */
  readonly name: string;
  readonly module: ModuleInfo;
  readonly indices: readonly number[];
  /** The output layer of the same weight, which has the same rows. */
  readonly tied?: string;
}

/** What `trainableTokenIndices` may be. */
export type TokenIndices = readonly number[] | Readonly<Record<string, readonly number[]>>;

const isIds = (value: unknown): boolean =>
  Array.isArray(value) && value.length > 0 && value.every((id) => Number.isSafeInteger(id) && id >= 0);

/** For methods that have it beside `targetOptions`. */
export const tokensOption = {
  /**
   * Tokens whose embeddings are trained, as copies of those rows, and which an output layer of the same weight has too: token ids of the embedding,
   * or an object of token ids by module (`embed_tokens`, `lm_head`). Default: none.
   */
  trainableTokenIndices: orNull(
    custom<TokenIndices>()(
      'a list of token ids or an object of such lists by module',
      (value) =>
        isIds(value) ||
        (typeof value === 'object' &&
          value !== null &&
          !Array.isArray(value) &&
          Object.keys(value).length > 0 &&
          Object.values(value).every(isIds)),
      { default: [0] },
    ),
  ),
};

/**
 * The rows that `trainableTokenIndices` means. As in PEFT, a tied output layer follows the embedding, unless both are named with other
 * tokens.
 *
 * @throws AdapterConfigError for tokens that are none or named twice, and for a module that is trained otherwise too; TargetModulesError
 */
export function matchTokens(
  { network }: AdaptableModel,
  given: TokenIndices,
  others: readonly ModuleInfo[],
  { ensureWeightTying = false }: { readonly ensureWeightTying?: boolean } = {},
): readonly TokenRows[] {
  const modules = [...network.modules.values()].filter(({ kind }) => kind === 'embedding' || kind === 'head');
  const input = modules.find(({ kind }) => kind === 'embedding')!;
  const asked = Array.isArray(given) ? { [input.name]: given as readonly number[] } : given;
  const rows = Object.entries(asked as Readonly<Record<string, readonly number[]>>).map(([entry, indices]) => {
    const module = modules.find(({ name }) => name === entry || name.endsWith(`.${entry}`));
    if (!module) {
      const names = modules.map(({ name }) => name);
      const near = nearestName(entry, [...names, ...names.map((name) => name.slice(name.lastIndexOf('.') + 1))]);
      throw new TargetModulesError(
        `trainableTokenIndices: "${entry}" is no embedding and no output layer.${near ? ` Did you mean "${near}"?` : ''} There are ${names.join(', ')}.`,
      );
    }
    const wrong = indices.find((id, i) => id >= module.outFeatures || indices.indexOf(id) !== i);
    if (wrong !== undefined) {
      const problem = wrong >= module.outFeatures ? `there are ${module.outFeatures} tokens` : 'it is there twice';
      throw new AdapterConfigError(`trainableTokenIndices of ${module.name}: ${wrong}, and ${problem}`);
    }
    return { name: `${module.name}.token_adapter.trainable_tokens_delta`, module, indices };
  });
  const ofInput = rows.find(({ module }) => module === input);
  const head = modules.find(({ tiedTo }) => tiedTo === input.name);
  const ofHead = head && rows.find(({ module }) => module === head);
  if (ensureWeightTying && ofInput && ofHead && ofHead.indices.join() !== ofInput.indices.join()) {
    throw new AdapterConfigError(
      `ensureWeightTying: trainableTokenIndices names other tokens for ${head.name} than for ${input.name}, which have one weight; name the same`,
    );
  }
  const follows = ofInput && head && (!ofHead || ofHead.indices.join() === ofInput.indices.join());
  const kept = follows
    ? rows.filter((one) => one !== ofHead).map((one) => (one === ofInput ? { ...one, tied: head.name } : one))
    : rows;
  const names = new Set(others.map(({ name }) => name));
  for (const { module, tied } of kept as readonly TokenRows[]) {
    const twice = [module.name, tied].find((name) => name !== undefined && names.has(name));
    if (twice === undefined) continue;
    throw new AdapterConfigError(`trainableTokenIndices: ${twice} is among targetModules or modulesToSave already`);
  }
  return kept;
}

/** The rows as the model has them. Lazy. */
export const tokenRowsOf = ({ weights }: AdaptableModel, rows: readonly TokenRows[]): Named =>
  Object.fromEntries(
    rows.map(({ name, module, indices }) => [
      name,
      floatWeight(module, weights).gather(tensor(Int32Array.from(indices))),
    ]),
  );

/** Hooks that have the trained rows in the place of the model's. */
export function withTokenRows(rows: readonly TokenRows[], parameters: Named, own: LayerHooks): LayerHooks {
  if (rows.length === 0) return own;
  const places = new Map(
    rows.flatMap((one) => [one.module.name, one.tied ?? one.module.name].map((name) => [name, one])),
  );
  return {
    ...own,
    embedding(tokens, layer) {
      const inner = own.embedding ? own.embedding(tokens, layer) : layer.apply(tokens);
      const one = places.get(layer.name);
      if (!one) return inner;
      const slots = slotsOf(one).gather(tokens);
      return chosen(slots, parameters[one.name]!, inner);
    },
    headWeight(layer) {
      const inner = own.headWeight ? own.headWeight(layer) : layer.weight;
      const one = places.get(layer.name);
      return one ? chosen(slotsOf(one), parameters[one.name]!, inner) : inner;
    },
  };
}

/** Whole weights with the trained rows, by names of weights. */
export const mergedTokenRows = ({ weights }: AdaptableModel, rows: readonly TokenRows[], parameters: Named): Named =>
  Object.fromEntries(
    rows.map((one) => [
      `${one.module.name}.weight`,
      chosen(slotsOf(one), parameters[one.name]!, floatWeight(one.module, weights)),
    ]),
  );

/** int32 [vocabulary]: 1 + the place of a token among the rows, 0 for all others. */
function slotsOf({ module, indices }: TokenRows): Tensor {
  const slots = new Int32Array(module.outFeatures);
  for (const [i, id] of indices.entries()) slots[id] = i + 1;
  return tensor(slots);
}

/** slots int32 [...], rows [n, width], others [..., width] → [..., width]. */
function chosen(slots: Tensor, rows: Tensor, others: Tensor): Tensor {
  const own = rows.gather(slots.sub(1).maximum(0));
  return where(slots.equal(0).reshape([...slots.shape, 1]), others, own);
}
