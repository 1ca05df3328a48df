import { sequenceLogProb, type Trainer, type TrainingRow, update } from '@posttrain/training';
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
  const numbersOf = async (trainer: Trainer, chosen: readonly UnpairedCompletion[]) =>
    (await loss.before?.({ mismatchedLogRatios: () => mismatchedLogRatios(trainer, chosen, settings) })) ?? {};
  return preferenceKindOf<UnpairedRow | TokenizedCompletion, TokenizedCompletion, UnpairedCompletion>(
    {
      ...{ called: 'completions', code: 'PREFERENCE_ROWS', needs: '', loss },
      tokenize: (row, i) => tokenizeUnpaired(model, row, i, maxLength),
      completionsOf: (completion) => [completion],
      refer: (completion, logProbs) => ({ ...completion, reference: logProbs![0]! }),
      annotate: annotateUnpaired,
      async update(trainer, { referred, rows, loss: lifted }, rate) {
        const scalars = await numbersOf(trainer, referred);
        const result = await update(trainer, rows, lifted(), rate, { scalars });
        return { ...result, metrics: { ...result.metrics, ...scalars } };
      },
      async evaluate(trainer, { referred, rows, loss: lifted }) {
        const scalars = await numbersOf(trainer, referred);
        const { loss: value, metrics } = await trainer.evaluate(rows, lifted(), { scalars });
        return { loss: value, metrics: { ...metrics, ...scalars } };
      },
    },
    settings,
  );
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
