import { assertPath, type Prompt } from '@posttrain/interfaces';
import { writeAtomically } from '@posttrain/interfaces/node';
import { EvaluationError } from '../errors.js';
import type { EvalResult, GenerateProblem, LoggedCompletion, MetricResult } from '../log/format.js';
import { hashRequest } from '../task-kind.js';
import { METADATA_KEY, SAMPLING_NAMES } from './inspect-format.js';
import { writeZip, type ZipFile } from './zip.js';

/**
 * Writes a run as a log of Inspect (inspect_ai, log version 2): `.eval`, a ZIP of JSON that its viewer opens, or `.json`. Samples are epochs, graders are scorers,
 * a metric is one of its scorer's with a `stderr` beside it. What Inspect has no place for (rows, the configuration, grades' other parts) is in `metadata.posttrain`, so
 * that `readInspectLog` gives the run again. Targets are left empty unless the rows' reference is named by `target`.
 *
 * @param target the column of the rows that has the reference answer; default `answer`, where rows have it
 * @throws EvaluationError `LOG_KIND` for tasks of another kind than `generate`, which Inspect's log has no form for; `LOG_TOO_LARGE`; FileError
 */
export async function writeInspectLog(
  file: string,
  result: EvalResult,
  { target = 'answer' }: { readonly target?: string } = {},
): Promise<void> {
  assertPath('writeInspectLog', 'file', file);
  const { log, samples, summaries } = inspectLog(result, target);
  const text = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value, null, 1), 'utf8');
  const zipped = (): Uint8Array => {
    const { eval: spec, plan } = log;
    const files: ZipFile[] = [
      { name: '_journal/start.json', bytes: text({ version: 2, eval: spec, plan }) },
      ...samples.map((sample) => ({ name: `samples/${sample.id}_epoch_${sample.epoch}.json`, bytes: text(sample) })),
      { name: 'summaries.json', bytes: text(summaries) },
      { name: 'header.json', bytes: text(log) },
    ];
    return writeZip(files);
  };
  const bytes = file.endsWith('.eval') ? zipped() : text({ ...log, samples });
  await writeAtomically((files) => files.stage(file, (write) => write(bytes)));
}

function inspectLog(result: EvalResult, targetColumn: string) {
  const { config, startedAt, finishedAt, metrics, usage, seconds, warnings } = result;
  if (config.type !== 'generate') {
    throw new EvaluationError(
      'LOG_KIND',
      `writeInspectLog: "${config.task}" is of the kind ${config.type}; Inspect's log has a form for "generate" only. The JSONL log has all kinds.`,
    );
  }
  const problems = result.problems as readonly GenerateProblem[];
  // Names in Inspect's form, the same every time.
  const name = (what: string): string => hashRequest([what, config, startedAt]).slice(0, 22);
  const sampling: Readonly<Record<string, unknown>> = { ...config.sampling };
  const generation = Object.fromEntries(
    Object.entries(SAMPLING_NAMES).flatMap(([own, theirs]) => (own in sampling ? [[theirs, sampling[own]]] : [])),
  );
  const graders = config.graders ?? [];
  const modelUsage = usage ? { [config.model]: usageOf(usage.promptTokens, usage.completionTokens) } : {};
  const samples = problems.flatMap((problem) => {
    const input = inputOf(problem.prompt);
    const found = (problem.row as Readonly<Record<string, unknown>>)[targetColumn];
    const target = typeof found === 'string' ? found : Array.isArray(found) ? found.map(String) : '';
    const { id, cluster, row, seed, requestHash, seconds: took } = problem;
    return problem.completions.map((completion, i) => {
      const { text, usage: used } = completion;
      const message = { role: 'assistant', content: text, source: 'generate', model: config.model };
      return {
        id,
        epoch: i + 1,
        input,
        target,
        messages: [
          ...(typeof input === 'string' ? [{ role: 'user', content: input, source: 'input' }] : input),
          message,
        ],
        output: {
          model: config.model,
          choices: [{ message, stop_reason: completion.finishReason === 'length' ? 'max_tokens' : 'stop' }],
          completion: text,
          usage: usageOf(used.promptTokens, used.completionTokens),
        },
        scores: scoresOf(completion),
        metadata: {
          [METADATA_KEY]: {
            row,
            seed,
            requestHash,
            seconds: took,
            ...(cluster !== undefined && { cluster }),
            completion: restOf(completion),
          },
        },
        store: {},
        events: [],
        model_usage: { [config.model]: usageOf(used.promptTokens, used.completionTokens) },
        total_time: took / problem.completions.length,
        working_time: took / problem.completions.length,
        uuid: name(`sample ${id} ${i}`),
      };
    });
  });
  const summaries = samples.map(
    ({ id, epoch, input, target, scores, model_usage, total_time, working_time, uuid }) => ({
      ...{ id, epoch, input, target, scores, model_usage, total_time, working_time, uuid },
      ...{ metadata: {}, completed: true },
    }),
  );
  const log = {
    version: 2,
    status: 'success',
    eval: {
      ...{ eval_id: name('eval'), run_id: name('run'), created: startedAt, task: config.task, task_id: name('task') },
      ...{ task_version: 0, task_attribs: {}, task_args: {}, task_args_passed: {}, solver_args_passed: {} },
      dataset: {
        name: config.task,
        samples: problems.length,
        sample_ids: problems.map(({ id }) => id),
        shuffled: false,
      },
      ...{ model: config.model, model_generate_config: {}, model_args: {}, packages: {} },
      config: { epochs: config.samples ?? 1, log_samples: true },
      scorers: graders.map((grader) => ({ name: grader, options: {}, metrics: [], metadata: {} })),
      metadata: {
        [METADATA_KEY]: {
          config,
          seconds,
          warnings,
          ...(result.gradingUsage && { gradingUsage: result.gradingUsage }),
        },
      },
    },
    plan: { name: 'plan', steps: [{ solver: 'generate', params: {}, params_passed: {} }], config: generation },
    results: {
      total_samples: samples.length,
      completed_samples: samples.length,
      scores: graders.map((grader) => ({
        ...{ name: grader, scorer: grader, params: {} },
        scored_samples: problems.filter((problem) => isScored(problem, grader)).length,
        unscored_samples: problems.filter((problem) => !isScored(problem, grader)).length,
        metrics: Object.fromEntries(metrics.filter((metric) => metric.grader === grader).flatMap(metricsOf)),
      })),
    },
    stats: { started_at: startedAt, completed_at: finishedAt, model_usage: modelUsage, role_usage: {} },
  };
  return { log, samples, summaries };
}

const isScored = ({ completions }: GenerateProblem, grader: string): boolean =>
  completions.some(({ grades }) => grades[grader]?.score != null);

/** A metric and its standard error; one without a value is left out, as Inspect's are numbers. */
function metricsOf({ metric, value, standardError }: MetricResult) {
  const entry = (name: string, of: number) => [name, { name, value: of, params: {} }] as const;
  if (value === null) return [];
  return [entry(metric, value), ...(standardError === null ? [] : [entry(`${metric}_stderr`, standardError)])];
}

const usageOf = (input: number, output: number) => ({
  input_tokens: input,
  output_tokens: output,
  total_tokens: input + output,
});

/** A score that is `null` is left out: Inspect counts "no answer" as 0, which it is not. */
function scoresOf({ grades }: LoggedCompletion) {
  return Object.fromEntries(
    Object.entries(grades).flatMap(([grader, { score, answer, explanation }]) =>
      score === null
        ? []
        : [
            [
              grader,
              {
                value: score,
                ...(answer != null && { answer }),
                ...(explanation !== undefined && { explanation }),
                metadata: {},
                history: [],
              },
            ] as const,
          ],
    ),
  );
}

/** What a completion has that Inspect's sample has no place for. */
function restOf({ text: _, finishReason: __, usage: ___, ...rest }: LoggedCompletion) {
  return rest;
}

function inputOf(prompt: Prompt) {
  if (typeof prompt === 'string') return prompt;
  return prompt.map(({ role, content, ...more }) => ({
    ...{ role: role === 'developer' ? 'system' : role, content, source: 'input' },
    ...('tool_call_id' in more && { tool_call_id: more.tool_call_id }),
  }));
}
