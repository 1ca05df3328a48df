import { EngineError } from '../../../errors.js';
import { breathe } from '../../breathe.js';
import type { OrtEnvironment } from './environment.js';
import type { NativeTexts, OrtApi, Pointer } from './library.js';

/** `logging.WARNING` would report what our graphs do on purpose. */
const LOG_ERRORS = 3;
const LOG_FATAL = 4;
const OPTIMIZATION_OFF = 0;

/**
 * Runs shorter than this (milliseconds) stay on this thread: on the way to another one and back, and beside what this one does
 * meanwhile, a step of some milliseconds loses a quarter of its time. No longer than a frame, so that timers and sockets
 * get their turn (`breathe`).
 */
const SHORT_RUN = 16;

/**
 * Microseconds that the threads of a session that runs again and again look out for work: as long as generation takes from
 * one step to the next. Waking them up costs a twentieth of a step of one row, a tenth of one of 16 rows (10M parameters).
 */
const BETWEEN_STEPS = 300;

export interface SessionOptions {
  readonly threads: number;
  /** Writes a profile (Chrome's trace format) to a file whose name begins with this. */
  readonly profile?: string;
  /** What runs the nodes; the CPU is always there for those that it cannot run. */
  readonly provider?: Provider;
  /** The domain of the kernels of our own, for a graph that has their operators. */
  readonly kernels?: Pointer;
  /** Records which provider runs which node, for `assignment`. */
  readonly recordAssignment?: boolean;
  /** A failure is expected and nothing is logged. */
  readonly isQuiet?: boolean;
}

/** An execution provider. */
export interface Provider {
  /** Adds it to the options of a session that is about to be made. */
  append(api: OrtApi, options: Pointer): void;
}

/** Memory of the caller that a model uses as initializers, and packs for its products. */
export interface PackedInitializers {
  readonly values: ReadonlyMap<string, Pointer>;
  /** What `values` point to, and the memory behind it. */
  readonly owners: readonly object[];
  /** ONNX Runtime's container of packed weights: sessions with the same share one copy. */
  readonly container: Pointer;
}

/** The provider that runs a node. */
export interface NodeAssignment {
  readonly op: string;
  readonly name: string;
  readonly provider: string;
}

/** A list of pointers in native memory. Most are the same from run to run, and comparing is cheaper than writing. */
class PointerList {
  readonly memory: BigUint64Array;
  readonly #written: Pointer[];

  constructor(count: number) {
    this.memory = new BigUint64Array(count);
    this.#written = Array.from(this.memory);
  }

  set(pointers: readonly Pointer[]): void {
    const { memory } = this;
    const written = this.#written;
    pointers.forEach((pointer, i) => {
      if (pointer === written[i]) return;
      memory[i] = pointer;
      written[i] = pointer;
    });
  }
}

/** One loaded model. */
export class NativeSession {
  readonly #inputNames: NativeTexts;
  readonly #outputNames: NativeTexts;
  readonly #inputs: PointerList;
  readonly #outputs: PointerList;
  /** Milliseconds that a run takes, lately. */
  #lately = Number.POSITIVE_INFINITY;
  readonly #api: OrtApi;

  private constructor(
    api: OrtApi,
    readonly pointer: Pointer,
    inputs: readonly string[],
    outputs: readonly string[],
  ) {
    this.#api = api;
    this.#inputNames = api.texts(inputs);
    this.#outputNames = api.texts(outputs);
    this.#inputs = new PointerList(inputs.length);
    this.#outputs = new PointerList(outputs.length);
  }

  static async create(
    { api, env }: OrtEnvironment,
    model: Uint8Array,
    names: { readonly inputs: readonly string[]; readonly outputs: readonly string[] },
    options: SessionOptions,
    packed?: PackedInitializers,
  ): Promise<NativeSession> {
    // What is packed will run many times in a row.
    const settings = sessionOptions(api, options, packed !== undefined);
    const session = [null];
    try {
      if (packed) {
        api.addSessionConfigEntry(settings, 'session.model_external_initializers_file_folder_path', api.root);
        for (const [name, value] of packed.values) api.addInitializer(settings, name, value);
        const last = [settings, packed.container, session] as const;
        await api.later('createSessionFromArrayWithPrepackedWeights', env, model, model.byteLength, ...last);
      } else await api.later('createSessionFromArray', env, model, model.byteLength, settings, session);
    } catch (cause) {
      throw new EngineError('onnxruntime', `the graph was refused: ${(cause as Error).message}`, { cause });
    } finally {
      api.releaseSessionOptions(settings);
    }
    return new NativeSession(api, session[0] as unknown as Pointer, names.inputs, names.outputs);
  }

  /** Reads the values `inputs` and writes the values `outputs` in place. The caller keeps their memory reachable. */
  async run(inputs: readonly Pointer[], outputs: readonly Pointer[]): Promise<void> {
    this.#inputs.set(inputs);
    this.#outputs.set(outputs);
    const { pointer } = this;
    const api = this.#api;
    const given = [this.#inputNames.addresses, this.#inputs.memory, inputs.length] as const;
    const taken = [this.#outputNames.addresses, outputs.length, this.#outputs.memory] as const;
    await breathe(SHORT_RUN);
    const started = performance.now();
    try {
      if (this.#lately < SHORT_RUN) api.run(pointer, null, ...given, ...taken);
      else await api.later('run', pointer, null, ...given, ...taken);
    } catch (cause) {
      throw new EngineError('onnxruntime', `the graph failed while it ran: ${(cause as Error).message}`, { cause });
    }
    const took = performance.now() - started;
    this.#lately = Number.isFinite(this.#lately) ? this.#lately + (took - this.#lately) / 4 : took;
  }

  /** Which provider runs which node. Needs `recordAssignment`. */
  assignment(): NodeAssignment[] {
    const api = this.#api;
    const list = (name: 'sessionAssignment' | 'partNodes', of: Pointer): Pointer[] => {
      const [first, count]: [Pointer[], bigint[]] = [[0n], [0n]];
      api[name](of, first, count);
      return api.pointersAt(first[0]!, Number(count[0]));
    };
    const text = (name: 'partProvider' | 'nodeOperator' | 'nodeName', of: Pointer): string => {
      const out: (string | null)[] = [null];
      api[name](of, out);
      return out[0] ?? '';
    };
    return list('sessionAssignment', this.pointer).flatMap((part) =>
      list('partNodes', part).map((node) => ({
        op: text('nodeOperator', node),
        name: text('nodeName', node),
        provider: text('partProvider', part),
      })),
    );
  }

  release(): void {
    this.#api.releaseSession(this.pointer);
  }
}

function sessionOptions(
  api: OrtApi,
  { threads, profile, provider, kernels, recordAssignment, isQuiet }: SessionOptions,
  isRepeated: boolean,
): Pointer {
  const options = api.make('createSessionOptions');
  api.setIntraOpNumThreads(options, threads);
  api.setInterOpNumThreads(options, 1);
  // Each session has threads of its own, which look out for work a while after a run and keep the cores from the next session.
  if (isRepeated) api.addSessionConfigEntry(options, 'session.intra_op.spin_duration_us', String(BETWEEN_STEPS));
  else api.addSessionConfigEntry(options, 'session.force_spinning_stop', '1');
  // Our graph is simplified already; and only unrewritten nodes run in the order that donations rely on.
  api.setSessionGraphOptimizationLevel(options, OPTIMIZATION_OFF);
  // A memory plan is laid out beside the memory of the first run, which is never given back: twice the memory.
  api.disableMemPattern(options);
  api.setSessionLogSeverityLevel(options, isQuiet ? LOG_FATAL : LOG_ERRORS);
  api.addSessionConfigEntry(options, 'session.use_env_allocators', '1');
  if (profile !== undefined) api.enableProfiling(options, profile);
  if (recordAssignment) api.addSessionConfigEntry(options, 'session.record_ep_graph_assignment_info', '1');
  try {
    if (kernels !== undefined) api.addCustomOpDomain(options, kernels);
    provider?.append(api, options);
  } catch (error) {
    api.releaseSessionOptions(options);
    throw error;
  }
  return options;
}
