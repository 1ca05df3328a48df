import { describe, expect, it } from 'vitest';
import { describeFaults, fuzz } from '../../../../testing/fuzz.js';

/** config.json, generation_config.json, the index, four files of sentence-transformers, BERT's and a classifier's config. */
const JSON_FORMATS = 9;
/** model.safetensors and GGUF. */
const BINARY_FORMATS = 2;

/** Damaged files of a model: `count` mutants of each format, from number `from` on. */
export function fuzzModelFiles(from: number, count: number): void {
  describe('a damaged file of a model folder loads, or is refused by an error of ours', () => {
    it.each([
      ['json', 'json', JSON_FORMATS],
      ['binary', 'bytes', BINARY_FORMATS],
    ] as const)(
      '%s',
      async (target, kind, formats) => {
        const module = new URL('fuzz-targets.ts', import.meta.url);
        const report = await fuzz({ module, target, kind, from: from * formats, count: count * formats });
        if (process.env.FUZZ_REPORT) console.log(target, report);
        expect(describeFaults(report)).toBe('');
        expect(report.accepted + report.refused).toBe(count * formats);
        // Neither all refused nor all taken: the mutants reach what they are meant for.
        expect(Math.min(report.accepted, report.refused)).toBeGreaterThan(0.1 * count * formats);
      },
      3_600_000,
    );
  });
}
