import { createHash } from 'node:crypto';
import { availableParallelism } from 'node:os';
import type { InferenceSession } from 'onnxruntime-node';
import { EngineError } from '../../errors.js';

export type Onnxruntime = typeof import('onnxruntime-node');

/** A session and the number of executables that hold it. */
interface Shared {
  readonly session: Promise<InferenceSession>;
  readonly small: boolean;
  holders: number;
}

export interface HeldSession {
  readonly session: InferenceSession;
  release(): Promise<void>;
}

/** Idle sessions that are kept, and the largest model (bytes) that is: big ones hold big work memory. */
const KEPT_SESSIONS = 64;
const KEPT_MODEL_BYTES = 64 * 1024;

/** Creates sessions; equal models share one, and small ones are kept for a while after their last holder let go. */
export class SessionCache {
  private readonly shared = new Map<string, Shared>();

  constructor(
    private readonly loadOnnxruntime: () => Promise<Onnxruntime>,
    private readonly threads: number | undefined,
  ) {}

  async hold(model: Uint8Array): Promise<HeldSession> {
    const key = createHash('sha256').update(model).digest('base64');
    let entry = this.shared.get(key);
    if (!entry) {
      entry = { session: this.create(model), small: model.length <= KEPT_MODEL_BYTES, holders: 0 };
      this.shared.set(key, entry);
    }
    const held = entry;
    held.holders++;
    try {
      return { session: await held.session, release: () => this.release(key, held) };
    } catch (error) {
      this.shared.delete(key);
      throw error;
    }
  }

  private async create(model: Uint8Array): Promise<InferenceSession> {
    const { InferenceSession } = await this.loadOnnxruntime();
    try {
      return await InferenceSession.create(model, {
        executionProviders: ['cpu'],
        intraOpNumThreads: this.threads ?? availableParallelism(),
        interOpNumThreads: 1,
        // Our graph is simplified already; and only unrewritten nodes run in the order that donations rely on.
        graphOptimizationLevel: 'disabled',
        // A memory plan is laid out beside the memory of the first run, which is never given back: twice the memory.
        enableMemPattern: false,
        logSeverityLevel: 3,
      });
    } catch (cause) {
      throw new EngineError('onnxruntime', `the graph was refused: ${(cause as Error).message}`, { cause });
    }
  }

  private async release(key: string, entry: Shared): Promise<void> {
    if (--entry.holders > 0) return;
    if (entry.small) {
      // Most recently used last.
      this.shared.delete(key);
      this.shared.set(key, entry);
      const idle = [...this.shared].filter(([, other]) => other.small && other.holders === 0);
      for (const [oldKey, old] of idle.slice(0, Math.max(0, idle.length - KEPT_SESSIONS))) await this.drop(oldKey, old);
    } else {
      await this.drop(key, entry);
    }
  }

  private async drop(key: string, entry: Shared): Promise<void> {
    this.shared.delete(key);
    await (await entry.session).release();
  }
}
