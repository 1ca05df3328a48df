import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { dpoOptions, policyOptions } from '../packages/rl/src/index.js';
import { sftOptions, TRL_NAMES, TRL_REMARKS } from '../packages/training/src/index.js';
import { renderPeftMethods, renderRunning, renderTrlNames } from './option-docs.js';
import { root } from './workspace.js';

const read = (name: string) => readFileSync(join(root, 'docs', name), 'utf8');
const RENDER = 'run npx tsx scripts/render-option-docs.ts';

describe('the pages about options', () => {
  it('are what the declarations say', () => {
    expect(read('running.md'), RENDER).toBe(renderRunning(read('running.md')));
    expect(read('trl-names.md'), RENDER).toBe(renderTrlNames());
    expect(read('peft/methods.md'), RENDER).toBe(renderPeftMethods());
  });

  it('have every option of every trainer, and nothing that none has', () => {
    const rows = [...read('running.md').matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name);
    const shapes = [sftOptions.shape, dpoOptions.shape, policyOptions.shape];
    expect([...new Set(rows)].sort()).toEqual([...new Set(shapes.flatMap((shape) => Object.keys(shape)))].sort());
  });

  it('name options of ours only, and no name of theirs twice', () => {
    const shapes = [sftOptions.shape, dpoOptions.shape, policyOptions.shape] as const;
    const unknown = Object.values(TRL_NAMES).filter((ours) => !shapes.some((shape) => Object.hasOwn(shape, ours)));
    expect(unknown).toEqual([]);
    expect(Object.keys(TRL_NAMES).filter((name) => name in TRL_REMARKS)).toEqual([]);
  });

  it.each(['eval_steps', 'evalSteps', 'load_best_model_at_end', 'gradient_accumulation_steps', 'warmupRatio'])(
    'are what the error about %s says',
    (name) => {
      const given = { [name]: 1 } as never;
      const snake = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
      const said = TRL_REMARKS[snake] ?? `It is called "${TRL_NAMES[snake]}" here.`;
      for (const one of [sftOptions, dpoOptions, policyOptions]) {
        expect(() => one.read(given)).toThrow(`unknown option "${name}". ${said}`);
      }
    },
  );
});
