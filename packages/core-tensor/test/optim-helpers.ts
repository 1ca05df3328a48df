import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isOp } from '../src/graph/node.js';
import type { EngineBuffer, Tensor, TypedArray } from '../src/index.js';
import { openSafetensors } from '../src/io/index.js';

const folder = join(import.meta.dirname, '../../../goldens/optim');

export type Arrays<Data extends TypedArray = Float32Array> = Record<
  string,
  { readonly shape: readonly number[]; readonly data: Data }
>;

/** The tensors of `goldens/optim/<name>.safetensors`. */
export async function arrays(name: string): Promise<Arrays> {
  const file = await openSafetensors(join(folder, `${name}.safetensors`));
  const result: Arrays = {};
  for (const key of file.tensors.keys()) {
    const { shape, data } = await file.read(key);
    result[key] = { shape, data: data as Float32Array };
  }
  await file.close();
  return result;
}

export const json = (name: string): unknown => JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8'));

/** Where the elements of a realised tensor are. */
export function memoryOf({ value: { node } }: Tensor): unknown {
  if (!isOp(node, 'data')) throw new Error('not realised');
  return (node.attributes.storage.device!.buffer as EngineBuffer & { readonly block: unknown }).block;
}
