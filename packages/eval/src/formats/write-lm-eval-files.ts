import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { assertPath, type Prompt } from '@posttrain/interfaces';
import { makeFolder, writeAtomically } from '@posttrain/interfaces/node';
import { EvaluationError } from '../errors.js';
import type { ChoiceProblem, EvalResult, GenerateProblem, MetricResult } from '../log/format.js';

/**
 * Writes runs in the files of lm-evaluation-harness, for tools that read those: `results_DATE.json`, and for each task
 * `samples_TASK_DATE.jsonl`, a row for each problem and grader. Graders are its filters (`none` where there is none); hashes are its own. Its `doc` is the row, its
 * `target` the column `target` of the row, or the right choice's place.
 *
 * @param folder made where it is not there
 * @param target default `answer`
 * @returns the paths that were written, results first
 * @throws EvaluationError `LOG_KIND` for tasks of other kinds than `generate` and `multiple_choice`, `DUPLICATE_ID` for two runs of one task, `NO_RECORDS` for none; FileError
 */
export async function writeLmEvalFiles(
  folder: string,
  results: readonly EvalResult[],
  { target = 'answer' }: { readonly target?: string } = {},
): Promise<string[]> {
  assertPath('writeLmEvalFiles', 'folder', folder);
  if (results.length === 0) throw new EvaluationError('NO_RECORDS', 'writeLmEvalFiles: there are no runs.');
  const names = results.map(({ config }) => config.task);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined)
    throw new EvaluationError(
      'DUPLICATE_ID',
      `writeLmEvalFiles: two runs are of the task "${twice}"; write them into different folders.`,
    );
  const date = results
    .map(({ finishedAt }) => finishedAt)
    .sort()
    .at(-1)!;
  const stamp = date.replace(/Z$/, '').replaceAll(':', '-');
  const files = [
    { path: join(folder, `results_${stamp}.json`), text: `${JSON.stringify(aggregate(results, date), null, 2)}\n` },
    ...results.map((result) => ({
      path: join(folder, `samples_${result.config.task.replaceAll(/[^\w.-]/g, '_')}_${stamp}.jsonl`),
      text: samplesOf(result, target)
        .map((row) => `${JSON.stringify(row)}\n`)
        .join(''),
    })),
  ];
  await makeFolder(folder);
  await writeAtomically(async (staged) => {
    for (const { path, text } of files) await staged.stage(path, (write) => write(new TextEncoder().encode(text)));
  });
  return files.map(({ path }) => path);
}

function aggregate(results: readonly EvalResult[], date: string) {
  const [first] = results as readonly [EvalResult, ...EvalResult[]];
  const by = <T>(value: (result: EvalResult) => T) =>
    Object.fromEntries(results.map((result) => [result.config.task, value(result)]));
  return {
    results: by(({ config, problems, metrics }) => ({
      name: config.task,
      alias: config.task,
      sample_len: problems.length,
      ...Object.fromEntries(metrics.flatMap(metricEntries)),
    })),
    group_subtasks: {},
    configs: by(({ config }) => ({
      task: config.task,
      output_type: config.type === 'generate' ? 'generate_until' : 'multiple_choice',
      repeats: config.samples ?? 1,
      ...(config.type === 'generate' && { generation_kwargs: generationOf(config.sampling ?? {}) }),
      metadata: { version: 1 },
    })),
    versions: by(() => 1),
    'n-shot': by(() => 0),
    higher_is_better: by(({ metrics }) => Object.fromEntries(metrics.map(({ metric }) => [metric, true]))),
    'n-samples': by(({ problems }) => ({ original: problems.length, effective: problems.length })),
    config: {
      model: first.config.model,
      model_args: null,
      batch_size: null,
      limit: null,
      random_seed: first.config.seed,
    },
    date: Date.parse(date) / 1000,
    model_source: 'posttrain',
    model_name: first.config.model,
    model_name_sanitized: first.config.model.replaceAll(/[^\w.-]/g, '_'),
    total_evaluation_time_seconds: String(results.reduce((sum, { seconds }) => sum + seconds, 0)),
  };
}

function metricEntries({ metric, grader = 'none', value, standardError }: MetricResult): [string, number | string][] {
  if (value === null) return [];
  return [
    [`${metric},${grader}`, value],
    [`${metric}_stderr,${grader}`, standardError ?? 'N/A'],
  ];
}

function samplesOf(result: EvalResult, targetColumn: string): object[] {
  const { config, problems, metrics } = result;
  if (config.type !== 'generate' && config.type !== 'multiple_choice')
    throw new EvaluationError(
      'LOG_KIND',
      `writeLmEvalFiles: "${config.task}" is of the kind ${config.type}; these files have a form for "generate" and "multiple_choice" only.`,
    );
  const graders = [...new Set(metrics.map(({ grader }) => grader ?? 'none'))];
  return graders.flatMap((grader) => {
    const own = metrics.filter((metric) => (metric.grader ?? 'none') === grader);
    return problems.map((problem, i) => {
      const asked =
        config.type === 'generate'
          ? generated(problem as GenerateProblem, grader, config, targetColumn)
          : chosen(problem as ChoiceProblem, config.delimiter ?? ' ');
      return {
        doc_id: i,
        doc: problem.row,
        ...asked,
        filter: grader,
        metrics: own.map(({ metric }) => metric),
        doc_hash: sha256(JSON.stringify(problem.row, null, 2)),
        prompt_hash: sha256(textOf(problem.prompt)),
        target_hash: sha256(asked.target),
        ...Object.fromEntries(own.map(({ metric, values }) => [metric, values[i] ?? null])),
      };
    });
  });
}

function generated(
  { prompt, row, completions }: GenerateProblem,
  grader: string,
  { sampling = {} }: EvalResult['config'],
  targetColumn: string,
) {
  const found = (row as Readonly<Record<string, unknown>>)[targetColumn];
  const filtered = completions.map(({ text, grades }) => grades[grader]?.answer ?? text);
  return {
    target: found === undefined ? '' : String(found),
    arguments: { gen_args_0: { arg_0: textOf(prompt), arg_1: generationOf(sampling) } },
    resps: [completions.map(({ text }) => text)],
    filtered_resps: completions.length === 1 ? filtered : [filtered],
  };
}

function chosen({ prompt, gold, choices }: ChoiceProblem, delimiter: string) {
  const said = choices.map(({ logProb, isGreedy }) => [String(logProb), isGreedy ? 'True' : 'False']);
  return {
    target: String(gold),
    arguments: Object.fromEntries(
      choices.map(({ text }, i) => [`gen_args_${i}`, { arg_0: textOf(prompt), arg_1: `${delimiter}${text}` }]),
    ),
    resps: said.map((one) => [one]),
    filtered_resps: said,
  };
}

/** Sampling by its names. */
function generationOf({ stop = [], maxTokens, temperature = 1 }: NonNullable<EvalResult['config']['sampling']>) {
  return {
    until: stop,
    ...(maxTokens !== undefined && { max_gen_toks: maxTokens }),
    do_sample: temperature > 0,
    temperature,
  };
}

const textOf = (prompt: Prompt): string => (typeof prompt === 'string' ? prompt : JSON.stringify(prompt));

const sha256 = (text: string): string => createHash('sha256').update(text, 'utf8').digest('hex');
