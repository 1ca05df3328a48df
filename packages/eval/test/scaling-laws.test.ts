import { createRandom } from '@posttrain/interfaces/random';
import { describe, expect, it } from 'vitest';
import {
  approximateTrainingFlops,
  type DecoderShape,
  decoderForwardFlops,
  decoderParameters,
  fitScalingLaw,
  type ScalingRun,
} from '../src/index.js';

// The constants that arXiv 2404.10102 finds for the paper's runs.
const planted = { e: 1.8172, a: 482.01, b: 2085.43, alpha: 0.3478, beta: 0.3658 };

function runs(noise: number, seed = 0): ScalingRun[] {
  const random = createRandom(seed);
  return [5e7, 2e8, 8e8, 3e9, 1e10].flatMap((parameters) =>
    [1e9, 5e9, 3e10, 1e11, 5e11].map((tokens) => {
      const loss = planted.e + planted.a / parameters ** planted.alpha + planted.b / tokens ** planted.beta;
      const normal = Array.from({ length: 12 }, () => random.integer(0, 1e6 - 1) / 1e6).reduce((p, q) => p + q, -6);
      return { parameters, tokens, loss: loss * Math.exp(noise * normal) };
    }),
  );
}

describe('fitScalingLaw', () => {
  it('recovers planted constants from exact losses', () => {
    const law = fitScalingLaw(runs(0));
    expect(law.alpha).toBeCloseTo(planted.alpha, 4);
    expect(law.beta).toBeCloseTo(planted.beta, 4);
    expect(law.e).toBeCloseTo(planted.e, 4);
    expect(law.a / planted.a).toBeCloseTo(1, 2);
    expect(law.b / planted.b).toBeCloseTo(1, 2);
  });

  it('has the planted exponents in its intervals when the losses are noisy, and barely moves for one bad run', () => {
    const noisy = runs(0.002, 3);
    const law = fitScalingLaw(noisy, { resamples: 100, seed: 1 });
    for (const name of ['e', 'alpha', 'beta'] as const) {
      const [low, high] = law.intervals![name];
      expect(low).toBeLessThan(planted[name]);
      expect(high).toBeGreaterThan(planted[name]);
    }
    const bad = noisy.map((run, i) => (i === 7 ? { ...run, loss: 2 * run.loss } : run));
    const robust = fitScalingLaw(bad);
    expect(Math.abs(robust.alpha - law.alpha)).toBeLessThan(0.03);
    expect(Math.abs(robust.beta - law.beta)).toBeLessThan(0.03);
  });

  it('finds the compute-optimal size that trying all sizes finds', () => {
    const law = fitScalingLaw(runs(0));
    const flops = 1e21;
    const best = law.computeOptimal(flops);
    expect(6 * best.parameters * best.tokens).toBeCloseTo(flops, -10);
    const tried = Array.from({ length: 4001 }, (_, i) => {
      const parameters = best.parameters * 10 ** ((i - 2000) / 1000);
      return { parameters, loss: law.predict({ parameters, tokens: flops / 6 / parameters }) };
    }).reduce((p, q) => (q.loss < p.loss ? q : p));
    expect(tried.parameters / best.parameters).toBeCloseTo(1, 2);
    expect(best.loss).toBeLessThanOrEqual(tried.loss);
  });

  it('refuses too few runs and impossible ones', () => {
    expect(() => fitScalingLaw(runs(0).slice(0, 4))).toThrow(/five runs/);
    expect(() => fitScalingLaw([...runs(0), { parameters: 1, tokens: 1, loss: -1 }])).toThrow(/run 25/);
  });
});

const smolLm: DecoderShape = {
  layers: 30,
  width: 576,
  heads: 9,
  keyValueHeads: 3,
  headWidth: 64,
  mlpWidth: 1536,
  gatedMlp: true,
  vocabulary: 49_152,
  tiedHead: true,
};

describe('the ledger of a decoder', () => {
  it('has the parameters that SmolLM2-135M is published with', () => {
    expect(decoderParameters(smolLm)).toBe(134_515_008);
  });

  it('counts the products of a layer that can be counted by hand', () => {
    const tiny: DecoderShape = {
      layers: 1,
      width: 4,
      heads: 2,
      keyValueHeads: 1,
      headWidth: 2,
      mlpWidth: 8,
      gatedMlp: false,
      vocabulary: 10,
      tiedHead: false,
    };
    // [3, 4] rows: q 4×4, k and v 4×2 each, o 4×4; scores and values 2 heads of [3, 2] × [2, 3]; up 4×8, down 8×4; head.
    const products = 3 * (4 * 4 + 2 * 4 * 2 + 4 * 4) + 2 * (3 * 2 * 3) * 2 + 3 * (4 * 8 + 8 * 4) + 3 * 4 * 10;
    expect(decoderForwardFlops(tiny, { length: 3 })).toBe(2 * products);
    expect(decoderForwardFlops(tiny, { length: 3, rows: 5 })).toBe(10 * products);
    expect(decoderForwardFlops(tiny, { length: 3, causal: true })).toBe(2 * (products - 2 * (3 * 2) * 2));
    expect(decoderParameters(tiny)).toBe(4 * 4 + 2 * 4 * 2 + 4 * 4 + 2 * 32 + 3 * 4 + 2 * 40);
  });

  it('comes to the rule of thumb for short rows', () => {
    const exact = 3 * decoderForwardFlops(smolLm, { length: 16 });
    expect(exact / approximateTrainingFlops(decoderParameters(smolLm), 16)).toBeCloseTo(1, 1);
  });
});
