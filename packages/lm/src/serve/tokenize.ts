import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker, type WorkerOptions } from 'node:worker_threads';
import { PosttrainError } from '@posttrain/interfaces';
import { type Texts, type TextTask, type TextWorkerData, type TextWorkerReply, tokensOf } from './text-task.js';

/** Longer ones are made tokens of in a thread of their own; those of this length take some milliseconds. */
const LARGE = 8192;
/** A thread that nobody needs keeps a second tokenizer in memory no longer than this, in milliseconds. */
const IDLE = 60_000;

interface Waiting {
  readonly task: TextTask;
  readonly resolve: (tokens: readonly number[]) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Makes tokens of texts and conversations: short ones at once, long ones one after the other in a thread, so that nobody
 * else waits for them. The thread is there while it is used.
 */
export class TextWorker {
  readonly #texts: Texts;
  readonly #waiting: Waiting[] = [];
  #isRunning = false;
  #worker: Worker | undefined;
  #idle: NodeJS.Timeout | undefined;
  /** Why there is no thread; then everything is done at once. */
  #refusal: unknown;

  constructor(texts: Texts) {
    this.#texts = texts;
  }

  /** @param signal ends the work. @throws PosttrainError, and the signal's reason */
  tokenize(task: TextTask, signal?: AbortSignal): readonly number[] | Promise<readonly number[]> {
    if (this.#refusal !== undefined || !isLarge(task)) return tokensOf(this.#texts, task);
    signal?.throwIfAborted();
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        task,
        resolve: (tokens) => {
          signal?.removeEventListener('abort', leave);
          resolve(tokens);
        },
        reject: (error) => {
          signal?.removeEventListener('abort', leave);
          reject(error);
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

  async #inThread(task: TextTask): Promise<readonly number[]> {
    if (!this.#worker && this.#refusal === undefined) {
      try {
        this.#worker = await this.#start();
      } catch (error) {
        this.#refusal = error;
        process.emitWarning(`serve: long prompts hold others up, since no thread could be started: ${error}`);
      }
    }
    const worker = this.#worker;
    if (!worker) return tokensOf(this.#texts, task);
    worker.postMessage(task);
    const reply = await replyOf(worker).catch((error) => {
      this.#worker = undefined;
      throw error;
    });
    if ('tokenIds' in reply) return Array.from(reply.tokenIds);
    throw reply.code === undefined ? new Error(reply.message) : new PosttrainError(reply.code, reply.message);
  }

  async #start(): Promise<Worker> {
    const { tokenizer, chatTemplate } = this.#texts;
    const folder = await mkdtemp(join(tmpdir(), 'posttrain-lm-'));
    try {
      await tokenizer.save(folder);
      const data: TextWorkerData = { folder, templates: chatTemplate?.templates };
      const worker = startWorker({ workerData: data });
      worker.unref();
      await replyOf(worker);
      return worker;
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  async #end(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
  }
}

function startWorker(options: WorkerOptions): Worker {
  const url = import.meta.url;
  if (!url.endsWith('.ts')) return new Worker(new URL('./text-worker.js', url), options);
  // In this repository, where nothing is built, the worker is TypeScript as well.
  const file = JSON.stringify(new URL('./text-worker.ts', url).href);
  return new Worker(`import('tsx/esm/api').then((tsx) => (tsx.register(), import(${file})))`, {
    ...options,
    eval: true,
  });
}

function isLarge(task: TextTask): boolean {
  return ('text' in task ? task.text.length : JSON.stringify(task.chat).length) > LARGE;
}

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
    // Somebody waits.
    worker.ref();
  });
}
