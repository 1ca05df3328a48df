import { describe, expect, it } from 'vitest';
import { ARMS } from './arms.js';
import { baselineAt } from './baseline.js';
import { CHOICES, hackingStudy, PROXIES } from './hacking.js';
import { runStudy } from './study.js';

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
      if (/Consistency|majority|Certainty|deepConf|Risk|confidenceSampling|greedy/.test(strategy)) {
        expect(verifierCalls, strategy).toBe(strategy.startsWith('confidenceInformed') ? 4 : 0);
      } else expect(verifierCalls, strategy).toBeGreaterThan(0);
    }
    // Four samples of a problem, whatever is made of them.
    const drawn = rows.filter(({ strategy }) => ['bestOfN', 'majorityVote', 'deepConf'].includes(strategy));
    expect(new Set(drawn.map(({ tokens }) => tokens)).size).toBe(1);
    expect(new Set(baselines.map(({ k }) => k))).toEqual(new Set([1, 2, 4]));
    expect(choosers).toHaveLength(1);
    expect(tradeOffs.map(({ arm }) => arm)).toEqual(Object.keys(ARMS).map((name) => `${name} n=4`));
    expect(tradeOffs.every(({ costs }) => costs.wallTimeMs && costs.flops && costs.completionTokens)).toBe(true);
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
