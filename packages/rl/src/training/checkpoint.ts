import { readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type DTypeArray,
  openSafetensors,
  type Tensor,
  tensor,
  writeAtomically,
  writeSafetensors,
} from '@posttrain/core-tensor';

/** What a run needs to go on: the trainer's tensors, and anything else as JSON. */
export interface Checkpoint {
  readonly snapshot: { readonly step: number; readonly tensors: Readonly<Record<string, Tensor>> };
  readonly state: unknown;
}

/** Writes a checkpoint folder, which appears complete or not at all. */
export async function saveCheckpoint(directory: string, { snapshot, state }: Checkpoint): Promise<void> {
  const folder = join(directory, `checkpoint-${snapshot.step}`);
  const staging = `${folder}.tmp`;
  await rm(staging, { recursive: true, force: true });
  const json = JSON.stringify({ step: snapshot.step, state }, undefined, 2);
  await writeAtomically((files) => files.stage(join(staging, 'state.json'), (write) => write(Buffer.from(json))));
  await writeSafetensors(
    join(staging, 'trainer.safetensors'),
    Object.entries(snapshot.tensors).map(([name, x]) => ({
      name,
      dtype: x.dtype,
      shape: x.shape,
      data: async () => (await x.data()) as DTypeArray,
    })),
  );
  await rm(folder, { recursive: true, force: true });
  await rename(staging, folder);
}

/** The `checkpoint-N` in a folder with the largest N; undefined when there is none. */
export async function latestCheckpoint(folder: string): Promise<string | undefined> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const steps = names.flatMap((name) => /^checkpoint-(\d+)$/.exec(name)?.[1] ?? []).map(Number);
  return steps.length === 0 ? undefined : join(folder, `checkpoint-${Math.max(...steps)}`);
}

/** Reads what `saveCheckpoint` wrote. */
export async function loadCheckpoint(folder: string): Promise<Checkpoint> {
  const { step, state } = JSON.parse(await readFile(join(folder, 'state.json'), 'utf8')) as {
    step: number;
    state: unknown;
  };
  const file = await openSafetensors(join(folder, 'trainer.safetensors'));
  try {
    const tensors: Record<string, Tensor> = {};
    for (const name of file.tensors.keys()) {
      const { data, shape, dtype } = await file.read(name);
      tensors[name] = tensor(data, shape, dtype);
    }
    return { snapshot: { step, tensors }, state };
  } finally {
    await file.close();
  }
}
