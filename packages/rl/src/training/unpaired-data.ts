import { sequenceLogProb, type Trainer, type TrainingRow, update } from '@posttrain/training';
import {
  annotateUnpaired,
  type UnpairedCompletion,
  type UnpairedLoss,
  unpairedLoss,
} from '../preference/unpaired-loss.js';
import { type TokenizedCompletion, tokenizeUnpaired, type UnpairedRow } from '../preference/unpaired-rows.js';
import { measuring, type PreferenceKind, type PreferenceSettings } from './preference-kind.js';
import { referenceLogProbs } from './reference-log-probs.js';

/** Single completions, for a loss over them. */
export function unpairedKind(
  preference: UnpairedLoss,
  settings: PreferenceSettings,
): PreferenceKind<UnpairedRow | TokenizedCompletion> {
  const { model, maxLength } = settings;
  const loss = unpairedLoss(preference);
  const numbersOf = async (trainer: Trainer, chosen: readonly UnpairedCompletion[]) =>
    (await preference.before?.({ mismatchedLogRatios: () => mismatchedLogRatios(trainer, chosen, settings) })) ?? {};
  return {
    ...{ called: 'completions', code: 'PREFERENCE_ROWS', needs: '' },
    async ready(rows) {
      const fitting = rows.flatMap((row, i) => tokenizeUnpaired(model, row, i, maxLength) ?? []);
      const references = await referenceLogProbs(settings, fitting);
      const completions = fitting.map((completion, i) => ({ ...completion, reference: references[i]! }));
      return {
        ...{ rows: fitting, dropped: rows.length - fitting.length, identical: 0 },
        async update(trainer, indices, rate) {
          const chosen = indices.map((i) => completions[i]!);
          const scalars = await numbersOf(trainer, chosen);
          const result = await update(trainer, annotateUnpaired(chosen), loss, rate, { scalars });
          return { ...result, metrics: { ...result.metrics, ...scalars } };
        },
        evaluation() {
          const annotated = annotateUnpaired(completions);
          return measuring(annotated, async (trainer) => {
            const scalars = await numbersOf(trainer, completions);
            const { loss: value, metrics } = await trainer.evaluate(annotated, loss, { scalars });
            return { loss: value, metrics: { ...metrics, ...scalars } };
          });
        },
      };
    },
  };
}

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
  const rows = mismatched.map(({ promptTokens, completionTokens }): TrainingRow => {
    const weights = [...promptTokens.slice(1).map(() => 0), ...completionTokens.map(() => 1)];
    return { tokens: [...promptTokens, ...completionTokens], weights };
  });
  const policy = await trainer.read(rows, sequenceLogProb);
  const reference = await referenceLogProbs(settings, mismatched);
  return policy.map(([sum], i) => sum! - reference[i]!.reduce((a, b) => a + b, 0));
}
