import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker, type WorkerOptions } from 'node:worker_threads';
import { PosttrainError } from '@posttrain/interfaces';
import type { AutomatonParts } from '@posttrain/lm';
import {
  automatonOf,
  type Texts,
  type TextTask,
  type TextWorkerReply,
  type TextWorkerRequest,
  tokensOf,
} from './text-task.js';

/** Longer ones are made tokens of in a thread of their own; those of this length take some milliseconds. */
const LARGE = 8192;
/** Idle timeout of the worker thread, which holds a second tokenizer in memory; in milliseconds. */
const IDLE = 60_000;

type Task = Exclude<TextWorkerRequest, { readonly kind: 'tokenizer' }>;

interface Waiting {
  readonly task: Task;
  readonly resolve: (reply: TextWorkerReply) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Tokenizes texts and conversations, and compiles constraints: short ones inline, long ones sequentially in a worker
 * thread, so that the event loop is not blocked. The thread lives while it is used.
 */
export class TextWorker {
  readonly #texts: Texts;
  readonly #waiting: Waiting[] = [];
  #isRunning = false;
  #worker: Worker | undefined;
  /** Whether the worker has the tokenizer. */
  #isFurnished = false;
  #idle: NodeJS.Timeout | undefined;
  /** Why there is no worker; then everything runs inline. */
  #refusal: unknown;

  constructor(texts: Texts) {
    this.#texts = texts;
  }

  /** @param signal ends the work. @throws PosttrainError, and the signal's reason */
  tokenize(task: TextTask, signal?: AbortSignal): readonly number[] | Promise<readonly number[]> {
    if (this.#refusal !== undefined) return tokensOf(this.#texts, task);
    const request: Task =
      'text' in task ? { kind: 'text', ...task } : { kind: 'chat', json: JSON.stringify(task.chat) };
    const { length } = request.kind === 'text' ? request.text : request.json;
    if (length <= LARGE) return tokensOf(this.#texts, task);
    return this.#ask(request, signal).then((reply) => {
      if (reply?.kind !== 'tokens') return tokensOf(this.#texts, task);
      return Array.from(reply.tokenIds);
    });
  }

  /**
   * The automaton of a constraint, by its JSON text. @param signal ends the work.
   * @throws InvalidConstraintError's code, and the signal's reason
   */
  async automaton(json: string, signal?: AbortSignal): Promise<AutomatonParts> {
    if (this.#refusal !== undefined || isSimple(json)) return automatonOf(json);
    const reply = await this.#ask({ kind: 'constraint', json }, signal);
    return reply?.kind === 'automaton' ? reply.parts : automatonOf(json);
  }

  /** Undefined when there is no thread. */
  #ask(task: Task, signal: AbortSignal | undefined): Promise<TextWorkerReply | undefined> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const waiting: Waiting = {
        task,
        resolve: (reply) => {
          signal?.removeEventListener('abort', leave);
          resolve(reply);
        },
        reject: (error) => {
          signal?.removeEventListener('abort', leave);
          if (error === this.#refusal) resolve(undefined);
          else reject(error);
        },
      };
      const leave = () => {
        const at = this.#waiting.indexOf(waiting);
        // What is under way cannot be stopped, but the thread can.
        if (at < 0) void this.#end();
        else this.#waiting.splice(at, 1);
        reject(signal!.reason);
      };
      signal?.addEventListener('abort', leave, { once: true });
      this.#waiting.push(waiting);
      void this.#run();
    });
  }

  async #run(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    clearTimeout(this.#idle);
    for (let next = this.#waiting.shift(); next; next = this.#waiting.shift()) {
      try {
        next.resolve(await this.#inThread(next.task));
      } catch (error) {
        next.reject(error);
      }
    }
    this.#isRunning = false;
    this.#idle = setTimeout(() => void this.#end(), IDLE).unref();
  }

  async #inThread(task: Task): Promise<TextWorkerReply> {
    const worker = await this.#started();
    if (task.kind !== 'constraint' && !this.#isFurnished) await this.#furnish(worker);
    return this.#exchange(worker, task);
  }

  /** @throws the refusal */
  async #started(): Promise<Worker> {
    if (this.#refusal !== undefined) throw this.#refusal;
    if (this.#worker) return this.#worker;
    try {
      const worker = startWorker();
      worker.unref();
      await replyOf(worker);
      this.#isFurnished = false;
      this.#worker = worker;
      return worker;
    } catch (error) {
      this.#refusal = error;
      process.emitWarning(`serve: long prompts hold others up, since no thread could be started: ${error}`);
      throw error;
    }
  }

  /** Gives the thread the tokenizer, as a folder. */
  async #furnish(worker: Worker): Promise<void> {
    const { tokenizer, chatTemplate } = this.#texts;
    const folder = await mkdtemp(join(tmpdir(), 'posttrain-serve-'));
    try {
      await tokenizer.save(folder);
      await this.#exchange(worker, { kind: 'tokenizer', folder, templates: chatTemplate?.templates });
      this.#isFurnished = true;
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  async #exchange(worker: Worker, request: TextWorkerRequest): Promise<TextWorkerReply> {
    worker.postMessage(request);
    const reply = await replyOf(worker).catch((error) => {
      if (this.#worker === worker) this.#worker = undefined;
      throw error;
    });
    if (reply.kind !== 'error') return reply;
    throw reply.code === undefined ? new Error(reply.message) : new PosttrainError(reply.code, reply.message);
  }

  async #end(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
  }
}

function startWorker(): Worker {
  const url = import.meta.url;
  // What Node.js was started with is the app's: `--input-type` or `--eval` would keep the thread from starting.
  if (!url.endsWith('.ts')) return new Worker(new URL('./text-worker.js', url), { execArgv: [] });
  // In this repository, where nothing is built, the worker is TypeScript as well.
  const file = JSON.stringify(new URL('./text-worker.ts', url).href);
  const options: WorkerOptions = { eval: true, execArgv: [] };
  return new Worker(`import('tsx/esm/api').then((tsx) => (tsx.register(), import(${file})))`, options);
}

/** A short constraint takes no time, unless something in it multiplies: counts, references, patterns. */
const isSimple = (json: string): boolean => json.length <= 512 && !/\d|\$ref|pattern|format/.test(json);

/** The next message of a worker. @throws what it throws, or an error when it ends */
function replyOf(worker: Worker): Promise<TextWorkerReply> {
  return new Promise((resolve, reject) => {
    const settle = (done: () => void) => {
      worker.off('message', onMessage).off('error', onError).off('exit', onExit);
      worker.unref();
      done();
    };
    const onMessage = (reply: TextWorkerReply) => settle(() => resolve(reply));
    const onError = (error: unknown) => settle(() => reject(error));
    const onExit = () => settle(() => reject(new PosttrainError('TEXT_WORKER', 'the tokenising thread has ended')));
    worker.on('message', onMessage).on('error', onError).on('exit', onExit);
    // There are waiters.
    worker.ref();
  });
}
