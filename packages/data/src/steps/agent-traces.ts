import { custom, type Given, integer, number, options, type Verifier } from '@posttrain/interfaces';
import { RowError } from '../errors.js';
import { isPlainObject, kindOf, ownValue, type Row } from '../rows.js';
import { canonicalJson } from '../stable-hash.js';
import type { DataStep } from '../step.js';
import { scoresOf, verifierOption } from './verified.js';

/** What a trace of an agent is like. Shares are of its tool calls, and 1 or 0 where it has none, whichever is good. */
export interface TraceQuality {
  readonly toolCalls: number;
  /** Share of calls that were answered, and not with an error. */
  readonly toolSuccess: number;
  /** Share of calls that are equal to one before (name and arguments). */
  readonly redundancy: number;
  /** Whether each result has its call before it, each call its result behind it, and an assistant speaks last. */
  readonly coherent: boolean;
  /** What shows that it failed: no final answer, a refusal, the same error three times, stopped at a limit. */
  readonly failures: readonly string[];
  /** Of each assistant turn, by the judge, where one is given. */
  readonly stepScores?: readonly (number | null)[];
}

const traceOptions = options('curateAgentTraces', {
  /** Share of calls that must have succeeded. Default 0.5. */
  minToolSuccess: number({ default: 0.5, min: 0, max: 1 }),
  /** Share of calls that may be repetitions. Default 0.3. */
  maxRedundancy: number({ default: 0.3, min: 0, max: 1 }),
  /** Turns of the assistant, at the most. Default none. */
  maxTurns: integer({ optional: true, min: 1 }),
  /** Whether a result of a tool is an error. Default: `error`, `exception` or `traceback` begins a line of it, or it is JSON with an `error`. */
  isError: custom<(content: string) => boolean>()('a function of the text', (value) => typeof value === 'function', {
    optional: true,
  }),
  /** Judges every turn of the assistant, with the turns before as `messages`; scores in [0, 1]. */
  judge: verifierOption,
  /** The mean that the judge's scores must have. Default 0.5. */
  minStepScore: number({ default: 0.5, min: 0, max: 1 }),
});
/** Options of `curateAgentTraces`. */
export type CurateAgentTracesOptions = Given<typeof traceOptions>;

interface Message {
  readonly role: string;
  readonly content: string;
  readonly calls: readonly { readonly id: string | undefined; readonly key: string }[];
  readonly id: string | undefined;
}

const ERROR = /^[^\S\r\n]*(?:\w*error|\w*exception|traceback)\b/im;
const REFUSAL = /\b(?:i(?:'| a)m sorry|i cannot|i can't|unable to (?:help|complete|finish))\b/i;

/** What its `messages` say of a trace; `isError` as in the options. @throws RowError for messages that are none */
export function traceQuality(
  row: object,
  rowNumber?: number,
  isError: (content: string) => boolean = looksLikeError,
): TraceQuality {
  const messages = messagesOf(row, rowNumber);
  const seen = new Set<string>();
  const open: (string | undefined)[] = [];
  const errors = new Map<string, number>();
  let [calls, succeeded, repeated, coherent] = [0, 0, 0, true];
  for (const { role, content, calls: made, id } of messages) {
    if (role === 'tool') {
      const at = id === undefined ? 0 : open.indexOf(id);
      if (open.length === 0 || at < 0) coherent = false;
      else open.splice(at, 1);
      if (!isError(content)) succeeded++;
      else errors.set(content, (errors.get(content) ?? 0) + 1);
      continue;
    }
    if (open.length > 0) coherent = false;
    for (const call of made) {
      calls++;
      if (seen.has(call.key)) repeated++;
      seen.add(call.key);
      open.push(call.id);
    }
  }
  const last = messages.at(-1);
  const isAnswered = last?.role === 'assistant' && last.calls.length === 0 && last.content.trim() !== '';
  if (open.length > 0 || last?.role !== 'assistant') coherent = false;
  const failures = [
    ...(isAnswered ? [] : ['no final answer']),
    ...(isAnswered && REFUSAL.test(last.content) ? ['refusal'] : []),
    ...([...errors.values()].some((times) => times >= 3) ? ['the same error three times'] : []),
    ...(/^(?:length|max_turns|limit)/.test(String(ownValue(row, 'finishReason') ?? '')) ? ['stopped at a limit'] : []),
  ];
  return {
    ...{
      toolCalls: calls,
      toolSuccess: calls === 0 ? 1 : succeeded / calls,
      redundancy: calls === 0 ? 0 : repeated / calls,
    },
    ...{ coherent, failures },
  };
}

/**
 * Curation of agents' traces (as data-juicer's operators of traces: success of tools, redundancy, coherence, signals of failure, a judge of steps): rows with `messages` in OpenAI's form get a
 * `quality`, and stay where that is good enough. What is dropped says why. The messages are as they came.
 *
 * @throws OptionError; RowError for a row without messages; PosttrainError `BAD_RESPONSE`
 */
export function curateAgentTraces<R extends object = Row>(
  given: CurateAgentTracesOptions = {},
): DataStep<R, R & { readonly quality: TraceQuality }> {
  const { minToolSuccess, maxRedundancy, maxTurns, isError, judge, minStepScore } = traceOptions.read(given);
  return {
    name: 'curate agent traces',
    version: `${JSON.stringify(traceOptions.settings(given))}${String(isError ?? '')}`,
    async *apply(rows, context) {
      let rowNumber = 0;
      for await (const row of rows) {
        rowNumber++;
        const plain = traceQuality(row, rowNumber, isError);
        const turns = messagesOf(row, rowNumber).filter(({ role }) => role === 'assistant').length;
        const cheap =
          plain.failures[0] ||
          (!plain.coherent && 'incoherent') ||
          (plain.toolSuccess < minToolSuccess && 'too few tool calls succeed') ||
          (plain.redundancy > maxRedundancy && 'too many tool calls are repetitions') ||
          (maxTurns !== undefined && turns > maxTurns && 'too many turns');
        if (cheap) {
          context.drop(row, cheap);
          continue;
        }
        const stepScores = judge && (await stepScoresOf(judge, row, rowNumber, context.signal));
        const scored = (stepScores ?? []).filter((score) => score !== null);
        if (
          judge &&
          (scored.length === 0 || scored.reduce((sum, one) => sum + one, 0) / scored.length < minStepScore)
        ) {
          context.drop(row, 'the judge finds the steps bad');
          continue;
        }
        yield context.derive({ ...row, quality: { ...plain, ...(stepScores && { stepScores }) } }, row);
      }
    },
  };
}

async function stepScoresOf(
  judge: Verifier,
  row: object,
  rowNumber: number,
  signal: AbortSignal,
): Promise<(number | null)[]> {
  const messages = messagesOf(row, rowNumber);
  const scores: (number | null)[] = [];
  for (const [i, { role, content }] of messages.entries()) {
    if (role !== 'assistant') continue;
    const before = (ownValue(row, 'messages') as readonly never[]).slice(0, i);
    scores.push(...(await scoresOf(judge, row, before, [content], signal)));
  }
  return scores;
}

function looksLikeError(content: string): boolean {
  if (ERROR.test(content)) return true;
  try {
    const value: unknown = JSON.parse(content);
    return isPlainObject(value) && value.error !== undefined && value.error !== null && value.error !== false;
  } catch {
    return false;
  }
}

function messagesOf(row: object, rowNumber: number | undefined): Message[] {
  const messages = ownValue(row, 'messages');
  if (!Array.isArray(messages))
    throw new RowError(rowNumber, 'messages', `must be a list of messages, got ${kindOf(messages)}.`);
  return messages.map((message: unknown, i): Message => {
    if (!isPlainObject(message) || typeof message.role !== 'string') {
      throw new RowError(rowNumber, `messages[${i}]`, 'must be an object with a role.');
    }
    const calls = Array.isArray(message.tool_calls) ? message.tool_calls : [];
    return {
      ...{ role: message.role, id: typeof message.tool_call_id === 'string' ? message.tool_call_id : undefined },
      content:
        typeof message.content === 'string'
          ? message.content
          : message.content == null
            ? ''
            : canonicalJson(message.content),
      calls: calls.filter(isPlainObject).map((call) => ({
        id: typeof call.id === 'string' ? call.id : undefined,
        key: canonicalJson(plainCall(call.function)),
      })),
    };
  });
}

/** A call with its arguments as a value, whether they came as text or not. */
function plainCall(call: unknown): unknown {
  if (!isPlainObject(call) || typeof call.arguments !== 'string') return call ?? null;
  try {
    return { ...call, arguments: JSON.parse(call.arguments) as unknown };
  } catch {
    return call;
  }
}
