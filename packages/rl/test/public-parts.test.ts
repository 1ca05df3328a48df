import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { referenceEngine, setEngine, stopGradient, type Tensor } from '@posttrain/core-tensor';
import * as training from '@posttrain/training';
import { beforeAll, describe, expect, it } from 'vitest';
import * as rl from '../src/index.js';
import { type AnyPreferenceLoss, type PreferenceLoss, preferenceLosses } from '../src/index.js';
import { testPreferenceLoss } from '../src/testing/index.js';

beforeAll(() => setEngine(referenceEngine()));

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

describe('the kit of preference losses', () => {
  /** Those that see more than differences between completions. */
  const absolute: readonly string[] = [
    'nca_pair',
    'bco_pair',
    'sppo_hard',
    'apo_zero',
    'apo_down',
    'dpop',
    'alphapo',
    'tdpo',
    'wpo',
    'xpo',
  ];
  for (const [name, make] of Object.entries(preferenceLosses)) {
    // The bonus of XPO's own α is no more than rounding.
    const loss = (name === 'xpo' ? preferenceLosses.xpo({ alpha: 0.01 }) : make()) as PreferenceLoss;
    const { nll, kind = 'pairs' } = loss;
    // The shift of BCO's rewards is that of the step.
    const shiftInvariant = name === 'bco' || (kind !== ('unpaired' as string) && !nll && !absolute.includes(name));
    const stopsGradient = ['tdpo', 'wpo', 'nash_md'].includes(name);
    testPreferenceLoss(it, loss, { shiftInvariant, stopsGradient, tolerance: 2e-5 });
  }
  testPreferenceLoss(it, preferenceLosses.tdpo({ variant: 'tdpo1' }), { shiftInvariant: false, tolerance: 2e-5 });
  for (const fDivergenceType of ['forward_kl', 'js_divergence', 'alpha_divergence'] as const) {
    const loss = preferenceLosses.f_dpo({ fDivergenceType });
    testPreferenceLoss(it, loss, { shiftInvariant: false, tolerance: 2e-5 });
  }
});

it('docs/rl/preferences.md has every loss, with what it declares to need and a paper that its file names', async () => {
  const page = await readFile(join(root, '../docs/rl/preferences.md'), 'utf8');
  const start = page.indexOf('| loss | formula |');
  const table = page.slice(start, page.indexOf('\n\n', start)).split('\n').slice(2);
  const listed = table.map((line) => line.slice(2, -2).split(' | '));
  const needs = Object.entries(preferenceLosses).map(([name, make]) => {
    const loss = make() as AnyPreferenceLoss;
    const { kind = 'pairs', runsReference } = loss;
    const rows = { pairs: 'pairs', unpaired: 'completions', ranked: 'rankings' }[kind];
    const hasReference = loss.kind === 'unpaired' || loss.reference !== false;
    const reference = hasReference ? [runsReference ? 'reference in the pass' : 'reference'] : [];
    const coupled = (loss as PreferenceLoss).coupled ? ['whole step'] : [];
    return [name, [rows, ...reference, ...coupled, ...((loss as PreferenceLoss).columns ?? [])].join(', ')];
  });
  expect(Object.fromEntries(listed.map(([name, , need]) => [name!.slice(1, -1), need]))).toEqual(
    Object.fromEntries(needs),
  );
  const folder = join(root, 'rl/src/preference');
  const sources = await Promise.all((await readdir(folder)).map((file) => readFile(join(folder, file), 'utf8')));
  for (const [name, , , paper, golden, check] of listed) {
    expect([golden, check].every(Boolean), name).toBe(true);
    if (/^\d/.test(paper!))
      expect(
        sources.some((source) => source.includes(`arXiv ${paper}`)),
        `${name} ${paper}`,
      ).toBe(true);
  }
});

describe('a loss that is wrong', () => {
  const dpo = preferenceLosses.sigmoid();
  const detached: PreferenceLoss = { ...dpo, compute: (pairs) => stopGradient(dpo.compute(pairs) as Tensor) };
  it.each<[string, PreferenceLoss, RegExp, object?]>([
    ['prefers what is worse', { ...dpo, compute: (pairs) => (dpo.compute(pairs) as Tensor).neg() }, /right order/],
    ['has no gradient', detached, /no gradient/],
    ['couples what it says it does not', { ...dpo, compute: ({ chosen }) => chosen.sub(chosen.mean()) }, /padding/],
    ['says that it needs a reference', { ...preferenceLosses.simpo(), reference: true }, /reference: false/],
    ['is not shift invariant', preferenceLosses.nca_pair(), /shiftInvariant is true/],
    ['is shift invariant', dpo, /shiftInvariant is false/, { shiftInvariant: false }],
    ['stops no gradient', dpo, /stopsGradient is true/, { stopsGradient: true }],
    ['gives nothing', { ...dpo, name: 'mine', compute: () => undefined as never }, /the loss mine gave no losses/],
    [
      'asks for the reference and does not say so',
      { ...preferenceLosses.tdpo(), runsReference: false },
      /tdpo2 asks for more of the reference .* say runsReference: true/,
    ],
  ])('does not pass the kit: %s', async (_, loss, message, options = {}) => {
    const bodies: (() => Promise<void>)[] = [];
    // The last check trains a model.
    testPreferenceLoss((__, body) => void bodies.push(body), loss, options);
    const results = await Promise.allSettled(bodies.slice(0, -1).map((body) => body()));
    const problems = results.flatMap((result) => (result.status === 'rejected' ? [`${result.reason}`] : []));
    expect(problems.join('\n')).toMatch(message);
  });
});
