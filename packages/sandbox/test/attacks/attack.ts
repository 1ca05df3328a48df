import assert from 'node:assert/strict';
import type { Sandbox, SandboxLimits, SandboxResult } from '@posttrain/interfaces';
import { describe, it } from 'vitest';
import { type Canaries, makeCanaries } from '../../src/canaries.js';
import { interpreterOf, runPlain } from '../plain.js';

/** A program that tries to get out, or to take more than it may. */
export interface Attack {
  readonly name: string;
  code(canaries: Canaries): string;
  readonly limits?: SandboxLimits;
  /** Whether it succeeds without a sandbox and harms nothing: the control then shows that it does. */
  readonly control?: true;
  /** What must be true of the result beside that no canary was reached and that "ESCAPED" was not printed. */
  holds?(result: SandboxResult): void;
}

/** Ways out that an attack has found: canaries that were reached, and its own word. */
async function escapes(canaries: Canaries, { stdout, stderr }: SandboxResult): Promise<string[]> {
  const words = stdout.split('\n').filter((line) => line.includes('ESCAPED'));
  return [...(await canaries.reached(stdout + stderr)), ...words];
}

/** Registers the attacks on a sandbox, each with its control. */
export function testAttacks(
  sandbox: Sandbox,
  language: string,
  attacks: readonly Attack[],
  skip: () => string | undefined,
) {
  const withCanaries = async (body: (canaries: Canaries) => Promise<void>) => {
    const canaries = await makeCanaries();
    try {
      await body(canaries);
    } finally {
      await canaries.close();
    }
  };
  describe(`attacks in ${language} on ${sandbox.name}`, () => {
    it.for(attacks.map((attack) => [attack.name, attack] as const))('%s', async ([, attack], context) => {
      const reason = skip();
      if (reason) context.skip(reason);
      await withCanaries(async (canaries) => {
        const limits = { wallMs: 20_000, ...attack.limits };
        const result = await sandbox.run({ language, code: attack.code(canaries), limits });
        assert.deepEqual(await escapes(canaries, result), []);
        attack.holds?.(result);
      });
    });
  });
  const controls = attacks.filter(({ control }) => control);
  if (controls.length === 0) return;
  describe(`the same attacks in ${language} without a sandbox`, () => {
    it.for(controls.map((attack) => [attack.name, attack] as const))('%s', async ([, attack], context) => {
      if (interpreterOf(language) === undefined) context.skip(`no ${language} for the control`);
      await withCanaries(async (canaries) => {
        const result = await runPlain(language, attack.code(canaries));
        assert.notDeepEqual(await escapes(canaries, result), [], `${result.stdout}\n${result.stderr}`);
      });
    });
  });
}

/** One attack in eight, for the tests of every run: all of them are `attacks.slow.test.ts`. */
export const oneInEight = (attacks: readonly Attack[]) => attacks.filter((_, at) => at % 8 === 0);

/** The limit that must have ended it. */
export const stoppedBy =
  (...stops: SandboxResult['stoppedBy'][]) =>
  (result: SandboxResult) =>
    assert.ok(stops.includes(result.stoppedBy), JSON.stringify(result).slice(0, 500));

/** It must have ended by itself, with this on standard output. */
export const printed = (wanted: RegExp) => (result: SandboxResult) => {
  assert.match(result.stdout, wanted, result.stderr.slice(-500));
};

/** It must have ended as a failure: by an error of its own, a signal or a limit. */
export const failed = (result: SandboxResult) => assert.notEqual(result.exitCode, 0, result.stdout.slice(0, 500));
