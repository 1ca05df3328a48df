/** An adapter of every method that `peftMethods` lists, with numbers that do something, for what measures them beside each other. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Key, type Tensor, tensor } from '@posttrain/core-tensor';
import type { CausalLM, RowInputs } from '@posttrain/lm';
import {
  createAdapter,
  lora,
  type PeftAdapter,
  peftMethods,
  saveAdapter,
  withAdapterParameters,
} from '@posttrain/peft';
import { adapterOfType } from '../examples/peft-comparison/kinds.js';

export const ADAPTER_KINDS: readonly string[] = Object.keys(peftMethods);

/** @throws AdapterConfigError for a method that does not fit the model, such as BitFit where there are no biases */
export async function adapterOfKind(model: CausalLM, kind: string): Promise<PeftAdapter> {
  const adapter = await adapterOfType(model, kind, {
    // The block divides all widths of the models here.
    ...{ seed: 1, totalStep: 1000, numVirtualTokens: 16, block: 64 },
    ...{ experts: () => twoLoras(model), more: { LORA: { r: 16 } } },
  });
  const moved = Object.entries(adapter.parameters).map(([name, value], i) => [name, shifted(value, i)] as const);
  return withAdapterParameters(
    adapter,
    Object.fromEntries(await Promise.all(moved.map(async ([n, p]) => [n, await p]))),
  );
}

/** A little away from where it starts, which is the base for most. */
async function shifted(value: Tensor, index: number): Promise<Tensor> {
  const numbers = Key.fromSeed(2).child(index).normalHost(value.size);
  const start = await value.toArray();
  return tensor(
    Float32Array.from(start, (x, i) => x + 0.005 * numbers[i]!),
    value.shape,
  );
}

/** What the adapter reads of a sequence with so many tokens of prompt, where it cannot find it. */
export function inputsOfKind({ rowInputs }: PeftAdapter, promptTokens: number): RowInputs | undefined {
  if (!rowInputs) return undefined;
  return Object.fromEntries(rowInputs.names.map((name) => [name, name === 'promptTokens' ? promptTokens : 0]));
}

async function twoLoras(model: CausalLM): Promise<Readonly<Record<string, string>>> {
  const root = mkdtempSync(join(tmpdir(), 'posttrain-loras-'));
  process.once('exit', () => rmSync(root, { recursive: true, force: true }));
  const folders: Record<string, string> = {};
  for (const name of ['0', '1']) {
    folders[name] = join(root, name);
    const config = { r: 8, targetModules: 'all-linear', initLoraWeights: false };
    await saveAdapter(folders[name], await createAdapter(model, lora, config, { seed: Number(name) }));
  }
  return folders;
}
