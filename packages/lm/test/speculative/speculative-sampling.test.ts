import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Key } from '@posttrain/core-tensor';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { promptLookup, residualDistribution, sampleToken, verifyToken } from '../../src/index.js';
import { tokenDistribution } from '../../src/sampling/sampler.js';
import { TokenHistory } from '../../src/sampling/token-history.js';
import { probabilityOf, type TokenDistribution, tokenAt } from '../../src/speculative/token-distribution.js';

interface Golden {
  readonly prompt_lookup: {
    readonly sequence: number[];
    readonly options: { readonly tokens: number; readonly maxMatchingNgramSize: number };
    readonly candidates: number[];
  }[];
  readonly speculative_sampling: {
    readonly target: number[][];
    readonly draft: number[][];
    readonly tokens: number[];
    readonly uniforms: number[];
    readonly matches: number;
    readonly last: number[];
  }[];
}
const path = join(import.meta.dirname, '../../../../goldens/speculative/expected.json');
const golden: Golden = JSON.parse(readFileSync(path, 'utf8'));

/** All tokens with their probabilities; those of zero are left out. */
const distributionOf = (weights: readonly number[]): TokenDistribution => {
  const tokens = [...weights.keys()].filter((token) => weights[token]! > 0);
  return { tokens: Int32Array.from(tokens), probabilities: Float64Array.from(tokens, (token) => weights[token]!) };
};

/** A distribution over a few tokens, some of which may be impossible. */
const distribution = (size: number) =>
  fc
    .array(fc.oneof(fc.constant(0), fc.double({ min: 1e-3, max: 1, noNaN: true })), {
      minLength: size,
      maxLength: size,
    })
    .filter((weights) => weights.some((weight) => weight > 0))
    .map((weights) => {
      const total = weights.reduce((a, b) => a + b, 0);
      return distributionOf(weights.map((weight) => weight / total));
    });

describe('tokenAt', () => {
  it('draws from tokenDistribution the token that sampleToken draws', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: -8, max: 8 }), { minLength: 1, maxLength: 24 }),
        fc.record({
          temperature: fc.constantFrom(0, 0.7, 1, 1.6),
          topK: fc.option(fc.integer({ min: 1, max: 26 }), { nil: undefined }),
          topP: fc.constantFrom(0.01, 0.5, 0.9, 1),
          minP: fc.constantFrom(0, 0.05, 0.4, 1),
          repetitionPenalty: fc.constantFrom(1, 1.3, 0.8),
        }),
        fc.array(fc.double({ min: 0, max: 0.999999, noNaN: true }), { minLength: 12, maxLength: 12 }),
        // Halves make ties common.
        (halves, settings, uniforms) => {
          const logits = Float32Array.from(halves, (x) => x / 2);
          const context = new TokenHistory([0, halves.length - 1]);
          const distribution = tokenDistribution(logits, settings, context);
          for (const uniform of uniforms) {
            // Rounding decides on the border between two shares.
            const near = [-1e-6, 1e-6].map((step) => tokenAt(distribution, uniform + step));
            expect(near).toContain(sampleToken(logits, settings, context, uniform).token);
          }
        },
      ),
    );
  });
});

describe('verifyToken', () => {
  it.each(golden.speculative_sampling)('keeps and redistributes as transformers does: $matches of 3', (one) => {
    let matches = 0;
    const at = (rows: number[][], i: number) => distributionOf(rows[i]!);
    for (const [i, token] of one.tokens.entries()) {
      const uniforms = { accept: one.uniforms[i]!, residual: 0 };
      if (!verifyToken(at(one.target, i), at(one.draft, i), token, uniforms).accepted) break;
      matches++;
    }
    expect(matches).toBe(one.matches);
    const last =
      matches < 3 ? residualDistribution(at(one.target, matches), at(one.draft, matches))! : at(one.target, matches);
    for (const [token, p] of one.last.entries()) expect(probabilityOf(last, token)).toBeCloseTo(p, 5);
  });

  it('gives the target distribution exactly, and keeps 1 − TV of the proposals, whatever the draft', () => {
    fc.assert(
      fc.property(distribution(6), distribution(6), (p, q) => {
        // Over the draw from q and the two uniforms, in closed form: the border of acceptance by bisection.
        const outcome = new Float64Array(6);
        let kept = 0;
        for (const [i, token] of q.tokens.entries()) {
          const drawn = q.probabilities[i]!;
          let [low, high] = [0, 1];
          const accepts = (accept: number) => verifyToken(p, q, token, { accept, residual: 0.5 }).accepted;
          while (high - low > 1e-13) {
            const middle = (low + high) / 2;
            if (accepts(middle)) low = middle;
            else high = middle;
          }
          outcome[token]! += drawn * low;
          kept += drawn * low;
          const residual = residualDistribution(p, q);
          residual?.tokens.forEach((other, j) => {
            outcome[other]! += drawn * (1 - low) * residual.probabilities[j]!;
          });
        }
        let distance = 0;
        for (const [token, share] of outcome.entries()) {
          expect(share).toBeCloseTo(probabilityOf(p, token), 10);
          distance += Math.abs(probabilityOf(p, token) - probabilityOf(q, token)) / 2;
        }
        expect(kept).toBeCloseTo(1 - distance, 10);
      }),
    );
  });

  it('draws the refused ones from what it says it does (chi-square, seeded); accepting everything fails the same test', () => {
    const shares = [0.5, 0.2, 0.05, 0.15, 0.1];
    const p = distributionOf(shares);
    const q = distributionOf([0.1, 0.3, 0.4, 0.05, 0.15]);
    const draws = 20_000;
    const statistic = (always: boolean) => {
      const counts = new Array<number>(shares.length).fill(0);
      const key = Key.fromSeed(5);
      for (let i = 0; i < draws; i++) {
        const [u, accept, residual] = key.child(i).uniformHost(3) as unknown as [number, number, number];
        const proposed = tokenAt(q, u);
        counts[always ? proposed : verifyToken(p, q, proposed, { accept, residual }).token]!++;
      }
      return counts.reduce(
        (sum, count, token) => sum + (count - draws * shares[token]!) ** 2 / (draws * shares[token]!),
        0,
      );
    };
    // The 99.9 % point of chi-square with 4 degrees of freedom.
    expect(statistic(false)).toBeLessThan(18.47);
    expect(statistic(true)).toBeGreaterThan(18.47);
  });
});

describe('promptLookup', () => {
  it('proposes what transformers proposes', () => {
    const proposals = golden.prompt_lookup.map(({ sequence, options }) => promptLookup(sequence, options));
    expect(proposals).toEqual(golden.prompt_lookup.map(({ candidates }) => candidates));
    expect(new Set(proposals.map(({ length }) => length)).size).toBeGreaterThan(4);
  });

  it('proposes only what followed the present ending before', () => {
    const token = fc.integer({ min: 0, max: 3 });
    fc.assert(
      fc.property(fc.array(token, { maxLength: 40 }), fc.integer({ min: 1, max: 4 }), (sequence, size) => {
        const text = `,${sequence.join(',')},`;
        const proposal = promptLookup(sequence, { tokens: 5, maxMatchingNgramSize: size });
        const endings = Array.from({ length: Math.min(size, sequence.length) }, (_, i) => sequence.slice(-(i + 1)));
        const found = endings.some((ending) => text.includes(`,${[...ending, ...proposal].join(',')},`));
        expect(found || sequence.length === 0).toBe(true);
        const repeats = sequence.slice(0, -1).includes(sequence.at(-1)!);
        expect(proposal.length > 0).toBe(repeats);
      }),
    );
  });

  it('refuses options that make no sense', () => {
    expect(() => promptLookup([1], { tokens: 0 })).toThrow(/tokens must be a positive integer, not 0/);
    expect(() => promptLookup([1], { maxMatchingNgramSize: 1.5 })).toThrow(/maxMatchingNgramSize/);
    expect(() => promptLookup([1], { token: 3 } as object)).toThrow(/Did you mean "tokens"/);
  });
});
