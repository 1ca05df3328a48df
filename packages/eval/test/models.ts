import { createHash } from 'node:crypto';
import type { Completion, GenerateRequest, Generator, Scorer } from '@posttrain/interfaces';
import type { GenerateTask } from '../src/index.js';
import { exactMatch, majorityAtK, meanScore, passAtK, regex } from '../src/index.js';

export interface SumRow {
  readonly a: number;
  readonly b: number;
  readonly answer: string;
}

export function sumRows(count: number): SumRow[] {
  return Array.from({ length: count }, (_, i) => ({ a: i, b: 2 * i, answer: String(3 * i) }));
}

/** Adds, and errs by one with a probability; what it says depends on the request and its seed only. */
export function noisyAdder(errorRate: number, seen: GenerateRequest[] = []): Generator {
  return {
    name: `adder-${errorRate}`,
    generate: async (requests) => {
      seen.push(...requests);
      return requests.map((request) => {
        const [a, b] = String(request.prompt).match(/\d+/g)!.map(Number);
        return Array.from({ length: request.n ?? 1 }, (_, i): Completion => {
          const draw =
            createHash('sha256').update(`${request.prompt}/${request.seed}/${i}`).digest().readUInt32LE(0) / 2 ** 32;
          const sum = a! + b! + (draw < errorRate ? 1 : 0);
          return {
            text: `Let me see. #### ${sum}`,
            finishReason: 'stop',
            usage: { promptTokens: 5, completionTokens: 6 },
          };
        });
      });
    },
  };
}

export function sumTask(rows: readonly SumRow[], samples = 4): GenerateTask<SumRow> {
  return {
    type: 'generate',
    name: 'sums',
    dataset: rows,
    prompt: ({ a, b }) => `${a} + ${b} =`,
    sampling: { temperature: 0.7, maxTokens: 16 },
    samples,
    graders: [exactMatch({ filters: [regex(/#### (-?\d+)/)] })],
    metrics: [meanScore(), passAtK(1), passAtK(samples), majorityAtK(samples)],
  };
}

/** Likes short continuations. */
export const brevityScorer: Scorer = {
  name: 'brevity',
  score: async (requests) =>
    requests.map(({ continuation }) => ({
      logProb: -continuation.length,
      tokens: continuation.length,
      isGreedy: false,
    })),
};
