import { describe, expect, it } from 'vitest';
import { ARMS } from './arms.js';
import { baselineAt } from './baseline.js';
import { runStudy } from './study.js';

describe('the study of test-time scaling, small', () => {
  it('runs every strategy on the same problems, and says what each costs beside the baselines', async () => {
    const { rows, baselines, choosers } = await runStudy({
      ...{ seeds: [1], problems: 4, widths: [4], baselineSamples: 4, sftSteps: 2 },
    });
    expect(rows.map(({ strategy }) => strategy)).toEqual(Object.keys(ARMS));
    for (const { strategy, accuracy, tokens, megaflops, verifierCalls } of rows) {
      expect(accuracy.value, strategy).toBeGreaterThanOrEqual(0);
      expect(accuracy.value, strategy).toBeLessThanOrEqual(1);
      expect(tokens, strategy).toBeGreaterThan(0);
      expect(megaflops, strategy).toBeGreaterThan(0);
      if (/Consistency|majority|Certainty|deepConf|Risk|confidenceSampling/.test(strategy)) {
        expect(verifierCalls, strategy).toBe(strategy.startsWith('confidenceInformed') ? 4 : 0);
      } else expect(verifierCalls, strategy).toBeGreaterThan(0);
    }
    // Four samples of a problem, whatever is made of them.
    const drawn = rows.filter(({ strategy }) => ['bestOfN', 'majorityVote', 'deepConf'].includes(strategy));
    expect(new Set(drawn.map(({ tokens }) => tokens)).size).toBe(1);
    expect(new Set(baselines.map(({ k }) => k))).toEqual(new Set([1, 2, 4]));
    expect(choosers).toHaveLength(1);
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
