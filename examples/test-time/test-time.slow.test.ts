import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { answerOf, mulberry32, renderExpression } from '../pretrain-tiny/problem.js';
import { ARMS } from './arms.js';
import { baselineAt } from './baseline.js';
import { runAllocationStudy } from './formats/allocation.js';
import { FORMAT_ARMS } from './formats/arms.js';
import { ALONE_SLIP, Author, MISCONCEPTION } from './formats/author.js';
import { isBorrow, parseExpression, polished, resultOf, writtenSteps } from './formats/problems.js';
import { formatRows } from './formats/rows.js';
import { FORMAT_SETTINGS, runFormatStudy } from './formats/study.js';
import { runTraceStudy } from './formats/traces.js';
import { CHOICES, hackingStudy, PROXIES } from './hacking.js';
import { added, controlOf, curvesOf } from './merge.js';
import { runSizesStudy, SIZES_SETTINGS } from './sizes/study.js';
import { castingOutNines, heldOutPairs, sumRows } from './sizes/sums.js';
import { runStudy, type Study } from './study.js';
import { ARMS as RECEIPT_ARMS, runSuperContextStudy, SETTINGS } from './supercontext/study.js';
import { drawQuestion, knownToLarge, knownToSmall, makeWorld, readBy, SETS } from './supercontext/world.js';

describe('the study of test-time scaling, small', () => {
  it('runs every strategy on the same problems, and says what each costs beside the baselines', async () => {
    const { rows, baselines, choosers, tradeOffs } = await runStudy({
      ...{ seeds: [1], problems: 4, widths: [4], baselineSamples: 4, sftSteps: 2 },
    });
    expect(rows.map(({ strategy }) => strategy)).toEqual(Object.keys(ARMS));
    for (const { strategy, accuracy, tokens, megaflops, verifierCalls } of rows) {
      expect(accuracy.value, strategy).toBeGreaterThanOrEqual(0);
      expect(accuracy.value, strategy).toBeLessThanOrEqual(1);
      expect(tokens, strategy).toBeGreaterThan(0);
      expect(megaflops, strategy).toBeGreaterThan(0);
      // It asks only about steps that are unsure, and about trees that do not agree.
      if (/^(mur|forestOfThought)$/.test(strategy)) continue;
      if (
        /Consistency|majority|Certainty|eepConf|Risk|confidence(Sampling|Tree)|greedy|complexity|cotD|Forcing|deer/.test(
          strategy,
        )
      ) {
        expect(verifierCalls, strategy).toBe(strategy.startsWith('confidenceInformed') ? 4 : 0);
      } else expect(verifierCalls, strategy).toBeGreaterThan(0);
    }
    // Four samples of a problem, whatever is made of them.
    const drawn = rows.filter(({ strategy }) =>
      ['bestOfN', 'majorityVote', 'deepConf', 'complexityBased', 'swissTournament'].includes(strategy),
    );
    expect(new Set(drawn.map(({ tokens }) => tokens)).size).toBe(1);
    expect(new Set(baselines.map(({ k }) => k))).toEqual(new Set([1, 2, 4]));
    expect(choosers).toHaveLength(1);
    expect(tradeOffs?.map(({ arm }) => arm)).toEqual(Object.keys(ARMS).map((name) => `${name} n=4`));
    expect(tradeOffs?.every(({ costs }) => costs.wallTimeMs && costs.flops && costs.completionTokens)).toBe(true);
  });

  it('has every strategy of the table in one place: an arm of either model, or mechanics only', () => {
    const here = (name: string) => readFileSync(join(import.meta.dirname, name), 'utf8');
    const named = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].map(([, name]) => name!);
    const table = named(here('../../docs/tts/table-of-strategies.md'), /^\| `(\w+)` \|/gm);
    const [, list] = /## Mechanics only\n([^#]*)/.exec(here('README.md'))!;
    const mechanics = named(list!, /`([a-z]\w+)`/g);
    // A temperature of the vote, an option of the beam, a trigger of the zero-shot chain, and the vote as the baseline of formats.
    const variants = ['greedy', 'lookahead'];
    const first = Object.keys(ARMS).filter((name) => !variants.includes(name));
    const prompted = new Set(Object.keys(FORMAT_ARMS).map((name) => /^\w+/.exec(name)![0]));
    for (const name of ['planAndSolve', 'majorityVote']) expect(prompted.delete(name)).toBe(true);
    const studied = ['superContext'];
    expect([...first, ...prompted, ...studied, ...mechanics].sort()).toEqual([...table].sort());
    // Mechanics are run somewhere.
    const runs = [
      'scripts/proofs/strategies.mjs',
      'scripts/proofs/searches.mjs',
      'examples/main-job/job-parts.test.ts',
    ];
    const text = runs.map((name) => here(`../../${name}`)).join('');
    for (const name of mechanics) expect(text, name).toMatch(new RegExp(`\\b${name}\\b`));
  });

  it('takes arms into a study that has been run, where its control comes out as it did', () => {
    const had = JSON.parse(readFileSync(join(import.meta.dirname, 'results', 'study.json'), 'utf8')) as Study;
    const curves = curvesOf(had, 3);
    expect(curves.flat()).toEqual(had.baselines);
    expect(() => curvesOf(had, 2)).toThrow(/of 3 seeds and not of 2/);
    const control = had.rows.filter(({ strategy }) => strategy === controlOf(had));
    const further = { ...had.rows[0]!, strategy: 'another' };
    const { rows, choosers } = added(had, { ...had, choosers: [], rows: [...control, further] });
    expect(rows).toEqual([...had.rows, further]);
    expect(choosers).toEqual(had.choosers);
    const other = { ...control[0]!, tokens: control[0]!.tokens + 1 };
    expect(() => added(had, { ...had, rows: [other, further] })).toThrow(/run all of it anew/);
  });

  it('optimises proxies: what best-of-n makes of a learned one falls, where errors have no tails nothing does', async () => {
    const { rows, laws } = await hackingStudy({ seeds: [1, 2, 3], problems: 6, ns: [1, 4, 64] });
    expect(rows).toHaveLength(Object.keys(PROXIES).length * Object.keys(CHOICES).length * 3);
    const at = (proxy: string, n: number) =>
      rows.find((row) => row.proxyName === proxy && row.choice === 'bestOfN' && row.n === n)!;
    for (const name of Object.keys(PROXIES)) {
      expect(at(name, 1).gold.value).toBe(0);
      expect(at(name, 64).proxy.value).toBeGreaterThan(at(name, 4).proxy.value!);
    }
    expect(at('light', 64).gold.value).toBeGreaterThan(at('light', 4).gold.value!);
    expect(at('learned', 64).gold.value).toBeLessThan(at('learned', 4).gold.value!);
    expect(laws.learned!.beta).toBeGreaterThan(laws.light!.beta);
  });

  it('reads a baseline at any number of tokens between its points, by ln(tokens)', () => {
    const at = (k: number, meanTokens: number, accuracy: number) =>
      ({ ...{ strategy: 'best-of-n', k, meanTokens, accuracy }, ...{ standardError: 0, verifierCalls: k } }) as never;
    const curve = [at(1, 10, 0.2), at(4, 40, 0.6)];
    expect(baselineAt(curve, 'best-of-n', 20)).toBeCloseTo(0.4, 12);
    expect(baselineAt(curve, 'best-of-n', 5)).toBe(0.2);
    expect(baselineAt(curve, 'best-of-n', 400)).toBe(0.6);
  });
});

describe('the formats of prompted strategies', () => {
  it('are answered by the author, who is wrong as often as it is said', async () => {
    const author = new Author(mulberry32(1));
    const wrong = (ask: () => string) => {
      const steps = Array.from({ length: 2000 }, ask).flatMap((text) => writtenSteps(text).slice(0, 1));
      return steps.filter(({ step, result }) => resultOf(step) !== result).length / steps.length;
    };
    expect(isBorrow({ total: 11, operator: '-', operand: 3 })).toBe(true);
    // Of 2000 each: five standard errors are 5.5 and 2 %.
    const chained = wrong(() => author.answer('11-3+4', "Let's think step by step."));
    expect(Math.abs(chained - (MISCONCEPTION + (1 - MISCONCEPTION) * 0.06))).toBeLessThan(0.055);
    const alone = wrong(() => `11-3=${author.answer('11-3', '').slice('#### '.length)}`);
    expect(Math.abs(alone - ALONE_SLIP)).toBeLessThan(0.02);
    expect(polished(parseExpression('4+5-5+7'))).toEqual(parseExpression('4+7'));

    const rows = await formatRows(2, 1);
    for (const mark of [
      /step by step/,
      /simpler questions/,
      /^Rewrite/,
      /What is wrong/,
      /Write questions/,
      /^Program/,
    ]) {
      expect(
        rows.some(({ prompt, prefix }) => mark.test(prompt) || mark.test(prefix)),
        String(mark),
      ).toBe(true);
    }
    for (const mark of [
      /^Calculator/,
      /other agents/,
      /agrees most/,
      /Is it right/,
      /Next steps/,
      /^Search/,
      /Think for/,
    ]) {
      expect(
        rows.some(({ prompt }) => mark.test(prompt)),
        String(mark),
      ).toBe(true);
    }
  });

  it('are learned, and strategies run over what has learned them', async () => {
    const arms = ['majorityVote n=1', 'selfPolish n=4', 'programAided n=1', 'lengthControl 48 n=1'];
    const folder = mkdtempSync(join(tmpdir(), 'formats-'));
    try {
      const { rows, choosers } = await runFormatStudy({
        ...{ ...FORMAT_SETTINGS, arms, folder, seeds: [1], problems: 4, baselineSamples: 2, runs: 4, steps: [1, 1] },
      });
      expect(rows.map(({ strategy }) => strategy)).toEqual(['greedy n=1', ...arms]);
      expect(rows[4]!.measures['length error']).toBeGreaterThanOrEqual(0);
      for (const { tokens, megaflops } of rows) {
        expect(tokens).toBeGreaterThan(0);
        expect(megaflops).toBeGreaterThan(0);
      }
      expect(choosers.map(({ difficulty }) => difficulty)).toEqual(['oracle', 'predicted']);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('are searched, and what searches found is trained on', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'traces-'));
    try {
      const study = await runTraceStudy({
        ...{ ...FORMAT_SETTINGS, folder, seeds: [1], problems: 2, runs: 4, steps: [1, 1] },
        ...{ searched: 2, iterations: 1, samples: 2, rows: 4, tuneSteps: 1, valueSteps: 1, measured: 2 },
      });
      expect(Object.keys(study.sampled)).toHaveLength(4);
      expect(Object.keys(study.guided)).toHaveLength(3);
      expect(study.sampled['SFT on best-of-N']!.over.value).toBe(0);
      expect(study.valueRows[0]).toBeGreaterThan(0);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('completions shared out by difficulty', () => {
  it('are as many as of an even share, and what the draws themselves say is never worse', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'allocation-'));
    try {
      const rows = await runAllocationStudy({
        ...{ ...FORMAT_SETTINGS, folder, seeds: [1], problems: 6, runs: 4, steps: [1, 1] },
        ...{ training: 4, trainingSamples: 1, samples: 4, budgets: [1, 2] },
      });
      expect(rows).toHaveLength(2 * 4);
      for (const { arm, overEven } of rows) {
        if (arm === 'evenly') expect(overEven.value).toBe(0);
        if (arm === 'by the draws themselves') expect(overEven.value).toBeGreaterThanOrEqual(-1e-12);
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('SuperContext with models that were trained for it', () => {
  it('asks questions of words whose label is that of most of them, of which either model knows its part', () => {
    const world = makeWorld(SETTINGS.world, mulberry32(1));
    const random = mulberry32(2);
    const [good, bad] = world.lexicon.home;
    let read = 0;
    for (let i = 0; i < 2000; i++) {
      const { text, label } = drawQuestion(world, 'home', random);
      const count = (list: readonly string[]) => text.split(' ').filter((word) => list.includes(word)).length;
      expect(count(good) + count(bad)).toBe(3);
      expect(label).toBe(count(good) > count(bad) ? 'positive' : 'negative');
      const words = (known: ReadonlySet<string>) => readBy(known, text).replace(/[ ?]/g, '').length / 4;
      expect(words(knownToSmall(world))).toBe(5);
      read += words(knownToLarge(world));
    }
    // Five standard errors of 2000 times five coins are 0.13.
    expect(Math.abs(read / 2000 - 2.5)).toBeLessThan(0.13);
    expect(readBy(knownToSmall(world), `${world.lexicon.foreign[0][0]} is said in this task`)).toBe(
      '? is said in this task',
    );
    expect(drawQuestion(world, 'unanswerable', random).label).toBe('unknown');
  });

  it('compares every arm on every set, a wrong label and an abstention both being wrong', async () => {
    const { rows, confidences } = await runSuperContextStudy({
      ...{ ...SETTINGS, seeds: [1], questions: 4 },
      small: { ...SETTINGS.small, questions: 64, epochs: 1 },
      large: { ...SETTINGS.large, rows: 60, steps: 1 },
    });
    expect(rows.map(({ set, arm }) => `${set} ${arm}`)).toEqual(
      SETS.flatMap((set) => RECEIPT_ARMS.map((arm) => `${set} ${arm}`)),
    );
    for (const { set, arm, right, abstained, overNoReceipt } of rows) {
      if (arm === 'no receipt') expect(overNoReceipt.value).toBe(0);
      if (set === 'unanswerable') expect(right.value).toBe(abstained.value);
      else expect(right.value! + abstained.value!).toBeLessThanOrEqual(1);
      if (arm === 'small model alone') expect(abstained.value).toBe(0);
    }
    for (const { confidence } of confidences) expect(confidence.value).toBeGreaterThanOrEqual(0.5);
  });
});

describe('two sizes of a model', () => {
  it('learn from authors whose mistakes casting out nines sees, all but one in nine', async () => {
    const held = heldOutPairs(40, 1);
    const trained = new Set(sumRows(4000, 1).map(({ prompt }) => prompt));
    expect(held.filter((problem) => trained.has(renderExpression(problem)))).toEqual([]);
    const passes = async (offset: number) => {
      const asked = held.map((problem) => ({
        ...{ prompt: renderExpression(problem), completion: String(answerOf(problem) + offset), row: { problem } },
      }));
      return (await castingOutNines.verify(asked)).every(({ score }) => score === 1);
    };
    for (const [offset, isPassed] of [
      [0, true],
      [9, true],
      [1, false],
      [10, false],
    ] as const)
      expect(await passes(offset), String(offset)).toBe(isPassed);
  });

  it('are compared at the same FLOPs, each with its own training tokens', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sizes-'));
    try {
      const { matched, flops, scale, accuracies } = await runSizesStudy({
        ...{ ...SIZES_SETTINGS, folder, seeds: [1], problems: 6, samples: 4, ratios: [1, 100] },
        training: { steps: 1, tokensPerStep: 256, learningRate: 1e-3 },
      });
      expect(accuracies.map(({ set }) => set)).toEqual(['all', 'bin 1', 'bin 2', 'bin 3']);
      // Three searches on each set, against two ways to answer, at two ratios.
      expect(matched).toHaveLength(4 * 3 * 2 * 2);
      for (const { multiplier, ratio, smaller } of matched) {
        const { smaller: small, larger: large } = flops;
        const tokens = ratio * large.trainingTokens;
        const spent = small.pretraining + 2 * small.parameters * tokens * multiplier;
        expect(spent / (large.pretraining + 2 * large.parameters * tokens)).toBeCloseTo(1, 9);
        // More than four answers: beyond what was drawn.
        expect(multiplier).toBeGreaterThan(scale);
        expect(smaller).toBeNull();
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
