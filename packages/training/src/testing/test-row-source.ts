import assert from 'node:assert/strict';
import { Key } from '@posttrain/core-tensor';
import type { RowRequest, RowSource, SourcedRow } from '../run/row-source.js';
import { savedState } from './saved-state.js';

/** What the kit asks a source for: any that gives rows for requests, with a state or without. */
export type AnyRowSource = Pick<RowSource, 'name' | 'settings' | 'state' | 'load'> & {
  next(request: RowRequest): readonly SourcedRow[] | Promise<readonly SourcedRow[]>;
};

/** Options of `testRowSource`. */
export interface TestRowSourceOptions<Source extends AnyRowSource = AnyRowSource> {
  /** Rows of a request. Default 3. */
  readonly count?: number;
  /** Requests before it is saved, and as many after. Default 4. */
  readonly requests?: number;
  /** How many rows come before any comes again: those of an epoch. Default: not said. */
  readonly withoutRepeats?: number;
  /** What a run does between two requests, such as telling it what came of its rows. Default: nothing. */
  readonly between?: (source: Source, rows: readonly SourcedRow[], step: number) => void | Promise<void>;
}

/**
 * Registers the checks that every source of rows must pass, with the test function of any framework: `testRowSource(it, () =>
 * generativeReplay(rows, { … }))`, where the function makes a new one of the same rows.
 *
 * - it gives exactly the rows that it is asked for;
 * - it is a function of the request, its settings and its state: a second one gives the same;
 * - its state goes through a checkpoint, is not changed by asking for it, nor afterwards;
 * - it goes on from its state as if nothing had happened;
 * - where it is said, no row comes again before all have come.
 */
export function testRowSource<Source extends AnyRowSource>(
  it: (name: string, body: () => Promise<void>) => void,
  make: () => Source,
  options: TestRowSourceOptions<Source> = {},
): void {
  const { count = 3, requests = 4, withoutRepeats, between } = options;
  /** Requests from one step to another, each with what a run has of it. */
  const take = async (source: Source, from: number, to: number, of = count): Promise<SourcedRow[][]> => {
    const given: SourcedRow[][] = [];
    for (let step = from; step < to; step++) {
      const rows = await source.next({ count: of, step, key: Key.fromSeed(5).child(step) });
      given.push([...rows]);
      await between?.(source, rows, step);
    }
    return given;
  };
  const { name } = make();
  const check = (what: string, body: () => Promise<void>) => it(`the source of rows ${name} ${what}`, body);

  check('gives the rows that it is asked for, and says what it was made with as plain data', async () => {
    const source = make();
    assert.deepEqual(JSON.parse(JSON.stringify(source.settings ?? {})), source.settings ?? {}, 'settings are JSON');
    assert.equal(source.state === undefined, source.load === undefined, 'state and load come together');
    for (const of of [1, count, 2 * count + 1]) {
      const [rows] = await take(source, of, of + 1, of);
      assert.equal(rows!.length, of, `it was asked for ${of} rows`);
      for (const one of rows!) assert.ok(one?.row !== undefined && one.row !== null, 'what it gives is { row }');
    }
  });

  check('is a function of requests and state', async () => {
    const [first, second] = [make(), make()];
    assert.deepEqual(await take(second, 0, requests), await take(first, 0, requests), 'two of the same settings');
  });

  check('has a state that a checkpoint keeps, and stays as it was given', async () => {
    const source = make();
    if (!source.state) return;
    await take(source, 0, requests);
    const state = source.state();
    const before = await savedState(state);
    assert.deepEqual(before, state, 'as a checkpoint keeps it');
    assert.deepEqual(source.state(), state, 'asked for again');
    await take(source, requests, 2 * requests);
    assert.deepEqual(state, before, 'what was given has been changed');
  });

  check('goes on from its state', async () => {
    const [straight, saved, resumed] = [make(), make(), make()];
    const wanted = (await take(straight, 0, 2 * requests)).slice(requests);
    await take(saved, 0, requests);
    const state: unknown = saved.state?.();
    if (state !== undefined) await resumed.load!(await savedState(state));
    assert.deepEqual(await take(resumed, requests, 2 * requests), wanted, 'from a saved state');
    if (state !== undefined) {
      assert.deepEqual(resumed.state!(), straight.state!(), 'the state after it went on');
    }
  });

  if (withoutRepeats !== undefined) {
    check(`gives ${withoutRepeats} rows before one comes again`, async () => {
      const rows: unknown[] = [];
      const source = make();
      for (let step = 0; rows.length < withoutRepeats; step++) {
        const of = Math.min(count, withoutRepeats - rows.length);
        const [given] = await take(source, step, step + 1, of);
        rows.push(...given!.map(({ row }) => row));
      }
      assert.equal(new Set(rows.map((row) => JSON.stringify(row))).size, withoutRepeats, 'a row came twice');
    });
  }
}
