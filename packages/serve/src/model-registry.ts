import { isPosttrainError } from '@posttrain/interfaces';
import type { JsonObject } from '@posttrain/lm';
import { allowedAdapterFolder } from './adapter-folder.js';
import { ApiError } from './api-error.js';
import type { ServedModel } from './served-model.js';

interface Entry {
  readonly model: ServedModel;
  /** Which weights it is: `default`, or of an adapter what the client calls them. */
  readonly version: string;
  /** Seconds since 1970. */
  readonly created: number;
}

/** What is asked of `ModelRegistry.load`. */
export interface AdapterToLoad {
  readonly name: string;
  /** As the client has it: absolute, or within the folder of adapters. */
  readonly path: string;
  /** Whether an adapter of that name is replaced. */
  readonly inPlace: boolean;
  /** What its weights are called in answers; undefined: its name and a number. */
  readonly version: string | undefined;
  /** Which model it is of; undefined: the only one that takes adapters. */
  readonly base: string | undefined;
}

/** As SGLang calls the weights that a server was started with. */
const BASE_VERSION = 'default';

interface RegistryOptions {
  readonly adapterFolder: string | undefined;
  readonly maxAdapters: number;
}

/**
 * The models that a server has, by name. Adapters of them come and go: a request has what its name meant when it came, and ends
 * with it.
 */
export class ModelRegistry {
  readonly #entries = new Map<string, Entry>();
  readonly #options: RegistryOptions;
  /** Serialised changes: each sees what the one before it has left. */
  #last: Promise<unknown> = Promise.resolve();
  #loads = 0;

  constructor(models: Readonly<Record<string, ServedModel>>, options: RegistryOptions) {
    this.#options = options;
    for (const [name, model] of Object.entries(models)) this.#put(name, model);
  }

  get names(): Iterable<string> {
    return this.#entries.keys();
  }

  get(name: string): ServedModel | undefined {
    return this.#entries.get(name)?.model;
  }

  /** Which weights a name means now. */
  versionOf(name: string): string {
    return this.#entries.get(name)?.version ?? BASE_VERSION;
  }

  /** The models that are no adapters. */
  bases(): ServedModel[] {
    return [...this.#entries.values()].flatMap(({ model }) => (isAdapter(model) ? [] : [model]));
  }

  /** What `/v1/models` says of a model. @throws ApiError 404 */
  card(name: string): JsonObject {
    const entry = this.#entries.get(name);
    if (!entry) {
      throw new ApiError(404, `The model '${name.slice(0, 200)}' does not exist.`, { apiCode: 'model_not_found' });
    }
    const { contextLength, card: { root = name, parent = null } = {} } = entry.model;
    const head = { id: name, object: 'model', created: entry.created, owned_by: 'posttrain' };
    return { ...head, root, parent, max_model_len: contextLength, weight_version: entry.version };
  }

  /** Serves an adapter of the folder that the operator named. @throws ApiError */
  async load(asked: AdapterToLoad): Promise<void> {
    const replaced = await this.#inTurn(async () => {
      const { name, path, inPlace } = asked;
      const adapterFolder = this.#allowsChanges();
      const present = this.get(name);
      if (present && !isAdapter(present)) {
        throw new ApiError(
          400,
          `'${name}' is the name of a model that is served; give the adapter another one.`,
          INVALID,
        );
      }
      if (present && !inPlace) {
        throw new ApiError(
          400,
          `The lora adapter '${name}' has already been loaded. If you want to load the adapter in place, set 'load_inplace' to True.`,
          INVALID,
        );
      }
      const { maxAdapters } = this.#options;
      const adapters = [...this.#entries.values()].filter(({ model }) => isAdapter(model));
      if (!present && adapters.length >= maxAdapters) {
        const problem = `There are ${adapters.length} adapters, and maxAdapters is ${maxAdapters}; unload one first.`;
        throw new ApiError(400, problem, INVALID);
      }
      const [base, baseName] = this.#baseOf(asked.base);
      const folder = await allowedAdapterFolder(adapterFolder, { name, path });
      const made = await base.loadAdapter!(folder, name).catch((cause: unknown) => {
        throw cannotLoad(name, cause);
      });
      const version = asked.version ?? `${name}#${++this.#loads}`;
      this.#put(name, { ...made, card: { root: path, parent: baseName } }, version);
      return present;
    });
    // What it is still asked for may take its time, which other changes need not wait.
    await replaced?.unload?.();
  }

  /** Serves an adapter no more; done when what it was asked for is. @throws ApiError */
  async unload(name: string): Promise<void> {
    const removed = await this.#inTurn(async () => {
      this.#allowsChanges();
      const model = this.get(name);
      if (!model || !isAdapter(model)) {
        throw new ApiError(404, `The lora adapter '${name.slice(0, 200)}' cannot be found.`, {
          ...{ type: 'NotFoundError', param: 'lora_name', apiCode: 'adapter_not_found' },
        });
      }
      this.#entries.delete(name);
      return model;
    });
    await removed.unload?.();
  }

  #put(name: string, model: ServedModel, version = BASE_VERSION): void {
    this.#entries.set(name, { model, version, created: Math.floor(Date.now() / 1000) });
  }

  #allowsChanges(): string {
    const { adapterFolder } = this.#options;
    if (adapterFolder !== undefined) return adapterFolder;
    throw new ApiError(
      404,
      'This server changes no adapters while it runs. Who starts it allows that with adapterFolder (--adapter-folder).',
      { apiCode: 'adapters_fixed' },
    );
  }

  #baseOf(name: string | undefined): readonly [ServedModel, string] {
    const bases = [...this.#entries].filter(([, { model }]) => model.loadAdapter && !isAdapter(model));
    const found = name === undefined ? bases : bases.filter(([one]) => one === name);
    if (found.length === 1) return [found[0]![1].model, found[0]![0]];
    const known = bases.map(([one]) => one).join(', ') || 'none';
    const problem = name === undefined ? 'must be given' : `'${name.slice(0, 200)}' takes no adapters`;
    throw new ApiError(400, `Invalid 'base_model_name': ${problem}. Models that take adapters: ${known}.`, {
      ...INVALID,
      param: 'base_model_name',
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => undefined);
    return result;
  }
}

const isAdapter = ({ card }: ServedModel): boolean => card?.parent !== undefined;

/** As vLLM calls it. */
const INVALID = { type: 'InvalidUserInput', apiCode: 'invalid_value' };

function cannotLoad(name: string, cause: unknown): unknown {
  if (!isPosttrainError(cause)) return cause;
  return new ApiError(
    400,
    `Loading lora ${name} failed: ${cause.message}`,
    { type: 'BadRequestError', param: 'lora_path', apiCode: 'invalid_adapter' },
    { cause },
  );
}
