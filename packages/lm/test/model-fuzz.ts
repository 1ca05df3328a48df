import { describe, expect, it } from 'vitest';
import { describeFaults, fuzz } from '../../../testing/fuzz.js';
import type { MutationKind } from '../../../testing/mutate.js';

const TARGETS: readonly (readonly [target: string, kind: MutationKind])[] = [
  ['config.json', 'json'],
  ['generation_config.json', 'json'],
  ['model.safetensors', 'bytes'],
  ['index.json', 'json'],
  ['gguf', 'bytes'],
  ['pooling config', 'json'],
  ['modules.json', 'json'],
  ['sentence-transformers config', 'json'],
  ['sentence bert config', 'json'],
  ['bert config', 'json'],
  ['head config', 'json'],
];

/** Damaged files of a model: `count` mutants of each kind of file, from number `from` on. */
export function fuzzModelFiles(from: number, count: number): void {
  describe('a damaged file of a model folder loads, or is refused by an error of ours', () => {
    it.each(TARGETS)(
      '%s',
      async (target, kind) => {
        const module = new URL('model-fuzz-targets.ts', import.meta.url);
        const report = await fuzz({ module, target, kind, from, count });
        expect(describeFaults(report)).toBe('');
        expect(report.accepted + report.refused).toBe(count);
        if (process.env.FUZZ_REPORT) console.log(target, report);
      },
      3_600_000,
    );
  });
}
