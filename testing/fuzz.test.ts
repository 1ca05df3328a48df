import { describe, expect, it } from 'vitest';
import { describeFaults, fuzz } from './fuzz.js';
import { mutate } from './mutate.js';

const bytes = (text: string) => new TextEncoder().encode(text);

describe('mutate', () => {
  it('gives the same mutant for the same numbers, and others for others', () => {
    const original = bytes('{"model":{"layers":2,"names":["a","b"]}}');
    for (const kind of ['bytes', 'text', 'json'] as const) {
      const mutants = Array.from({ length: 100 }, (_, i) => mutate(original, kind, 1, i).join());
      expect(Array.from({ length: 100 }, (_, i) => mutate(original, kind, 1, i).join())).toEqual(mutants);
      expect(new Set(mutants).size).toBeGreaterThan(80);
    }
  });
});

describe('fuzz', () => {
  it('tells acceptance, refusal and every kind of fault apart, and goes on after each', async () => {
    const module = new URL('fuzz-faults.ts', import.meta.url);
    const report = await fuzz({ module, target: 'faulty', kind: 'bytes', count: 8, hangSeconds: 5, maxMemoryMiB: 600 });
    expect(report.faults.map(({ index, kind }) => [index, kind])).toEqual([
      [2, 'raw error'],
      [3, 'hang'],
      [4, 'death'],
      [5, 'unhandled rejection'],
      [6, 'memory'],
    ]);
    expect([report.accepted, report.refused]).toEqual([2, 1]);
    expect(describeFaults(report)).toContain('mutant 2: raw error: TypeError');
  });
});
