import { leavesOf, realize, stack, type Tensor } from '@posttrain/core-tensor';
import { PosttrainError } from '@posttrain/interfaces';
import type { Adapter } from '../model/adapter.js';
import type { Weights } from '../model/layers.js';

/** A model, or its adapter, computed numbers that are NaN or infinite. Only what asked for them fails. */
export class NonFiniteLogitsError extends PosttrainError {
  /** The first tensor that holds such a number, its adapter's name before it; undefined where all are finite or nobody looked. */
  readonly tensor: string | undefined;

  constructor(what = 'generate: the model gave logits that are not numbers', tensor?: string, why?: string) {
    super('NON_FINITE_LOGITS', `${what}; ${why ?? 'check its weights'}`);
    this.tensor = tensor;
  }
}

export interface NonFiniteSource {
  readonly weights: Weights;
  readonly adapter?: Adapter | undefined;
}

/** The same error with what is to blame, if it is a `NonFiniteLogitsError`; any other as it is. */
export async function explained(error: unknown, { weights, adapter }: NonFiniteSource): Promise<unknown> {
  if (!(error instanceof NonFiniteLogitsError) || error.tensor !== undefined) return error;
  const what = error.message.split(';', 1)[0]!;
  try {
    const own = adapter && (await firstNonFinite(adapter.parameters as object));
    if (own !== undefined) {
      const tensor = `${adapter!.name}: ${own}`;
      return new NonFiniteLogitsError(what, tensor, `the adapter "${adapter!.name}" is not finite in ${own}`);
    }
    const theirs = await firstNonFinite(weights);
    if (theirs !== undefined) {
      return new NonFiniteLogitsError(what, theirs, `the model's weights are not finite in ${theirs}`);
    }
    const whose = adapter ? `the numbers of the model and of the adapter "${adapter.name}"` : "the model's weights";
    const why = `${whose} are finite, but overflow on the way: they are too large, as those of a run that diverged are`;
    return new NonFiniteLogitsError(what, undefined, why);
  } catch {
    // Tensors that were given away cannot be looked at.
    return error;
  }
}

/** What has been found; an unlucky client may ask again and again. */
const known = new WeakMap<object, Promise<string | undefined>>();
/** Tensors that are looked at together. */
const TOGETHER = 64;

/** The path of the first tensor of a tree with a number that is NaN or infinite. */
function firstNonFinite(tree: object): Promise<string | undefined> {
  const found = known.get(tree) ?? find(tree);
  known.set(tree, found);
  found.catch(() => known.delete(tree));
  return found;
}

async function find(tree: object): Promise<string | undefined> {
  const leaves = leavesOf(tree).filter(({ tensor }) => tensor.dtype.startsWith('float') && tensor.size > 0);
  for (let from = 0; from < leaves.length; from += TOGETHER) {
    const some = leaves.slice(from, from + TOGETHER);
    const zeros = stack(some.map(({ tensor }) => zeroIfFinite(tensor)));
    await realize([zeros], { engine: 'operands' });
    const sums = await zeros.data();
    const at = sums.findIndex((sum) => sum !== 0);
    if (at >= 0) return some[at]!.path;
  }
  return undefined;
}

/** 0 · x is NaN where x is not finite. */
const zeroIfFinite = (x: Tensor): Tensor => x.cast('float32').mul(0).sum();

/** @throws NonFiniteLogitsError, with what is to blame, when one of the numbers is NaN */
export async function checkNumbers(
  what: string,
  lists: readonly Float32Array[],
  source: NonFiniteSource,
): Promise<void> {
  if (!lists.some((list) => list.some(Number.isNaN))) return;
  throw await explained(new NonFiniteLogitsError(`${what}: the model gave results that are not numbers`), source);
}
