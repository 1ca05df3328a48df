import { basename, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { nearestName, PosttrainError } from '@posttrain/interfaces';
import { type QuantizationOptions, REASONING_PARSERS, type ReasoningParserName } from '@posttrain/lm';

export const SERVE_HELP = `Usage: posttrain-serve MODEL [options]

Answers the OpenAI API (chat, completions, embeddings) with a local model.
MODEL is a Hugging Face folder, a GGUF file, or a name on the hub (org/name, org/name:Q4_K_M).

  --port NUMBER           default 8000; 0 takes any free one
  --host ADDRESS          default 127.0.0.1, which is this machine only
  --name NAME             what requests call the model; default: the last part of MODEL
  --adapter NAME=FOLDER   an adapter that requests call NAME; may be repeated
  --adapter-folder FOLDER  clients may load and unload the adapters in it while it runs; default: none may
  --max-adapters NUMBER   adapters at once; default 64
  --allow-pause           clients may pause the server; default: none may
  --quantization METHOD   nf4, fp4, int8, int4 or hqq, or with rows to look at gptq or awq; default: as the folder is
  --calibration FILE      those rows: texts, one a line, or with .jsonl the "text" of each line
  --quantize-head         the output layer too; with --quantization int4
  --reasoning-parser NAME  deepseek_r1 or qwen3: <think>…</think> as reasoning_content; default: it stays in the text
  --max-batch NUMBER      completions generated at once; default 64
  --cache-tokens NUMBER   most tokens of running completions in memory; default: as many as 1 GiB holds
  --kv-cache-dtype TYPE   float32 or int8, a quarter of the memory and a little; default float32
  --max-queue NUMBER      requests that may wait; default 256
  --max-tokens NUMBER     most tokens of one completion; default: the model's context
  --api-key KEY           what clients must send; default: the variable POSTTRAIN_API_KEY, else none
  --cors-origin ORIGIN    the origin of web pages that may use the server, or *; default: none
  --allow-host NAME       a further name that requests may reach the server by; may be repeated
  --drain-seconds NUMBER  how long running requests may take to end at SIGTERM; default 30
  --help
`;

const OPTIONS = {
  port: { type: 'string' },
  host: { type: 'string' },
  name: { type: 'string' },
  adapter: { type: 'string', multiple: true },
  'adapter-folder': { type: 'string' },
  'max-adapters': { type: 'string' },
  'allow-pause': { type: 'boolean' },
  quantization: { type: 'string' },
  calibration: { type: 'string' },
  'quantize-head': { type: 'boolean' },
  'reasoning-parser': { type: 'string' },
  'max-batch': { type: 'string' },
  'cache-tokens': { type: 'string' },
  'kv-cache-dtype': { type: 'string' },
  'max-queue': { type: 'string' },
  'max-tokens': { type: 'string' },
  'api-key': { type: 'string' },
  'cors-origin': { type: 'string' },
  'allow-host': { type: 'string', multiple: true },
  'drain-seconds': { type: 'string' },
  help: { type: 'boolean' },
} as const;

const QUANTIZATIONS = ['nf4', 'fp4', 'int8', 'int4', 'hqq'] as const;
const KV_CACHE_DTYPES = ['float32', 'int8'] as const;
const CALIBRATED = ['gptq', 'awq'] as const;

/** How the model is quantised: as it is read, or once it is there, looking at rows. */
export type ServeQuantization =
  | QuantizationOptions
  | { readonly method: (typeof CALIBRATED)[number]; readonly calibration: string };

export interface ServeArguments {
  readonly model: string;
  readonly name: string;
  readonly port: number;
  readonly host: string;
  readonly adapters: readonly { readonly name: string; readonly folder: string }[];
  readonly adapterFolder: string | undefined;
  readonly maxAdapters: number;
  readonly allowPause: boolean;
  readonly quantization: ServeQuantization | undefined;
  readonly reasoningParser: ReasoningParserName | undefined;
  readonly maxBatch: number;
  readonly cacheTokens: number | undefined;
  readonly kvCacheDtype: (typeof KV_CACHE_DTYPES)[number];
  readonly maxQueue: number;
  readonly maxTokens: number | undefined;
  readonly apiKey: string | undefined;
  readonly corsOrigin: string | undefined;
  readonly allowedHosts: readonly string[] | undefined;
  /** Milliseconds. */
  readonly drainDeadline: number;
}

/** What was typed cannot be meant. */
export class ArgumentsError extends PosttrainError {
  constructor(problem: string) {
    super('ARGUMENTS', problem);
  }
}

/** Reads the arguments of `posttrain-serve`; `'help'` when that is asked for. @throws ArgumentsError */
export function parseServeArguments(
  given: readonly string[],
  environment: Readonly<Record<string, string | undefined>> = {},
): ServeArguments | 'help' {
  const { values, positionals } = parse(given);
  if (values.help) return 'help';
  const [model, ...others] = positionals;
  if (model === undefined) throw new ArgumentsError('no model is named; give a folder or a name on the hub.');
  if (others.length > 0) throw new ArgumentsError(`one model at a time; "${others[0]}" is too much.`);
  const integer = <T>(option: keyof typeof OPTIONS, least: number, most: number, otherwise: T): number | T => {
    const text = values[option] as string | undefined;
    if (text === undefined) return otherwise;
    if (/^\d+$/.test(text) && Number(text) >= least && Number(text) <= most) return Number(text);
    throw new ArgumentsError(`--${option} takes a whole number from ${least} to ${most}, not "${text}".`);
  };
  const reasoningParser = REASONING_PARSERS.find((name) => name === values['reasoning-parser']);
  if (values['reasoning-parser'] !== undefined && !reasoningParser) {
    throw new ArgumentsError(
      `--reasoning-parser takes ${REASONING_PARSERS.join(', ')}, not "${values['reasoning-parser']}".`,
    );
  }
  const kvCacheDtype = KV_CACHE_DTYPES.find((name) => name === (values['kv-cache-dtype'] ?? 'float32'));
  if (!kvCacheDtype) {
    throw new ArgumentsError(
      `--kv-cache-dtype takes ${KV_CACHE_DTYPES.join(' or ')}, not "${values['kv-cache-dtype']}".`,
    );
  }
  const apiKey = values['api-key'] ?? environment.POSTTRAIN_API_KEY;
  if (apiKey === '') throw new ArgumentsError('the API key is empty; leave it out to need none.');
  return {
    model,
    name: values.name ?? basename(resolve(model)),
    port: integer('port', 0, 65_535, 8000),
    host: values.host ?? '127.0.0.1',
    adapters: (values.adapter ?? []).map(adapterOf),
    adapterFolder: values['adapter-folder'],
    maxAdapters: integer('max-adapters', 1, 1_000_000, 64),
    allowPause: values['allow-pause'] ?? false,
    quantization: quantizationOf(values),
    reasoningParser,
    maxBatch: integer('max-batch', 1, 4096, 64),
    cacheTokens: integer('cache-tokens', 16, 1_000_000_000, undefined),
    kvCacheDtype,
    maxQueue: integer('max-queue', 0, 1_000_000, 256),
    maxTokens: integer('max-tokens', 1, 10_000_000, undefined),
    apiKey,
    corsOrigin: values['cors-origin'],
    allowedHosts: values['allow-host'],
    drainDeadline: integer('drain-seconds', 0, 86_400, 30) * 1000,
  };
}

function parse(given: readonly string[]) {
  try {
    return parseArgs({ args: [...given], options: OPTIONS, allowPositionals: true });
  } catch (error) {
    const { message } = error as Error;
    const unknown = /^Unknown option '--([\w-]+)/.exec(message)?.[1];
    if (unknown === undefined) throw new ArgumentsError(message);
    const near = nearestName(unknown, Object.keys(OPTIONS));
    throw new ArgumentsError(`there is no option --${unknown}.${near ? ` Did you mean --${near}?` : ''}`);
  }
}

function quantizationOf({
  quantization: text,
  calibration,
  'quantize-head': head = false,
}: ReturnType<typeof parse>['values']): ServeQuantization | undefined {
  const method = QUANTIZATIONS.find((name) => name === text);
  const calibrated = CALIBRATED.find((name) => name === text);
  if (text !== undefined && !method && !calibrated) {
    throw new ArgumentsError(`--quantization takes ${[...QUANTIZATIONS, ...CALIBRATED].join(', ')}, not "${text}".`);
  }
  if ((calibration === undefined) !== (calibrated === undefined)) {
    throw new ArgumentsError(
      `--calibration FILE and --quantization ${CALIBRATED.join(' or ')} are given together: rows to look at.`,
    );
  }
  if (calibrated && !head) return { method: calibrated, calibration: calibration! };
  if (!head) return method && { method };
  if (method === 'int4') return { method, head };
  throw new ArgumentsError('--quantize-head is for --quantization int4 only.');
}

function adapterOf(text: string) {
  const at = text.indexOf('=');
  if (at > 0 && at < text.length - 1) return { name: text.slice(0, at), folder: text.slice(at + 1) };
  throw new ArgumentsError(`--adapter takes NAME=FOLDER, not "${text}".`);
}
