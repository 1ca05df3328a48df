import { readdir, readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { assertPath, isPlainObject } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import { assertDepth } from '../log/depth.js';
import type {
  ChoiceProblem,
  EvalResult,
  GenerateProblem,
  LoggedCompletion,
  MetricResult,
  ProblemBase,
} from '../log/format.js';
import { meanWithStandardError, Z_95 } from '../statistics/standard-error.js';

type Fields = Readonly<Record<string, unknown>>;

/**
 * Reads what lm-evaluation-harness has written (`results_DATE.json`, and the `samples_TASK_DATE.jsonl` beside it): a run for each task, to be compared with ours or
 * with each other. Its filters are graders. A metric has the value and standard error that it has written (`null` for N/A), and the values of problems where there are samples; tokens are
 * not in its files, so usage is 0.
 *
 * @throws EvaluationError `LOG_MALFORMED`, which names the file and line; FileError of the file system passes through
 */
export async function readLmEvalFiles(file: string): Promise<EvalResult[]> {
  assertPath('readLmEvalFiles', 'file', file);
  const [folder, name] = [dirname(file), basename(file)];
  const stamp = /^results_(.*)\.json$/.exec(name)?.[1];
  const found = jsonOf(await readFile(file, 'utf8'), file);
  const results = fieldsOf(found.results, `${file}: "results"`);
  const beside = stamp === undefined ? [] : await readdir(folder);
  return Promise.all(
    Object.entries(results).map(async ([task, values]) => {
      const samples = beside.find((other) => other === `samples_${task}_${stamp}.jsonl`);
      const text = samples === undefined ? undefined : await readFile(join(folder, samples), 'utf8');
      return lmEvalResult(found, task, fieldsOf(values, `${file}: "results.${task}"`), text, samples ?? file);
    }),
  );
}

/** The run of one task, of the contents of the files. */
export function lmEvalResult(
  file: Fields,
  task: string,
  values: Fields,
  samples: string | undefined,
  where: string,
): EvalResult {
  const config = isPlainObject(file.config) ? file.config : {};
  const taskConfig = isPlainObject(file.configs) && isPlainObject(file.configs[task]) ? file.configs[task] : {};
  const rows = (samples ?? '')
    .split('\n')
    .map((line, i) => [line, `${where}:${i + 1}`] as const)
    .filter(([line]) => line.trim() !== '')
    .map(([line, at]) => [jsonOf(line, at), at] as const);
  const isChoice = taskConfig.output_type === 'multiple_choice';
  const problems = problemsOf(rows, isChoice);
  const places = new Map(problems.map(({ id }, i) => [id, i]));
  const metrics = Object.entries(values).flatMap(([key, value]): MetricResult[] => {
    const at = key.indexOf(',');
    const [metric, filter] = [key.slice(0, at), key.slice(at + 1)];
    if (at < 0 || metric.endsWith('_stderr') || typeof value !== 'number') return [];
    const scores: (number | null)[] = problems.map(() => null);
    for (const [row] of rows) {
      if (row.filter === filter && typeof row[metric] === 'number')
        scores[places.get(String(row.doc_id))!] = row[metric];
    }
    const known = scores.filter((score) => score !== null);
    const error = values[`${metric}_stderr,${filter}`];
    const standardError = typeof error === 'number' ? error : null;
    // A mean of what was right or wrong has Wilson's interval, as ours; what is aggregated in another way has that of its error.
    const own = known.length > 0 && known.every(Number.isFinite) ? meanWithStandardError(known) : undefined;
    const isMean = own?.value != null && Math.abs(own.value - value) <= 1e-9 * Math.max(1, Math.abs(value));
    const spread =
      standardError === null || standardError === 0
        ? null
        : ([value - Z_95 * standardError, value + Z_95 * standardError] as const);
    return [
      {
        metric,
        ...(filter !== 'none' && { grader: filter }),
        ...{ value, standardError, interval: isMean ? own.interval : spread, count: known.length, values: scores },
      },
    ];
  });
  const date =
    typeof file.date === 'number' && Number.isFinite(file.date) && Math.abs(file.date) < 1e11
      ? new Date(file.date * 1000).toISOString()
      : '';
  return {
    config: {
      ...{
        task,
        type: isChoice ? 'multiple_choice' : 'generate',
        model: String(file.model_name ?? config.model ?? 'unknown'),
      },
      seed: typeof config.random_seed === 'number' ? config.random_seed : 0,
    },
    ...{ startedAt: date, finishedAt: date, problems, metrics, warnings: [] },
    seconds: Number(file.total_evaluation_time_seconds ?? 0) || 0,
  };
}

function problemsOf(rows: readonly (readonly [Fields, string])[], isChoice: boolean): ProblemBase[] {
  const byId = new Map<string, [Fields, string][]>();
  for (const [row, at] of rows) {
    if (
      !Number.isInteger(row.doc_id) ||
      !isPlainObject(row.doc) ||
      typeof row.filter !== 'string' ||
      !Array.isArray(row.resps)
    )
      throw new EvaluationError(
        'LOG_MALFORMED',
        `${at} is no sample of lm-evaluation-harness: it needs doc_id, doc, filter and resps.`,
      );
    const id = String(row.doc_id);
    byId.set(id, [...(byId.get(id) ?? []), [row, at]]);
  }
  return [...byId].map(([id, found]): GenerateProblem | ChoiceProblem => {
    const [row, at] = found[0]!;
    const args = Object.values(fieldsOf(row.arguments, `${at}: "arguments"`)).map((one) =>
      fieldsOf(one, `${at}: "arguments"`),
    );
    const base: ProblemBase = {
      ...{ type: 'problem', id, requestHash: String(row.prompt_hash ?? ''), prompt: String(args[0]?.arg_0 ?? '') },
      ...{ row: row.doc as object, seconds: 0 },
    };
    const responses = row.resps as readonly unknown[];
    if (isChoice) {
      return {
        ...base,
        gold: Number(row.target),
        choices: responses.map((response, i) => {
          const [logProb, isGreedy] = (
            Array.isArray(response) && Array.isArray(response[0]) ? response[0] : []
          ) as readonly unknown[];
          return {
            text: String(args[i]?.arg_1 ?? '').replace(/^ /, ''),
            logProb: Number(logProb),
            tokens: 0,
            isGreedy: isGreedy === 'True',
          };
        }),
      };
    }
    return { ...base, seed: 0, completions: responses.flat().map((text, i) => completionOf(String(text), i, found)) };
  });
}

function completionOf(text: string, i: number, rows: readonly [Fields, string][]): LoggedCompletion {
  const grades = rows.map(([row]) => {
    const [metric] = Array.isArray(row.metrics) ? (row.metrics as unknown[]) : [];
    const score = row[String(metric)];
    const filtered: unknown = Array.isArray(row.filtered_resps) ? row.filtered_resps.flat()[i] : undefined;
    return [
      String(row.filter),
      { score: typeof score === 'number' ? score : null, ...(typeof filtered === 'string' && { answer: filtered }) },
    ] as const;
  });
  return {
    text,
    finishReason: 'stop',
    usage: { promptTokens: 0, completionTokens: 0 },
    grades: Object.fromEntries(grades),
  };
}

function jsonOf(text: string, where: string): Fields {
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch (cause) {
    throw new EvaluationError('LOG_MALFORMED', `${where} is not JSON: ${(cause as Error).message}.`, { cause });
  }
  assertDepth(found, where);
  return fieldsOf(found, where);
}

function fieldsOf(value: unknown, where: string): Fields {
  if (isPlainObject(value)) return value;
  throw new EvaluationError('LOG_MALFORMED', `${where} is no JSON object.`);
}
