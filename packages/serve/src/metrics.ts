import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Slots } from './slots.js';

const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];

/** What `GET /metrics` tells, in a registry of its own. */
export class Metrics {
  readonly registry = new Registry();
  readonly requests = new Counter({
    name: 'posttrain_requests_total',
    help: 'Requests answered.',
    labelNames: ['route', 'status'] as const,
    registers: [this.registry],
  });
  readonly disconnects = new Counter({
    name: 'posttrain_disconnects_total',
    help: 'Requests whose client left before the answer was complete.',
    registers: [this.registry],
  });
  readonly promptTokens = new Counter({
    name: 'posttrain_prompt_tokens_total',
    help: 'Tokens of prompts, once for all samples of a request.',
    labelNames: ['model'] as const,
    registers: [this.registry],
  });
  readonly completionTokens = new Counter({
    name: 'posttrain_completion_tokens_total',
    help: 'Tokens generated.',
    labelNames: ['model'] as const,
    registers: [this.registry],
  });
  readonly requestSeconds = new Histogram({
    name: 'posttrain_request_duration_seconds',
    help: 'Time from the head of a request to the end of its answer.',
    labelNames: ['route'] as const,
    buckets: SECONDS,
    registers: [this.registry],
  });
  readonly firstTokenSeconds = new Histogram({
    name: 'posttrain_time_to_first_token_seconds',
    help: 'Time from a parsed request to its first token, waiting included.',
    labelNames: ['model'] as const,
    buckets: SECONDS,
    registers: [this.registry],
  });

  constructor(slots: Slots) {
    const gauge = (name: string, help: string, value: () => number) =>
      new Gauge({
        name,
        help,
        registers: [this.registry],
        collect() {
          this.set(value());
        },
      });
    gauge('posttrain_completions_running', 'Completions being generated.', () => slots.running);
    gauge('posttrain_requests_waiting', 'Requests waiting for a slot.', () => slots.waiting);
    gauge('process_resident_memory_bytes', 'Resident memory size in bytes.', () => process.memoryUsage.rss());
  }
}
