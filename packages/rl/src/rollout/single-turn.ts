import type { PromptRow } from '../rewards/reward.js';
import { generatorOf, type RolloutSource, seedOf } from './rollout-source.js';

/** One completion of the prompt is the whole rollout: the source that trainPolicy has without another. */
export function singleTurn<Row extends PromptRow = PromptRow>(): RolloutSource<Row> {
  return {
    name: 'single-turn',
    settings: {},
    async sample(request) {
      const { rows, prompts, completionsPerPrompt: n, sampling, key, signal, firstGroup } = request;
      signal?.throwIfAborted();
      const sampled = await generatorOf(request).generate(
        rows.map(({ prompt }, i) => ({
          ...sampling,
          prompt: { tokenIds: prompts[i]!, continuesText: typeof prompt === 'string' },
          ...{ n, logProbs: true, seed: seedOf(key.child(i)) },
          ...(signal && { signal }),
        })),
      );
      signal?.throwIfAborted();
      return sampled.flatMap((completions, i) =>
        completions.map(({ text, tokenIds, logProbs, finishReason }) => ({
          ...{ group: firstGroup + i, row: rows[i]!, promptTokens: prompts[i]!, text, finishReason },
          ...{ completionTokens: tokenIds!, samplerLogProbs: logProbs! },
        })),
      );
    },
  };
}
