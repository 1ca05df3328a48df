import {
  type CandidateScorer,
  custom,
  type Given,
  integer,
  oneOf,
  options,
  PosttrainError,
  type Prompt,
} from '@posttrain/interfaces';
import { RowError } from '../errors.js';
import { kindOf, ownValue, type Row } from '../rows.js';
import { highest, type SelectionStep, scoreRows, selectionStep } from '../selection/selection-step.js';
import { type UncertaintyMeasure, uncertaintyMeasures } from './uncertainty.js';

const uncertaintyOptions = options('uncertaintySelect', {
  /** One model, or a committee of them, or several passes of one with dropout. */
  members: custom<readonly CandidateScorer[]>()(
    'a list of CandidateScorers ({ name, distributions(requests) }), at least one',
    (value) =>
      Array.isArray(value) &&
      value.length > 0 &&
      value.every((one: Partial<CandidateScorer> | null) => typeof one?.distributions === 'function'),
    { settings: (members) => members.map(({ name }) => name).join(', ') },
  ),
  /** The labels, or what could be answered, two or more. */
  candidates: custom<readonly string[]>()(
    'a list of two texts or more',
    (value) => Array.isArray(value) && value.length > 1 && value.every((one) => typeof one === 'string'),
    { settings: (candidates) => JSON.stringify(candidates) },
  ),
  /** Default `entropy` of one model, `bald` of several. */
  measure: oneOf(Object.keys(uncertaintyMeasures) as UncertaintyMeasure[], { optional: true }),
  /** How many rows are chosen to be labelled. */
  count: integer({ min: 1 }),
  /** Rows that are asked about in one call. Default 64. */
  batchSize: integer({ default: 64, min: 1, decisive: false }),
});
/** Options of `uncertaintySelect`. */
export type UncertaintySelectOptions = Given<typeof uncertaintyOptions>;

/**
 * Active learning by uncertainty (survey of active learning with language models, arXiv 2502.11767 §4): the rows whose label, of `candidates`, the models are least sure of. Least confidence, margin and
 * entropy of one model; BALD (1112.5745), vote entropy and disagreement of several. Rows have a `prompt`.
 *
 * @throws OptionError; RowError for a row without prompt; PosttrainError `BAD_RESPONSE`
 */
export function uncertaintySelect<R extends object = Row>(given: UncertaintySelectOptions): SelectionStep<R> {
  const {
    members,
    candidates,
    count,
    batchSize,
    measure = members.length > 1 ? 'bald' : 'entropy',
  } = uncertaintyOptions.read(given);
  return selectionStep(
    'uncertainty select',
    JSON.stringify(uncertaintyOptions.settings(given)),
    'the models are surer of it',
    async (rows, context) => {
      const scores = await scoreRows(rows, context, batchSize, async (batch, first) => {
        const requests = batch.map((row, i) => ({ prompt: promptOf(row, first + i), candidates }));
        const all = await Promise.all(members.map((one) => one.distributions(requests)));
        const wrong = all.findIndex((own) => own.length !== batch.length);
        if (wrong >= 0) {
          const problem = `${members[wrong]!.name} returned ${all[wrong]!.length} distributions for ${batch.length} requests`;
          throw new PosttrainError('BAD_RESPONSE', problem);
        }
        return batch.map((_, i) => uncertaintyMeasures[measure](all.map((own) => own[i]!.probabilities)));
      });
      return highest(scores, { count, share: 1 });
    },
  );
}

function promptOf(row: object, rowNumber: number): Prompt {
  const prompt = ownValue(row, 'prompt');
  if (typeof prompt === 'string' || Array.isArray(prompt)) return prompt as Prompt;
  throw new RowError(rowNumber, 'prompt', `must be a text or messages, got ${kindOf(prompt)}.`);
}
