import { PosttrainError } from '@posttrain/interfaces';
import { linkedController } from '@posttrain/interfaces/concurrency';
import { merge } from './merge.js';
import type { Metrics } from './metrics.js';
import type { ModelRegistry } from './model-registry.js';
import type { Pauses } from './pauses.js';
import type { CompletionEvent, CompletionRequest, ServedModel } from './served-model.js';
import type { Slots } from './slots.js';

/** What an endpoint is given beside the request's body. */
export interface RequestContext {
  readonly models: ModelRegistry;
  readonly slots: Slots;
  readonly pauses: Pauses;
  readonly metrics: Metrics;
  /** Most tokens of one completion; Infinity: the model's context. */
  readonly maxTokens: number;
  /** Most bytes of a prompt; undefined: what fits the model's context. */
  readonly maxPromptBytes: number | undefined;
  /** Fires with the error to answer with, or because the client has disconnected. */
  readonly signal: AbortSignal;
}

export interface SampleEvent {
  /** Number of the sample. */
  readonly index: number;
  readonly event: CompletionEvent;
  /** A pause has ended the sample: there is no token with it. */
  readonly isCut?: true;
}

const CUT: CompletionEvent = { text: '', finishReason: 'abort' };

/**
 * Streams of samples of prompts, once slots are acquired and nothing is paused. Sample i of seed s is sample 0 of seed s + i.
 * @throws the reason of the context's signal, and what `Slots.acquire` throws
 */
export async function* runCompletions(
  { slots, pauses, metrics, signal }: RequestContext,
  name: string,
  complete: NonNullable<ServedModel['complete']>,
  requests: readonly Omit<CompletionRequest, 'signal'>[],
): AsyncGenerator<SampleEvent> {
  const started = performance.now();
  const run = await pauses.begin(signal);
  const release = await slots.acquire(requests.length, signal).catch((error: unknown) => {
    run.done();
    throw error;
  });
  const { controller, dispose } = linkedController([signal, run.ended]);
  const running = merge(requests.map((request) => complete({ ...request, signal: controller.signal })));
  const open = new Set(requests.keys());
  try {
    let first = true;
    for await (const { index, value } of running) {
      await pauses.thawed(signal);
      signal.throwIfAborted();
      if (first) metrics.firstTokenSeconds.observe({ model: name }, (performance.now() - started) / 1000);
      first = false;
      metrics.completionTokens.inc({ model: name });
      if (value.finishReason) open.delete(index);
      yield { index, event: value };
    }
    signal.throwIfAborted();
    if (run.ended.aborted) for (const index of open) yield { index, event: CUT, isCut: true };
    else if (open.size > 0)
      throw new PosttrainError('MODEL', `${name}: ${open.size} completions ended without a reason`);
  } finally {
    release();
    run.done();
    dispose();
    await running.return(undefined);
  }
}
