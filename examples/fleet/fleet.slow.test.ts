import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type FleetRun, fleetRun, modelFolder } from './fleet.js';
import { type StartedServer, startVllm } from './servers.js';

/** Long enough that a lost server is asked again after it was lost. */
const small: FleetRun = { servers: 2, steps: 4, maxStaleness: 0, promptsPerStep: 4 };
const GROUPS = 4 * 4;

/** What is the same for servers of any kind: every group is there once, and servers and trainer are one policy. */
function expectWhole({ result, history }: Awaited<ReturnType<typeof fleetRun>>, most: number) {
  expect(result.groups).toBe(GROUPS);
  expect(result.groupsByServer.reduce((a, b) => a + b, 0)).toBe(GROUPS);
  expect(result.maxGapOfVersions).toBeLessThan(most);
  expect(result.maxLogProbDifference).toBeLessThan(most);
  expect(history.map(({ metrics }) => metrics['rollouts/staleness'])).toEqual([0, 0, 0, 0]);
  expect(history.map(({ metrics }) => metrics['rollouts/mixed_versions'])).toEqual([0, 0, 0, 0]);
}

/** The same tokens were drawn, and the same was learnt from them, up to rounding. */
function expectSame(found: Awaited<ReturnType<typeof fleetRun>>, wanted: typeof found) {
  expect(found.history.map(({ metrics }) => metrics.reward)).toEqual(
    wanted.history.map(({ metrics }) => metrics.reward),
  );
  expect(found.result.tokens).toBe(wanted.result.tokens);
  found.parameters.forEach((values, i) => {
    const far = values.reduce((most, x, j) => Math.max(most, Math.abs(x - wanted.parameters[i]![j]!)), 0);
    expect(far).toBeLessThan(1e-3);
  });
}

describe('servers of our own, in processes of their own', () => {
  it('give the run in process, one of them killed in the middle of a step or not', async () => {
    const wanted = await fleetRun({ ...small, servers: 0 });
    for (const killAt of [undefined, 1]) {
      const found = await fleetRun({ ...small, killAt });
      expectWhole(found, 1e-3);
      expect(found.result.lost > 0).toBe(killAt !== undefined);
      // Another server than the one that was killed draws the same: what was in flight is lost, and nothing of the run.
      expectSame(found, wanted);
    }
  });
});

describe('vLLM', () => {
  const python = process.env.POSTTRAIN_VLLM_PYTHON;
  let running: StartedServer[] = [];
  let first: Awaited<ReturnType<typeof fleetRun>> | undefined;
  beforeAll(async () => {
    if (python) running = await Promise.all([1, 2].map(() => startVllm(python, { model: modelFolder, folder: '' })));
  }, 1_200_000);
  afterAll(async () => {
    await Promise.all(running.map((one) => one.stop()));
  });

  // One after the other, the last of which kills one of them.
  it.for<readonly [string, Partial<FleetRun>]>([
    ['one', { servers: 1 }],
    ['two', {}],
    ['two, one of which is killed in the middle of a step', { killAt: 1 }],
  ])('gives the rollouts of a GRPO run: %s', async ([what, given], context) => {
    if (!python) return context.skip('POSTTRAIN_VLLM_PYTHON names no Python that has vLLM');
    const found = await fleetRun({ ...small, ...given, running });
    console.log(what, JSON.stringify(found.result));
    expect(found.result.servers[0]).toMatch(/^vLLM /);
    expectWhole(found, 1e-3);
    expect(found.result.lost > 0).toBe(given.killAt !== undefined);
    // Seeds are of the request: how many servers there are, and which is lost, is no part of the run.
    first ??= found;
    expectSame(found, first);
  });
});
