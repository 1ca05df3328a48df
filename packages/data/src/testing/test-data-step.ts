import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isPosttrainError } from '@posttrain/interfaces';
import { type Pipeline, type PipelineOptions, pipeline } from '../pipeline.js';
import type { Row } from '../rows.js';
import { canonicalJson } from '../stable-hash.js';
import type { AnyStep, DataStep, DroppedRow } from '../step.js';

/** What is known of the step that is tested. */
export interface TestDataStepOptions<In extends object> {
  /** Rows that the step reads, at least 4 and some that it drops, if it drops any. Each can be written as JSON. */
  readonly rows: readonly In[];
  /** Whether shards together give what one gives, in any order. False for what looks at a row's neighbours, such as a shuffle. Default true. */
  readonly sharded?: boolean;
}

type Run = (source: readonly object[] | AsyncGenerator<object>, options?: PipelineOptions) => Pipeline<Row>;

/**
 * Registers the checks that every data step must pass, with the test function of any framework:
 * `testDataStep(it, () => filter('short', isShort), { rows })`. `make` gives a new step each time.
 */
export function testDataStep<In extends object>(
  it: (name: string, body: () => Promise<void>) => void,
  make: () => AnyStep,
  { rows, sharded = true }: TestDataStepOptions<In>,
): void {
  const { name } = make();
  const run: Run = (source, options) => pipeline<Row>(source, [make()], options);
  // A step with a plan that keeps nothing, so that the stage of the tested step is written whole.
  const staged: Run = (source, options) => pipeline<Row>(source, [make(), written()], options);
  const check = (what: string, body: (folder: string) => Promise<void>): void =>
    it(`step "${name}" ${what}`, async () => {
      const folder = await mkdtemp(join(tmpdir(), 'posttrain-step-'));
      try {
        await body(folder);
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    });

  check('says what it is', async () => {
    assert.ok(name !== '', 'a step needs a name');
    assert.ok(make().version, 'a step needs a version, options included, to be known again when a run is resumed');
    assert.equal(make().version, make().version, 'two equal steps have different versions');
  });

  check('counts every row, and says why it drops one', async () => {
    assert.ok(rows.length >= 4, 'the checks need 4 rows or more');
    const drops: DroppedRow[] = [];
    const whole = run(rows, { onDrop: (drop) => drops.push(drop) });
    const kept = await whole.collect();
    const [report] = whole.report();
    assert.equal(report!.read, rows.length, 'it has not read all rows');
    assert.equal(report!.kept, kept.length);
    assert.equal(report!.dropped, drops.length);
    for (const { reason } of drops) assert.match(reason, /\S/, 'a row was dropped without a reason');
    if (make().passes) {
      assert.equal(
        report!.kept + report!.dropped,
        report!.read,
        'it passes rows on, but kept and dropped are not what it read',
      );
      const given = new Set(rows.map((row) => canonicalJson(row)));
      for (const row of kept) {
        assert.ok(given.has(canonicalJson(row)), 'it passes rows on, but gave one that it has not read');
      }
    }
  });

  check('gives the same rows, in the same order, each time', async () => {
    assert.deepEqual(await run(rows).collect(), await run(rows).collect());
  });

  check('changes no row that it was given', async () => {
    const before = rows.map((row) => canonicalJson(row));
    await run(rows).collect();
    assert.deepEqual(
      rows.map((row) => canonicalJson(row)),
      before,
    );
  });

  check('has no rows where there are none', async () => {
    assert.deepEqual(await run([]).collect(), []);
  });

  check('stops when the signal fires', async () => {
    const controller = new AbortController();
    async function* source(): AsyncGenerator<object> {
      for (const [i, row] of rows.entries()) {
        if (i === 2) controller.abort();
        yield row;
      }
    }
    await assert.rejects(
      run(source(), { signal: controller.signal }).collect(),
      (error) => isPosttrainError(error) && (error as { code?: string }).code === 'PIPELINE_ABORTED',
      'it went on, or hid that it was stopped',
    );
  });

  check('gives the same after a run that failed', async (workFolder) => {
    const whole = staged(rows);
    const expected = await whole.collect();
    async function* failing(): AsyncGenerator<object> {
      yield* rows.slice(0, 3);
      throw new Error('the source failed');
    }
    await assert.rejects(staged(failing(), { workFolder }).collect(), /the source failed/);
    for (const _ of ['made', 'resumed']) {
      const resumed = staged(rows, { workFolder });
      assert.deepEqual(await resumed.collect(), expected);
      assert.deepEqual(resumed.report(), whole.report());
    }
  });

  if (!sharded) return;
  check('gives the same rows in one shard and in three', async (workFolder) => {
    const inOne = await run(rows).collect();
    const world = 3;
    const parts = await Promise.all(
      Array.from({ length: world }, (_, rank) => run(rows, { workFolder, shards: { rank, world } }).collect()),
    );
    const texts = (some: readonly Row[]): string[] => some.map((row) => canonicalJson(row)).sort();
    assert.deepEqual(texts(parts.flat()), texts(inOne));
  });
}

const written = (): DataStep<object, object, null> => ({
  name: 'written',
  version: '1',
  passes: true,
  plan: async () => null,
  apply: (rows) => rows,
});
