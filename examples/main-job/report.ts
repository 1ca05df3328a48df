import {
  type Comparison,
  completionExamples,
  evaluationBlocks,
  metricOf,
  type Report,
  type ScalingRow,
  scalingCurvePlots,
  trainingCurves,
} from '@posttrain/eval';
import type { MetricsLine, StageResult } from './job.js';

/** What the job measured. */
export interface JobResults {
  readonly task: string;
  readonly model: string;
  readonly stages: readonly { readonly name: string; readonly result: StageResult }[];
  readonly comparisons: readonly { readonly name: string; readonly comparison: Comparison }[];
  readonly sftLog: readonly MetricsLine[];
  readonly grpoLog: readonly MetricsLine[];
  readonly scaling: readonly ScalingRow[];
}

/** `report.html` of one run. */
export function jobReport(results: JobResults): Report {
  const last = results.stages.at(-1)!;
  return {
    title: `Post-training on ${results.task}`,
    subtitle: `${results.model}: evaluated, fine-tuned, reinforced, searched and evaluated again. Every ± is one standard error over problems.`,
    sections: [
      {
        title: 'At a glance',
        blocks: [
          {
            type: 'figures',
            figures: results.stages.map(({ name, result }) => ({
              label: `pass@1, ${name}`,
              value: metricOf(result, 'pass@1'),
              format: 'percent' as const,
              note: `${result.problems.length} held-out problems`,
            })),
          },
          {
            type: 'table',
            columns: [
              { key: 'step', title: 'step' },
              { key: 'gain', title: 'gain in pass@1', format: 'percent' },
              { key: 'p' },
            ],
            rows: results.comparisons.map(({ name, comparison }) => ({
              step: name,
              gain: { value: comparison.difference, standardError: comparison.standardError },
              p: comparison.pValue,
            })),
          },
        ],
      },
      {
        title: 'Evaluation',
        text: 'The same held-out problems at every stage, sampled at temperature 1.',
        blocks: evaluationBlocks(
          results.stages.map(({ result }) => result),
          { names: results.stages.map(({ name }) => name) },
        ),
      },
      ...(results.sftLog.length > 0
        ? [
            {
              title: 'Supervised fine-tuning',
              blocks: trainingCurves(results.sftLog, { keys: ['loss', 'mean_token_accuracy'] }),
            },
          ]
        : []),
      {
        title: 'Reinforcement learning',
        text: 'Faint: every step. Bold: smoothed.',
        blocks: trainingCurves(results.grpoLog, {
          keys: ['reward', 'frac_reward_zero_std', 'entropy', 'completions/mean_length', 'grad_norm'],
          smoothing: 0.8,
        }),
      },
      {
        title: 'Test-time scaling',
        text: 'All points of a line come from the same samples per problem, averaged over every subset of that size.',
        blocks: scalingCurvePlots(results.scaling),
      },
      { title: 'Completions', blocks: [completionExamples(last.result, { count: 4, completions: 3 })] },
    ],
  };
}
