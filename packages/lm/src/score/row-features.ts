import { custom, type Given, oneOf, options, PosttrainError, type RowFeatures } from '@posttrain/interfaces';
import type { Adapter } from '../model/adapter.js';
import type { RunnableModel } from '../model/network.js';
import type { TextModel } from '../prompts/prompt-tokens.js';
import { tokenizeCompletion } from '../prompts/tokenize-completion.js';
import { hiddenStates } from './hidden-states.js';

const rowFeaturesOptions = options('rowFeatures', {
  /**
   * What of the completion's tokens counts: their `mean`, the largest of each component, or the `last` one, which has
   * seen all. Default `mean`.
   */
  pooling: oneOf(['mean', 'max', 'last'], { default: 'mean' }),
  /** Asked before every call. Default: none. */
  adapter: custom<() => Adapter>()('a function that gives an adapter', (value) => typeof value === 'function', {
    optional: true,
  }),
});
/** Options of `rowFeatures`. */
export type RowFeaturesOptions = Given<typeof rowFeaturesOptions>;

/**
 * Rows as the final, normalised hidden states of a model, pooled over the tokens of their completion, its end token
 * among them; the prompt is seen and not pooled. Vectors of the model's width.
 *
 * @throws OptionError; PosttrainError `ROW_FEATURES` for a completion without tokens of its own; what
 *   `tokenizeCompletion` throws
 */
export function rowFeatures(model: RunnableModel & TextModel, given: RowFeaturesOptions = {}): RowFeatures {
  const { pooling, adapter } = rowFeaturesOptions.read(given);
  return {
    name: `hidden states of ${model.name}`,
    dimension: model.network.config.hiddenSize,
    async features(requests, { signal } = {}) {
      signal?.throwIfAborted();
      const rows = requests.map(({ prompt, completion: content }, i) => {
        const completion = typeof prompt === 'string' ? content : [{ role: 'assistant' as const, content }];
        const { tokens, start } = tokenizeCompletion(model, prompt, completion);
        if (start < tokens.length) return { tokens, start };
        throw new PosttrainError('ROW_FEATURES', `rowFeatures: row ${i} has no token that its prompt alone has not`);
      });
      const sequences = rows.map(({ tokens }) => tokens);
      const states = await hiddenStates(model, sequences, adapter ? { adapter: adapter() } : {});
      signal?.throwIfAborted();
      return states.map((ofRow, i) => POOLS[pooling](ofRow.slice(rows[i]!.start)));
    },
  };
}

const POOLS: Record<'mean' | 'max' | 'last', (states: readonly Float32Array[]) => Float32Array> = {
  mean: (states) => states[0]!.map((_, j) => states.reduce((sum, state) => sum + state[j]!, 0) / states.length),
  max: (states) => states[0]!.map((_, j) => Math.max(...states.map((state) => state[j]!))),
  last: (states) => states.at(-1)!,
};
