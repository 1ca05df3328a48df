import { type ChildProcess, spawn } from 'node:child_process';
import { assertArgument, custom, type Given, integer, options, PosttrainError, text } from '@posttrain/interfaces';
import { allOrAbort } from '@posttrain/interfaces/concurrency';
import { messageOf } from '../errors.js';
import type { Shard } from '../step.js';

const shardsOptions = options('runShards', {
  /** Shards, each in a process of its own. They wait for one another where a step has a plan, so all run at once. */
  world: integer({ min: 1 }),
  /** Name of the function that the module exports. Default `"shard"`. */
  name: text({ default: 'shard' }),
  /** Given to the function beside the shard: anything that `structuredClone` can copy. */
  input: custom<unknown>()('a value that can be cloned', () => true, { optional: true }),
  signal: custom<AbortSignal>()('an AbortSignal', (value) => value instanceof AbortSignal, { optional: true }),
  /** Options of Node for the processes, such as `['--import', 'tsx']`. Default: those of this process. */
  execArgv: custom<readonly string[]>()('a list of texts', Array.isArray, { optional: true }),
});
/** Options of `runShards`. */
export type RunShardsOptions = Given<typeof shardsOptions>;

/** What the function of a module is given: its shard, what `runShards` was given for all, and a signal. */
export interface ShardTask<Input = unknown> {
  readonly shards: Shard;
  readonly input: Input;
  readonly signal: AbortSignal;
}

/** Runs in a child process. It is text because a bundler moves files. */
const CHILD = `
const controller = new AbortController();
const answer = (message) => process.send(message, () => process.disconnect());
process.on('message', async ({ start, stop }) => {
  if (start === undefined) return controller.abort(stop);
  const { module, name, shards, input } = start;
  try {
    const exported = await import(module);
    if (typeof exported[name] !== 'function') throw new Error('it exports no function "' + name + '"');
    answer({ result: await exported[name]({ shards, input, signal: controller.signal }) });
  } catch (error) {
    answer({ error });
  }
});
`;

/**
 * Process pool: imports a module in one child process a shard, calls its function with the shard, and gives what they
 * return, by rank. The function builds and reads its pipeline there, since functions cannot be sent to a process: `export
 * const shard = ({ shards, signal }) => writeRows(…, pipeline(source, steps, { shards, signal, workFolder }).rows)`.
 * Where one fails or is killed, the others are stopped.
 *
 * @throws OptionError; PosttrainError `SHARD_FAILED`, with what was thrown as its cause; the signal's reason once it fires
 */
export async function runShards<Result = unknown>(module: URL, given: RunShardsOptions): Promise<Result[]> {
  assertArgument(
    'runShards',
    'module',
    module,
    module instanceof URL,
    "a URL, such as new URL('./clean.js', import.meta.url)",
  );
  const { world, name, input, signal, execArgv = process.execArgv } = shardsOptions.read(given);
  const tasks = Array.from({ length: world }, (_, rank) => (stop: AbortSignal) => {
    const child = spawn(process.execPath, [...execArgv, '--input-type=module', '--eval', CHILD], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      serialization: 'advanced',
    });
    child.send({ start: { module: module.href, name, shards: { rank, world }, input } });
    return outcomeOf<Result>(child, stop, `shard ${rank} of ${world} of ${module.pathname}`);
  });
  return allOrAbort([signal], tasks);
}

/** What a child answers. One that is stopped is told so and waited for: it removes its scratch files. */
function outcomeOf<Result>(child: ChildProcess, stop: AbortSignal, where: string): Promise<Result> {
  return new Promise((resolve, reject) => {
    let answered: { readonly result: Result } | { readonly error: unknown } | undefined;
    const tell = (): void => {
      if (child.connected) child.send({ stop: messageOf(stop.reason) });
    };
    if (stop.aborted) tell();
    else stop.addEventListener('abort', tell, { once: true });
    child.once('message', (message) => {
      answered = message as unknown as typeof answered;
    });
    const end = (cause: unknown): void => {
      stop.removeEventListener('abort', tell);
      if (answered !== undefined && 'result' in answered) {
        resolve(answered.result);
        return;
      }
      const thrown = answered === undefined ? cause : answered.error;
      if (stop.aborted) reject(stop.reason);
      else reject(new PosttrainError('SHARD_FAILED', `${where} failed: ${messageOf(thrown)}`, { cause: thrown }));
    };
    child.once('error', end);
    child.once('exit', (code, killedBy) => end(new Error(`its process ended with ${killedBy ?? `code ${code}`}`)));
  });
}
