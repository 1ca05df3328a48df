import { describe, expect, it } from 'vitest';
import {
  beamSearch,
  contrastiveSearch,
  ModelRunner,
  type SearchPrompt,
  sequenceLogProbs,
  type TokenConstraint,
} from '../../src/index.js';
import { constrained } from '../../src/search/constrained.js';
import { tinyModel } from '../support.js';

/** One of these sequences. */
function oneOf(choices: readonly (readonly number[])[], vocabulary: number): TokenConstraint {
  let left = choices;
  let at = 0;
  return {
    allowed() {
      const mask = new Uint32Array(Math.ceil(vocabulary / 32));
      for (const { [at]: token } of left) if (token !== undefined) mask[token >> 5]! |= 1 << (token & 31);
      return mask;
    },
    accept(token) {
      left = left.filter((choice) => choice[at] === token);
      at++;
    },
    get isComplete() {
      return left.some((choice) => choice.length === at);
    },
  };
}

describe('a constrained search', () => {
  const choices = [[1, 2], [1, 3, 40], [50], [51, 2, 2], [1, 2, 3]];

  it('finds everything that is allowed, ranked by the model, and nothing else', async () => {
    const model = await tinyModel();
    const prompt = [3, 1, 2];
    const endTokens = new Set([7]);
    const search: SearchPrompt = {
      prompt,
      maxTokens: 10,
      endTokens,
      ...constrained(() => oneOf(choices, model.config.vocabSize), endTokens),
    };
    // Where more could follow an end token says that nothing does.
    const all = choices.map((choice) => (String(choice) === '1,2' ? [1, 2, 7] : choice));
    const scored = await sequenceLogProbs(
      model,
      all.map((tokens) => [...prompt, ...tokens]),
    );
    const sums = scored.map(({ logProbs }) => logProbs.slice(2).reduce((a, b) => a + b, 0));
    const order = all.map((_, i) => i).sort((a, b) => sums[b]! - sums[a]!);
    const runner = new ModelRunner(model);
    const [found] = await beamSearch(runner, [search], { numBeams: 6, lengthPenalty: 0, earlyStopping: 'never' });
    expect(found!.map(({ tokens }) => tokens)).toEqual(order.map((i) => all[i]));
    for (const [place, i] of order.entries()) expect(found![place]!.score).toBeCloseTo(sums[i]!, 3);
    expect(new Set(found!.map(({ finishReason }) => finishReason))).toEqual(new Set(['stop']));
    const [best] = await contrastiveSearch(runner, [search], { topK: 3, penaltyAlpha: 0.5 });
    expect(all.map(String)).toContain(String(best!.tokens));
  });
});
