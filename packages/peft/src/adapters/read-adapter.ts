import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Tensor, tensor } from '@posttrain/core-tensor';
import { openSafetensors, type SafetensorsFile, type TensorInfo } from '@posttrain/core-tensor/io';
import type { Named } from '@posttrain/core-tensor/optim';
import { isDeeperThan, nearestName } from '@posttrain/interfaces';
import { completeSave } from '@posttrain/interfaces/node';
import { type AdapterFileSize, copied, planAdapter, taskTypeOf } from './adapter.js';
import { fromConfigFile } from './adapter-config-file.js';
import { AdapterConfigError, AdapterFileError } from './errors.js';
import { fromFileTensors, toFileTensors } from './file-tensors.js';
import type { LayerMethod } from './layer-method.js';
import type { AdaptableModel, PeftAdapter } from './peft-adapter.js';
import type { PeftMethod } from './peft-method.js';
import { asPeftMethod } from './per-layer.js';
import { CONFIG, fileKeyOf, TENSORS } from './save-adapter.js';

const MOST_SHOWN = 6;
const MOST_NESTED = 100;
/** Types of files that indices have: `SafetensorsFile.read` gives both as int32. */
const WHOLE: readonly string[] = ['I32', 'I64'];

interface ReadOptions {
  readonly methods: readonly (PeftMethod | LayerMethod)[];
  readonly name: string;
  /** In the place of what the file says. */
  readonly config?: object;
}

/** `loadAdapter` with these methods and no others. */
export async function readAdapter(
  model: AdaptableModel,
  folder: string,
  { methods: given, name, config: instead = {} }: ReadOptions,
): Promise<PeftAdapter> {
  await completeSave(folder);
  const path = join(folder, CONFIG);
  const json = await readConfig(path);
  const methods = given.map(asPeftMethod);
  const method = methods.find(({ peftType }) => peftType === json.peft_type);
  if (!method) {
    const known = methods.map(({ peftType }) => peftType).join(', ');
    throw new AdapterFileError(
      path,
      `peft_type ${JSON.stringify(json.peft_type)} is not supported; there are ${known}.`,
    );
  }
  const config = { ...fromConfigFile(method, json, path, taskTypeOf(model)), ...instead };
  const file = await openTensors(folder);
  const keyOf = fileKeyOf(method);
  try {
    const { initial, context, adapter } = await planAdapter(model, method, config, { name, file: sizeOf(file) });
    const { carried } = context.plan;
    const expected = toFileTensors(method, context, initial);
    checkTensors(file, expected, keyOf);
    if (!method.frozenInFile?.(config)) method.checkFile?.(config);
    for (const [name, base] of Object.entries(carried)) await checkCarried(file, keyOf(name), base);
    const stored: Record<string, Tensor> = {};
    for (const [name, { shape, dtype }] of Object.entries(expected)) {
      if (name in carried) continue;
      const { data } = await file.read(keyOf(name), dtype === 'int32' ? {} : { as: 'float32' });
      stored[name] = tensor(data, shape, dtype);
    }
    const made = Object.fromEntries(Object.entries(initial.frozen).filter(([name]) => !(name in stored)));
    const frozen = { ...initial.frozen, ...(await copied(made, model.network.engine)) };
    return await adapter(await fromFileTensors(method, context, stored, { ...initial, frozen }).catch(inFile(file)));
  } finally {
    await file.close();
  }
}

async function readConfig(path: string): Promise<Readonly<Record<string, unknown>>> {
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    const problem =
      (cause as NodeJS.ErrnoException).code === 'ENOENT' ? 'there is no such file' : (cause as Error).message;
    throw new AdapterFileError(path, `cannot be read as the configuration of an adapter: ${problem}.`, { cause });
  }
  if (isDeeperThan(value, MOST_NESTED)) {
    throw new AdapterFileError(path, `has lists and objects inside each other more than ${MOST_NESTED} deep.`);
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new AdapterFileError(path, 'must hold a JSON object.');
}

async function openTensors(folder: string): Promise<SafetensorsFile> {
  const path = join(folder, TENSORS);
  const exists = (file: string) =>
    access(file).then(
      () => true,
      () => false,
    );
  if (await exists(path)) return openSafetensors(path);
  const pickled = await exists(join(folder, 'adapter_model.bin'));
  const advice = pickled
    ? 'There is a pickled adapter_model.bin: load and save it again in PEFT.'
    : 'Is this an adapter?';
  throw new AdapterFileError(path, `there is no such file. ${advice}`);
}

/** An error about numbers that a file has names the file. */
const inFile =
  ({ path }: SafetensorsFile) =>
  (cause: unknown): never => {
    if (!(cause instanceof AdapterConfigError)) throw cause;
    throw new AdapterFileError(path, `has what cannot be right: ${cause.message}`, { cause });
  };

function sizeOf({ path, tensors }: SafetensorsFile): AdapterFileSize {
  const sizes = [...tensors.values()].map(({ shape }) => shape.reduce((product, size) => product * size, 1));
  return { path, numbers: sizes.reduce((sum, size) => sum + size, 0) };
}

function checkTensors(file: SafetensorsFile, expected: Named, keyOf: (name: string) => string): void {
  const problems: string[] = [];
  const wanted = new Map(Object.entries(expected).map(([name, value]) => [keyOf(name), value]));
  // Names are compared for what is shown only.
  const near = (name: string, names: Iterable<string>) =>
    problems.length < MOST_SHOWN ? nearestName(name, names) : undefined;
  const quote = (near: string | undefined, says: string) => (near ? ` (${says} ${near})` : '');
  for (const [name, { shape, dtype }] of wanted) {
    const info: TensorInfo | undefined = file.tensors.get(name);
    if (!info) problems.push(`${name} is missing${quote(near(name, file.tensors.keys()), 'there is')}`);
    else if (info.shape.join() !== shape.join()) {
      problems.push(`${name} has shape [${info.shape.join(', ')}] where [${shape.join(', ')}] is needed`);
    } else if (dtype === 'int32' && !WHOLE.includes(info.dtype)) {
      problems.push(`${name} is ${info.dtype} where whole numbers, ${WHOLE.join(' or ')}, are needed`);
    }
  }
  for (const name of file.tensors.keys()) {
    if (!wanted.has(name)) problems.push(`${name} is left over${quote(near(name, wanted.keys()), 'nearest is')}`);
  }
  if (problems.length === 0) return;
  const rest = problems.length > MOST_SHOWN ? `; and ${problems.length - MOST_SHOWN} more` : '';
  throw new AdapterFileError(
    file.path,
    `the tensors do not fit adapter_config.json and the model: ${problems.slice(0, MOST_SHOWN).join('; ')}${rest}.`,
  );
}

/** PEFT would silently replace the base's embedding by the file's; here the two must be the same. */
async function checkCarried(file: SafetensorsFile, key: string, base: Tensor): Promise<void> {
  const { data } = await file.read(key, { as: 'float32' });
  const weight = await base.data();
  const differs = weight.some((value, i) => Math.fround(value) !== data[i]);
  if (!differs) return;
  throw new AdapterFileError(
    file.path,
    `${key} is not this model's embedding: the adapter was trained on another base, or resized it.`,
  );
}
