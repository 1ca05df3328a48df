import { lossOnRows, update } from '@posttrain/training';
import { annotateRankings, type RankedLoss, rankedLoss, type TokenizedRanking } from '../preference/ranked-loss.js';
import { type RankedRow, tokenizeRanking } from '../preference/ranked-rows.js';
import type { PreferenceKind, PreferenceSettings } from './preference-kind.js';
import { referenceLogProbs } from './reference-log-probs.js';

/** Rankings, for a loss over them. */
export function rankedKind(
  preference: RankedLoss,
  settings: PreferenceSettings,
): PreferenceKind<RankedRow | TokenizedRanking> {
  const { model, maxLength } = settings;
  const loss = rankedLoss(preference);
  return {
    ...{ called: 'rankings', code: 'PREFERENCE_ROWS', needs: ' and completions that differ before it and in rank' },
    async ready(rows) {
      const fitting = rows.flatMap((row, i) => tokenizeRanking(model, row, i, maxLength) ?? []);
      const rankings = fitting.filter(
        ({ scores, completions }) => new Set(scores).size > 1 && new Set(completions.map(String)).size > 1,
      );
      const referred = preference.reference === false ? rankings : await withReferences(rankings, settings);
      return {
        rows: rankings,
        dropped: rows.length - fitting.length,
        identical: fitting.length - rankings.length,
        update: (trainer, indices, rate) =>
          update(trainer, annotateRankings(indices.map((i) => referred[i]!)), loss, rate),
        evaluation: () => lossOnRows(annotateRankings(referred), loss),
      };
    },
  };
}

async function withReferences(rankings: readonly TokenizedRanking[], settings: PreferenceSettings) {
  const all = rankings.flatMap(({ promptTokens, completions }) =>
    completions.map((completionTokens) => ({ promptTokens, completionTokens })),
  );
  const scored = await referenceLogProbs(settings, all);
  let taken = 0;
  return rankings.map((ranking) => {
    taken += ranking.completions.length;
    return { ...ranking, references: scored.slice(taken - ranking.completions.length, taken) };
  });
}
