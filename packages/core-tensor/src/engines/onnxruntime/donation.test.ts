import { describe, expect, it } from 'vitest';
import { findsSafeOverwrites } from './donation.js';
import type { OnnxNode } from './proto.js';

type Row = readonly [op: string, inputs: readonly string[], outputs: readonly string[], spreads?: readonly number[]];

/** Whether `out` may be written over `in`, both [4] unless `shapes` says otherwise. */
function isSafe(rows: readonly Row[], shapes: Record<string, number[]> = {}): boolean {
  const nodes: OnnxNode[] = rows.map(([op, inputs, outputs, spreads]) => ({
    ...{ op, inputs, outputs },
    ...(spreads ? { attributes: { spreads: { ints: spreads }, dims: { ints: [2, 2] } } } : {}),
  }));
  const value = (name: string) => ({ name, type: 'float32' as const, shape: shapes[name] ?? [4] });
  return findsSafeOverwrites({ nodes, inputs: ['in', 'x'].map(value), outputs: ['out', 'y'].map(value) })('in', 'out');
}

describe('findsSafeOverwrites', () => {
  it('allows element by element updates, also after other reads that the update needs', () => {
    expect(isSafe([['Add', ['in', 'x'], ['out']]])).toBe(true);
    expect(
      isSafe([
        ['Mul', ['in', 'in'], ['a']],
        ['Sub', ['in', 'a'], ['out']],
      ]),
    ).toBe(true);
    expect(
      isSafe([
        ['MatMul', ['in', 'x'], ['a']],
        ['Add', ['a', 'x'], ['out']],
      ]),
    ).toBe(true);
    expect(isSafe([['Neg', ['x'], ['out']]])).toBe(true);
    expect(
      isSafe([
        ['Identity', ['in'], ['out']],
        ['MatMul', ['in', 'x'], ['y']],
      ]),
    ).toBe(true);
  });

  it('refuses while another node may still read the input, itself or through a view', () => {
    expect(
      isSafe([
        ['Add', ['in', 'x'], ['out']],
        ['Neg', ['in'], ['y']],
      ]),
    ).toBe(false);
    expect(
      isSafe([
        ['Reshape', ['in', 'x'], ['v']],
        ['Neg', ['v'], ['y']],
        ['Add', ['in', 'x'], ['out']],
      ]),
    ).toBe(false);
    expect(
      isSafe([
        ['Identity', ['in'], ['y']],
        ['Add', ['in', 'x'], ['out']],
      ]),
    ).toBe(false);
    // What is behind a barrier is a view in a computed shape.
    const barrier: Row[] = [
      ['Shape', ['x'], ['s']],
      ['Concat', ['s', 'c'], ['t']],
      ['Reshape', ['in', 't'], ['v']],
    ];
    expect(isSafe([...barrier, ['Neg', ['v'], ['y']], ['Add', ['in', 'x'], ['out']]])).toBe(false);
    expect(isSafe([...barrier, ['Neg', ['v'], ['y']], ['Add', ['in', 'y'], ['out']]])).toBe(true);
  });

  it('refuses writers that read the input elsewhere than they write', () => {
    expect(isSafe([['MatMul', ['in', 'x'], ['out']]])).toBe(false);
    expect(
      isSafe([
        ['Reshape', ['in', 'x'], ['v']],
        ['Add', ['v', 'x'], ['out']],
      ]),
    ).toBe(false);
    expect(isSafe([['Add', ['in', 'x'], ['out']]], { in: [1], out: [4] })).toBe(false);
    expect(isSafe([['ScatterElements', ['x', 'i', 'in'], ['out']]])).toBe(false);
    expect(isSafe([['ScatterElements', ['in', 'i', 'x'], ['out']]])).toBe(true);
  });

  it('allows a chain what it reads as a whole, by any name, and refuses rows, columns and single numbers', () => {
    expect(isSafe([['Chain', ['in', 'x'], ['y', 'out'], [0, 1]]])).toBe(true);
    const view: Row = ['Reshape', ['in', 'x'], ['v']];
    expect(isSafe([view, ['Chain', ['v', 'in', 'x'], ['out'], [0, 0, 2]]])).toBe(true);
    for (const spread of [1, 2, 3]) {
      expect(isSafe([['Chain', ['in', 'x'], ['out'], [spread, 0]]])).toBe(false);
      expect(isSafe([view, ['Chain', ['in', 'v'], ['out'], [0, spread]]])).toBe(false);
      // A number a row, written over one.
      const ofRows = { in: [2, 1], out: [2, 1] };
      expect(isSafe([['Chain', ['x', 'in'], ['out'], [0, spread]]], ofRows)).toBe(spread === 1);
    }
    expect(isSafe([view, ['Chain', ['in'], ['out'], [0]], ['Neg', ['v'], ['y']]])).toBe(false);
  });

  it('refuses outputs that no node writes', () => {
    expect(isSafe([['Neg', ['x'], ['y']]])).toBe(false);
  });
});
