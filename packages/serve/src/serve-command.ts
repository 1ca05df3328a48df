import { isPosttrainError } from '@posttrain/interfaces';
import { type Adapter, isEmbeddingFolder, LocalEmbedder, loadEmbedder, resolveModelFolder } from '@posttrain/lm';
import { loadAdapter } from '@posttrain/peft';
import { loadQuantized } from './load-quantized.js';
import { embeddingModel, localModels } from './local-models.js';
import { ArgumentsError, parseServeArguments, SERVE_HELP, type ServeArguments } from './serve-arguments.js';
import type { ServedModel } from './served-model.js';
import { createServer } from './server.js';

/**
 * `posttrain-serve MODEL …`: runs until a signal ends it. Gives the exit code.
 *
 * @param program what `--help` calls it; default `posttrain-serve`
 */
export async function serveCommand(given: readonly string[], program = 'posttrain-serve'): Promise<number> {
  const help = SERVE_HELP.replace('posttrain-serve', program);
  try {
    const options = parseServeArguments(given, process.env);
    if (options === 'help') process.stdout.write(help);
    else await run(options);
    return 0;
  } catch (error) {
    if (!isPosttrainError(error)) throw error;
    process.stderr.write(`serve: ${error.message}\n${given.length === 0 ? `\n${help}` : ''}`);
    return error instanceof ArgumentsError ? 2 : 1;
  }
}

async function run(options: ServeArguments): Promise<void> {
  const { maxBatch, maxQueue, maxTokens, apiKey, corsOrigin, allowedHosts, adapterFolder, maxAdapters, allowPause } =
    options;
  const models = await loadModels(options);
  const server = createServer(models, {
    maxConcurrent: maxBatch,
    maxQueue,
    maxAdapters,
    allowPause,
    ...(adapterFolder === undefined ? {} : { adapterFolder }),
    ...(maxTokens === undefined ? {} : { maxTokens }),
    ...(apiKey === undefined ? {} : { apiKey }),
    ...(corsOrigin === undefined ? {} : { corsOrigin }),
    ...(allowedHosts === undefined ? {} : { allowedHosts }),
  });
  const url = await server.listen({ port: options.port, host: options.host });
  process.stdout.write(`Serving ${Object.keys(models).join(', ')} at ${url}/v1\n`);
  await ended();
  await server.drain({ deadline: options.drainDeadline });
}

/** The models of the folder that is named: one that generates, with its adapters, or one that only embeds. */
async function loadModels(options: ServeArguments): Promise<Readonly<Record<string, ServedModel>>> {
  const { name, quantization, reasoningParser, maxBatch, cacheTokens, kvCacheDtype } = options;
  const folder = await resolveModelFolder(options.model);
  if (await isEmbeddingFolder(folder)) {
    if (options.adapters.length > 0 || quantization) {
      throw new ArgumentsError(
        `${folder} is an embedding model, for which there is no --adapter and no --quantization.`,
      );
    }
    return { [name]: embeddingModel(await loadEmbedder(folder)) };
  }
  const model = await loadQuantized(folder, quantization);
  const adapters: Record<string, Adapter> = {};
  for (const adapter of options.adapters) {
    adapters[adapter.name] = await loadAdapter(model, adapter.folder, { name: adapter.name });
  }
  return localModels(name, model, {
    adapters,
    maxBatch,
    embedder: new LocalEmbedder(model),
    ...(cacheTokens === undefined ? {} : { cacheTokens }),
    kvCacheDtype,
    ...(reasoningParser === undefined ? {} : { reasoningParser }),
  });
}

/** Signal handling: waits for the first SIGINT or SIGTERM; the second one ends the process at once. */
function ended(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve());
  });
}
