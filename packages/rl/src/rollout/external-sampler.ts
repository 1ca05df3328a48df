import { custom, type Generator, type Given, integer, options, PosttrainError } from '@posttrain/interfaces';
import { type Adapter, type CausalLM, chatOptionsOf, promptTokens, rowMessages } from '@posttrain/lm';
import type { PromptRow } from '../rewards/reward.js';
import { policyVersion } from './policy-version.js';
import { type RolloutSource, seedOf } from './rollout-source.js';

/** The policy as a run has it, to be brought to a sampler. */
export interface PolicyToSync {
  readonly model: CausalLM;
  readonly adapter: Adapter;
  /** Training step, counted from 0. */
  readonly step: number;
}

const samplerOptions = options('externalSampler', {
  /** Samples; its completions must have `tokenIds` and `logProbs`, of the same vocabulary. An endpoint, another engine. */
  generator: custom<Generator>()(
    'a Generator',
    (value) => typeof (value as Partial<Generator> | null | undefined)?.generate === 'function',
    { settings: ({ name }) => name },
  ),
  /** Brings the policy to the sampler, before it samples: writes an adapter and tells the endpoint to load it. */
  sync: custom<(policy: PolicyToSync) => void | Promise<void>>()(
    'a function of the policy',
    (value) => typeof value === 'function',
    { decisive: false },
  ),
  /** Steps from one `sync` to the next: what is sampled is of a policy at most `syncEvery` - 1 steps old. Default 1. */
  syncEvery: integer({ default: 1, min: 1 }),
});
/** Options of `externalSampler`. */
export type ExternalSamplerOptions = Given<typeof samplerOptions>;

/**
 * Rollouts of a sampler elsewhere, that has the policy as it was at the last multiple of `syncEvery` steps: one completion of the
 * prompt each, as `singleTurn`. What it sampled with is not quite the policy, so a run must recompute log π_old
 * (`oldLogProbs: 'recomputed'`), and may correct by `truncatedImportance`. Prompts go to it as texts or messages; how it renders them
 * must be how this model does. A run that goes on from a checkpoint of another step than a multiple of `syncEvery` brings the
 * policy at once, since the older one is gone: save at multiples of it (`saveSteps`) for the same bits.
 *
 * @throws OptionError; PosttrainError SAMPLER for completions without tokens or their log-probabilities, and for prompts that begin
 *   elsewhere than their rows say
 */
export function externalSampler<Row extends PromptRow = PromptRow>(given: ExternalSamplerOptions): RolloutSource<Row> {
  const { generator, sync, syncEvery } = samplerOptions.read(given);
  let synced: number | undefined;
  return {
    name: 'external-sampler',
    settings: samplerOptions.settings(given),
    isOffPolicy: true,
    gives: [policyVersion.need],
    async sample({ rows, prompts, completionsPerPrompt: n, sampling, key, signal, firstGroup, model, adapter, step }) {
      signal?.throwIfAborted();
      // Dynamic sampling and evaluations ask several times in a step.
      const wanted = step - (step % syncEvery);
      if (synced === undefined || synced < wanted || synced > step) {
        await sync({ model, adapter, step });
        synced = step;
      }
      const wrong = (problem: string) => new PosttrainError('SAMPLER', `externalSampler: ${problem}`);
      rows.forEach((row, i) => {
        const prompt = typeof row.prompt === 'string' ? row.prompt : rowMessages(row.prompt);
        if (String(promptTokens(model, prompt, '', chatOptionsOf(row))) === String(prompts[i])) return;
        throw wrong(`row ${i} goes on from tokens that are not those of its prompt, which a sampler elsewhere cannot`);
      });
      const sampled = await generator.generate(
        rows.map(({ prompt }, i) => ({
          ...sampling,
          ...{ prompt, n, logProbs: true, seed: seedOf(key.child(i)), ...(signal && { signal }) },
        })),
      );
      signal?.throwIfAborted();
      return sampled.flatMap((completions, i) =>
        completions.map(({ text, tokenIds, logProbs, finishReason }) => {
          if (!tokenIds || logProbs?.length !== tokenIds.length) {
            throw wrong(`${generator.name} gave a completion without token ids, or without log-probabilities of them`);
          }
          const rollout = { group: firstGroup + i, row: rows[i]!, promptTokens: prompts[i]!, text, finishReason };
          return policyVersion.on(
            { ...rollout, completionTokens: tokenIds, samplerLogProbs: logProbs },
            tokenIds.map(() => synced!),
          );
        }),
      );
    },
  };
}
