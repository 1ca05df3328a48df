import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Key } from '@posttrain/core-tensor';
import type { PairJudge } from '@posttrain/interfaces';
import { type CausalLM, LocalGenerator, NO_ADAPTER } from '@posttrain/lm';
import { createAdapter, promptTuning } from '@posttrain/peft';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type DpoOptions,
  failureAwarePairs,
  nashMdCompletions,
  type OnlinePairsOptions,
  onlinePairs,
  type PreferenceSource,
  preferenceLosses,
  selfRewardingPairs,
  spinPairs,
  type TokenizedCompletion,
  type TokenizedPair,
  trainPreferences,
  type UnpairedLoss,
  xpoPairs,
} from '../src/index.js';
import { fractionOfC, prompts, toyModel } from './toy.js';

const letters = ['a', 'b', 'd', 'e', 'f', 'g'];
const pairs = letters.map((letter) => ({
  prompt: `${letter}ab`,
  chosen: 'cc',
  rejected: `${letter}${letter}${letter}`,
}));
const single = pairs.flatMap(({ prompt, chosen, rejected }) => [
  { prompt, completion: chosen, label: true },
  { prompt, completion: rejected, label: false },
]);

const run = async (options: Partial<DpoOptions>) =>
  trainPreferences({
    ...{ model: await toyModel(3), rows: pairs, batchSize: 4, learningRate: 0.01, epochs: 6, schedule: 'constant' },
    ...options,
  } as DpoOptions);

/** The low end of the interval of the mean of three: Student's t with two degrees of freedom, 95 %. */
const lowEnd = (gains: readonly number[]) => {
  const mean = gains.reduce((a, b) => a + b) / 3;
  return mean - 4.303 * Math.sqrt(gains.reduce((sum, x) => sum + (x - mean) ** 2, 0) / 2 / 3);
};

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'preferences-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('trainPreferences', () => {
  it.each(['ipo', 'simpo', 'orpo', 'aot', 'tdpo', 'wpo'] as const)(
    'comes to prefer what is chosen: %s',
    async (name) => {
      const { history } = await run({ loss: preferenceLosses[name]() });
      const [first, last] = [history[0]!.metrics, history.at(-1)!.metrics];
      expect(last['rewards/accuracies']).toBe(1);
      expect(last['rewards/margins']!).toBeGreaterThan(first['rewards/margins']! + 0.05);
      expect(last.loss!).toBeLessThan(first.loss!);
      expect('nll_loss' in last).toBe(name === 'orpo');
    },
  );

  it.each([
    ['f_dpo', preferenceLosses.f_dpo({ fDivergenceType: 'forward_kl' })],
    ['ld_dpo', preferenceLosses.ld_dpo()],
  ])('%s prefers what is better for prompts it has not seen, and from labels of chance nothing', async (_, loss) => {
    const [seen, held] = [pairs.slice(0, 4), pairs.slice(4)];
    const margin = async (seed: number, isControl: boolean) => {
      // In every second pair what is worse is called better.
      const swap = ({ prompt, chosen, rejected }: (typeof pairs)[number]) => ({
        prompt,
        chosen: rejected,
        rejected: chosen,
      });
      const rows = isControl ? seen.map((pair, i) => ((i + seed) % 2 ? swap(pair) : pair)) : seen;
      const { history } = await run({ loss, seed, rows, evaluationRows: held, model: await toyModel(seed) });
      return history.at(-1)!.metrics['eval_rewards/margins']!;
    };
    const gains: number[] = [];
    for (const seed of [3, 4, 5]) gains.push((await margin(seed, false)) - (await margin(seed, true)));
    expect(lowEnd(gains), String(gains)).toBeGreaterThan(0.02);
  });

  it('comes to say what is desirable, from single completions: kto', async () => {
    const { history } = await run({ rows: single, loss: preferenceLosses.kto() });
    const [first, last] = [history[0]!.metrics, history.at(-1)!.metrics];
    expect(first.loss).toBeCloseTo(0.5, 5);
    expect(first.kl).toBeCloseTo(0, 5);
    expect(last.loss!).toBeLessThan(0.49);
    expect(last['rewards/margins']!).toBeGreaterThan(0.1);
    expect(Object.keys(last)).toEqual(expect.arrayContaining(['kl', 'rewards/chosen', 'logps/rejected', 'entropy']));
    // A step without undesirable completions has no means over them.
    const liked = single.filter(({ label }) => label);
    const alone = await run({ rows: liked, loss: preferenceLosses.kto(), epochs: undefined as never, steps: 1 });
    const names = Object.keys(alone.history[0]!.metrics).filter((name) => /\/(chosen|rejected|margins)/.test(name));
    expect(names).toEqual(['rewards/chosen', 'logps/chosen']);
  });

  it('takes rows of any source for so many steps, and says how several losses are given', async () => {
    const next = async ({ count, step }: { readonly count: number; readonly step: number }) =>
      Array.from({ length: count }, (_, i) => ({ row: pairs[(step * count + i) % pairs.length]! }));
    const common = { epochs: undefined as never, steps: 2 };
    const { history } = await run({ ...common, rows: { name: 'in-turn', next } });
    expect(history.map(({ metrics }) => [metrics.skipped_updates, metrics.num_tokens! > 0])).toEqual([
      [0, true],
      [0, true],
    ]);
    const losses = [preferenceLosses.sigmoid(), preferenceLosses.sft()];
    await expect(run({ ...common, loss: losses as never })).rejects.toThrow(/Of several: combinedLoss\(\{ losses/);
  });

  it.each([
    ['kto', single],
    ['aot', pairs],
    ['orpo', pairs],
  ] as const)('%s is the same however a step is split over micro-batches', async (name, rows) => {
    const last = async (maxTokensPerPass: number) => {
      const { history } = await run({
        rows,
        loss: preferenceLosses[name](),
        maxTokensPerPass,
        epochs: 2,
        evaluationRows: rows,
      } as never);
      return history.map(({ metrics }) => metrics);
    };
    const [whole, split] = [await last(4096), await last(16)];
    expect(whole.length).toBe(split.length);
    whole.forEach((metrics, i) => {
      for (const [key, value] of Object.entries(metrics)) {
        if (key !== 'step_time') expect(Math.abs(split[i]![key]! - value), `${i} ${key}`).toBeLessThan(1e-4);
      }
    });
    expect(whole.at(-1)!.eval_loss).toBeDefined();
  });

  it('runs no reference where the loss needs none', async () => {
    const hooks = () => {
      throw new Error('the reference was run');
    };
    const reference = { name: 'never', parameters: {}, hooks };
    for (const name of ['simpo', 'orpo'] as const) {
      await expect(run({ loss: preferenceLosses[name](), reference, epochs: 1 })).resolves.toBeDefined();
    }
    await expect(run({ loss: preferenceLosses.ipo(), reference, epochs: 1 })).rejects.toThrow(/the reference was run/);
  });

  it('gives a loss of one’s own a number of the step, and refuses what it did not name', async () => {
    const seen: number[] = [];
    let traced = 0;
    const own: UnpairedLoss = {
      kind: 'unpaired',
      name: 'own',
      settings: {},
      beta: 0.1,
      scalars: ['mixing'],
      before: async () => ({ mixing: seen.push(seen.length) }),
      compute({ logProbs, desirable, lengths }, { mixing }) {
        traced++;
        return logProbs.div(lengths.maximum(1)).mul(desirable.neg()).mul(mixing!);
      },
    };
    const { history } = await run({ rows: single, loss: own, epochs: 1 });
    expect(history.map(({ metrics }) => metrics.mixing)).toEqual([1, 2, 3]);
    expect(traced).toBe(1);
    const wrong = { ...own, before: async () => ({ other: 1 }) };
    await expect(run({ rows: single, loss: wrong, epochs: 1 })).rejects.toThrow(/takes no scalar other/);
  });

  it.each(['kto', 'bco'] as const)('goes on from a checkpoint with the same numbers: %s', async (name) => {
    const options = { rows: single, loss: preferenceLosses[name](), saveSteps: 1 } as const;
    const straight = await run({ ...options, epochs: 1, outputFolder: join(folder, `straight ${name}`) });
    const stopped = { ...options, epochs: 1, outputFolder: join(folder, `stopped ${name}`) };
    await run({ ...stopped, afterStep: ({ step, stop }) => (step === 0 ? stop() : undefined) });
    const resumed = await run({ ...stopped, resume: true });
    const numbers = ({ history }: typeof resumed) =>
      history.map(({ metrics: { step_time: _, ...metrics } }) => metrics);
    expect(numbers(resumed)).toEqual(numbers(straight));
    if (name === 'bco') expect(resumed.history.at(-1)!.metrics.delta_count).toBe(12);
    const other = { ...stopped, loss: preferenceLosses[name]({ beta: 0.2 }), resume: true as const };
    await expect(run(other)).rejects.toThrow(/beta/);
  });

  it.each([
    [{ prompt: 'ab', completion: 'cc', label: 1 }, /row 0: label must be true .* and is 1/],
    [{ prompt: 'ab', completion: ['cc'], label: true }, /row 0/],
    [{ prompt: 'ab', chosen: 'cc', label: true }, /row 0: completion must be a text/],
    [{ prompt: '', completion: 'cc', label: true }, /row 0: its prompt has no tokens/],
  ])('refuses a row for kto: %j', async (row, message) => {
    await expect(run({ rows: [row] as never, loss: preferenceLosses.kto() })).rejects.toThrow(message);
  });
});

const ranked = pairs.map(({ prompt, chosen, rejected }) => ({
  prompt,
  completions: [rejected, chosen, `c${rejected}`],
  ranks: [3, 1, 2],
}));

describe('spinPairs', () => {
  const rows = letters.map((letter) => ({ prompt: `${letter}ab`, completion: 'cc' }));
  const answersOf = async (model: CausalLM, n: number) => {
    const requests = rows.map(({ prompt }, i) => ({ prompt, maxTokens: 4, n, seed: 100 * i }));
    return (await new LocalGenerator(model).generate(requests)).map((answers) => answers.map(({ text }) => text));
  };
  /** How many more of the letters that the policy says are those of the rows, after two iterations. */
  const gained = async (seed: number, isControl: boolean) => {
    let model = await toyModel(seed);
    const saysC = async () => {
      const fractions = (await answersOf(model, 12)).flat().map(fractionOfC);
      return fractions.reduce((a, b) => a + b) / fractions.length;
    };
    const before = await saysC();
    // The control learns to say what it says already.
    const own = (await answersOf(model, 1)).map(([text], i) => ({ ...rows[i]!, completion: text || 'a' }));
    for (const iteration of [0, 1]) {
      const source = spinPairs({ rows: isControl ? own : rows, maxCompletionLength: 4 });
      const given = { steps: 8, batchSize: 6, learningRate: 0.003, seed: seed + iteration };
      model = (await run({ model, rows: source, ...given })).trainer.model;
    }
    return (await saysC()) - before;
  };

  it('comes to say what the rows say, and not where they are its own words', async () => {
    const gains: number[] = [];
    for (const seed of [3, 4, 5]) gains.push((await gained(seed, false)) - (await gained(seed, true)));
    expect(lowEnd(gains), String(gains)).toBeGreaterThan(0.1);
  });

  it('has the reference for its opponent, also where all weights are trained', async () => {
    const model = await toyModel(3);
    const seen: TokenizedPair[][] = [];
    const source = spinPairs({ rows, maxCompletionLength: 4 });
    const watched: PreferenceSource = {
      ...source,
      async next(request) {
        const batch = await source.next(request);
        seen.push(batch.rows as TokenizedPair[]);
        return batch;
      },
    };
    // With so large a rate the policy is soon another one.
    await run({ model, rows: watched, steps: 3, batchSize: 6, learningRate: 0.3, seed: 1 });
    const request = { count: 6, model, adapter: NO_ADAPTER, reference: NO_ADAPTER, maxLength: 32 };
    for (const [step, rowsOf] of seen.entries()) {
      const key = Key.fromSeed(1).child(step);
      const again = await source.next({ ...request, step, key, packWeights: 'auto', signal: undefined });
      expect(again.rows).toEqual(rowsOf);
    }
    await expect(spinPairs({ rows }).next(request as never)).rejects.toThrow(/begin\(\) was not called/);
  });

  it('refuses rows that are none, by number', async () => {
    const source = spinPairs({ rows: [{ prompt: 'ab' }] as never });
    await expect(run({ rows: source, steps: 1 })).rejects.toThrow(/row 0: completion must be a text/);
  });
});

describe('trainPreferences with rankings', () => {
  it.each(['plackett_luce', 'lipo', 'mdpo', 'mipo'] as const)(
    'comes to prefer what is ranked first: %s',
    async (name) => {
      const rows = ranked.map(({ ranks, ...row }) =>
        name === 'lipo' ? { ...row, scores: [0, 1, 0.5] } : { ...row, ranks },
      );
      const { history, identical } = await run({ rows, loss: preferenceLosses[name]() });
      const [first, last] = [history[0]!.metrics, history.at(-1)!.metrics];
      expect(last['rewards/accuracies']!).toBeGreaterThan(0.6);
      expect(last['rewards/margins']!).toBeGreaterThan(first['rewards/margins']! + 0.05);
      expect(last.loss!).toBeLessThan(first.loss!);
      expect(identical).toBe(0);
    },
  );

  it('of two completions is DPO on pairs, step by step', async () => {
    const two = pairs.map(({ prompt, chosen, rejected }) => ({
      prompt,
      completions: [rejected, chosen],
      scores: [0, 1],
    }));
    const [a, b] = [
      await run({ rows: two, loss: preferenceLosses.plackett_luce(), epochs: 2 }),
      await run({ epochs: 2 }),
    ];
    a.history.forEach(({ metrics }, i) => {
      for (const name of ['loss', 'grad_norm', 'rewards/margins', 'rewards/accuracies', 'logps/rejected', 'entropy']) {
        expect(Math.abs(metrics[name]! - b.history[i]!.metrics[name]!), `${i} ${name}`).toBeLessThan(1e-4);
      }
    });
  });

  it.each([
    [{ ranks: [1, 2], scores: [1, 2] }, /row 0: has both ranks and scores/],
    [{}, /row 0: has neither ranks nor scores/],
    [{ ranks: [1] }, /row 0: ranks must be a number for each of the 2 completions/],
    [{ ranks: [1, 2], completions: ['cc'] }, /row 0: completions must be a list of at least 2/],
    [{ ranks: [1, 2], completions: ['cc', [{ role: 'assistant', content: 'c' }]] }, /must all be texts or all/],
    [{ scores: [1e4, -1e4] }, /row 0: has the score 10000; the loss lipo computes with scores from -64 to 64/, 'lipo'],
    [{ ranks: [2, 2] }, /none of 1 rows has .* and completions that differ before it and in rank/],
  ] as const)('refuses a row: %j', async (row, message, name: 'plackett_luce' | 'lipo' = 'plackett_luce') => {
    const rows = [{ prompt: 'ab', completions: ['cc', 'dd'], ...row }] as never;
    await expect(run({ rows, loss: preferenceLosses[name]() })).rejects.toThrow(message);
  });
});

it('a loss takes numbers from columns of the rows, and refuses rows that have none', async () => {
  const loss = preferenceLosses.bfpo();
  const safe = pairs.map((row, i) => ({ ...row, is_chosen_safe: i > 2, is_rejected_safe: false }));
  const { history } = await run({ rows: safe, loss, epochs: 1, batchSize: 6 });
  // At the reference: the mean of (½ / β)² and (1 / β)².
  expect(history[0]!.metrics.loss).toBeCloseTo((25 + 100) / 2, 3);
  await expect(run({ rows: pairs, loss })).rejects.toThrow(/row 0: is_chosen_safe must be a number, true or false/);
});

it('leaves room for virtual tokens in maxLength', async () => {
  const model = await toyModel(3);
  const adapter = await createAdapter(model, promptTuning, { numVirtualTokens: 20 });
  const long = { prompt: 'ab'.repeat(6), chosen: 'cc', rejected: 'dd' };
  const { dropped } = await run({ model, adapter, rows: [...pairs, long], epochs: 1 });
  expect(dropped).toBe(1);
  await expect(run({ model, adapter, maxLength: 13 })).rejects.toThrow(/holds 12 tokens beside 20 virtual tokens/);
});

describe('what the policy samples for another loss than DPO', () => {
  const shared = { rows: prompts, maxCompletionLength: 4 } as const;
  const { sigmoid, xpo, nash_md } = preferenceLosses;
  type Arm = readonly [
    name: string,
    source: (like: (text: string) => number) => PreferenceSource,
    options: Partial<DpoOptions>,
  ];
  const arms: readonly Arm[] = [
    ['xpoPairs', (like) => xpoPairs({ ...shared, rewards: { like } }), { loss: xpo({ alpha: 0.01 }) }],
    [
      'nashMdCompletions',
      (like) => nashMdCompletions({ ...shared, rewards: { like: (text: string) => 8 * like(text) } }),
      { loss: nash_md({ beta: 0.01 }) },
    ],
    [
      'failureAwarePairs',
      (like) => failureAwarePairs({ ...shared, rewards: { like }, threshold: 0.25 }),
      { loss: sigmoid() },
    ],
    [
      'selfRewardingPairs',
      (like) => {
        // What a random model writes judges nothing: the score stands in what it is asked, and verdicts come in that order.
        const asked: string[] = [];
        return selfRewardingPairs({
          ...{ ...shared, judgements: 1, maxJudgementLength: 1 },
          judgePrompt({ prompt, completion }) {
            asked.push(completion);
            return prompt;
          },
          parse: () => like(asked.shift()!),
        });
      },
      { loss: sigmoid() },
    ],
  ];
  const late = async ([, source, options]: Arm, like: (text: string) => number) => {
    const { history } = await run({
      ...{ model: await toyModel(3), rows: source(like), steps: 10, batchSize: 7, learningRate: 0.01 },
      ...{ epochs: undefined as never, seed: 5, ...options },
    });
    const scores = history.map(({ metrics }) => metrics['objective/scores']!);
    return { first: scores[0]!, last: (scores.at(-1)! + scores.at(-2)!) / 2, history };
  };

  it.each(arms)('%s: comes to say what is liked', async (...arm) => {
    const oracle = await late(arm, fractionOfC);
    const scale = arm[0] === 'nashMdCompletions' ? 8 : 1;
    expect(oracle.last, `from ${oracle.first}`).toBeGreaterThan(oracle.first + 0.15 * scale);
    for (const name of ['val/contain_eos_token', 'completions/mean_length', 'frac_undecided']) {
      expect(oracle.history[0]!.metrics[name], name).toBeDefined();
    }
  });

  it('a judge says ties and what it prefers as probabilities, and what it does not say is left out', async () => {
    const winners = ['first', 'tie', null] as const;
    const judge: PairJudge = {
      name: 'three',
      compare: async (requests) => requests.map((_, i) => ({ winner: winners[i % 3]! })),
    };
    const model = await toyModel(3);
    const seen: number[] = [];
    const source = nashMdCompletions({ ...shared, judge, mixtureCoef: 0 });
    const watched: PreferenceSource = {
      ...source,
      async next(request) {
        const batch = await source.next(request);
        seen.push(...(batch.rows as readonly TokenizedCompletion[]).map(({ columns }) => columns!.preference!));
        expect(batch.metrics!.frac_undecided).toBeCloseTo(1 / 3, 10);
        return batch;
      },
    };
    await run({ model, rows: watched, steps: 1, batchSize: 6, epochs: undefined as never, loss: nash_md() });
    expect(seen.length).toBe(4);
    expect(seen.filter((x) => x === 0.5).length).toBe(2);
    expect(seen.every((x) => [0, 0.5, 1].includes(x))).toBe(true);
  });

  it('XPO asks the reference, also where all weights are trained, and says whose the better one is', async () => {
    const model = await toyModel(3);
    const source = xpoPairs({ ...shared, rewards: { fractionOfC } });
    const seen: TokenizedPair[] = [];
    const watched: PreferenceSource = {
      ...source,
      async next(request) {
        const batch = await source.next(request);
        seen.push(...(batch.rows as TokenizedPair[]));
        return batch;
      },
    };
    const given = { steps: 2, batchSize: 7, seed: 1, epochs: undefined as never, loss: xpo() };
    await run({ model, rows: watched, learningRate: 0.3, ...given });
    const request = { count: 7, model, adapter: NO_ADAPTER, reference: NO_ADAPTER, maxLength: 32, signal: undefined };
    const key = Key.fromSeed(1).child(1);
    // Where the policy is the reference, what the reference says is the same as in the run.
    const again = (await source.next({ ...request, step: 1, key, packWeights: 'auto' })).rows as TokenizedPair[];
    const ofReference = ({ chosenTokens, rejectedTokens, columns }: TokenizedPair) =>
      String(columns!.is_reference_chosen === 1 ? chosenTokens : rejectedTokens);
    const known = new Set(again.map(ofReference));
    const second = seen.slice(-4);
    expect(second.filter((pair) => known.has(ofReference(pair))).length).toBeGreaterThan(0);
    await expect(xpoPairs({ ...shared, rewards: { fractionOfC } }).next(request as never)).rejects.toThrow(
      /begin\(\) was not called/,
    );
    expect(() => xpoPairs(shared)).toThrow(/give rewards or a judge/);
  });

  it('failures: the likeliest one is rejected for the unlikeliest success', async () => {
    const model = await toyModel(3);
    const source = failureAwarePairs({ ...shared, rewards: { fractionOfC }, threshold: 0.25, completionsPerPrompt: 8 });
    await source.begin!({ model, seed: 0, maxLength: 32 });
    const request = { count: 7, model, adapter: NO_ADAPTER, reference: NO_ADAPTER, maxLength: 32, signal: undefined };
    const { rows, metrics } = await source.next({ ...request, step: 0, key: Key.fromSeed(2), packWeights: 'auto' });
    expect(rows.length).toBeGreaterThan(1);
    expect(rows.length / 7 + metrics!.frac_undecided!).toBeCloseTo(1, 10);
    const textOf = (tokens: readonly number[]) => model.tokenizer.decode([...tokens]);
    for (const { chosenTokens, rejectedTokens } of rows as TokenizedPair[]) {
      expect(fractionOfC(textOf(chosenTokens).replace('</s>', ''))).toBeGreaterThanOrEqual(0.25);
      expect(fractionOfC(textOf(rejectedTokens).replace('</s>', ''))).toBeLessThan(0.25);
    }
  });
});

describe('preferences that are tokens already', () => {
  /** Reads as one token where it is tokenised again: none of our vocabulary is two letters, so it would be refused or changed. */
  const tokens = { promptTokens: [0, 0, 1], chosenTokens: [2, 2], rejectedTokens: [3, 3, 3] };
  it.each([
    [tokens, preferenceLosses.sigmoid(), 5 + 6],
    [{ promptTokens: [0, 1], completionTokens: [2, 7], desirable: true }, preferenceLosses.kto(), 4],
    [{ promptTokens: [0, 1], completions: [[2], [3, 3]], scores: [1, 0] }, preferenceLosses.plackett_luce(), 3 + 4],
  ])('are taken as they are: %j', async (row, loss, count) => {
    const model = await toyModel(3);
    // Of what has tokens, nobody asks the tokenizer.
    const encode = () => {
      throw new Error('a text was tokenised');
    };
    Object.assign(model, { tokenizer: Object.assign(Object.create(model.tokenizer), { encode }) });
    const { history } = await run({ model, rows: [row] as never, loss, epochs: 1 });
    expect(history[0]!.metrics.num_tokens).toBe(count);
    await expect(run({ model, epochs: 1 })).rejects.toThrow(/a text was tokenised/);
    const cut = await run({ model, rows: [row] as never, loss, epochs: 1, maxLength: row.promptTokens.length + 1 });
    expect(cut.history[0]!.metrics.num_tokens).toBeLessThan(count);
  });

  it('must be some', async () => {
    const rows = [{ ...tokens, promptTokens: [] }];
    await expect(run({ rows })).rejects.toThrow(/row 0: its promptTokens must be/);
    await expect(run({ rows: [{ ...tokens, chosenTokens: [] }] })).rejects.toThrow(/row 0: one of its completions/);
  });
});

describe('online DPO', () => {
  const online = async (seed: number, options: Partial<OnlinePairsOptions>, others: Partial<DpoOptions> = {}) =>
    trainPreferences({
      model: await toyModel(seed),
      rows: onlinePairs({ rows: prompts, maxCompletionLength: 4, ...options }),
      ...{ steps: 12, batchSize: 8, learningRate: 0.02, schedule: 'constant', seed, ...others },
    });

  /** What a judge sees in each step, as the mean fraction of c. */
  const judgeBy = (name: string, prefers: (first: string, second: string, i: number) => number) => {
    const seen: number[] = [];
    const judge: PairJudge = {
      name,
      async compare(requests) {
        const fractions = requests.flatMap(({ first, second }) => [fractionOfC(first), fractionOfC(second)]);
        seen.push(fractions.reduce((a, b) => a + b) / fractions.length);
        return requests.map(({ first, second }, i) => {
          const margin = prefers(first, second, i);
          return { winner: margin > 0 ? 'first' : margin < 0 ? 'second' : 'tie' };
        });
      },
    };
    return { judge, seen };
  };

  it('comes to say what a judge likes, and a judge by chance teaches nothing: three seeds', async () => {
    const gains: number[] = [];
    for (const seed of [1, 2, 3]) {
      const oracle = judgeBy('oracle', (first, second) => fractionOfC(first) - fractionOfC(second));
      let call = 0;
      const chance = judgeBy('chance', () => Key.fromSeed(seed).child(call++).uniformHost(1)[0]! - 0.5);
      for (const { judge } of [oracle, chance]) await online(seed, { judge });
      const late = ({ seen }: typeof oracle) => seen.slice(-3).reduce((a, b) => a + b) / 3;
      expect(late(oracle)).toBeGreaterThan(oracle.seen[0]! + 0.2);
      gains.push(late(oracle) - late(chance));
    }
    const mean = gains.reduce((a, b) => a + b) / 3;
    const deviation = Math.sqrt(gains.reduce((sum, gain) => sum + (gain - mean) ** 2, 0) / 2);
    // Student's t of 95 %, two degrees of freedom.
    expect(mean - (4.303 * deviation) / Math.sqrt(3), `gains ${gains}`).toBeGreaterThan(0);
  });

  it("samples from the policy as it is, trains on what was sampled, and logs TRL's names", async () => {
    const asked: number[] = [];
    const rewards = { fraction: (text: string) => fractionOfC(text) };
    const source = onlinePairs({ rows: prompts, rewards, maxCompletionLength: 4, missingEosPenalty: 0.5 });
    const rows: PreferenceSource = {
      ...source,
      async next(request) {
        asked.push(request.count);
        const batch = await source.next(request);
        for (const row of batch.rows as TokenizedPair[]) {
          const prompt = prompts.map((one) => [...one.prompt].map((letter) => letter.charCodeAt(0) - 97));
          expect(prompt).toContainEqual([...row.promptTokens]);
          expect(row.chosenTokens).not.toEqual(row.rejectedTokens);
        }
        return batch;
      },
    };
    const { history } = await run({ rows, steps: 3, batchSize: 7, epochs: undefined as never });
    expect(asked).toEqual([7, 7, 7]);
    const { metrics } = history[0]!;
    expect(metrics.loss).toBeCloseTo(Math.log(2), 5);
    expect(metrics['objective/scores_margin']!).toBeGreaterThan(0);
    for (const name of ['objective/scores', 'val/contain_eos_token', 'completions/mean_length', 'frac_undecided']) {
      expect(metrics[name], name).toBeDefined();
    }
    expect(metrics.epoch).toBeUndefined();
    // Log-probabilities of a policy that has moved differ from the reference's in the next step.
    expect(history[2]!.metrics.loss).not.toBeCloseTo(Math.log(2), 5);
  });

  it('trains the same by a judge, who sees completions in a random order, as by scores in that order', async () => {
    const score = (text: string) => [...text].reduce((sum, x, i) => sum + x.charCodeAt(0) / 128 ** i, 0);
    const firsts: boolean[] = [];
    const { judge } = judgeBy('score', (first, second) => {
      firsts.push(first < second);
      return score(first) - score(second);
    });
    const [byJudge, byScore] = [
      await online(1, { judge }, { steps: 3 }),
      await online(1, { rewards: { score } }, { steps: 3 }),
    ];
    const norms = ({ history }: typeof byJudge) => history.map(({ metrics }) => metrics.grad_norm);
    expect(norms(byJudge)).toEqual(norms(byScore));
    expect(new Set(firsts).size).toBe(2);
  });

  it('makes no update where nothing is preferred, says so, and is no run where that is all', async () => {
    const said: string[] = [];
    const onWarning = (message: string) => void said.push(message);
    // Of the first step no completion is better.
    let calls = 0;
    const rewards = { late: (text: string) => (calls++ < 16 ? 1 : fractionOfC(text)) };
    const { history, trainer } = await online(1, { rewards }, { steps: 2, onWarning });
    expect(
      history.map(({ metrics }) => [metrics.frac_undecided === 1, 'loss' in metrics, metrics.skipped_updates]),
    ).toEqual([
      [true, false, 1],
      [false, true, 1],
    ]);
    expect(trainer.step).toBe(1);
    expect(said.filter((message) => /step 0: no update is made: its source gave no rows/.test(message)).length).toBe(1);
    const never = online(1, { rewards: { same: () => 1 } }, { steps: 2, onWarning });
    await expect(never).rejects.toThrow(/none of its 2 steps had a row to train on/);
    const alike = { promptTokens: [0], chosenTokens: [1], rejectedTokens: [1] };
    const source: PreferenceSource = { name: 'alike', settings: {}, next: async () => ({ rows: [alike] }) };
    await expect(run({ rows: source, steps: 1, onWarning })).rejects.toThrow(/none of its 1 steps/);
    expect(said.at(-1)).toMatch(/of its rows 1 are left out since nothing differs/);
  });

  it.each([
    ['null', null, 'sigmoid', /source odd gave null as row 0; every row must be an object/],
    ['a completion without a label', { promptTokens: [0], completionTokens: [1] }, 'kto', /desirable must be true or/],
  ] as const)('refuses %s from a source', async (_, row, name, said) => {
    const rows: PreferenceSource = { name: 'odd', settings: {}, next: async () => ({ rows: [row as never] }) };
    const options = { loss: preferenceLosses[name](), steps: 1, epochs: undefined as never };
    await expect(run({ ...options, rows })).rejects.toThrow(said);
  });

  it('takes rankings from a source of one’s own, and keeps its state', async () => {
    const source = (count: { asked: number }): PreferenceSource => ({
      name: 'own',
      settings: {},
      async next({ step }) {
        count.asked++;
        return { rows: [ranked[(count.asked + step) % ranked.length]!], metrics: { asked: count.asked, loss: -1 } };
      },
      state: () => count.asked,
      load: (state) => {
        count.asked = state as number;
      },
    });
    const options = {
      loss: preferenceLosses.plackett_luce(),
      steps: 3,
      batchSize: 1,
      saveSteps: 1,
      epochs: undefined as never,
    };
    const straight = await run({ ...options, rows: source({ asked: 0 }), outputFolder: join(folder, 'source') });
    const stopped = { ...options, outputFolder: join(folder, 'source-stopped') };
    await run({
      ...stopped,
      rows: source({ asked: 0 }),
      afterStep: ({ step, stop }) => (step === 0 ? stop() : undefined),
    });
    const resumed = await run({ ...stopped, rows: source({ asked: 0 }), resume: true });
    const asked = ({ history }: typeof resumed) => history.map(({ metrics }) => [metrics.asked, metrics.loss]);
    expect(asked(resumed)).toEqual(asked(straight));
    expect(asked(resumed).map(([count]) => count)).toEqual([1, 2, 3]);
    // What a source logs is not taken for the run's own.
    for (const [, loss] of asked(straight)) expect(loss).toBeGreaterThan(0);
  });

  it.each<[Partial<OnlinePairsOptions>, Partial<DpoOptions>, RegExp]>([
    [{}, {}, /give rewards or a judge, and not none/],
    [{ rewards: { a: () => 1 }, judge: judgeBy('a', () => 1).judge }, {}, /and not both/],
    [{ judge: judgeBy('a', () => 1).judge, missingEosPenalty: 1 }, {}, /a judge gives none/],
    [{ rewards: { a: () => 1 } }, { steps: undefined as never }, /steps is missing: the source online-pairs/],
    [
      { rewards: { a: () => 1 }, maxCompletionLength: 30 },
      {},
      /longest prompt \(3 tokens\) does not fit into maxLength 32/,
    ],
    [{ rewards: { a: () => 1 }, rows: [{ prompt: '' }] }, {}, /row 0: its prompt has no tokens/],
    [{ rewards: { c: fractionOfC } }, { loss: preferenceLosses.kto() }, /one of its completions has no tokens/],
  ])('refuses %j %j', async (options, others, message) => {
    await expect(online(1, options, others)).rejects.toThrow(message);
  });
});
