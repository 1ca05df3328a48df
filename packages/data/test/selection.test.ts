import { readFileSync } from 'node:fs';
import {
  type Embedder,
  type FeatureRequest,
  type Generator,
  type GradientOptions,
  type Prompt,
  type RowGradients,
  type Scorer,
  unigramTrainer,
} from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { describe, expect, it } from 'vitest';
import {
  badgeSelect,
  constitutionalRevision,
  densityRatio,
  influence,
  kMeansPlusPlus,
  type LessTargets,
  lessSelect,
  meanDirection,
  perplexityFilter,
  pipeline,
} from '../src/index.js';
import { testDataStep } from '../src/testing/index.js';

const golden = <T>(name: string): T =>
  JSON.parse(readFileSync(new URL(`../../../goldens/features/${name}.json`, import.meta.url), 'utf8')) as T;

interface Row {
  readonly prompt: string;
  readonly completion: string;
}
const rowsOf = (count: number): Row[] =>
  Array.from({ length: count }, (_, i) => ({ prompt: `${i}`, completion: `${i}` }));

/** Gradients by what is completed, and what was asked for. */
function gradientsOf(
  of: (completion: string, direction: string) => ArrayLike<number>,
): RowGradients & { readonly asked: GradientOptions[] } {
  const asked: GradientOptions[] = [];
  return {
    name: 'table',
    asked,
    async gradients(requests, options = {}) {
      asked.push(options);
      return requests.map(({ completion }) => Float32Array.from(of(completion, options.direction ?? 'sgd')));
    },
  };
}

interface Less {
  readonly rates: number[];
  readonly updates: number[][][];
  readonly tasks: Record<string, number[][][]>;
  readonly influence: number[];
}

describe('lessSelect', () => {
  const less = golden<Less>('less');
  /** Rows are numbered; those of tasks are called `task/number`. */
  const checkpoints = less.rates.map((learningRate, c) => ({
    learningRate,
    gradients: gradientsOf((completion, direction) => {
      const [task, i] = completion.split('/');
      if (i !== undefined) return less.tasks[task!]![c]![Number(i)]!;
      // The gradient itself would point elsewhere.
      return less.updates[c]![Number(task)]!.map((x, j) => (direction === 'adam' ? x : j));
    }),
  }));
  const targets: LessTargets = Object.fromEntries(
    Object.entries(less.tasks).map(([task, [first]]) => [
      task,
      first!.map((_, i): FeatureRequest => ({ prompt: '', completion: `${task}/${i}` })),
    ]),
  );

  it('keeps the rows whose cosines are highest, by torch, in the order of the source', async () => {
    const rows = rowsOf(less.influence.length);
    const step = lessSelect<Row>({ checkpoints, targets, count: 3, batchSize: 2 });
    const run = pipeline(rows, [step]);
    const best = less.influence.toSorted((a, b) => b - a).slice(0, 3);
    expect(await run.collect()).toEqual(rows.filter((_, i) => best.includes(less.influence[i]!)));
    expect(run.report()[0]!.reasons).toEqual({ 'others help the targets more': 4 });
    expect(
      checkpoints[0]!.gradients.asked.slice(0, 3).map(({ direction, projection }) => [direction, projection]),
    ).toEqual([
      ['sgd', 8192],
      ['sgd', 8192],
      ['adam', 8192],
    ]);
    const [plan] = await Promise.all([planOf(step, rows)]);
    for (const [id, worth] of plan.kept) expect(worth).toBeCloseTo(less.influence[Number(id)]!, 6);
  });

  it('is first order: a small step along a row lowers the loss of a target by rate · influence', () => {
    // ℓ(θ) = ½ ‖θ − a‖² of a target at a, and unit steps along gradients of rows.
    const random = createRandom(3);
    const vector = () => Array.from({ length: 5 }, () => random.float() - 0.5);
    const [theta, a] = [vector(), vector()];
    const loss = (at: readonly number[]) => at.reduce((sum, x, j) => sum + (x - a[j]!) ** 2, 0) / 2;
    const slope = theta.map((x, j) => x - a[j]!);
    const length = Math.hypot(...slope);
    for (let i = 0; i < 5; i++) {
      const row = vector();
      const rate = 1e-6;
      const after = theta.map((x, j) => x - (rate * row[j]!) / Math.hypot(...row));
      const worth = influence([row], [{ mean: meanDirection([slope]), weight: rate }]);
      expect((loss(theta) - loss(after)) / length / rate).toBeCloseTo(worth / rate, 4);
    }
    expect(influence([[0, 0]], [{ mean: meanDirection([[1, 0]]), weight: 1 }])).toBe(0);
    const zero = [0, 0];
    expect(influence([[3, 4]], [{ mean: meanDirection([zero, [3, 4]]), weight: 1 }])).toBeCloseTo(0.5, 12);
  });

  it('chooses what a model learns a task from, where as many rows by chance do not', async () => {
    // Words of three topics; the gradient of a unigram model is what a row says more often than the model does.
    const topics = ['red green blue', 'dog cat cow', 'one two three'].map((words) => words.split(' '));
    const vocabulary = topics.flat();
    const gains: number[] = [];
    for (const seed of [1, 2, 3]) {
      const random = createRandom(seed);
      const text = (topic: number) => Array.from({ length: 4 }, () => random.pick(topics[topic]!)).join(' ');
      const rows = Array.from({ length: 60 }, (_, i) => ({ prompt: '', completion: text(i % 3) }));
      const words = gradientsOf((completion) =>
        vocabulary.map(
          (word) => 1 / vocabulary.length - completion.split(' ').filter((one) => one === word).length / 4,
        ),
      );
      const target = Array.from({ length: 3 }, () => ({ prompt: '', completion: text(1) }));
      const step = lessSelect<Row>({
        ...{ checkpoints: [{ gradients: words }], targets: { animals: target }, count: 15, direction: 'sgd' },
      });
      const chosen = await pipeline(rows, [step]).collect();
      const likelihood = async (some: readonly Row[]) => {
        const scorer = await unigramTrainer.train(some);
        const scores = await scorer.score(Array.from({ length: 20 }, () => ({ prompt: '', continuation: text(1) })));
        return scores.reduce((sum, { logProb, tokens }) => sum + logProb / tokens, 0) / 20;
      };
      gains.push((await likelihood(chosen)) - (await likelihood(random.shuffled(rows).slice(0, 15))));
    }
    const mean = gains.reduce((a, b) => a + b, 0) / 3;
    const deviation = Math.sqrt(gains.reduce((sum, x) => sum + (x - mean) ** 2, 0) / 2);
    // 95 %, Student with 2 degrees of freedom.
    expect(mean - (4.303 * deviation) / Math.sqrt(3)).toBeGreaterThan(0.3);
  });

  it.each<[object, RegExp]>([
    [{ checkpoints: [] }, /checkpoints is .*must be a list of \{ gradients, learningRate \}/],
    [{ checkpoints: [{ gradients: checkpoints[0]!.gradients, learningRate: 0 }] }, /checkpoints is/],
    [{ targets: { empty: [] } }, /targets is .*by the name of their task/],
    [{ fraction: 2 }, /fraction is 2/],
    [{ checkpoints: [null] as never }, /checkpoints is \[null\]/],
  ])('refuses %o', (more, message) => {
    expect(() => lessSelect({ checkpoints, targets, ...more })).toThrow(message);
  });

  it('says which row has no text to ask about, and who gave other vectors than were asked for', async () => {
    const step = () => lessSelect({ checkpoints, targets });
    await expect(pipeline([{ prompt: 'x' }], [step()]).collect()).rejects.toThrow(
      /row 1, field "completion".*"request"/,
    );
    await expect(pipeline([{ completion: 'x' }], [step()]).collect()).rejects.toThrow(/row 1, field "prompt"/);
    const request = ({ text }: { readonly text: string }) => ({ prompt: '', completion: text });
    const named = lessSelect({ checkpoints, targets, request, fraction: 1 });
    expect(await pipeline([{ text: '0' }], [named]).collect()).toEqual([{ text: '0' }]);
    const wrong = { name: 'short', gradients: async () => [] };
    const run = pipeline(rowsOf(2), [lessSelect<Row>({ checkpoints: [{ gradients: wrong }], targets })]);
    await expect(run.collect()).rejects.toThrow(/short returned 0 vectors/);
    for (const [one, said] of [
      [new Float32Array([Number.NaN, 1]), /odd returned a vector for request 0 .*no finite number/],
      [null as never, /odd returned .*; it must be a list of vectors/],
    ] as const) {
      const odd = {
        name: 'odd',
        gradients: async (requests: readonly unknown[]) => requests.map((): Float32Array => one),
      };
      const picked = pipeline(rowsOf(2), [lessSelect<Row>({ checkpoints: [{ gradients: odd }], targets })]);
      await expect(picked.collect()).rejects.toThrow(said);
    }
  });

  testDataStep(it, () => lessSelect<Row>({ checkpoints, targets, fraction: 0.5 }), { rows: rowsOf(7) });
});

describe('badgeSelect', () => {
  interface Centres {
    readonly vectors: number[][];
    readonly uniforms: number[];
    readonly probabilities: number[][];
    readonly chosen: number[];
  }
  const { centres } = golden<{ readonly centres: Centres }>('badge');

  it('draws the centres that torch draws with the same numbers', () => {
    let next = 0;
    expect(kMeansPlusPlus(centres.vectors, 6, () => centres.uniforms[next++]!)).toEqual(centres.chosen);
    // As often as the distances say.
    const random = createRandom(1);
    const counts = new Array<number>(9).fill(0);
    for (let i = 0; i < 4000; i++) counts[kMeansPlusPlus(centres.vectors, 2, () => random.float())[1]!]!++;
    centres.probabilities[0]!.forEach((p, i) => {
      expect(Math.abs(counts[i]! / 4000 - p)).toBeLessThanOrEqual(4 * Math.sqrt((p * (1 - p)) / 4000));
    });
  });

  it('has one of each kind before it has two of one, and enough where all are alike', () => {
    const random = createRandom(2);
    const kinds = [
      [9, 0],
      [0, 9],
      [-9, 0],
    ];
    for (let i = 0; i < 50; i++) {
      const vectors = Array.from({ length: 30 }, (_, j) => kinds[j % 3]!);
      const chosen = kMeansPlusPlus(vectors, 3, () => random.float());
      expect(new Set(chosen.map((j) => j % 3)).size).toBe(3);
    }
    const same = kMeansPlusPlus(
      Array.from({ length: 4 }, () => [1, 1]),
      9,
      () => 0.99,
    );
    expect(same.toSorted()).toEqual([0, 1, 2, 3]);
    expect(kMeansPlusPlus([], 2, () => 0)).toEqual([]);
  });

  it('asks for gradients of hallucinated labels by the output layer, and keeps the order of the source', async () => {
    const vectors = gradientsOf((completion) => centres.vectors[Number(completion)]!);
    const select = (seed: number) =>
      pipeline(rowsOf(9), [badgeSelect<Row>({ gradients: vectors, count: 4, seed, batchSize: 4 })]);
    const run = select(1);
    const chosen = await run.collect();
    expect(chosen.map(({ prompt }) => Number(prompt))).toEqual(
      chosen.map(({ prompt }) => Number(prompt)).toSorted((a, b) => a - b),
    );
    expect(chosen.map(({ prompt }) => Number(prompt))).toContain(centres.chosen[0]);
    expect(run.report()[0]).toMatchObject({ kept: 4, reasons: { 'not among the chosen': 5 } });
    expect(vectors.asked[0]).toMatchObject({ of: 'hallucinated', parameters: 'output' });
    expect('projection' in vectors.asked[0]!).toBe(false);
    const others = await Promise.all([2, 3, 4, 5].map((seed) => select(seed).collect()));
    expect(new Set([chosen, ...others].map((some) => JSON.stringify(some))).size).toBeGreaterThan(1);
    expect(() => badgeSelect({ gradients: {} as RowGradients, count: 1 })).toThrow(/gradients is/);
  });

  const gradients = gradientsOf((completion) => centres.vectors[Number(completion)]!);
  testDataStep(it, () => badgeSelect<Row>({ gradients, count: 4 }), { rows: rowsOf(9) });
});

/** What a step plans of rows whose ids are their positions. */
async function planOf(step: ReturnType<typeof lessSelect<Row>>, rows: readonly Row[]) {
  const ids = new Map<object, string>(rows.map((row, i) => [row, String(i)]));
  const context = { keyOf: (row: object) => ({ id: ids.get(row)! }), signal: new AbortController().signal };
  const given = (async function* () {
    yield* rows;
  })();
  return step.plan!(given, { ...context, onProgress: () => {} } as never);
}

describe('perplexityFilter', () => {
  /** Of numbers as texts: log-likelihood minus the number for each of two tokens. */
  const scorer: Scorer = {
    name: 'numbers',
    score: async (requests) =>
      requests.map(({ continuation }) => ({
        logProb: -2 * Number(continuation),
        tokens: continuation === '' ? 0 : 2,
        isGreedy: false,
      })),
  };
  const numbered = (values: readonly number[]): Row[] => values.map((x) => ({ prompt: 'p', completion: String(x) }));
  const kept = async (rows: readonly Row[], generated: readonly Row[], percentile?: number) => {
    const step = perplexityFilter<Row>({ scorer, generated, batchSize: 3, ...(percentile && { percentile }) });
    return (await pipeline(rows, [step]).collect()).map(({ completion }) => completion);
  };

  it('keeps what is below the percentile of the reference’s own, whatever else the rows are', async () => {
    const generated = numbered(Array.from({ length: 201 }, (_, i) => i / 100));
    // Of 201 values the percentile 0.95 is that at place 190.
    expect(await kept(numbered([1.89, 1.9, 1.91, 50, 0]), generated)).toEqual(['1.89', '0']);
    const own = await kept(generated, generated);
    expect(own.length / generated.length).toBeCloseTo(0.95, 2);
    expect((await kept(numbered([0.4, 9]), numbered([0, 1]), 0.5)).length).toBe(1);
    expect(await kept([{ prompt: 'p', completion: '' }], generated)).toEqual([]);
    await expect(kept([], [{ prompt: 'p', completion: '' }])).rejects.toThrow(/nothing in generated has tokens/);
  });
  testDataStep(it, () => perplexityFilter<Row>({ scorer, generated: numbered([3, 5]) }), { rows: rowsOf(7) });
});

describe('densityRatio', () => {
  interface Labelled {
    readonly prompt: string;
    readonly label: boolean;
  }
  const { underlying } = JSON.parse(
    readFileSync(new URL('../../../goldens/trl-old/bco.json', import.meta.url), 'utf8'),
  ) as { underlying: { embeddings: number[][]; label: number[]; density_ratio: Record<string, number[]> } };
  const embedder = (vectors: (prompt: string) => readonly number[]): Embedder => ({
    name: 'table',
    embed: async (texts) => texts.map((text) => Float32Array.from(vectors(text))),
  });
  const ratios = async (rows: readonly Labelled[], given: Parameters<typeof densityRatio>[0]) =>
    (await pipeline(rows, [densityRatio<Labelled>(given)]).collect()).map(({ density_ratio: ratio }) => ratio);

  it.each(Object.entries(underlying.density_ratio))(
    'is that of TRL’s BCOTrainer within %s',
    async (bounds, expected) => {
      const [minDensityRatio, maxDensityRatio] = bounds.split(' ').map(Number) as [number, number];
      const rows = underlying.label.map((label, i) => ({ prompt: `${i}`, label: label === 1 }));
      const of = embedder((prompt) => underlying.embeddings[Number(prompt)]!);
      const got = await ratios(rows, { embedder: of, minDensityRatio, maxDensityRatio, batchSize: 5 });
      const undesirable = got.filter((_, i) => underlying.label[i] === 0);
      // Scikit-learn stops at a gradient of 1e-4.
      for (const [i, ratio] of undesirable.entries()) expect(Math.abs(ratio / expected[i]! - 1)).toBeLessThan(2e-3);
      expect(got.filter((_, i) => underlying.label[i] === 1)).toEqual(Array(underlying.label.length - 10).fill(1));
    },
  );

  it('is how much more often a prompt is among the desirable, where there are two kinds of prompts', async () => {
    // Of 400 desirable rows 3 in 4 are of kind a, of 400 others 1 in 4: 3 and 1/3. The ridge hardly counts at such vectors.
    const rows = Array.from({ length: 800 }, (_, i) => ({
      prompt: (i % 4 === 0) === i < 400 ? 'b' : 'a',
      label: i < 400,
    }));
    const of = embedder((prompt) => (prompt === 'a' ? [20, 0] : [0, 20]));
    const got = await ratios(rows, { embedder: of, minDensityRatio: 0 });
    const ofKind = (kind: string) => got[rows.findIndex(({ prompt, label }) => !label && prompt === kind)]!;
    expect(ofKind('a')).toBeCloseTo(3, 1);
    expect(ofKind('b')).toBeCloseTo(1 / 3, 2);
  });

  it('refuses rows without a label, labels of one kind, and vectors of different lengths', async () => {
    const of = embedder((prompt) => Array(prompt.length).fill(1));
    const row = (prompt: string, label: boolean) => ({ prompt, label });
    await expect(ratios([row('a', true)], { embedder: of })).rejects.toThrow(/no row has the label false/);
    await expect(ratios([{ prompt: 'a' } as never], { embedder: of })).rejects.toThrow(
      /label.*true \(desirable\) or false/,
    );
    await expect(ratios([row('a', true), row('bc', false)], { embedder: of })).rejects.toThrow(/lengths 1, 2/);
    expect(() => densityRatio({ embedder: of, minDensityRatio: 11 })).toThrow(/is 11 and maxDensityRatio 10/);
  });

  testDataStep(it, () => densityRatio({ embedder: embedder((prompt) => [prompt.length]) }), {
    rows: Array.from({ length: 6 }, (_, i) => ({ prompt: 'p'.repeat(i + 1), label: i % 2 === 0 })),
  });
});

describe('constitutionalRevision', () => {
  const seen: string[] = [];
  const generator: Generator = {
    name: 'revises',
    async generate(requests) {
      return requests.map(({ prompt }) => {
        const turns = prompt as readonly { role: string; content: string }[];
        seen.push(typeof prompt === 'string' ? prompt : turns.map(({ role }) => role[0]).join(''));
        const text = typeof prompt === 'string' ? 'rude rude' : turns.at(-1)!.content;
        // A revision says one "rude" less; a critique what it was asked.
        const answer =
          typeof prompt === 'string'
            ? text
            : turns.length === 3
              ? 'it is rude'
              : turns[1]!.content.replace(/ ?rude/, '');
        return [{ text: answer, finishReason: 'stop' as const, usage: { promptTokens: 1, completionTokens: 1 } }];
      });
    },
  };
  const principles = [1, 2, 3].map((i) => ({ critique: `what is rude ${i}?`, revision: `again ${i}` }));
  const step = (rounds: number) =>
    constitutionalRevision<{ prompt: string; completion?: string }>({ generator, principles, rounds });

  it('answers, criticises and revises round by round, with a principle that is drawn', async () => {
    const rows = Array.from({ length: 12 }, (_, i) => ({ prompt: `q${i}` }));
    const out = await pipeline(rows, [step(2)]).collect();
    expect(out.map(({ completion, initial }) => [initial, completion])).toEqual(rows.map(() => ['rude rude', '']));
    expect(out[0]!.revisions.map(({ critique, revision }) => [critique, revision])).toEqual([
      ['it is rude', ' rude'],
      ['it is rude', ''],
    ]);
    expect(new Set(out.flatMap(({ revisions }) => revisions.map(({ principle }) => principle))).size).toBe(3);
    expect(seen.filter((turns) => turns === 'uau').length).toBe(24);
    expect(seen.filter((turns) => turns === 'uauau').length).toBe(24);
    const given = [{ prompt: 'q', completion: 'rude word' }];
    for (const { initial, completion } of await pipeline(given, [step(1)]).collect()) {
      expect([initial, completion]).toEqual(['rude word', ' word']);
    }
  });
  testDataStep(it, () => step(1), { rows: rowsOf(5) });

  it('asks and keeps what llm-swarm’s example does, with the same principles', async () => {
    interface Revised {
      readonly prompt: string;
      readonly principle: number;
      readonly asked: [string, string][][];
      readonly critique: string;
      readonly chosen: string;
      readonly rejected: string;
    }
    const url = new URL('../../../goldens/authors/constitution.json', import.meta.url);
    const theirs = JSON.parse(readFileSync(url, 'utf8')) as {
      constitution: { critic: string; revision: string }[];
      rows: Revised[];
    };
    const asked: [string, string][][] = [];
    const speaker: Generator = {
      name: 'speaker',
      generate: async (requests) =>
        requests.map(({ prompt }) => {
          const turns = (prompt as readonly { role: string; content: string }[]).map(
            ({ role, content }): [string, string] => [role, content],
          );
          asked.push(turns);
          const text = ['rude rude', 'it is rude', turns[1]?.[1].replace(' rude', '')][(turns.length - 1) / 2]!;
          return [{ text, finishReason: 'stop' as const, usage: { promptTokens: 1, completionTokens: 1 } }];
        }),
    };
    const rows = theirs.rows.map(({ prompt: content }) => ({ prompt: [{ role: 'user' as const, content }] }));
    const named = theirs.constitution.map(({ critic: critique, revision }) => ({ critique, revision }));
    const revise = constitutionalRevision<{ prompt: Prompt }>({ generator: speaker, principles: named, batchSize: 1 });
    const made = await pipeline(rows, [revise]).collect();
    expect(asked).toEqual(theirs.rows.flatMap((row) => row.asked));
    expect(
      made.map(({ completion, initial, revisions: [first] }) => [
        first!.principle,
        first!.critique,
        completion,
        initial,
      ]),
    ).toEqual(theirs.rows.map(({ principle, critique, chosen, rejected }) => [principle, critique, chosen, rejected]));
  });
});
