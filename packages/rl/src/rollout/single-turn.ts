import {
  custom,
  type Given,
  integer,
  OptionError,
  options,
  PosttrainError,
  type SamplingParams,
} from '@posttrain/interfaces';
import type { DecodingMix } from '@posttrain/lm';
import type { PromptRow } from '../rewards/reward.js';
import { keptTokensField, packKeptTokens } from './kept-tokens.js';
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
  /**
   * Say of each token which ones it could have been, for `samplingMaskReplay`, and take for log π_old what it was drawn with: at most so many, which
   * top-k, top-p or min-p leave. Default: nothing is said, and log-probabilities are those before truncation.
   */
  keptTokens: integer({ optional: true, min: 1 }),
});
/** Options of `singleTurn`. */
export type SingleTurnOptions = Given<typeof singleTurnOptions>;

/**
 * One completion of the prompt is the whole rollout: the source that trainPolicy has without another.
 *
 * @throws OptionError
 */
export function singleTurn<Row extends PromptRow = PromptRow>(given: SingleTurnOptions = {}): RolloutSource<Row> {
  const { mix, keptTokens: most } = singleTurnOptions.read(given);
  if (mix && most !== undefined) {
    const problem =
      'what a mix leaves of the vocabulary is not what the policy would; leave one of mix and keptTokens out.';
    throw new OptionError('INVALID_OPTION', 'singleTurn', 'keptTokens', problem);
  }
  const kept = most === undefined ? undefined : keptTokensField(most);
  return {
    name: 'single-turn',
    settings: mix || kept ? singleTurnOptions.settings(given) : {},
    ...(mix && { isOffPolicy: true, givesOldLogProbs: true }),
    ...(kept && { gives: [kept.need] }),
    async sample(request) {
      const { rows, prompts, completionsPerPrompt: n, sampling, key, signal, firstGroup } = request;
      signal?.throwIfAborted();
      const mixed = mix && { mix: typeof mix === 'function' ? mix(request) : mix, samplingLogProbs: true };
      if (kept) refuseEditing(sampling);
      const sampled = await generatorOf(request).generate(
        rows.map(({ prompt }, i) => ({
          ...sampling,
          prompt: { tokenIds: prompts[i]!, continuesText: typeof prompt === 'string' },
          ...{ n, logProbs: true, seed: seedOf(key.child(i)), ...mixed },
          ...(kept && { keptTokens: true, samplingLogProbs: true }),
          ...(signal && { signal }),
        })),
      );
      signal?.throwIfAborted();
      return sampled.flatMap((completions, i) =>
        completions.map(({ text, tokenIds, logProbs, samplingLogProbs, keptTokens, finishReason }) => {
          const rollout = {
            ...{ group: firstGroup + i, row: rows[i]!, promptTokens: prompts[i]!, text, finishReason },
            ...{ completionTokens: tokenIds!, samplerLogProbs: samplingLogProbs ?? logProbs! },
            ...(mix && { oldLogProbs: logProbs! }),
          };
          return kept ? kept.on(rollout, packKeptTokens(keptTokens!, most!)) : rollout;
        }),
      );
    },
  };
}

/** @throws PosttrainError SAMPLING_MASK where more than a set of tokens is changed */
function refuseEditing({ repetitionPenalty = 1, ...others }: SamplingParams): void {
  const names = ['presencePenalty', 'frequencyPenalty', 'logitBias'] as const;
  const edits = repetitionPenalty === 1 ? names.find((name) => others[name]) : 'repetitionPenalty';
  if (edits === undefined) return;
  const problem = `${edits} changes how likely tokens are, and not only which may come`;
  throw new PosttrainError('SAMPLING_MASK', `singleTurn: ${problem}; leave it out, or keptTokens`);
}
