import { readFileSync } from 'node:fs';
import { extractFinalAnswer } from '@posttrain/eval';
import { describe, expect, it } from 'vitest';
import { DOCUMENT_END, documents, MISCONCEPTION_RATE, SLIP_RATE, smallerFromLarger } from './corpus.js';
import { answerOf, isHeldOut, mulberry32, problemRows, randomProblem, renderSolution } from './problem.js';
import { tokenizerFiles } from './write-tokenizer.js';

const take = (seed: number, count: number): string[] => {
  const stream = documents(seed);
  return Array.from({ length: count }, () => stream.next().value);
};
const sample = take(3, 20_000);

/** Every chain of three or more numbers written anywhere in a text, as problems. */
function chainsIn(text: string): { first: number; rest: { operator: '+' | '-'; operand: number }[] }[] {
  return [...text.matchAll(/\d+(?:[+-]\d+){2,}/g)].map(([chain]) => ({
    first: Number.parseInt(chain, 10),
    rest: [...chain.matchAll(/([+-])(\d+)/g)].map((m) => ({ operator: m[1] as '+' | '-', operand: Number(m[2]) })),
  }));
}

describe('corpus', () => {
  it('depends on the seed only', () => {
    expect(take(7, 200)).toEqual(take(7, 200));
    expect(take(7, 200)).not.toEqual(take(8, 200));
  });

  it('shows no held-out problem', () => {
    const chains = sample.flatMap(chainsIn);
    expect(chains.length).toBeGreaterThan(5000);
    expect(chains.filter(isHeldOut)).toEqual([]);
  });

  it('writes mistakes at the stated rates', () => {
    const counts = { plain: 0, slips: 0, borrow: 0, misconceptions: 0 };
    for (const [, a, operator, b, c] of sample.join('').matchAll(/(?<![+\-\d])(\d+)([+-])(\d+)=(\d+)/g)) {
      const [upper, lower, result] = [Number(a), Number(b), Number(c)];
      if (operator === '+') {
        counts.plain++;
        if (result !== upper + lower) counts.slips++;
      } else if (smallerFromLarger(upper, lower) !== upper - lower) {
        counts.borrow++;
        if (result === smallerFromLarger(upper, lower)) counts.misconceptions++;
      }
    }
    expect(counts.plain).toBeGreaterThan(20_000);
    expect(counts.borrow).toBeGreaterThan(10_000);
    expect(counts.slips / counts.plain).toBeCloseTo(SLIP_RATE, 2);
    // A slip looks like the misconception now and then: one or ten off happens to be the same number.
    expect(counts.misconceptions / counts.borrow).toBeGreaterThan(MISCONCEPTION_RATE - 0.01);
    expect(counts.misconceptions / counts.borrow).toBeLessThan(MISCONCEPTION_RATE + 0.02);
  });

  it('knows the subtraction bug', () => {
    expect(smallerFromLarger(85, 19)).toBe(74);
    expect(smallerFromLarger(120, 45)).toBe(125);
    expect(smallerFromLarger(186, 84)).toBe(102);
  });

  it('stays inside the tokenizer', () => {
    const vocab = Object.keys((tokenizerFiles()['tokenizer.json'] as { model: { vocab: object } }).model.vocab);
    const known = new Set(vocab.map((token) => (token === '\u0120' ? ' ' : token === '\u010a' ? '\n' : token)));
    const text = sample.join('').replaceAll(/<\|\w+\|>/g, (token) => (known.has(token) ? '' : '\u2205'));
    expect([...new Set(text)].filter((character) => !known.has(character))).toEqual([]);
    expect(sample.every((document) => document.endsWith(DOCUMENT_END))).toBe(true);
  });
});

describe('task', () => {
  it('has right solutions whose totals stay in range', () => {
    const random = mulberry32(1);
    for (let i = 0; i < 2000; i++) {
      const problem = randomProblem(random, 3 + (i % 2), 99);
      const solution = renderSolution(problem);
      expect(extractFinalAnswer(solution)).toBe(String(answerOf(problem)));
      for (const [, a, operator, b, c] of solution.matchAll(/(\d+)([+-])(\d+)=(\d+)/g)) {
        expect(operator === '+' ? Number(a) + Number(b) : Number(a) - Number(b)).toBe(Number(c));
        expect(Number(c)).toBeLessThanOrEqual(199);
      }
    }
  });

  it('separates training rows from held-out rows', () => {
    const train = new Set(problemRows({ split: 'train', count: 3000, seed: 1 }).map((row) => row.prompt));
    const heldOut = problemRows({ split: 'heldOut', count: 500, seed: 2 });
    expect(train.size).toBe(3000);
    expect(heldOut.filter((row) => train.has(row.prompt))).toEqual([]);
  });
});

describe('tokenizer folder', () => {
  it('is what write-tokenizer.ts writes', () => {
    for (const [name, content] of Object.entries(tokenizerFiles())) {
      const path = new URL(`./tokenizer/${name}`, import.meta.url);
      expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual(content);
    }
  });
});
