import { describe, expect, it } from 'vitest';
import { describeFaults, fuzz } from '../../../../testing/fuzz.js';

/** Damaged files of an adapter, and recipes of merging: `count` mutants of each, from number `from` on. */
export function fuzzAdapterFiles(from: number, count: number): void {
  describe('a damaged file of an adapter loads, or is refused by an error of ours', () => {
    it.each([
      ['adapter_config.json', 'json', ['.*', '(a+)+', '*', 'r', '1e9', '[']],
      ['adapter_model.safetensors', 'bytes', []],
      [
        'recipe.yaml',
        'bytes',
        ['&a', '*a', '<<: ', '- ', '? ', '!!js ', '1e999', '.nan', '[[[[', '{}', 'null', '__proto__: '],
      ],
    ] as const)(
      '%s',
      async (target, kind, dictionary) => {
        const module = new URL('fuzz-targets.ts', import.meta.url);
        const report = await fuzz({ module, target, kind, dictionary, from, count });
        if (process.env.FUZZ_REPORT) console.log(target, report);
        expect(describeFaults(report)).toBe('');
        expect(report.accepted + report.refused).toBe(count);
      },
      3_600_000,
    );
  });
}
