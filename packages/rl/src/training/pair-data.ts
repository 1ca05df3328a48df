import { evaluateCoupled, forwardBackwardCoupled, lossOnRows, update, updateBy } from '@posttrain/training';
import {
  annotatePairs,
  coupledPairs,
  type PreferenceLoss,
  preferenceTokenLoss,
  type ReferredPair,
  type TokenizedPair,
} from '../preference/preference-loss.js';
import { type PreferenceRow, tokenizePair } from '../preference/preference-rows.js';
import { measuring, type PreferenceKind, type PreferenceSettings } from './preference-kind.js';
import { referenceLogProbs } from './reference-log-probs.js';

/** Pairs, for a loss over them. */
export function pairKind(
  loss: PreferenceLoss,
  settings: PreferenceSettings,
): PreferenceKind<PreferenceRow | TokenizedPair> {
  const { model, maxLength } = settings;
  const tokenLoss = loss.coupled ? undefined : preferenceTokenLoss(loss);
  return {
    ...{ called: 'pairs', code: 'DPO', needs: ' and two completions that differ before it' },
    async ready(rows) {
      const fitting = rows.flatMap((row, i) => tokenizePair(model, row, i, maxLength) ?? []);
      // Their gradient is zero but for rounding, of which Adam would make updates of full size.
      const pairs = fitting.filter((pair) => String(pair.chosenTokens) !== String(pair.rejectedTokens));
      const referred = loss.reference === false ? pairs : await withReferences(pairs, settings);
      return {
        rows: pairs,
        dropped: rows.length - fitting.length,
        identical: fitting.length - pairs.length,
        update(trainer, indices, rate) {
          const chosen = indices.map((i) => referred[i]!);
          const annotated = annotatePairs(chosen, loss);
          if (tokenLoss) return update(trainer, annotated, tokenLoss, rate);
          const coupled = coupledPairs(loss, chosen);
          return updateBy(trainer, () => forwardBackwardCoupled(trainer, annotated, coupled), rate);
        },
        evaluation() {
          const annotated = annotatePairs(referred, loss);
          if (tokenLoss) return lossOnRows(annotated, tokenLoss);
          return measuring(annotated, (trainer) => evaluateCoupled(trainer, annotated, coupledPairs(loss, referred)));
        },
      };
    },
  };
}

async function withReferences(pairs: readonly TokenizedPair[], settings: PreferenceSettings): Promise<ReferredPair[]> {
  const scored = await referenceLogProbs(
    settings,
    pairs.flatMap(({ promptTokens, chosenTokens, rejectedTokens }) => [
      { promptTokens, completionTokens: chosenTokens },
      { promptTokens, completionTokens: rejectedTokens },
    ]),
  );
  return pairs.map((pair, i) => ({ ...pair, reference: { chosen: scored[2 * i]!, rejected: scored[2 * i + 1]! } }));
}
