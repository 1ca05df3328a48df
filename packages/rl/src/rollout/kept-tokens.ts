import { PosttrainError } from '@posttrain/interfaces';
import { rolloutField } from '../rollout-field.js';

/** In the place of a token that is not there. */
export const NO_TOKEN = -1;

/** Field of rollouts with the tokens that each was drawn from. */
export const keptTokensField = (k: number) => rolloutField(`rl.kept_tokens.${k}`, { per: 'token', width: k });

/** What a source says of a completion: `keptTokens` of it as numbers, K a token. @throws PosttrainError SAMPLING_MASK */
export function packKeptTokens(kept: readonly (readonly number[] | null)[], k: number): Int32Array {
  const packed = new Int32Array(kept.length * k).fill(NO_TOKEN);
  kept.forEach((ids, t) => {
    if (ids && ids.length > k) {
      const problem = `at token ${t} of a completion truncation left ${ids.length} tokens, and keptTokens is ${k}`;
      throw new PosttrainError('SAMPLING_MASK', `singleTurn: ${problem}; raise it, or cut more (topK)`);
    }
    if (ids) packed.set(ids, t * k);
  });
  return packed;
}
