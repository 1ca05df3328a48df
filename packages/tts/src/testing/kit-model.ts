import { type Completion, type GenerateRequest, type Generator, hashText, type Verifier } from '@posttrain/interfaces';
import { sleep } from '@posttrain/interfaces/concurrency';

/** How the kit's generator and verifier behave. */
export interface KitBehaviour {
  /** Milliseconds that a request of the generator takes, by its number. Default: none. */
  readonly delay?: (request: number) => number;
  /** Whether a call of the generator fails, by its number. Default: none does. */
  readonly fails?: (call: number) => boolean;
  /** Requests that fail the call they are in, each time. Default: none does. */
  readonly breaks?: (request: GenerateRequest) => boolean;
  /** Calls of the generator wait for their signal, as those of a server that hangs. Default false. */
  readonly hangs?: boolean;
}

/** What was really asked and given, counted by who was asked. */
export interface Measured {
  generatorCalls: number;
  completions: number;
  completionTokens: number;
  verifierCalls: number;
  verifierTokens: number;
  /** Calls under way. */
  inFlight: number;
}

const DEPTH = 3;
/** Long enough to see that nobody waits for it. */
export const HANGS_MS = 2000;
/** A number below `below` that is a function of the parts. */
const draw = (below: number, ...parts: readonly unknown[]): number =>
  Number.parseInt(hashText(JSON.stringify(parts)).slice(-6), 16) % below;

/** A generator that is a function of prompt, prefix and seed, and a verifier that is one of the text. */
export function kitModel({ delay, fails = () => false, breaks = () => false, hangs = false }: KitBehaviour = {}) {
  const measured: Measured = {
    ...{ generatorCalls: 0, completions: 0, completionTokens: 0, verifierCalls: 0, verifierTokens: 0, inFlight: 0 },
  };
  const underway = async <T>(work: () => Promise<T>): Promise<T> => {
    measured.inFlight++;
    try {
      return await work();
    } finally {
      measured.inFlight--;
    }
  };
  let requestsSeen = 0;
  const answer = async ({ n = 1, signal, ...request }: GenerateRequest): Promise<Completion[]> => {
    const milliseconds = hangs ? HANGS_MS : (delay?.(requestsSeen++) ?? 0);
    if (milliseconds > 0) await sleep(milliseconds, signal ?? new AbortController().signal);
    return Array.from({ length: n }, (_, i) => complete(request, (request.seed ?? 0) + i));
  };
  const generator: Generator = {
    name: 'kit',
    generate: (requests) =>
      underway(async () => {
        measured.completions += requests.reduce((sum, { n = 1 }) => sum + n, 0);
        const hasFailed = fails(measured.generatorCalls++);
        const answers = await Promise.all(requests.map(answer));
        // What a call that failed has generated was paid for, too.
        for (const { usage } of answers.flat()) measured.completionTokens += usage.completionTokens;
        if (requests.some(breaks)) throw new Error('the kit’s generator cannot');
        if (hasFailed) throw new Error('the kit’s generator is down');
        return answers;
      }),
  };
  const verifier: Verifier = {
    name: 'kit',
    verify: (requests) =>
      underway(async () => {
        measured.verifierCalls += requests.length;
        return requests.map(({ completion }) => {
          const usage = { promptTokens: 2, completionTokens: 1 + draw(2, 'judging', completion) };
          measured.verifierTokens += usage.promptTokens + usage.completionTokens;
          return { score: draw(1000, 'score', completion) / 1000, usage };
        });
      }),
  };
  return { generator, verifier, measured };
}

/** The most tokens that the kit's verifier takes for one completion. */
export const TOKENS_PER_VERIFIER_CALL = 4;

/** One digit; where steps are asked for, a step, until there are `DEPTH` of them. */
function complete({ prompt, prefix = '', stop = [], maxTokens = 4 }: GenerateRequest, seed: number): Completion {
  const at = [prompt, prefix, seed];
  const end = stop[0];
  const steps = end === undefined ? DEPTH : prefix.split(end).length;
  const completionTokens = Math.min(maxTokens, 1 + draw(4, 'tokens', ...at));
  return {
    text: String(draw(5, 'digit', ...at)),
    finishReason: 'stop',
    stop: end !== undefined && steps < DEPTH ? end : null,
    usage: { promptTokens: 3, completionTokens },
  };
}
