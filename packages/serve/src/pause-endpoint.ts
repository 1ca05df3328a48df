import type { JsonObject } from '@posttrain/lm';
import { ApiError } from './api-error.js';
import { Fields } from './fields.js';
import { PAUSE_MODES, type PauseMode, type Pauses, pausesNotAllowed } from './pauses.js';
import type { Reply } from './reply.js';
import type { RequestContext } from './run-completions.js';

/** `POST /pause?mode=abort|wait|keep`, as vLLM has it; its default is `abort`. `clear_cache` is accepted: there is nothing stale to clear. */
export async function pause(query: URLSearchParams, { pauses, signal }: RequestContext): Promise<Reply> {
  for (const name of query.keys()) {
    if (name !== 'mode' && name !== 'clear_cache')
      throw invalidQuery(name, `unknown; there are 'mode' and 'clear_cache'.`);
  }
  const mode = query.get('mode') ?? 'abort';
  if (!(PAUSE_MODES as readonly string[]).includes(mode)) {
    throw invalidQuery('mode', `must be one of ${PAUSE_MODES.map((one) => `'${one}'`).join(', ')}.`);
  }
  await allowed(pauses).pause(mode as PauseMode, signal);
  return { kind: 'json', body: { status: 'paused' } };
}

/** `POST /resume`. */
export function resume(_: URLSearchParams, { pauses }: RequestContext): Reply {
  allowed(pauses).resume();
  return { kind: 'json', body: { status: 'resumed' } };
}

/** `GET /is_paused`. */
export const isPaused = (_: URLSearchParams, { pauses }: RequestContext): Reply => ({
  kind: 'json',
  body: { is_paused: allowed(pauses).isPaused },
});

/** SGLang's modes of `/pause_generation`: `retract` takes rows out of the batch and `in_place` leaves them there, which is one here. */
const SGLANG_MODES = { abort: 'abort', retract: 'keep', in_place: 'keep' } as const;

/** `POST /pause_generation { mode }`, as SGLang has it. */
export async function pauseGeneration(body: JsonObject, { pauses, signal }: RequestContext): Promise<Reply> {
  const fields = new Fields(body);
  fields.refuseUnknown(['mode']);
  const mode = fields.oneOf('mode', Object.keys(SGLANG_MODES) as (keyof typeof SGLANG_MODES)[]) ?? 'abort';
  await allowed(pauses).pause(SGLANG_MODES[mode], signal);
  return { kind: 'json', body: { status: 'ok', message: 'Generation paused successfully.' } };
}

/** `POST /continue_generation`, as SGLang has it. */
export function continueGeneration(_: JsonObject, { pauses }: RequestContext): Reply {
  allowed(pauses).resume();
  return { kind: 'json', body: { status: 'ok', message: 'Generation continued successfully.' } };
}

function allowed(pauses: Pauses): Pauses {
  if (!pauses.isAllowed) throw pausesNotAllowed();
  return pauses;
}

const invalidQuery = (param: string, problem: string): ApiError =>
  new ApiError(400, `Invalid '${param}': ${problem}`, { param, apiCode: 'invalid_value' });
