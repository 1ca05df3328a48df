import type { SamplingParams } from '@posttrain/interfaces';
import type { AnnotatorContext, Prefix } from '../annotator.js';
import type { PromptRow } from '../rewards/reward.js';
import { generatorOf, type RolloutSource, type SamplingRequest, seedOf } from '../rollout/rollout-source.js';
import { alike, type SampledRollout } from '../rollout.js';
import { type RolloutScoring, scoreRollouts } from './rollouts.js';

/** What annotators sample with: the run's source, and all that a request of it has but the rows. */
export interface AnnotatorSampling extends SamplingRequest, RolloutScoring<PromptRow> {
  readonly source: RolloutSource;
}

/** What one annotator may use in one step. */
export function annotatorContext(request: AnnotatorSampling): AnnotatorContext {
  const { model, adapter, step, key, signal } = request;
  let calls = 0;
  return {
    ...{ model, adapter, step, key, signal, temperature: request.sampling.temperature ?? 1 },
    sample: async (prefixes, by) => {
      const own = { ...request, ...by, key: key.child(calls++) };
      const results = new Array<SampledRollout[]>(prefixes.length);
      // Prefixes that are sampled alike are sampled together.
      const kinds = alike([...prefixes.keys()], (i) => JSON.stringify([prefixes[i]!.n ?? 1, prefixes[i]!.sampling]));
      let round = 0;
      for (const places of kinds) {
        const asked = { ...own, key: own.key.child(round++) };
        const [whole, begun] = [places.filter((i) => !prefixes[i]!.tokens), places.filter((i) => prefixes[i]!.tokens)];
        const anew = await sampleAnew(
          asked,
          whole.map((i) => prefixes[i]!),
        );
        const further = await sampleOn(
          asked,
          begun.map((i) => prefixes[i]!),
        );
        whole.forEach((i, j) => {
          results[i] = anew[j]!;
        });
        begun.forEach((i, j) => {
          results[i] = further[j]!;
        });
      }
      return results;
    },
    score: (rollouts) => scoreRollouts(rollouts, request),
  };
}

const samplingOfPrefix = (request: AnnotatorSampling, { sampling }: Pick<Prefix, 'sampling'>): SamplingParams => ({
  ...request.sampling,
  ...sampling,
});

/** Whole rollouts of the same prompts, from the run's source: an episode begins again. */
async function sampleAnew(request: AnnotatorSampling, prefixes: readonly Prefix[]): Promise<SampledRollout[][]> {
  const [first] = prefixes;
  if (!first) return [];
  const { n = 1 } = first;
  const sampled = await request.source.sample({
    ...request,
    sampling: samplingOfPrefix(request, first),
    rows: prefixes.map(({ rollout }) => rollout.row),
    prompts: prefixes.map(({ rollout }) => rollout.promptTokens),
    ...{ completionsPerPrompt: n, firstGroup: 0 },
  });
  const lists = prefixes.map((): SampledRollout[] => []);
  for (const rollout of sampled) {
    const { group } = prefixes[rollout.group]!.rollout;
    lists[rollout.group]!.push({ ...rollout, group });
  }
  return lists;
}

/** Completions from the middle of rollouts; what was there before is not trained. */
async function sampleOn(request: AnnotatorSampling, prefixes: readonly Prefix[]): Promise<SampledRollout[][]> {
  if (prefixes.length === 0) return [];
  const { model, key, signal } = request;
  const heads = prefixes.map(({ rollout, tokens }) => rollout.completionTokens.slice(0, tokens));
  const sampled = await generatorOf(request).generate(
    prefixes.map((prefix, i) => {
      const sampling = samplingOfPrefix(request, prefix);
      const { maxTokens } = sampling;
      return {
        ...sampling,
        ...(maxTokens !== undefined && { maxTokens: Math.max(1, maxTokens - heads[i]!.length) }),
        prompt: { tokenIds: [...prefix.rollout.promptTokens, ...heads[i]!] },
        ...{ n: prefix.n ?? 1, logProbs: true, seed: seedOf(key.child(i)) },
        ...(signal && { signal }),
      };
    }),
  );
  signal?.throwIfAborted();
  return sampled.map((completions, i) => {
    const { rollout } = prefixes[i]!;
    const [head, zeros] = [heads[i]!, heads[i]!.map(() => 0)];
    return completions.map(({ tokenIds, logProbs, finishReason }) => {
      const completionTokens = [...head, ...tokenIds!];
      return {
        ...{
          group: rollout.group,
          row: rollout.row,
          promptTokens: rollout.promptTokens,
          finishReason,
          completionTokens,
        },
        mask: [...zeros, ...tokenIds!.map(() => 1)],
        samplerLogProbs: [...zeros, ...logProbs!],
        text: model.tokenizer.decode(completionTokens, { skipSpecialTokens: true }),
      };
    });
  });
}
