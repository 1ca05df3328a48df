import { custom, type Given, integer, OptionError, options, PosttrainError } from '@posttrain/interfaces';
import type { CausalLM } from '@posttrain/lm';
import {
  collectRows,
  contentHash,
  isRows,
  ROWS,
  RowOrder,
  type Rows,
  rowsHint,
  type UncheckedRows,
} from '@posttrain/training';
import { type TokenizedCompletion, tokenizeUnpaired, type UnpairedRow } from '../preference/unpaired-rows.js';
import { singleTurn } from '../rollout/single-turn.js';
import { samplingOf, samplingShape } from './policy-options.js';
import type { PreferenceSource } from './preference-source.js';

/** A prompt and a completion that people wrote. */
export type SpinRow = Omit<UnpairedRow, 'label'>;

const spinPairsOptions = options('spinPairs', {
  /** `{ prompt, completion }`, as for supervised fine-tuning. Every epoch has an order of its own. */
  rows: custom<Rows<SpinRow> | UncheckedRows>()(ROWS, isRows, { decisive: false, hint: rowsHint }),
  /** Most tokens of a sampled completion. Default: as many as the longest completion of the step has, and at least 16. */
  maxCompletionLength: integer({ optional: true, min: 1 }),
  ...samplingShape,
  /** Memory only: completions decoded together. Default 64. */
  maxBatch: integer({ default: 64, min: 1, decisive: false }),
});
/** Options of `spinPairs`. */
export type SpinPairsOptions = Given<typeof spinPairsOptions>;

const SHORTEST = 16;

/**
 * SPIN, self-play fine-tuning (arXiv 2401.01335): the completion of the row is chosen, and what the opponent says instead is rejected. The
 * opponent is the policy of the iteration before, which is also what the loss compares with: the `reference` of `trainPreferences`. One
 * iteration is one run of it, with `preferenceLosses.sigmoid()`; the next one begins with the model that came out, or with the adapter
 * that did as `adapter` and as `reference`. The policy stands still where it says what the rows say. Metric: `completions/mean_length`.
 *
 * @throws OptionError, PreferenceRowError before the first step
 */
export function spinPairs(given: SpinPairsOptions): PreferenceSource {
  const settings = spinPairsOptions.read(given);
  let begun: { readonly model: CausalLM; readonly rows: readonly TokenizedCompletion[] } | undefined;
  let order: RowOrder;
  return {
    name: 'spin-pairs',
    settings: spinPairsOptions.settings(given),
    async begin({ model, seed, maxLength, ...context }) {
      const { rows } = await collectRows<SpinRow>('spinPairs', settings.rows, context);
      const tokens = rows.flatMap((row, i) => tokenizeUnpaired(model, { ...row, label: true }, i, maxLength) ?? []);
      if (tokens.length < rows.length) {
        const problem = `the prompts of ${rows.length - tokens.length} rows fill maxLength ${maxLength}; leave them out.`;
        throw new OptionError('INVALID_OPTION', 'spinPairs', 'rows', problem);
      }
      // The opponent stays as it is: where all weights are trained, the model of a later request is another one.
      begun = { model, rows: tokens };
      order = new RowOrder(tokens.length, seed);
      return { rows: contentHash(tokens) };
    },
    async next({ count, step, key, signal, reference, referenceModel, packWeights, maxLength }) {
      if (!begun) throw new PosttrainError('SPIN_PAIRS', 'spinPairs: begin() was not called before next()');
      const { rows, model = begun.model } = { rows: begun.rows, model: referenceModel };
      const chosen = Array.from({ length: count }, (_, i) => rows[order.at(step * count + i)]!);
      const longest = Math.max(SHORTEST, ...chosen.map(({ completionTokens }) => completionTokens.length));
      const sampling = samplingOf({ ...settings, maxCompletionLength: settings.maxCompletionLength ?? longest });
      const sampled = await singleTurn().sample({
        ...{ model, adapter: reference, packWeights, key, step, signal, sampling, maxBatch: settings.maxBatch },
        rows: chosen.map(() => ({ prompt: '' })),
        prompts: chosen.map(({ promptTokens }) => promptTokens),
        ...{ completionsPerPrompt: 1, firstGroup: 0 },
      });
      const pairs = chosen.map(({ promptTokens, completionTokens }, i) => ({
        promptTokens,
        chosenTokens: completionTokens,
        rejectedTokens: sampled[i]!.completionTokens.slice(0, maxLength - promptTokens.length),
      }));
      const total = pairs.reduce((sum, { rejectedTokens }) => sum + rejectedTokens.length, 0);
      return { rows: pairs, metrics: { 'completions/mean_length': total / pairs.length } };
    },
  };
}
