import assert from 'node:assert/strict';
import { Key } from '@posttrain/core-tensor';
import { type CausalLM, NO_ADAPTER, sequenceLogProbs } from '@posttrain/lm';
import { savedState } from '@posttrain/training/testing';
import { needOf } from '../advantage/advantage.js';
import type { PromptRow } from '../rewards/reward.js';
import type { RolloutRequest, RolloutSource } from '../rollout/rollout-source.js';
import { tokensOfPrompt } from '../rollout/tokens-of-prompt.js';
import { type Rollout, type SampledRollout, trainedTokens } from '../rollout.js';
import { tinyPolicy } from './tiny-model.js';

/** Options of `testRolloutSource`. */
export interface TestRolloutSourceOptions<Row extends PromptRow> {
  /** What is sampled from. Default `tinyPolicy()`, which has the letters a to g and no chat template. */
  readonly model?: () => Promise<CausalLM>;
  /** Default: three texts. */
  readonly rows?: readonly Row[];
  /** Most tokens of a rollout. Default 8. */
  readonly maxTokens?: number;
  /** Whether another key gives other rollouts. Default true. */
  readonly isRandom?: boolean;
  /** Largest difference of a log-probability that counts as rounding. Default 1e-3. */
  readonly tolerance?: number;
}

const LETTERS = ['ab', 'cad', 'f'].map((prompt) => ({ prompt }));
const FIRST_GROUP = 3;
const PER_PROMPT = 4;

/** A rollout as a source hears of it. */
const learnt = (rollout: SampledRollout, i: number): Rollout => ({
  ...{ ...rollout, reward: Math.cos(i), rewards: { some: Math.cos(i) } },
  oldLogProbs: rollout.oldLogProbs ?? rollout.samplerLogProbs,
});

/** What must be the same of two rollouts: log-probabilities are equal up to rounding. */
const exactOf = ({ samplerLogProbs: _, values: __, ...rollout }: SampledRollout) => rollout;

/**
 * Registers the checks that every source of rollouts must pass, with the test function of any framework:
 * `testRolloutSource(it, () => singleTurn())`, where the function makes a new one.
 *
 * - rollouts belong to the groups and rows that were asked for, with tokens of the vocabulary and arrays of their length;
 * - the log-probabilities of what is trained are those of the model that was asked;
 * - it is a function of request and state: the same at any `maxBatch`, in a new source, and after it was told what came of its rollouts and
 *   its state was saved as a checkpoint has it;
 * - a signal that has fired ends it.
 */
export function testRolloutSource<Row extends PromptRow = PromptRow>(
  it: (name: string, body: () => Promise<void>) => void,
  make: () => RolloutSource<Row>,
  given: TestRolloutSourceOptions<Row> = {},
): void {
  const { maxTokens = 8, isRandom = true, tolerance = 1e-3 } = given;
  const { name, gives = [] } = make();
  const rows = given.rows ?? (LETTERS as readonly PromptRow[] as readonly Row[]);
  const requestOf = (model: CausalLM, more: Partial<RolloutRequest<Row>> = {}): RolloutRequest<Row> => ({
    ...{ model, adapter: NO_ADAPTER, sampling: { maxTokens }, maxBatch: 64, packWeights: 'at-once', step: 0 },
    ...{ key: Key.fromSeed(1), rows, prompts: rows.map((row) => tokensOfPrompt(model, row)) },
    ...{ completionsPerPrompt: PER_PROMPT, firstGroup: FIRST_GROUP, ...more },
  });
  const check = (what: string, body: (model: CausalLM) => Promise<void>) =>
    it(`the source of rollouts ${name} ${what}`, async () => body(await (given.model ?? tinyPolicy)()));

  check('gives rollouts of what was asked for', async (model) => {
    const rollouts = await make().sample(requestOf(model));
    const groups = rows.map((_, i) => rollouts.filter(({ group }) => group === FIRST_GROUP + i));
    assert.equal(groups.flat().length, rollouts.length, 'groups are numbered from firstGroup, one for each row');
    groups.forEach((group, i) => {
      assert.ok(group.length >= PER_PROMPT, `row ${i} has ${group.length} rollouts, not ${PER_PROMPT}`);
      assert.ok(
        group.every(({ row }) => row === rows[i]),
        `rollouts of row ${i} have that row itself`,
      );
    });
    for (const rollout of rollouts) {
      const { promptTokens, completionTokens, mask, samplerLogProbs, finishReason, parent } = rollout;
      const tokens = [...promptTokens, ...completionTokens];
      assert.ok(promptTokens.length > 0 && completionTokens.length > 0, 'a prompt and a completion');
      assert.ok(completionTokens.length <= maxTokens, `${completionTokens.length} tokens are more than ${maxTokens}`);
      const isToken = (x: number) => Number.isInteger(x) && x >= 0 && x < model.config.vocabSize;
      assert.ok(tokens.every(isToken), `tokens of the vocabulary, not ${tokens}`);
      assert.equal(samplerLogProbs.length, completionTokens.length, 'a log-probability for each token');
      if (mask) assert.equal(mask.length, completionTokens.length, 'an entry of the mask for each token');
      assert.ok(['stop', 'length'].includes(finishReason), `finishReason ${finishReason}`);
      assert.ok(parent === undefined || (parent >= 0 && parent < rollouts.length), `parent ${parent}`);
      for (const need of gives) assert.notEqual(needOf(rollout as Rollout, need), undefined, `gives ${need}`);
    }
  });

  check('has the log-probabilities of the model, and trains something', async (model) => {
    const rollouts = await make().sample(requestOf(model));
    const sequences = rollouts.map(({ promptTokens, completionTokens }) => [...promptTokens, ...completionTokens]);
    const scored = await sequenceLogProbs(model, sequences);
    rollouts.forEach((rollout, i) => {
      const { promptTokens, samplerLogProbs } = rollout;
      const trained = trainedTokens(rollout);
      assert.ok(trained.includes(1), `rollout ${i} has no token that is trained`);
      trained.forEach((isTrained, t) => {
        if (!isTrained) return;
        const wanted = scored[i]!.logProbs[promptTokens.length - 1 + t]!;
        const found = samplerLogProbs[t]!;
        assert.ok(Math.abs(found - wanted) < tolerance, `rollout ${i}, token ${t}: log p is ${wanted}, not ${found}`);
      });
    });
  });

  check('is a function of what is asked, however many are sampled together', async (model) => {
    const sampled = async (more: Partial<RolloutRequest<Row>> = {}) =>
      (await make().sample(requestOf(model, more))).map(exactOf);
    const once = await sampled();
    assert.deepEqual(await sampled(), once, 'the same request');
    assert.deepEqual(await sampled({ maxBatch: 3 }), once, 'with maxBatch 3');
    if (isRandom) assert.notDeepEqual(await sampled({ key: Key.fromSeed(2) }), once, 'another key');
  });

  check('goes on from its state, and says what it was made with as plain data', async (model) => {
    const first = make();
    assert.deepEqual(JSON.parse(JSON.stringify(first.settings ?? {})), first.settings ?? {}, 'settings are JSON');
    assert.equal(first.state === undefined, first.load === undefined, 'state and load come together');
    assert.ok(first.state || !first.feedback, 'what listens to feedback has a state');
    const sampled = await first.sample(requestOf(model));
    await first.feedback?.(sampled.map(learnt), { step: 0, advantages: sampled.map((_, i) => Math.sin(1 + i)) });
    const second = make();
    if (first.state) await second.load!(await savedState(await first.state()));
    const further = async (source: RolloutSource<Row>) =>
      (await source.sample(requestOf(model, { key: Key.fromSeed(3), step: 1 }))).map(exactOf);
    assert.deepEqual(await further(second), await further(first), 'from a saved state');
  });

  check('ends where the signal has fired', async (model) => {
    const signal = AbortSignal.abort(new Error('enough'));
    await assert.rejects(async () => make().sample(requestOf(model, { signal })), /enough/);
  });
}
