import { type Given, integer, options, type Prompt, text } from '@posttrain/interfaces';
import { chatOptionsOf, sequenceLogProbs, tokenizeCompletion } from '@posttrain/lm';
import { mixerReinforce, mixerXent } from '../advantage/mixer.js';
import type { PromptRow } from '../rewards/reward.js';
import type { SampledRollout } from '../rollout.js';
import { RolloutError } from './check-rollouts.js';
import { generatorOf, type RolloutRequest, type RolloutSource, seedOf } from './rollout-source.js';
import { singleTurn } from './single-turn.js';

const targetShape = {
  /** Column of the rows with the reference: what the prompt is to be completed by, a text or messages as the prompt is. Default `completion`. */
  target: text({ default: 'completion' }),
};
const mixerRolloutsOptions = options('mixerRollouts', {
  ...targetShape,
  /** Steps of cross-entropy alone, at the beginning (N^XENT of the paper, there in epochs). */
  xentSteps: integer({ min: 0 }),
  /** Steps before Δ grows again (N^XE+R). */
  everySteps: integer({ min: 1 }),
  /** By how many tokens Δ grows each time. Default 2, as in the paper. */
  delta: integer({ default: 2, min: 1 }),
});
/** Options of `mixerRollouts`. */
export type MixerRolloutsOptions = Given<typeof mixerRolloutsOptions>;

const annealedRolloutsOptions = options('annealedRollouts', {
  ...targetShape,
  /** Steps over which λ falls from 1 to 0, along a line. */
  steps: integer({ min: 1 }),
});
/** Options of `annealedRollouts`. */
export type AnnealedRolloutsOptions = Given<typeof annealedRolloutsOptions>;

/** The tokens of a row's reference, its end token included, as `sft` makes them, and no more than may be sampled. @throws RolloutError for a row without one */
function referenceOf(
  source: string,
  { model, rows, sampling }: RolloutRequest,
  i: number,
  target: string,
): readonly number[] {
  const row = rows[i]!;
  const completion = (row as unknown as Readonly<Record<string, unknown>>)[target];
  if (typeof completion !== 'string' && !Array.isArray(completion)) {
    throw new RolloutError(
      `the source of rollouts ${source}`,
      `nothing for row ${i}: it has no reference in its column "${target}"`,
    );
  }
  const { tokens, start } = tokenizeCompletion(model, row.prompt, completion as Prompt, chatOptionsOf(row));
  return tokens.slice(start, start + (sampling.maxTokens ?? tokens.length));
}

/** Rollouts whose first tokens are those of a reference, with the policy's log-probabilities of all. */
async function withReference<Row extends PromptRow>(
  request: RolloutRequest<Row>,
  begun: readonly { readonly row: number; readonly head: readonly number[]; readonly n: number }[],
): Promise<SampledRollout<Row>[]> {
  const { model, adapter, rows, prompts, sampling, key, signal, firstGroup } = request;
  signal?.throwIfAborted();
  const longest = sampling.maxTokens;
  const open = begun.filter(({ n }) => n > 0);
  const sampled = await generatorOf(request).generate(
    open.map(({ row, head, n }) => ({
      ...sampling,
      ...(longest !== undefined && { maxTokens: Math.max(1, longest - head.length) }),
      prompt: { tokenIds: [...prompts[row]!, ...head] },
      ...{ n, logProbs: true, seed: seedOf(key.child(row)), ...(signal && { signal }) },
    })),
  );
  signal?.throwIfAborted();
  const whole = begun.filter(({ n }) => n === 0).map(({ row, head }) => ({ row, head, own: [], logProbs: [] }));
  const further = open.flatMap(({ row, head }, i) =>
    sampled[i]!.map(({ tokenIds, logProbs, finishReason }) => ({
      row,
      head,
      own: tokenIds!,
      logProbs: logProbs!,
      finishReason,
    })),
  );
  const all = [...whole, ...further];
  // What nothing is forced in needs no pass: its log-probabilities are the sampler's.
  const forced = all.filter(({ head }) => head.length > 0);
  const passed = await sequenceLogProbs(
    model,
    forced.map(({ row, head }) => [...prompts[row]!, ...head]),
    { adapter, temperature: sampling.temperature ?? 1 },
  );
  const scored = new Map(forced.map((one, i) => [one, passed[i]!.logProbs.subarray(prompts[one.row]!.length - 1)]));
  return all.map((one) => {
    const { row, head, own, logProbs, ...rest } = one;
    const completionTokens = [...head, ...own];
    const ofHead = Array.from(scored.get(one) ?? []);
    return {
      ...{ group: firstGroup + row, row: rows[row]!, promptTokens: prompts[row]!, completionTokens },
      samplerLogProbs: [...ofHead, ...logProbs],
      text: model.tokenizer.decode(completionTokens, { skipSpecialTokens: true }),
      finishReason: 'finishReason' in rest ? rest.finishReason : 'stop',
    };
  });
}

/** The rollout with what cross-entropy counts in its first tokens and REINFORCE in the others. */
const counting = <Row extends PromptRow>(rollout: SampledRollout<Row>, forced: number, x: number, rho: number) => {
  const tokens = rollout.completionTokens;
  const marked = mixerXent.on(
    rollout,
    tokens.map((_, t) => (t < forced ? x : 0)),
  );
  return mixerReinforce.on(
    marked,
    tokens.map((_, t) => (t < forced ? 0 : rho)),
  );
};

/**
 * MIXER (mixed incremental cross-entropy REINFORCE, arXiv 1511.06732, algorithm 1): the first T - Δ tokens of a completion are those of the row's
 * reference and are trained by cross-entropy, and the policy samples on from there by REINFORCE. Δ is 0 for `xentSteps`, and then grows by `delta`
 * every `everySteps`, until all is sampled. For `policyObjectives.mixer()`. The reward is of the whole text, and of the reference alone while Δ is 0,
 * when each row is one rollout.
 *
 * @throws OptionError; RolloutError for a row without a reference
 */
export function mixerRollouts<Row extends PromptRow = PromptRow>(given: MixerRolloutsOptions): RolloutSource<Row> {
  const { target, xentSteps, everySteps, delta } = mixerRolloutsOptions.read(given);
  return {
    name: 'mixer',
    settings: mixerRolloutsOptions.settings(given),
    gives: [mixerXent.need, mixerReinforce.need],
    evaluated: singleTurn<Row>(),
    async sample(request) {
      const { step, rows, completionsPerPrompt } = request;
      const sampledTokens = step < xentSteps ? 0 : delta * (1 + Math.floor((step - xentSteps) / everySteps));
      const begun = rows.map((_, row) => {
        const reference = referenceOf('mixer', request as unknown as RolloutRequest, row, target);
        const head = reference.slice(0, Math.max(0, reference.length - sampledTokens));
        return { row, head, n: head.length === reference.length ? 0 : completionsPerPrompt };
      });
      const rollouts = await withReference(request, begun);
      return rollouts.map((rollout) => counting(rollout, begun[rollout.group - request.firstGroup]!.head.length, 1, 1));
    },
  };
}

/**
 * The annealed mix that a survey gives for MIXER (arXiv 2502.21321, § 2.2): λ L_MLE + (1 - λ) L_RL, where λ falls from 1 to 0. Every row is its whole
 * reference, which cross-entropy trains, beside `completionsPerPrompt` samples, which REINFORCE does; at λ = 1 there are no samples and at λ = 0
 * no reference. Both losses are means over their own rollouts of sums over tokens, as `policyObjectives.mixer()` has them.
 *
 * @throws OptionError; RolloutError for a row without a reference
 */
export function annealedRollouts<Row extends PromptRow = PromptRow>(
  given: AnnealedRolloutsOptions,
): RolloutSource<Row> {
  const { target, steps } = annealedRolloutsOptions.read(given);
  const source = singleTurn<Row>();
  return {
    name: 'annealed-mix',
    settings: annealedRolloutsOptions.settings(given),
    gives: [mixerXent.need, mixerReinforce.need],
    evaluated: source,
    async sample(request) {
      const { step, rows, completionsPerPrompt: n } = request;
      const lambda = Math.max(0, 1 - step / steps);
      // The objective divides by all rollouts of the step: a row's reference and its samples are so many.
      const [references, samples] = [lambda > 0 ? 1 : 0, lambda < 1 ? n : 0];
      const [x, rho] = [lambda * (1 + samples), ((1 - lambda) * (references + n)) / n];
      const begun = rows.map((_, row) => {
        return { row, head: referenceOf('annealed-mix', request as unknown as RolloutRequest, row, target), n: 0 };
      });
      const forced = references === 0 ? [] : await withReference(request, begun);
      const own = samples === 0 ? [] : ((await source.sample(request)) as readonly SampledRollout<Row>[]);
      return [
        ...forced.map((rollout) => counting(rollout, rollout.completionTokens.length, x, 0)),
        ...own.map((rollout) => counting(rollout, 0, 0, rho)),
      ];
    },
  };
}
