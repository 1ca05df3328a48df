import { EngineError } from '../../../errors.js';
import type { OrtApi, Pointer } from './library.js';

/** `logging.WARNING` would report what our graphs do on purpose. */
const LOG_ERRORS = 3;
const OPTIMIZATION_OFF = 0;

/** Runs shorter than this (milliseconds) are not worth the way to another thread and back. */
const SHORT_RUN = 1;

export interface SessionOptions {
  readonly threads: number;
  /** Writes a profile (Chrome's trace format) to a file whose name begins with this. */
  readonly profile?: string;
  /** Execution provider and its options; the CPU is always there for what it cannot run. */
  readonly provider?: { readonly name: string; readonly options: Readonly<Record<string, string>> };
}

/** Names of C strings as one array of addresses; the texts stay reachable through it. */
class NativeNames {
  readonly addresses: BigUint64Array;
  /** Held for its memory. */
  readonly text: Buffer;

  constructor(api: OrtApi, names: readonly string[]) {
    this.text = Buffer.from(names.map((name) => `${name}\0`).join(''), 'utf8');
    const start = names.length > 0 ? api.addressOf(this.text) : 0n;
    this.addresses = new BigUint64Array(names.length);
    let at = 0;
    for (const [i, name] of names.entries()) {
      this.addresses[i] = start + BigInt(at);
      at += Buffer.byteLength(name) + 1;
    }
  }
}

/** One loaded model. */
export class NativeSession {
  private readonly inputNames: NativeNames;
  private readonly outputNames: NativeNames;
  private readonly inputs: BigUint64Array;
  private readonly outputs: BigUint64Array;
  private isShort = false;

  private constructor(
    private readonly api: OrtApi,
    private readonly session: Pointer,
    inputs: readonly string[],
    outputs: readonly string[],
  ) {
    this.inputNames = new NativeNames(api, inputs);
    this.outputNames = new NativeNames(api, outputs);
    this.inputs = new BigUint64Array(inputs.length);
    this.outputs = new BigUint64Array(outputs.length);
  }

  static async create(
    api: OrtApi,
    env: Pointer,
    model: Uint8Array,
    names: { readonly inputs: readonly string[]; readonly outputs: readonly string[] },
    options: SessionOptions,
  ): Promise<NativeSession> {
    const settings = sessionOptions(api, options);
    const session = [null];
    try {
      await api.later('createSessionFromArray', env, model, model.byteLength, settings, session);
    } catch (cause) {
      throw new EngineError('onnxruntime', `the graph was refused: ${(cause as Error).message}`, { cause });
    } finally {
      api.releaseSessionOptions(settings);
    }
    return new NativeSession(api, session[0] as unknown as Pointer, names.inputs, names.outputs);
  }

  /** Reads the values `inputs` and writes the values `outputs` in place. The caller keeps their memory reachable. */
  async run(inputs: readonly Pointer[], outputs: readonly Pointer[]): Promise<void> {
    this.inputs.set(inputs);
    this.outputs.set(outputs);
    const { api, session, inputNames, outputNames } = this;
    const arguments_ = [
      session,
      null,
      inputNames.addresses,
      this.inputs,
      inputs.length,
      outputNames.addresses,
      this.outputs,
    ] as const;
    const [head, last] = [arguments_.slice(0, 6), arguments_[6]];
    const started = performance.now();
    try {
      if (this.isShort) api.run(...head, outputs.length, last);
      else await api.later('run', ...head, outputs.length, last);
    } catch (cause) {
      throw new EngineError('onnxruntime', `the graph failed while it ran: ${(cause as Error).message}`, { cause });
    }
    this.isShort = performance.now() - started < SHORT_RUN;
  }

  release(): void {
    this.api.releaseSession(this.session);
  }
}

function sessionOptions(api: OrtApi, { threads, profile, provider }: SessionOptions): Pointer {
  const options = api.make('createSessionOptions');
  api.setIntraOpNumThreads(options, threads);
  api.setInterOpNumThreads(options, 1);
  // Our graph is simplified already; and only unrewritten nodes run in the order that donations rely on.
  api.setSessionGraphOptimizationLevel(options, OPTIMIZATION_OFF);
  // A memory plan is laid out beside the memory of the first run, which is never given back: twice the memory.
  api.disableMemPattern(options);
  api.setSessionLogSeverityLevel(options, LOG_ERRORS);
  api.addSessionConfigEntry(options, 'session.use_env_allocators', '1');
  if (profile !== undefined) api.enableProfiling(options, profile);
  if (provider) {
    const entries = Object.entries(provider.options);
    const keys = new NativeNames(
      api,
      entries.map(([key]) => key),
    );
    const values = new NativeNames(
      api,
      entries.map(([, value]) => value),
    );
    api.appendExecutionProvider(options, provider.name, keys.addresses, values.addresses, entries.length);
  }
  return options;
}
