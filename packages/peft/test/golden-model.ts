import { join } from 'node:path';
import { currentEngine, type Engine, iota, type Tensor, tensor, zeros } from '@posttrain/core-tensor';
import type { SafetensorsFile } from '@posttrain/core-tensor/io';
import { type Adapter, adapterFor, type CausalLM, loadWeights, NO_ADAPTER, type RowInputs } from '@posttrain/lm';
import { expect } from 'vitest';
import { modelOf } from './model.js';

export const goldens = join(import.meta.dirname, '../../../goldens');

/** Below the goldens: a name alone is one of `models`. */
export const folderOf = (name: string): string => (name.includes('/') ? name : `models/${name}`);

/** By engine: a model stays on the one that it was loaded on, and files of tests share a process. */
const bases = new WeakMap<Engine, Map<string, Promise<CausalLM>>>();
/** The model of a golden, by the name that its expected.json has. */
export function baseOf(name: string): Promise<CausalLM> {
  const load = async () => modelOf(await loadWeights(join(goldens, folderOf(name))), folderOf(name));
  const engine = currentEngine();
  const own = bases.get(engine) ?? new Map<string, Promise<CausalLM>>();
  bases.set(engine, own);
  if (!own.has(name)) own.set(name, load());
  return own.get(name)!;
}

export const numbers = async (file: SafetensorsFile, name: string) =>
  Array.from((await file.read(name)).data as Float32Array);

/** Rows of token ids as a network takes them. */
export function inputOf(
  ids: readonly number[],
  [b, s]: readonly [number, number],
  adapter: Adapter = NO_ADAPTER,
  given: readonly RowInputs[] = [],
) {
  const rows = Array.from({ length: b }, (_, i) => ids.slice(i * s, (i + 1) * s));
  const ofRows = rows.map((row, i) => adapterFor(adapter, row, given[i]).inputs);
  const inputs = (adapter.rowInputs?.names ?? []).map((name) => {
    const values = ofRows.flatMap((row) => Array.from({ length: s }, () => row![name]!));
    return [name, tensor(Int32Array.from(values), [b, s], 'int32')];
  });
  return {
    rowInputs: Object.fromEntries(inputs) as Readonly<Record<string, Tensor>>,
    tokens: tensor(Int32Array.from(ids), [b, s], 'int32'),
    positions: iota([b, s], 1),
    segments: zeros([b, s], 'int32'),
  };
}

export function expectClose(actual: readonly number[], expected: readonly number[], tolerance: number): void {
  expect(actual.length).toBe(expected.length);
  let worst = 0;
  expected.forEach((value, i) => {
    worst = Math.max(worst, Math.abs(actual[i]! - value));
  });
  expect(worst).toBeLessThan(tolerance);
}
