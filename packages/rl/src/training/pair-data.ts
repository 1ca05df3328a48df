import { evaluateCoupled, forwardBackwardCoupled, update, updateBy } from '@posttrain/training';
import {
  annotatePairs,
  coupledPairs,
  type PreferenceLoss,
  type ReferredPair,
  type TokenizedPair,
} from '../preference/preference-loss.js';
import { columnsOf, isTokenizedPair, type PreferenceRow, tokenizePair } from '../preference/preference-rows.js';
import { type PreferenceKind, type PreferenceSettings, preferenceKindOf } from './preference-kind.js';

/** Pairs, for a loss over them. */
export function pairKind(
  loss: PreferenceLoss,
  settings: PreferenceSettings,
): PreferenceKind<PreferenceRow | TokenizedPair> {
  const { model, maxLength } = settings;
  return preferenceKindOf<PreferenceRow | TokenizedPair, TokenizedPair, ReferredPair>(
    {
      ...{ called: 'pairs', code: 'DPO', needs: ' and two completions that differ before it', loss },
      tokenize(row, i) {
        const pair = tokenizePair(model, row, i, maxLength);
        if (!pair || !loss.columns) return pair;
        return { ...pair, columns: columnsOf(isTokenizedPair(row) ? (row.columns ?? {}) : row, loss.columns, i) };
      },
      // Their gradient is zero but for rounding, of which Adam would make updates of full size.
      differs: ({ chosenTokens, rejectedTokens }) =>
        loss.learnsFromEqual === true || String(chosenTokens) !== String(rejectedTokens),
      completionsOf: ({ promptTokens, chosenTokens, rejectedTokens }) => [
        { promptTokens, completionTokens: chosenTokens },
        { promptTokens, completionTokens: rejectedTokens },
      ],
      refer: (pair, logProbs) =>
        logProbs ? { ...pair, reference: { chosen: logProbs[0]!, rejected: logProbs[1]! } } : pair,
      annotate: (pairs) => annotatePairs(pairs, loss),
      update(trainer, { referred, rows, loss: lifted }, rate) {
        if (!loss.coupled) return update(trainer, rows, lifted(), rate);
        return updateBy(trainer, () => forwardBackwardCoupled(trainer, rows, coupledPairs(loss, referred)), rate);
      },
      evaluate: (trainer, { referred, rows, loss: lifted }) =>
        loss.coupled ? evaluateCoupled(trainer, rows, coupledPairs(loss, referred)) : trainer.evaluate(rows, lifted()),
    },
    settings,
  );
}
