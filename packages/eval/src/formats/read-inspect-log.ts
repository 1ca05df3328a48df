import { readFile } from 'node:fs/promises';
import { assertPath, isPlainObject, type Prompt, type SamplingParams, showValue } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import { assertDepth } from '../log/depth.js';
import type { EvalConfig, EvalResult, GenerateProblem, LoggedCompletion } from '../log/format.js';
import { sampleMetrics } from '../metrics/compute-metrics.js';
import { meanScore } from '../metrics/mean.js';
import type { SampleMetric } from '../task.js';
import { addUsage, completionWarnings } from '../warnings.js';
import {
  type InspectLog,
  type InspectMessage,
  type InspectSample,
  METADATA_KEY,
  SAMPLING_NAMES,
  STOP_REASONS,
} from './inspect-format.js';
import { readZip } from './zip.js';

/** What this project has left in a sample. */
interface Kept {
  readonly row?: object;
  readonly seed?: number;
  readonly requestHash?: string;
  readonly seconds?: number;
  readonly cluster?: string;
  readonly completion?: Partial<LoggedCompletion>;
}

/**
 * Reads a log of Inspect (version 2; `.eval` or `.json`, whoever wrote it) as a run of a `generate` task: epochs are samples, scorers are graders, and the metrics are
 * computed anew from the scores (`metrics`), so that they can be compared with any other run. Scores become numbers as Inspect's `value_to_float` makes them: C 1, P ½, I and
 * N 0, true and yes 1, false and no 0; a scorer that gives several values is a grader for each (`scorer/key`). A sample that has no score is not scorable. A row is what this project
 * wrote, else `{ input, target, metadata }`.
 *
 * @param metrics default: the mean score
 * @throws EvaluationError `LOG_MALFORMED`, which names the file and the sample; `LOG_VERSION`; `LOG_UNFINISHED` for a run that did not succeed; `LOG_SCORE` for a value that is no
 * number; FileError of the file system passes through
 */
export async function readInspectLog(
  file: string,
  { metrics = [meanScore()] }: { readonly metrics?: readonly SampleMetric[] } = {},
): Promise<EvalResult<GenerateProblem>> {
  assertPath('readInspectLog', 'file', file);
  return inspectResult(await readFile(file), file, metrics);
}

function inspectResult(
  bytes: Uint8Array,
  where: string,
  metrics: readonly SampleMetric[],
): EvalResult<GenerateProblem> {
  const log = bytes[0] === 0x50 && bytes[1] === 0x4b ? fromArchive(bytes, where) : fromJson<InspectLog>(bytes, where);
  const wrong = (problem: string, code = 'LOG_MALFORMED') => new EvaluationError(code, `${where}: ${problem}`);
  if (log.version !== 2)
    throw wrong(`expected version 2 of Inspect's log, found ${showValue(log.version)}.`, 'LOG_VERSION');
  if (!isPlainObject(log.eval) || typeof log.eval.task !== 'string' || typeof log.eval.model !== 'string')
    throw wrong('"eval" has no task or no model.');
  if (log.status !== 'success')
    throw wrong(`the run's status is ${showValue(log.status)}; only one that succeeded can be read.`, 'LOG_UNFINISHED');
  if (!Array.isArray(log.samples)) throw wrong('there are no samples; it was written without log_samples.');
  const kept = (log.eval.metadata?.[METADATA_KEY] ?? {}) as {
    config?: EvalConfig;
    gradingUsage?: EvalResult['gradingUsage'];
    warnings?: readonly string[];
    seconds?: number;
  };
  const problems = problemsOf(log, wrong);
  const graders = [
    ...new Set(problems.flatMap(({ completions }) => completions.flatMap(({ grades }) => Object.keys(grades)))),
  ];
  const completed = problems.map((problem) => ({
    ...problem,
    completions: problem.completions.map((completion) => ({
      ...completion,
      grades: Object.fromEntries(graders.map((grader) => [grader, completion.grades[grader] ?? { score: null }])),
    })),
  }));
  const config = isPlainObject(kept.config) ? kept.config : configOf(log, completed, graders);
  const seconds = problems.reduce((sum, problem) => sum + problem.seconds, 0);
  const usage = addUsage(completed.flatMap(({ completions }) => completions.map((one) => one.usage)));
  const started = log.stats?.started_at ?? log.eval.created ?? '';
  return {
    config,
    startedAt: started,
    finishedAt: log.stats?.completed_at ?? started,
    problems: completed,
    metrics: graders.flatMap((grader) => sampleMetrics(completed, metrics, grader)),
    ...(usage && { usage }),
    ...(kept.gradingUsage && { gradingUsage: kept.gradingUsage }),
    seconds: typeof kept.seconds === 'number' ? kept.seconds : seconds,
    warnings: Array.isArray(kept.warnings) ? kept.warnings : completionWarnings(completed),
  };
}

type Wrong = (problem: string, code?: string) => EvaluationError;

function fromArchive(bytes: Uint8Array, where: string): InspectLog {
  const files = readZip(bytes, where);
  const header = files.get('header.json');
  if (!header)
    throw new EvaluationError('LOG_UNFINISHED', `${where}: there is no header.json; the run did not finish.`);
  const samples = [...files]
    .filter(([name]) => name.startsWith('samples/') && name.endsWith('.json'))
    .map(([name, read]) => fromJson<InspectSample>(read(), `${where}: ${name}`));
  return { ...fromJson<InspectLog>(header(), `${where}: header.json`), samples };
}

function fromJson<T>(bytes: Uint8Array, where: string): T {
  let found: unknown;
  try {
    found = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'));
  } catch (cause) {
    throw new EvaluationError('LOG_MALFORMED', `${where} is not JSON: ${(cause as Error).message}.`, { cause });
  }
  assertDepth(found, where);
  if (isPlainObject(found)) return found as T;
  throw new EvaluationError('LOG_MALFORMED', `${where} is no JSON object.`);
}

/** Samples in epochs become problems, in the order of the dataset where the log says it, else of the file. */
function problemsOf(log: InspectLog, wrong: Wrong): GenerateProblem[] {
  const byId = new Map<string, Map<number, InspectSample>>();
  for (const [i, given] of log.samples!.entries()) {
    if (!isPlainObject(given)) throw wrong(`sample ${i} is no object.`);
    const sample = withAttachments(given as unknown as InspectSample);
    const { id, epoch } = sample;
    if ((typeof id !== 'string' && typeof id !== 'number') || !Number.isInteger(epoch))
      throw wrong(`sample ${i} has no id or no epoch.`);
    const epochs = byId.get(String(id)) ?? new Map<number, InspectSample>();
    if (epochs.has(epoch)) throw wrong(`there are two samples "${id}" of epoch ${epoch}.`);
    byId.set(String(id), epochs.set(epoch, sample));
  }
  const given: unknown = log.eval.dataset?.sample_ids ?? [];
  if (!Array.isArray(given)) throw wrong('"eval.dataset.sample_ids" is no list.');
  const order = new Map(given.map((id, i) => [String(id), i]));
  const ids = [...byId.keys()].sort((a, b) => (order.get(a) ?? order.size) - (order.get(b) ?? order.size));
  return ids.map((id) => {
    const epochs = [...byId.get(id)!].sort(([a], [b]) => a - b).map(([, sample]) => sample);
    const first = epochs[0]!;
    const own = keptOf(first);
    return {
      type: 'problem',
      id,
      requestHash: own.requestHash ?? '',
      ...(own.cluster !== undefined && { cluster: own.cluster }),
      prompt: promptOf(first, wrong),
      row: own.row ?? { input: first.input, target: first.target ?? '', metadata: first.metadata ?? {} },
      seed: own.seed ?? 0,
      seconds: own.seconds ?? epochs.reduce((sum, { total_time: took }) => sum + (took ?? 0), 0),
      completions: epochs.map((sample) => completionOf(sample, wrong)),
    };
  });
}

function keptOf({ metadata }: InspectSample): Kept {
  const kept = metadata?.[METADATA_KEY];
  return isPlainObject(kept) ? (kept as Kept) : {};
}

function promptOf({ id, input }: InspectSample, wrong: Wrong): Prompt {
  if (typeof input === 'string') return input;
  if (!Array.isArray(input)) throw wrong(`sample "${id}" has no input.`);
  return input.map((message: InspectMessage) => ({
    role: message?.role,
    content: textOf(message, `the input of sample "${id}"`, wrong),
  }));
}

function textOf(message: InspectMessage | undefined, what: string, wrong: Wrong): string {
  const { content } = message ?? {};
  if (typeof content === 'string') return content;
  if (Array.isArray(content)) {
    // Reasoning has a part of its own, which is no part of the answer.
    return content
      .filter((part) => part?.type !== 'reasoning')
      .map((part) => {
        if (part?.type === 'text' && typeof part.text === 'string') return part.text;
        throw wrong(`${what} has a part of the type ${showValue(part?.type)}; only text can be read.`);
      })
      .join('');
  }
  throw wrong(`${what} has a message without content.`);
}

function completionOf(sample: InspectSample, wrong: Wrong): LoggedCompletion {
  const { output, scores } = sample;
  const choice = output?.choices?.[0];
  const text = choice
    ? textOf(choice.message, `the output of sample "${sample.id}"`, wrong)
    : (output?.completion ?? '');
  const reason = choice?.stop_reason ?? 'unknown';
  if (!Object.hasOwn(STOP_REASONS, reason))
    throw wrong(`sample "${sample.id}" ended with ${showValue(reason)}, which Inspect does not know.`);
  const { input_tokens: promptTokens, output_tokens: completionTokens } = output?.usage ?? {
    input_tokens: 0,
    output_tokens: 0,
  };
  if (![promptTokens, completionTokens].every((count) => Number.isSafeInteger(count) && count >= 0))
    throw wrong(`sample "${sample.id}" has a usage of ${showValue(output?.usage)}.`);
  const grades: Record<string, LoggedCompletion['grades'][string]> = {};
  for (const [scorer, score] of Object.entries(scores ?? {})) {
    if (!isPlainObject(score)) throw wrong(`sample "${sample.id}": the score of ${scorer} is no object.`);
    const { value, answer, explanation } = score;
    const values = isPlainObject(value)
      ? Object.entries(value).map(([key, of]) => [`${scorer}/${key}`, of] as const)
      : [[scorer, value] as const];
    for (const [grader, of] of values) {
      grades[grader] = {
        score: scoreOf(of, `sample "${sample.id}", ${grader}`, wrong),
        ...(typeof answer === 'string' && { answer }),
        ...(typeof explanation === 'string' && { explanation }),
      };
    }
  }
  const own = keptOf(sample).completion;
  return {
    ...{
      text,
      finishReason: STOP_REASONS[reason as keyof typeof STOP_REASONS],
      usage: { promptTokens, completionTokens },
    },
    ...own,
    grades: { ...grades, ...(isPlainObject(own?.grades) ? own.grades : {}) },
  };
}

const WORDS: Readonly<Record<string, number>> = { C: 1, P: 0.5, I: 0, N: 0 };

/** `value_to_float` of Inspect, but that it throws where that warns and says 0. */
function scoreOf(value: unknown, where: string, wrong: Wrong): number | null {
  if (value === null) return null;
  if (typeof value === 'number') return value;
  if (typeof value === 'boolean') return Number(value);
  if (typeof value === 'string') {
    if (Object.hasOwn(WORDS, value)) return WORDS[value]!;
    const word = value.toLowerCase();
    if (word === 'yes' || word === 'true') return 1;
    if (word === 'no' || word === 'false') return 0;
    if (/^\d+$/.test(word) || /^[+-]?\d*\.?\d+$/.test(word)) return Number(word);
    if (word === 'nan') return null;
  }
  throw wrong(`${where}: the value ${showValue(value)} is no score that could be a number.`, 'LOG_SCORE');
}

function configOf(log: InspectLog, problems: readonly GenerateProblem[], graders: readonly string[]): EvalConfig {
  const generation = log.plan?.config ?? {};
  const sampling = Object.fromEntries(
    Object.entries(SAMPLING_NAMES).flatMap(([own, theirs]) =>
      generation[theirs] == null ? [] : [[own, generation[theirs]]],
    ),
  ) as Omit<SamplingParams, 'seed'>;
  return {
    ...{ task: log.eval.task, type: 'generate', model: log.eval.model, seed: Number(generation.seed ?? 0), sampling },
    samples: log.eval.config?.epochs ?? Math.max(1, ...problems.map(({ completions }) => completions.length)),
    ...{ graders, verifiers: [] },
  };
}

/** Long texts that Inspect keeps once, put back: `attachment://HASH`. */
function withAttachments(sample: InspectSample): InspectSample {
  const { attachments } = sample;
  if (!isPlainObject(attachments) || Object.keys(attachments).length === 0) return sample;
  const put = (value: unknown): unknown => {
    if (typeof value === 'string') {
      const hash = value.startsWith('attachment://') ? value.slice('attachment://'.length) : undefined;
      return hash !== undefined && Object.hasOwn(attachments, hash) ? attachments[hash] : value;
    }
    if (Array.isArray(value)) return value.map(put);
    return isPlainObject(value) ? Object.fromEntries(Object.entries(value).map(([key, of]) => [key, put(of)])) : value;
  };
  const { id, epoch, input, target, output, scores, metadata } = sample;
  return { ...sample, ...(put({ id, epoch, input, target, output, scores, metadata }) as InspectSample) };
}
