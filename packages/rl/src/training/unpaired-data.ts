import { type Metrics, sequenceLogProb, type Trainer, type TrainingRow, update } from '@posttrain/training';
import { columnsOf } from '../preference/preference-rows.js';
import { annotateUnpaired, type UnpairedCompletion, type UnpairedLoss } from '../preference/unpaired-loss.js';
import { type TokenizedCompletion, tokenizeUnpaired, type UnpairedRow } from '../preference/unpaired-rows.js';
import { type PreferenceKind, type PreferenceSettings, preferenceKindOf } from './preference-kind.js';
import { referenceLogProbs } from './reference-log-probs.js';

/** Single completions, for a loss over them. */
export function unpairedKind(
  loss: UnpairedLoss,
  settings: PreferenceSettings,
): PreferenceKind<UnpairedRow | TokenizedCompletion> {
  const { model, maxLength } = settings;
  let previous: Readonly<Record<string, number>> | undefined;
  const numbersOf = async (trainer: Trainer, chosen: readonly UnpairedCompletion[], isEvaluation = false) =>
    (await loss.before?.({
      mismatchedLogRatios: () => mismatchedLogRatios(trainer, chosen, settings),
      logRatios: () => logRatios(trainer, chosen),
      ...{ previous, isEvaluation },
    })) ?? {};
  return preferenceKindOf<UnpairedRow | TokenizedCompletion, TokenizedCompletion, UnpairedCompletion>(
    {
      ...{ called: 'completions', code: 'PREFERENCE_ROWS', needs: '', loss },
      tokenize(row, i) {
        const tokens = tokenizeUnpaired(model, row, i, maxLength);
        if (!tokens || !loss.columns) return tokens;
        const given = 'promptTokens' in row ? (row.columns ?? {}) : row;
        return { ...tokens, columns: columnsOf(given, loss.columns, i) };
      },
      completionsOf: (completion) => [completion],
      refer: (completion, logProbs) => ({ ...completion, reference: logProbs![0]! }),
      annotate: (completions) => annotateUnpaired(completions, loss),
      async update(trainer, { referred, rows, loss: lifted }, rate) {
        const scalars = await numbersOf(trainer, referred);
        const result = await update(trainer, rows, lifted(), rate, { scalars });
        previous = scalars;
        return { ...result, metrics: { ...known(result.metrics, referred), ...scalars } };
      },
      async evaluate(trainer, { referred, rows, loss: lifted }) {
        const scalars = await numbersOf(trainer, referred, true);
        const { loss: value, metrics } = await trainer.evaluate(rows, lifted(), { scalars });
        return { loss: value, metrics: { ...known(metrics, referred), ...scalars } };
      },
      state: () => previous,
      load(state) {
        previous = state as typeof previous;
      },
    },
    settings,
  );
}

/** Metrics without the means over what is not there: a step of desirable completions alone has none of rejected ones. */
function known(metrics: Metrics, completions: readonly UnpairedCompletion[]): Metrics {
  const has = (desirable: boolean) => completions.some((one) => one.desirable === desirable);
  const absent = [...(has(true) ? [] : ['chosen', 'margins']), ...(has(false) ? [] : ['rejected', 'margins'])];
  if (absent.length === 0) return metrics;
  const isMean = (name: string) => /^(rewards|logps)\//.test(name) && absent.includes(name.split('/')[1]!);
  return Object.fromEntries(Object.entries(metrics).filter(([name]) => !isMean(name)));
}

/** Of what is trained on, without its gradient. */
async function logRatios(trainer: Trainer, completions: readonly UnpairedCompletion[]): Promise<number[]> {
  const policy = await trainer.read(completions.map(rowOf), sequenceLogProb);
  return policy.map(([sum], i) => sum! - sumOf(completions[i]!.reference));
}

const sumOf = (values: ArrayLike<number>) => Array.prototype.reduce.call(values, (a, b) => a + b, 0) as number;

/** Each token of the completion counts 1. */
const rowOf = ({
  promptTokens,
  completionTokens,
}: Pick<UnpairedCompletion, 'promptTokens' | 'completionTokens'>): TrainingRow => ({
  tokens: [...promptTokens, ...completionTokens],
  weights: [...promptTokens.slice(1).map(() => 0), ...completionTokens.map(() => 1)],
});

/** See `UnpairedStep`. */
async function mismatchedLogRatios(
  trainer: Trainer,
  completions: readonly UnpairedCompletion[],
  settings: PreferenceSettings,
): Promise<number[]> {
  const mismatched = completions.map(({ promptTokens }, i) => {
    const { completionTokens } = completions[(i + completions.length - 1) % completions.length]!;
    const room = Math.max(1, settings.maxLength - promptTokens.length);
    return { promptTokens, completionTokens: completionTokens.slice(0, room) };
  });
  const policy = await trainer.read(mismatched.map(rowOf), sequenceLogProb);
  const reference = await referenceLogProbs(settings, mismatched);
  return policy.map(([sum], i) => sum! - sumOf(reference[i]!));
}
