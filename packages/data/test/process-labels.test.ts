// Steps that make rows for reward models: labels by rollouts, and pairs by exchange.
import { readFileSync } from 'node:fs';
import type { GenerateRequest, Generator, Verifier } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { verificationPrompt } from '@posttrain/interfaces/verifiers';
import { describe, expect, it } from 'vitest';
import {
  firstError,
  generativeVerifierRows,
  mathShepherd,
  omegaPrm,
  pipeline,
  processAdvantages,
  rejectionSampling,
  rrmAugment,
} from '../src/index.js';
import { testDataStep } from '../src/testing/index.js';

const STEPS = 4;
const LINE = /\n/;
const linesOf = (text: string) => text.split(LINE).filter((line) => line !== '');

/** Solutions of four steps, each `+` with probability p, else `-`: from a state of k good steps the chance to be right is p^(4 - k). */
const walker = (p: number): Generator & { asked: GenerateRequest[] } => {
  const asked: GenerateRequest[] = [];
  return {
    name: `walker ${p}`,
    asked,
    async generate(requests) {
      asked.push(...requests);
      return requests.map(({ prefix = '', n = 1, seed }) => {
        const random = createRandom(seed!, 'walker');
        return Array.from({ length: n }, () => {
          const left = STEPS - linesOf(prefix).length;
          const text = Array.from({ length: left }, () => (random.integer(0, 999) < p * 1000 ? '+\n' : '-\n')).join('');
          return { text, finishReason: 'stop' as const, usage: { promptTokens: 1, completionTokens: 2 * left } };
        });
      });
    },
  };
};
/** Right is what has no bad step and ends as its row says. */
const allGood: Verifier = {
  name: 'all good',
  verify: async (requests) =>
    requests.map(({ completion, row }) => ({
      score: (row!.answer ?? null) === null ? null : +linesOf(completion).every((line) => line === row!.answer),
    })),
};
const base = { verifier: allGood, rollouts: 4 };
const rows = [
  { prompt: 'a', answer: '+', completions: ['+', '+', '+', '+'] },
  { prompt: 'b', answer: '+', completions: ['+', '-', '+', '+'] },
  { prompt: 'c', answer: '+', completions: ['-', '+', '+', '+'] },
  { prompt: 'd', completions: ['+', '+', '+', '+'] },
  { prompt: 'e', answer: '+', completions: ['+', '+', '+', '-'] },
];

describe('labels by rollouts', () => {
  testDataStep(it, () => mathShepherd({ ...base, generator: walker(0.6) }), { rows });
  testDataStep(it, () => omegaPrm({ ...base, generator: walker(0.6) }), { rows });
  testDataStep(it, () => processAdvantages({ ...base, generator: walker(0.6) }), { rows });
  testDataStep(it, () => rejectionSampling({ verifiers: [allGood], generator: walker(0.8) }), { rows });

  it('rejectionSampling: every kept completion is accepted again, and is drawn again by its provenance; what is not is counted', async () => {
    const generator = walker(0.7);
    const even: Verifier = {
      name: 'even',
      verify: async (requests) => requests.map(({ completion }) => ({ score: linesOf(completion).length % 2 ? 0 : 1 })),
    };
    const made = pipeline(
      rows.map(({ prompt, answer = null }) => ({ prompt, answer })),
      [
        rejectionSampling<{ prompt: string; answer: string | null }>({
          generator,
          verifiers: [allGood, even],
          samples: 12,
        }),
      ],
      { seed: 3 },
    );
    const kept = await made.collect();
    // Of four equal rows one completion can be right; the row without an answer cannot be scored.
    expect(kept.map(({ prompt, completion }) => [prompt, completion])).toEqual(
      ['a', 'b', 'c', 'e'].map((prompt) => [prompt, '+\n+\n+\n+\n']),
    );
    for (const { prompt, answer, completion, provenance } of kept) {
      const { seed, sample, drawn, scores } = provenance;
      const asked = [{ prompt, completion, row: { answer } }];
      for (const one of [allGood, even]) expect((await one.verify(asked))[0]!.score).toBe(scores[one.name]);
      const [again] = await generator.generate([{ prompt, n: drawn, seed }]);
      expect(again![sample]!.text).toBe(completion);
      const right = again!.filter(({ text }) => text === completion).length;
      expect(provenance).toMatchObject({ generator: 'walker 0.7', drawn: 12, accepted: right });
      expect(again!.findIndex(({ text }) => text === completion)).toBe(sample);
    }
    expect(JSON.stringify(made.report())).toContain('no completion was accepted');
  });

  it('rejectionSampling keeps so many, and says what has answered for others than it was asked about', async () => {
    const any: Verifier = { name: 'any', verify: async (requests) => requests.map(() => ({ score: 1 })) };
    const of = (more: object) =>
      pipeline([{ prompt: 'a' }], [rejectionSampling({ generator: walker(0.5), verifiers: [any], ...more })]).collect();
    expect(await of({ samples: 40, most: 3 })).toHaveLength(3);
    const all = await of({ samples: 400 });
    expect(new Set(all.map(({ completion }) => completion)).size).toBe(16);
    expect(all).toHaveLength(16);
    const mute: Verifier = { name: 'mute', verify: async () => [] };
    await expect(of({ verifiers: [mute] })).rejects.toThrow(/mute returned 0 verdicts for 16 completions/);
    const short: Generator = { name: 'short', generate: async () => [[]] };
    await expect(of({ generator: short })).rejects.toThrow(/short returned 0 completions where 16 were asked for/);
    expect(() => rejectionSampling({ generator: walker(1), verifiers: [] })).toThrow(/verifiers/);
  });

  it('mathShepherd: soft labels are the chance to be right, hard ones whether there is one', async () => {
    const options = { ...base, generator: walker(0.6) };
    const soft = await pipeline(rows, [mathShepherd({ ...options, rollouts: 4000, estimation: 'soft' })]).collect();
    // 0.6^(4 - k) from behind k good steps: within four standard errors. The last is the solution itself.
    const chances = [0.216, 0.36, 0.6, 1];
    const expected = [chances, [0.216, 0, 0, 0], [0, 0, 0, 0], [0.216, 0.36, 0.6, 0]];
    expect(soft.map(({ prompt }) => prompt)).toEqual(['a', 'b', 'c', 'e']);
    soft.forEach(({ labels }, i) => {
      for (const [t, label] of labels.entries()) expect(Math.abs(Number(label) - expected[i]![t]!)).toBeLessThan(0.032);
      expect(labels[3]).toBe(expected[i]![3]);
    });
    const hard = await pipeline(rows, [mathShepherd({ ...options, rollouts: 60 })]).collect();
    expect(hard.map(({ labels }) => labels)).toEqual(expected.map((chance) => chance.map((x) => x > 0)));
  });

  it('processAdvantages: progress is that of the prover, and adds up to the outcome less its start', async () => {
    const [row] = await pipeline(rows.slice(1, 2), [
      processAdvantages({ ...base, generator: walker(0.5), rollouts: 4000 }),
    ]).collect();
    expect(row!.start_value).toBeCloseTo(0.5 ** 4, 1);
    expect(row!.advantages[0]! - (0.5 ** 3 - 0.5 ** 4)).toBeCloseTo(0, 1);
    expect(row!.advantages.reduce((a, b) => a + b, row!.start_value)).toBeCloseTo(0, 12);
    // A prover that is always right tells no good step from another; one that never is, none at all.
    const [sure] = await pipeline(rows.slice(0, 1), [processAdvantages({ ...base, generator: walker(1) })]).collect();
    expect(sure!.advantages).toEqual([0, 0, 0, 0]);
  });

  it('omegaPrm: binary search finds what a linear scan does, in a logarithm of its looks', async () => {
    for (let steps = 1; steps <= 33; steps++) {
      for (let error = 1; error <= steps; error++) {
        let looks = 0;
        const found = await firstError(steps, async (count) => {
          looks++;
          return count < error;
        });
        expect(found).toBe(error);
        expect(looks).toBeLessThanOrEqual(Math.ceil(Math.log2(steps)));
      }
    }
  });

  it('omegaPrm: every label is the value of its state, once looked at, and paths end where nothing is right', async () => {
    const generator = walker(0.6);
    const made = await pipeline(rows.slice(0, 1), [
      omegaPrm({ ...base, generator, rollouts: 6, searches: 20 }),
    ]).collect();
    expect(made.length).toBeGreaterThan(1);
    const values = new Map<string, number>();
    for (const { completions, labels } of made) {
      expect(labels.length).toBe(completions.length);
      completions.forEach((_, i) => {
        const text = `${completions.slice(0, i + 1).join('\n')}\n`;
        const isAlive = !text.includes('-');
        if (!isAlive) expect(labels[i]).toBe(0);
        // Nothing goes on behind a state in which nothing is right, but for what the same search saw behind it.
        expect(values.get(text) ?? labels[i]).toBe(labels[i]);
        values.set(text, labels[i]!);
      });
    }
    expect([...values.values()].some((value) => value > 0)).toBe(true);
    const prefixes = generator.asked.map(({ prefix }) => prefix);
    expect(new Set(prefixes).size).toBe(prefixes.length);
    expect(prefixes.length).toBe(values.size + 1);
    const reasons = async (p: number) => {
      const run = pipeline(rows.slice(0, 1), [omegaPrm({ ...base, generator: walker(p) })]);
      await run.collect();
      return Object.keys(run.report()[0]!.reasons);
    };
    expect(await reasons(1)).toEqual(['every rollout is right']);
    expect(await reasons(0)).toEqual(['no rollout is right']);
  });

  it('labels a step and finds an error as openr does', async () => {
    const url = new URL('../../../goldens/authors/omega-prm.json', import.meta.url);
    const { errors, values } = JSON.parse(readFileSync(url, 'utf8')) as {
      errors: [steps: number, error: number, found: number][];
      values: [rollouts: number[], value: number][];
    };
    for (const [steps, error, found] of errors) {
      expect(await firstError(steps, async (count) => count < error)).toBe(found);
    }
    for (const [rollouts, value] of values) {
      const generator: Generator = {
        name: 'given',
        generate: async (requests) =>
          requests.map(() =>
            rollouts.map((right) => ({
              ...{ text: `${right}`, finishReason: 'stop' as const, usage: { promptTokens: 1, completionTokens: 1 } },
            })),
          ),
      };
      const verifier: Verifier = {
        name: 'ends with 1',
        verify: async (requests) => requests.map(({ completion }) => ({ score: Number(completion.endsWith('1')) })),
      };
      const options = { generator, verifier, rollouts: rollouts.length };
      const row = { prompt: 'q', completions: ['first', '1'] };
      const [soft] = await pipeline([row], [mathShepherd({ ...options, estimation: 'soft' })]).collect();
      const [hard] = await pipeline([row], [mathShepherd(options)]).collect();
      expect(soft!.labels[0]).toBeCloseTo(value, 12);
      expect(hard!.labels[0]).toBe(value > 0);
    }
  });

  it('says what is wrong', async () => {
    const labelled = (row: object, more: object = {}) =>
      pipeline([row], [mathShepherd({ ...base, generator: walker(0.5), ...more })]).collect();
    await expect(labelled({ completions: ['a'] })).rejects.toThrow(/row 1, field "prompt": must be a text or messages/);
    await expect(labelled({ prompt: 'a', completions: 'b' })).rejects.toThrow(
      /the steps, got string; split the solution/,
    );
    const short = { ...walker(0.5), generate: async (asked: readonly object[]) => asked.map(() => []) };
    await expect(labelled(rows[0]!, { generator: short })).rejects.toThrow(/0 completions where 4 were asked for/);
    await expect(labelled(rows[0]!, { verifier: { name: 'v', verify: async () => [] } })).rejects.toThrow(
      /v returned 0/,
    );
    expect(() => mathShepherd({ ...base, generator: 'x' as never })).toThrow(
      /generator is "x"; it must be a generator/,
    );
  });
});

describe('generativeVerifierRows', () => {
  const verified = [
    { prompt: 'q', completion: 'a', label: true },
    { prompt: 'q', completion: 'b', label: false, thoughts: 'no' },
    { prompt: [{ role: 'user', content: 'q' }], completion: 'a', label: true },
    { prompt: 'r', completion: 'c', label: true },
  ];
  testDataStep(it, () => generativeVerifierRows(), { rows: verified });

  it('asks what the verifier asks, and says Yes or No', async () => {
    const made = await pipeline(verified, [generativeVerifierRows({ question: 'Right?' })]).collect();
    expect(made.map(({ completion }) => completion)).toEqual([
      'Yes',
      'no',
      'No',
      [{ role: 'assistant', content: 'Yes' }],
      'Yes',
    ]);
    expect(made[0]!.prompt).toBe(verificationPrompt(verified[0]!, 'Right?'));
    expect(made[2]!.prompt).toBe(verificationPrompt(verified[1]!, 'Right?', 'no'));
    const wrong = pipeline([{ prompt: 'q', completion: 'a', label: 1 as never }], [generativeVerifierRows()]);
    await expect(wrong.collect()).rejects.toThrow(/row 1, field "label": must be true or false, got number; leave out/);
  });
});

describe('rrmAugment', () => {
  const pairs = Array.from({ length: 7 }, (_, i) => ({ prompt: `x${i}`, chosen: `w${i}`, rejected: `l${i}` }));
  testDataStep(it, () => rrmAugment({ windowSize: 4 }), { rows: pairs, sharded: false });

  it('makes 15 pairs of six answers, in which what has no prompt in it wins as often as it loses', async () => {
    const made = await pipeline(pairs, [rrmAugment()]).collect();
    expect(made.length).toBe(7 * 15);
    const wins = new Map<string, number>();
    for (const [i, pair] of made.entries()) {
      const [own, own2] = [`w${pair.prompt.slice(1)}`, `l${pair.prompt.slice(1)}`];
      const isOwn = (answer: unknown) => answer === own || answer === own2;
      if (i % 15 === 0) expect([pair.chosen, pair.rejected, pair.probability]).toEqual([own, own2, 1]);
      else expect(pair.probability).toBe(isOwn(pair.chosen) ? 1 : 0.5);
      if (i % 15 !== 0) expect(isOwn(pair.rejected)).toBe(false);
      // What an answer wins whatever the question: its artifacts.
      for (const [answer, won] of [
        [pair.chosen, pair.probability],
        [pair.rejected, 1 - pair.probability],
      ] as const) {
        if (i % 15 !== 0) wins.set(answer as string, (wins.get(answer as string) ?? 0) + won - 0.5);
      }
      expect(pair.chosen).not.toBe(pair.rejected);
    }
    for (const total of wins.values()) expect(total).toBe(0);
    const few = pipeline(pairs.slice(0, 2), [rrmAugment()]);
    expect(await few.collect()).toHaveLength(2);
    expect(Object.keys(few.report()[0]!.warnings!)).toEqual([expect.stringMatching(/too few rows/)]);
    await expect(pipeline([{ prompt: 'a', chosen: 'b' }], [rrmAugment()]).collect()).rejects.toThrow(
      /row 1, field "rejected"/,
    );
  });
});
