import { custom, type Given, options } from '@posttrain/interfaces';
import type { DecodingMix } from '@posttrain/lm';
import type { PromptRow } from '../rewards/reward.js';
import { generatorOf, type RolloutSource, type SamplingRequest, seedOf } from './rollout-source.js';

/** Made for each request, of its model and adapter, or always the same. */
type Mix = DecodingMix | ((request: SamplingRequest) => DecodingMix);

const isMix = (value: unknown): boolean =>
  typeof value === 'function' || typeof (value as Partial<DecodingMix> | null)?.combine === 'function';

const singleTurnOptions = options('singleTurn', {
  /**
   * Other models that have a part in what is drawn (`contrastive`, `teacherMixture`, …). Rollouts then have the policy's
   * log-probabilities as `oldLogProbs` and those they were drawn with as `samplerLogProbs`, for `truncatedImportance`. Default:
   * none.
   */
  mix: custom<Mix>()('a mix of models, or a function that makes one', isMix, {
    optional: true,
    settings: (mix) =>
      typeof mix === 'function'
        ? String(mix)
        : { name: mix.name, ...(mix.settings ?? { combine: String(mix.combine) }) },
  }),
});
/** Options of `singleTurn`. */
export type SingleTurnOptions = Given<typeof singleTurnOptions>;

/**
 * One completion of the prompt is the whole rollout: the source that trainPolicy has without another.
 *
 * @throws OptionError
 */
export function singleTurn<Row extends PromptRow = PromptRow>(given: SingleTurnOptions = {}): RolloutSource<Row> {
  const { mix } = singleTurnOptions.read(given);
  return {
    name: 'single-turn',
    settings: mix ? singleTurnOptions.settings(given) : {},
    ...(mix && { isOffPolicy: true, givesOldLogProbs: true }),
    async sample(request) {
      const { rows, prompts, completionsPerPrompt: n, sampling, key, signal, firstGroup } = request;
      signal?.throwIfAborted();
      const mixed = mix && { mix: typeof mix === 'function' ? mix(request) : mix, samplingLogProbs: true };
      const sampled = await generatorOf(request).generate(
        rows.map(({ prompt }, i) => ({
          ...sampling,
          prompt: { tokenIds: prompts[i]!, continuesText: typeof prompt === 'string' },
          ...{ n, logProbs: true, seed: seedOf(key.child(i)), ...mixed },
          ...(signal && { signal }),
        })),
      );
      signal?.throwIfAborted();
      return sampled.flatMap((completions, i) =>
        completions.map(({ text, tokenIds, logProbs, samplingLogProbs, finishReason }) => ({
          ...{ group: firstGroup + i, row: rows[i]!, promptTokens: prompts[i]!, text, finishReason },
          ...{ completionTokens: tokenIds!, samplerLogProbs: samplingLogProbs ?? logProbs! },
          ...(samplingLogProbs && { oldLogProbs: logProbs! }),
        })),
      );
    },
  };
}
