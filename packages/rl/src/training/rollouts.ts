import type { Key } from '@posttrain/core-tensor';
import type { Completion, SamplingParams } from '@posttrain/interfaces';
import { type Adapter, type CausalLM, LocalGenerator, type PackWeights } from '@posttrain/lm';
import type { PromptRow, Rewards } from '../rewards/reward.js';
import { type ScoreOptions, scoreCompletions } from '../rewards/score-completions.js';

/** A sampled completion with its rewards. */
export interface RewardedCompletion {
  readonly text: string;
  /** As sampled, the end token included. */
  readonly tokens: readonly number[];
  /** log p of each token when it was sampled, before top-k, top-p and min-p cut the distribution. */
  readonly logProbs: readonly number[];
  readonly finishReason: Completion['finishReason'];
  /** By reward function. */
  readonly rewards: Readonly<Record<string, number | null>>;
  /** Their weighted sum; null: not scorable. */
  readonly reward: number | null;
}

/** The completions of one prompt. */
export interface RewardedGroup<Row extends PromptRow = PromptRow> {
  readonly row: Row;
  readonly promptTokens: readonly number[];
  readonly completions: readonly RewardedCompletion[];
}

export interface RolloutRequest<Row extends PromptRow> {
  readonly model: CausalLM;
  readonly adapter: Adapter;
  readonly rows: readonly Row[];
  /** The tokens of each row's prompt. */
  readonly prompts: readonly (readonly number[])[];
  readonly rewards: Rewards<Row>;
  readonly completionsPerPrompt: number;
  readonly sampling: SamplingParams;
  readonly scoring: ScoreOptions;
  /** Completions decoded together. */
  readonly maxBatch: number;
  /** As `LocalGenerator` has it. */
  readonly packWeights: PackWeights;
  /** Names the random numbers; prompt i uses child i. */
  readonly key: Key;
  /** For the reward functions. */
  readonly step: number;
  /** Ends sampling and scoring early; `rollOut` then throws its reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Samples completions of every row's prompt and scores them. @throws RewardError; the reason of the signal when that fires */
export async function rollOut<Row extends PromptRow>(request: RolloutRequest<Row>): Promise<RewardedGroup<Row>[]> {
  const { model, adapter, rows, prompts, rewards, completionsPerPrompt: n, sampling, step, signal } = request;
  signal?.throwIfAborted();
  const generator = new LocalGenerator(model, {
    adapter: () => adapter,
    maxBatch: request.maxBatch,
    packWeights: request.packWeights,
  });
  const sampled = await generator.generate(
    rows.map(({ prompt }, i) => ({
      ...sampling,
      prompt: { tokenIds: prompts[i]!, continuesText: typeof prompt === 'string' },
      ...{ n, logProbs: true, seed: seedOf(request.key.child(i)) },
      ...(signal && { signal }),
    })),
  );
  signal?.throwIfAborted();
  const flat = sampled.flatMap((completions, i) =>
    completions.map(({ text, tokenIds, finishReason }) => ({
      text,
      prompt: rows[i]!.prompt,
      row: rows[i]!,
      completionTokens: tokenIds!,
      finishReason,
      step,
    })),
  );
  const scores = await scoreCompletions(rewards, flat, { ...request.scoring, ...(signal && { signal }) });
  let next = 0;
  return sampled.map((completions, i) => ({
    row: rows[i]!,
    promptTokens: prompts[i]!,
    completions: completions.map(({ text, tokenIds, logProbs, finishReason }) => {
      const at = next++;
      return {
        text,
        tokens: tokenIds!,
        logProbs: logProbs!,
        finishReason,
        rewards: Object.fromEntries(Object.entries(scores.byFunction).map(([name, values]) => [name, values[at]!])),
        reward: scores.rewards[at]!,
      };
    }),
  }));
}

/** Whether the group's completions differ in reward, so that there is something to learn from it. */
export function hasSpread(group: RewardedGroup): boolean {
  return new Set(group.completions.flatMap(({ reward }) => reward ?? [])).size > 1;
}

/** 48 random bits: completions use consecutive seeds, which do not meet those of another prompt but by rare chance. */
function seedOf(key: Key): number {
  const [high, low] = key.uniformHost(2);
  return high! * 2 ** 48 + low! * 2 ** 24;
}
