import assert from 'node:assert/strict';
import { Key } from '@posttrain/core-tensor';
import { type CausalLM, NO_ADAPTER } from '@posttrain/lm';
import { savedState } from '@posttrain/training/testing';
import { needOf, type RolloutNeed } from '../advantage/advantage.js';
import type { Annotator } from '../annotator.js';
import type { PromptRow, Rewards } from '../rewards/reward.js';
import { singleTurn } from '../rollout/single-turn.js';
import { tokensOfPrompt } from '../rollout/tokens-of-prompt.js';
import type { Rollout, ScoredRollout } from '../rollout.js';
import { type AnnotatorSampling, annotatorContext } from '../training/annotator-context.js';
import { sampleAndScore } from '../training/rollouts.js';
import { tinyPolicy } from './tiny-model.js';

/** Options of `testAnnotator`. */
export interface TestAnnotatorOptions {
  /** The policy. Default: `tinyPolicy`, of the letters a to g. */
  readonly model?: () => Promise<CausalLM>;
  /** Default: prompts of a few letters. */
  readonly rows?: readonly PromptRow[];
  /** Default: how many of the letters are a. */
  readonly rewards?: Rewards<PromptRow>;
  /** Most tokens of a completion. Default 6. */
  readonly maxTokens?: number;
  /** Whether it gives back every rollout that it was given, in order and before any that it adds. Default true. */
  readonly keepsAll?: boolean;
}

const LETTERS: readonly PromptRow[] = ['ab', 'c', 'gfe'].map((prompt) => ({ prompt }));
const fractionOfA: Rewards<PromptRow> = {
  a: (text: string) => [...text].filter((x) => x === 'a').length / (1 + text.length),
};

/** How many numbers of a rollout a need is: one for each token, or one. */
const PER_TOKEN: readonly RolloutNeed[] = ['values', 'tokenRewards'];

/** `value` and all plain data in it, frozen. */
function frozen<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !ArrayBuffer.isView(value) && !Object.isFrozen(value)) {
    Object.freeze(value);
    Object.values(value).forEach(frozen);
  }
  return value;
}

/** A rollout as plain numbers, to be compared exactly. */
const exactOf = (rollout: object): unknown =>
  Object.fromEntries(
    Object.entries(rollout).map(([name, value]) => [
      name,
      Array.isArray(value) || ArrayBuffer.isView(value) ? Array.from(value as never as ArrayLike<unknown>) : value,
    ]),
  );

/**
 * Registers the checks that every annotator must pass, with the test function of any framework: `testAnnotator(it, () =>
 * greedyBaseline())`, where the function makes a new one. They run on the current engine with a small policy that samples.
 *
 * - every rollout that it gives back has what it says that it gives: finite, of the right length; the rest is as it was, and nothing
 *   that it was given is changed;
 * - it is a function of the rollouts, the context and its state; of no rollouts it gives none;
 * - what it learns is in its state or its trainers: from these another one goes on as it does.
 */
export function testAnnotator(
  it: (name: string, body: () => Promise<void>) => void,
  make: () => Annotator | Promise<Annotator>,
  options: TestAnnotatorOptions = {},
): void {
  const { rows = LETTERS, rewards = fractionOfA, maxTokens = 6, keepsAll = true } = options;
  const setUp = async () => {
    const model = await (options.model ?? tinyPolicy)();
    const shared: AnnotatorSampling = {
      ...{ model, adapter: NO_ADAPTER, sampling: { maxTokens }, maxBatch: 64, packWeights: 'at-once', step: 0 },
      ...{ key: Key.fromSeed(1), source: singleTurn(), rewards, scoring: {} },
    };
    const request = {
      rows,
      prompts: rows.map((row) => tokensOfPrompt(model, row)),
      completionsPerPrompt: 2,
      firstGroup: 0,
    };
    const rollouts = await sampleAndScore({ ...shared, ...request });
    const contextOf = (seed: number) => annotatorContext({ ...shared, key: Key.fromSeed(seed) });
    return { annotator: await make(), rollouts: rollouts.map(frozen), contextOf };
  };
  type Parts = Awaited<ReturnType<typeof setUp>>;
  const check = (what: string, body: (parts: Parts) => Promise<void>) =>
    it(`an annotator ${what}`, async () => body(await setUp()));
  const annotated = async (annotator: Annotator, { rollouts, contextOf }: Parts, seed = 2) =>
    (await annotator.annotate(rollouts, contextOf(seed))).map(exactOf);

  check('gives what it says, and leaves the rest as it was', async (parts) => {
    const { annotator, rollouts, contextOf } = parts;
    assert.ok(annotator.name !== '' && Array.isArray(annotator.gives), 'it has a name, and says what it gives');
    assert.deepEqual(
      JSON.parse(JSON.stringify(annotator.settings ?? {})),
      annotator.settings ?? {},
      'settings are JSON',
    );
    const found = await annotator.annotate(rollouts, contextOf(2));
    if (keepsAll) assert.ok(found.length >= rollouts.length, `of ${rollouts.length} rollouts it gives ${found.length}`);
    const fields = new Set([
      ...annotator.gives,
      ...(annotator.gives.includes('rewardsByFunction') ? ['rewards'] : []),
      'extras',
    ]);
    found.forEach((rollout, i) => {
      for (const need of annotator.gives) assertGiven(rollout, need, i);
      const before = rollouts[i];
      if (!keepsAll || !before) return;
      for (const [name, value] of Object.entries(before)) {
        if (fields.has(name)) continue;
        assert.deepEqual(rollout[name as keyof ScoredRollout], value, `rollout ${i}: ${name} is another`);
      }
    });
  });

  check('gives nothing of no rollouts', async ({ annotator, contextOf }) => {
    assert.deepEqual(await annotator.annotate([], contextOf(2)), [], 'a step without rollouts');
  });

  check('is a function of what it is asked, and of its state', async (parts) => {
    const once = await annotated(parts.annotator, parts);
    assert.deepEqual(await annotated(await make(), parts), once, 'two of the same settings');
  });

  check('keeps what it learns in its state and its trainers', async (parts) => {
    const { annotator, rollouts, contextOf } = parts;
    assert.equal(annotator.state === undefined, annotator.load === undefined, 'state and load come together');
    const before = await annotator.annotate(rollouts, contextOf(2));
    if (annotator.learn) {
      const seen = before.map((one): Rollout => ({ oldLogProbs: one.samplerLogProbs, ...one }));
      const advantages = seen.map(({ completionTokens }, i) => completionTokens.map((_, t) => Math.sin(1 + 3 * i + t)));
      const metrics = (await annotator.learn(seen, advantages, contextOf(3))) ?? {};
      for (const [name, value] of Object.entries(metrics)) assert.ok(Number.isFinite(value), `${name} is ${value}`);
    }
    const second = await make();
    if (annotator.state) await second.load!(await savedState(annotator.state()));
    for (const [name, trainer] of Object.entries(annotator.trainers ?? {})) {
      assert.ok(second.trainers?.[name], `another one of the same settings has no trainer ${name}`);
      second.trainers[name].restore(trainer.snapshot());
    }
    assert.deepEqual(await annotated(second, parts, 4), await annotated(annotator, parts, 4), 'from what was saved');
  });
}

function assertGiven(rollout: ScoredRollout, need: RolloutNeed, index: number): void {
  const given = needOf(rollout as Rollout, need);
  assert.ok(given !== undefined && given !== null, `rollout ${index} has no ${need}`);
  if (need === 'baseline') assert.ok(Number.isFinite(given), `rollout ${index}: the baseline is ${given}`);
  if (!PER_TOKEN.includes(need)) return;
  const numbers = Array.from(given as ArrayLike<number>);
  const { length } = rollout.completionTokens;
  assert.equal(numbers.length, length, `rollout ${index} has ${numbers.length} ${need} of ${length} tokens`);
  assert.ok(numbers.every(Number.isFinite), `rollout ${index}: ${need} are ${numbers}`);
}
