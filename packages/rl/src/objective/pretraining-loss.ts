import { custom, type Given, integer, number, options, PosttrainError } from '@posttrain/interfaces';
import type { CausalLM } from '@posttrain/lm';
import {
  contentHash,
  RowOrder,
  type SftRow,
  type TokenizedRow,
  tokenizeRows,
  toTrainingRows,
  weightedSum,
} from '@posttrain/training';
import type { BesideLoss } from '../beside-loss.js';

export const pretrainingLossShape = {
  /** Texts (`{ text }`), or rows in any other format of `sft`. */
  rows: custom<readonly SftRow[]>()(
    'a list of at least one row, such as { text }',
    (value) => Array.isArray(value) && value.length > 0,
    { settings: (rows) => contentHash(rows) },
  ),
  /** What the loss counts beside that of the policy: MiniLLM's `lm-coef`, InstructGPT's γ. Default 1. */
  coefficient: number({ default: 1, min: 0 }),
  /** Rows of an update. Default 8. */
  batchSize: integer({ default: 8, min: 1 }),
  /** Longer rows are cut. Default: the model's context, at most 1024. */
  maxLength: integer({ optional: true, min: 2 }),
  /** Which order the rows come in: every epoch has a shuffle of its own. Default 0. */
  seed: integer({ default: 0 }),
};
const pretrainingLossOptions = options('pretrainingLoss', pretrainingLossShape);
/** Options of `pretrainingLoss`. */
export type PretrainingLossOptions = Given<typeof pretrainingLossOptions>;

/**
 * The language modelling loss of plain texts beside a policy's own (L_PT of MiniLLM, arXiv 2306.08543, §2.2, eq. 6 and algorithm 1; PPO-ptx of
 * InstructGPT, arXiv 2203.02155, §3.5):
 *
 *   + coefficient · (-1 / Σ|d|) Σ_d Σ_t log π(d_t | d_<t)   over the `batchSize` texts d of an update, in nats
 *
 * of the logits as they are, whatever temperature the policy samples at. It is the part `beside` of an objective. Metric: `pretraining_loss`,
 * without the coefficient.
 *
 * @throws OptionError; before the first step SftRowError naming a row that cannot be tokenized, PosttrainError SFT_OPTIONS for a `maxLength` beyond the context
 */
export function pretrainingLoss(given: PretrainingLossOptions): BesideLoss {
  const { rows, coefficient, batchSize, maxLength, seed } = pretrainingLossOptions.read(given);
  const known = new WeakMap<CausalLM, { readonly all: readonly TokenizedRow[]; readonly order: RowOrder }>();
  const tokenized = (model: CausalLM) => {
    const found = known.get(model);
    if (found) return found;
    const { rows: all } = tokenizeRows(model, rows, maxLength === undefined ? {} : { maxLength });
    if (all.length === 0) {
      throw new PosttrainError('OBJECTIVE', `pretrainingLoss: maxLength ${maxLength} cuts off all that its rows train`);
    }
    const made = { all, order: new RowOrder(all.length, seed) };
    known.set(model, made);
    return made;
  };
  return {
    name: 'pretraining',
    settings: pretrainingLossOptions.settings(given),
    loss: {
      name: 'pretraining',
      annotations: [],
      compute({ logProbs, weights }) {
        const nll = weightedSum(logProbs.neg(), weights);
        return { loss: nll.mul(coefficient), metrics: { pretraining_loss: nll } };
      },
    },
    rows(model, update) {
      const { all, order } = tokenized(model);
      return toTrainingRows(Array.from({ length: batchSize }, (_, i) => all[order.at(update * batchSize + i)]!));
    },
  };
}
