import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isPosttrainError } from '@posttrain/interfaces';
import { type EvaluateOptions, evaluate } from '../evaluate.js';
import type { EvalResult, ProblemBase } from '../log/format.js';
import { readLog } from '../log/read-log.js';
import type { Row } from '../task.js';
import type { KindTask, TaskKind } from '../task-kind.js';

/** A task of the kind, and a model that it can be asked of. */
export interface TestTaskKindOptions {
  /** A new task, its dataset an array of at least 4 rows with different prompts, and at least one metric. */
  readonly task: () => { readonly type: string };
  /** A new model, which answers equal requests alike. */
  readonly model: () => unknown;
}

type AnyTask = KindTask<Row, unknown, ProblemBase, unknown>;

/**
 * Registers the checks that every kind of task must pass, with the test function of any framework:
 * `testTaskKind(it, pairwiseKind, { task, model })`.
 */
export function testTaskKind(
  it: (name: string, body: () => Promise<void>) => void,
  kind: TaskKind<never, never, ProblemBase, unknown>,
  { task: makeTask, model: makeModel }: TestTaskKindOptions,
): void {
  const own = kind as unknown as TaskKind<AnyTask, unknown, ProblemBase, unknown>;
  const makeOwn = (): AnyTask => ({ ...(makeTask() as unknown as AnyTask), kind: own as AnyTask['kind'] });
  const run = (options: EvaluateOptions = {}, task = makeOwn()): Promise<EvalResult> =>
    evaluate(task, makeModel(), options);
  const check = (what: string, body: (folder: string) => Promise<void>): void =>
    it(`task kind "${kind.type}" ${what}`, async () => {
      const folder = await mkdtemp(join(tmpdir(), 'posttrain-kind-'));
      try {
        await body(folder);
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    });

  check('makes a record of every row, which JSON can hold', async () => {
    const { problems, metrics, config } = await run();
    const rows = makeOwn().dataset as readonly Row[];
    assert.ok(Array.isArray(rows) && rows.length >= 4, 'the checks need an array of 4 rows or more');
    assert.equal(problems.length, rows.length);
    assert.deepEqual(
      problems.map(({ row }) => row),
      rows,
    );
    assert.deepEqual(JSON.parse(JSON.stringify(problems)), problems);
    assert.ok(metrics.length > 0, 'the task has no metric');
    assert.equal(config.type, kind.type);
    assert.deepEqual(JSON.parse(JSON.stringify(config)), config, 'settings(task) is not JSON');
  });

  check('knows a request again by its hash', async () => {
    const task = makeOwn();
    const { problems } = await run({ seed: 3 }, task);
    for (const { id, row, prompt, requestHash } of problems) {
      assert.equal(own.hash(task, { id, row, prompt }, { seed: 3 }), requestHash, `problem "${id}"`);
    }
    assert.equal(
      new Set(problems.map(({ requestHash }) => requestHash)).size,
      problems.length,
      'two requests have one hash',
    );
  });

  check('gives the same in batches of any size', async () => {
    assert.deepEqual(timeless(await run({ batchSize: 1 })), timeless(await run({ batchSize: 3 })));
  });

  check('goes on with a log, asks only what is missing, and reads back the same', async (folder) => {
    const log = join(folder, 'log.jsonl');
    const whole = timeless(await run());
    await run({ log, limit: 2 });
    const asked: string[] = [];
    const watched: AnyTask['kind'] = {
      ...own,
      ask: (task, problems, model, context) => {
        asked.push(...problems.map(({ id }) => id));
        return own.ask(task, problems, model, context);
      },
    };
    assert.deepEqual(timeless(await run({ log }, { ...makeOwn(), kind: watched })), whole);
    assert.deepEqual(
      asked,
      whole.problems.slice(2).map(({ id }) => id),
    );
    assert.deepEqual(timeless(await readLog(log)), JSON.parse(JSON.stringify(whole)));
  });

  check('refuses a model that cannot be asked', async () => {
    await assert.rejects(evaluate(makeOwn(), { name: 'nothing' }), isCode('BAD_MODEL'));
  });

  check('refuses keys that it does not know', async () => {
    await assert.rejects(run({}, { ...makeOwn(), notAKey: 1 } as AnyTask), isPosttrainError);
  });

  check('stops when the signal has fired', async () => {
    await assert.rejects(run({ signal: AbortSignal.abort() }), isCode('ABORTED'));
  });
}

const isCode = (code: string) => (error: unknown) =>
  isPosttrainError(error) && (error as { code?: string }).code === code;

/** A result without what is another one each time. */
function timeless({ startedAt: _, finishedAt: __, seconds: ___, problems, ...rest }: EvalResult) {
  return { ...rest, problems: problems.map(({ seconds: ____, ...problem }) => problem) };
}
