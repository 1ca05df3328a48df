import { update } from '@posttrain/training';
import { PreferenceRowError } from '../preference/preference-rows.js';
import {
  annotateRankings,
  type RankedLoss,
  type ReferredRanking,
  type TokenizedRanking,
} from '../preference/ranked-loss.js';
import { type RankedRow, tokenizeRanking } from '../preference/ranked-rows.js';
import { type PreferenceKind, type PreferenceSettings, preferenceKindOf } from './preference-kind.js';

/** Rankings, for a loss over them. */
export function rankedKind(
  loss: RankedLoss,
  settings: PreferenceSettings,
): PreferenceKind<RankedRow | TokenizedRanking> {
  const { model, maxLength } = settings;
  return preferenceKindOf<RankedRow | TokenizedRanking, TokenizedRanking, ReferredRanking>(
    {
      ...{ called: 'rankings', code: 'PREFERENCE_ROWS', needs: ' and completions that differ before it and in rank' },
      loss,
      tokenize(row, i) {
        const ranking = tokenizeRanking(model, row, i, maxLength);
        if (ranking) refuseScores(loss, ranking, i);
        return ranking;
      },
      differs: ({ scores, completions }) => new Set(scores).size > 1 && new Set(completions.map(String)).size > 1,
      completionsOf: ({ promptTokens, completions }) =>
        completions.map((completionTokens) => ({ promptTokens, completionTokens })),
      refer: (ranking, references) => (references ? { ...ranking, references } : ranking),
      annotate: annotateRankings,
      update: (trainer, { rows, loss: lifted }, rate) => update(trainer, rows, lifted(), rate),
      evaluate: (trainer, { rows, loss: lifted }) => trainer.evaluate(rows, lifted()),
    },
    settings,
  );
}

/** Refuses scores that the loss cannot compute with. @throws PreferenceRowError */
function refuseScores({ name, scoreRange }: RankedLoss, { scores }: TokenizedRanking, index: number): void {
  const [smallest, largest] = scoreRange ?? [-Infinity, Infinity];
  const wrong = scores.find((score) => score < smallest || score > largest);
  if (wrong === undefined) return;
  const problem = `has the score ${wrong}; the loss ${name} computes with scores from ${smallest} to ${largest}`;
  throw new PreferenceRowError(index, `${problem}. Scale them down.`);
}
