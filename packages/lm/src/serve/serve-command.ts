import { isPosttrainError } from '@posttrain/interfaces';
import type { Adapter } from '../model/adapter.js';
import { CausalLM } from '../model/causal-lm.js';
import { loadAdapterFolder } from './load-adapter.js';
import { localModels } from './local-models.js';
import { ArgumentsError, parseServeArguments, SERVE_HELP, type ServeArguments } from './serve-arguments.js';
import { createServer } from './server.js';

/** `posttrain-lm serve …`: runs until a signal ends it. Gives the exit code. */
export async function serveCommand(given: readonly string[]): Promise<number> {
  try {
    const options = parseServeArguments(given, process.env);
    if (options === 'help') process.stdout.write(SERVE_HELP);
    else await run(options);
    return 0;
  } catch (error) {
    if (!isPosttrainError(error) && (error as NodeJS.ErrnoException).syscall !== 'listen') throw error;
    process.stderr.write(`serve: ${(error as Error).message}\n`);
    return error instanceof ArgumentsError ? 2 : 1;
  }
}

async function run(options: ServeArguments): Promise<void> {
  const { name, quantization, maxBatch, cacheTokens, maxQueue, maxTokens, apiKey, corsOrigin } = options;
  const loading = quantization ? { quantization: { method: quantization } } : {};
  const model = await CausalLM.fromPretrained(options.model, loading);
  const adapters: Record<string, Adapter> = {};
  for (const { name, folder } of options.adapters) adapters[name] = await loadAdapterFolder(model, name, folder);
  const models = localModels(name, model, {
    adapters,
    maxBatch,
    ...(cacheTokens === undefined ? {} : { cacheTokens }),
  });
  const server = createServer(models, {
    maxConcurrent: maxBatch,
    maxQueue,
    ...(maxTokens === undefined ? {} : { maxTokens }),
    ...(apiKey === undefined ? {} : { apiKey }),
    ...(corsOrigin === undefined ? {} : { corsOrigin }),
  });
  const url = await server.listen({ port: options.port, host: options.host });
  process.stdout.write(`Serving ${Object.keys(models).join(', ')} at ${url}/v1\n`);
  await ended();
  await server.drain({ deadline: options.drainDeadline });
}

/** Waits for the first signal that asks the process to end; the second one ends it at once. */
function ended(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve());
  });
}
