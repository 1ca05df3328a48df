import { createHash } from 'node:crypto';
import { onnxruntimeEnvironment } from './native/environment.js';
import { loadKernels } from './native/kernels.js';
import { NativeSession, type PackedInitializers, type Provider, type SessionOptions } from './native/session.js';

/** A model to make a session of. */
export interface SessionModel {
  /** An ONNX model. */
  readonly model: Uint8Array;
  /** The names of its inputs and outputs, in the order in which they are given. */
  readonly names: { readonly inputs: readonly string[]; readonly outputs: readonly string[] };
  /** Whether it has operators of our own. */
  readonly hasOwnOperators: boolean;
}

/** A session and the number of executables that hold it. */
interface Shared {
  readonly session: Promise<NativeSession>;
  readonly small: boolean;
  holders: number;
}

export interface HeldSession {
  readonly session: NativeSession;
  /** Kept reachable: what it computes with is the caller's memory. */
  readonly initializers?: PackedInitializers;
  release(): Promise<void>;
}

/** LRU of idle sessions: how many are kept, and the largest model (bytes) that is; big ones hold a big arena. */
const KEPT_SESSIONS = 64;
const KEPT_MODEL_BYTES = 64 * 1024;

/** Session cache, reference-counted: equal models share one session, and small idle ones stay in an LRU. */
export class SessionCache {
  readonly #shared = new Map<string, Shared>();
  readonly #options: SessionOptions;

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  /** `provider` must be the same for equal models. */
  async hold(given: SessionModel, provider?: Provider): Promise<HeldSession> {
    const { model } = given;
    const key = createHash('sha256').update(model).digest('base64');
    let entry = this.#shared.get(key);
    if (!entry) {
      // A profile is written when its session goes.
      const small = model.length <= KEPT_MODEL_BYTES && this.#options.profile === undefined;
      entry = { session: this.#create(given, provider), small, holders: 0 };
      this.#shared.set(key, entry);
    }
    const held = entry;
    held.holders++;
    try {
      return { session: await held.session, release: () => this.#release(key, held) };
    } catch (error) {
      this.#shared.delete(key);
      throw error;
    }
  }

  /** A session over initializers of the caller's, for one holder. */
  async holdPacked(given: SessionModel, packed: PackedInitializers): Promise<HeldSession> {
    const session = await this.#create(given, undefined, packed);
    // Its weights are the caller's memory: they stay as long as the session does.
    return { session, initializers: packed, release: async () => session.release() };
  }

  async #create(
    { model, names, hasOwnOperators }: SessionModel,
    provider: Provider | undefined,
    packed?: PackedInitializers,
  ): Promise<NativeSession> {
    const environment = await onnxruntimeEnvironment();
    const kernels = hasOwnOperators ? await loadKernels() : undefined;
    const options = {
      ...this.#options,
      ...(provider ? { provider } : {}),
      ...(kernels && 'domain' in kernels ? { kernels: kernels.domain } : {}),
    };
    return NativeSession.create(environment, model, names, options, packed);
  }

  async #release(key: string, entry: Shared): Promise<void> {
    if (--entry.holders > 0) return;
    if (entry.small) {
      // Most recently used last.
      this.#shared.delete(key);
      this.#shared.set(key, entry);
      const idle = [...this.#shared].filter(([, other]) => other.small && other.holders === 0);
      for (const [oldKey, old] of idle.slice(0, Math.max(0, idle.length - KEPT_SESSIONS)))
        await this.#drop(oldKey, old);
    } else {
      await this.#drop(key, entry);
    }
  }

  async #drop(key: string, entry: Shared): Promise<void> {
    this.#shared.delete(key);
    (await entry.session).release();
  }
}
