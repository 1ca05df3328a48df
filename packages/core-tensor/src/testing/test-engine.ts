import { assertKnownOptions, PosttrainError } from '@posttrain/interfaces';
import { setEngine } from '../engines/current.js';
import type { Engine } from '../engines/engine.js';
import { realize } from '../realize.js';
import type { Tensor } from '../tensor.js';
import type { ConformanceCase } from './case.js';
import { conformanceCases } from './cases.js';
import { CaseChecker, expectClose } from './check-case.js';
import { type ContractCheck, generalChecks } from './contract.js';
import { donationChecks } from './donation-checks.js';
import { knownValues } from './known-values.js';

/** The part of a test runner that is used: vitest's, Jest's and node:test's `describe` and `it` fit. */
export interface TestRunner {
  readonly describe: (name: string, body: () => void) => unknown;
  readonly it: ((name: string, body: () => Promise<void>) => unknown) & {
    readonly skip: (name: string, body: () => Promise<void>) => unknown;
  };
}

/** Options of `testEngine`. */
export interface TestEngineOptions {
  /** For the names of the tests. */
  readonly name: string;
  /** Makes the engine; called once, when the first test runs. */
  readonly create: () => Engine | Promise<Engine>;
  /** The functions that register tests: `{ describe, it }` of the runner in use. */
  readonly runner: TestRunner;
  /** Test names the engine is known to fail → why. They are registered as skipped; a name that is no test throws. */
  readonly skip?: Readonly<Record<string, string>>;
}

/** What came out, filled in while the tests run. */
export interface EngineReport {
  readonly name: string;
  /** Test name → whether it passed. Tests that did not run are absent. */
  readonly results: Map<string, boolean>;
  /** Number of tests that are to run: all but the skipped ones. */
  readonly registered: number;
  /** Tests that are not to run → why. */
  readonly skipped: Readonly<Record<string, string>>;
}

/** The names under which `testEngine` registers a case. */
export const testNames = ({ name }: ConformanceCase) => ({
  forward: `${name}: forward`,
  gradient: `${name}: gradient`,
});

/**
 * Registers the conformance suite for one engine with a test runner: every case forward against the reference engine,
 * every gradient against central differences, and every promise of the `Engine` interface.
 */
export function testEngine(options: TestEngineOptions): EngineReport {
  assertKnownOptions('testEngine', options, ['name', 'create', 'runner', 'skip']);
  const { name, create, runner, skip = {} } = options;
  const groups = checkGroups();
  const unknown = Object.keys(skip).filter((test) => !groups.some(({ checks }) => checks.some((c) => c.name === test)));
  if (unknown.length > 0) {
    throw new PosttrainError('UNKNOWN_TEST', `testEngine: skip names no test: ${unknown.join('; ')}`);
  }
  const results = new Map<string, boolean>();
  let engine: Promise<Engine> | undefined;
  const run = async ({ name: test, check }: ContractCheck): Promise<void> => {
    engine ??= Promise.resolve(create());
    const created = await engine;
    setEngine(created);
    results.set(test, false);
    await check(created);
    results.set(test, true);
  };

  runner.describe(`engine ${name}`, () => {
    for (const { group, checks } of groups) {
      runner.describe(group, () => {
        for (const check of checks) {
          const reason = skip[check.name];
          if (reason === undefined) runner.it(check.name, () => run(check));
          else runner.it.skip(`${check.name} (skipped: ${reason})`, () => run(check));
        }
      });
    }
  });
  const count = groups.reduce((sum, { checks }) => sum + checks.length, 0);
  return { name, results, registered: count - Object.keys(skip).length, skipped: skip };
}

/** All checks of the suite, in groups: one per op, the known values, the contract. */
function checkGroups(): { readonly group: string; readonly checks: readonly ContractCheck[] }[] {
  const ops = [...byOp(conformanceCases())].map(([group, cases]) => {
    const checker = new CaseChecker(cases);
    const checks = cases.flatMap((one): ContractCheck[] => {
      const names = testNames(one);
      const forward = { name: names.forward, check: (engine: Engine) => checker.checkForward(engine, one) };
      const gradient = { name: names.gradient, check: (engine: Engine) => checker.checkGradient(engine, one) };
      return one.variables.length > 0 ? [forward, gradient] : [forward];
    });
    return { group, checks };
  });
  return [
    ...ops,
    { group: 'known values', checks: knownValueChecks() },
    { group: 'contract', checks: [...generalChecks, ...donationChecks] },
  ];
}

/** The known values as checks; the first that runs computes all of them together. */
export function knownValueChecks(): ContractCheck[] {
  const values = knownValues();
  let results: readonly Tensor[] | undefined;
  return values.map(({ op, run, wanted }, i) => ({
    name: `known value ${i}, ${op}`,
    check: async () => {
      results ??= await realizeIfPossible(values.map((value) => value.run()));
      expectClose(op, await (results[i] ?? run()).toArray(), wanted, 2e-6);
    },
  }));
}

/** Realised together; none where one of them fails, which each then does alone. */
const realizeIfPossible = (tensors: readonly Tensor[]): Promise<readonly Tensor[]> =>
  realize(tensors).then(
    () => tensors,
    () => [],
  );

/** The cases grouped by op, in order. */
export function byOp(cases: readonly ConformanceCase[]): Map<string, ConformanceCase[]> {
  const groups = new Map<string, ConformanceCase[]>();
  for (const one of cases) groups.set(one.op, [...(groups.get(one.op) ?? []), one]);
  return groups;
}
