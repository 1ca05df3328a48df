import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as training from '@posttrain/training';
import { expect, it } from 'vitest';
import * as rl from '../src/index.js';

const root = join(import.meta.dirname, '../..');

/** Values that a file imports from its own package, by name. */
async function importsOf(file: string): Promise<string[]> {
  const text = await readFile(join(root, file), 'utf8');
  const clauses = [...text.matchAll(/^import (?!type )\{([^}]*)\} from '\.[^']*';/gm)].map(([, names]) => names!);
  const names = clauses.flatMap((clause) => clause.split(',').map((name) => name.trim()));
  return names.filter((name) => name !== '' && !name.startsWith('type '));
}

it.each([
  ['training/src/sft/sft.ts', training],
  ['training/src/reward-model/train-reward-model.ts', training],
  ['training/src/distillation/distill.ts', training],
  ['rl/src/training/dpo-trainer.ts', rl],
  ['rl/src/training/policy-trainer.ts', rl],
  ['rl/src/training/rollout-evaluation.ts', rl],
] as const)('%s is made of public parts, to be copied', async (file, index) => {
  const names = await importsOf(file);
  expect(names.length).toBeGreaterThan(3);
  expect(names.filter((name) => !(name in index))).toEqual([]);
});
