import { createRandom } from '@posttrain/interfaces/random';
import {
  bestAtK,
  compare,
  completionExamples,
  evaluate,
  evaluationBlocks,
  exactMatch,
  majorityAtK,
  metricOf,
  passAtK,
  type Report,
  regex,
  samplesCurve,
  samplesCurvePlots,
  trainingCurves,
} from '../src/index.js';
import { noisyAdder, type SumRow, sumRows, sumTask } from './models.js';

/** What a hostile or confused model may write. */
export const HOSTILE = [
  '<script>globalThis.pwned = true; console.error("ran")</script>',
  '<img src="http://example.invalid/x.png" onerror="globalThis.pwned = true">',
  '</pre></article></main></body></html><iframe src="http://example.invalid/"></iframe>',
  '"><svg/onload=globalThis.pwned=true> <a href="javascript:globalThis.pwned=true">x</a> &lt;b&gt; \u0000 \ud800 \u202e',
  '<style>body{display:none}</style><link rel=stylesheet href=//example.invalid/x.css><meta http-equiv=refresh content="0;url=http://example.invalid/">',
].join('\n');

/** A report with every kind of block, over measured runs of the noisy adder and a simulated training log. */
export async function exampleReport(): Promise<Report> {
  const random = createRandom(2);
  const noise = () => random.float() + random.float() - 1;
  const training = Array.from({ length: 240 }, (_, i) => ({
    step: i + 1,
    loss: 0.35 + 2.1 * Math.exp(-i / 50) + 0.12 * noise(),
    reward: i === 150 ? Number.NaN : 0.85 - 0.7 * Math.exp(-i / 80) + 0.1 * noise(),
    kl: 0.00002 * i + 0.0006 * Math.abs(noise()),
    learning_rate: 1e-4 * (1 - i / 240),
  }));
  const task = {
    ...sumTask(sumRows(120), 16),
    verifiers: [
      {
        ...exactMatch({
          filters: [regex(/#### (-?\d+)/)],
          target: (row) => [String(row.answer), String(Number(row.answer) + (Number(row.a) % 3))],
        }),
        name: 'hint',
      },
    ],
    metrics: [passAtK(1), majorityAtK(16), bestAtK(16, { by: 'hint' }), passAtK(16)],
  };
  const base = await evaluate(task, noisyAdder(0.72));
  const tuned = await evaluate(task, noisyAdder(0.55));
  const reinforced = await evaluate(task, noisyAdder(0.42));
  const results = [base, tuned, reinforced];
  const names = ['base', 'SFT', 'SFT + GRPO'];
  const { difference, standardError, pValue } = compare(base, reinforced, { metric: 'pass@1' });
  const examples = completionExamples(reinforced, { count: 3, target: (row) => (row as SumRow).answer });
  return {
    title: 'Three-digit addition, from base to GRPO',
    subtitle: 'A scripted adder that errs less and less stands in for the model, so every number below can be checked.',
    sections: [
      {
        title: 'At a glance',
        blocks: [
          {
            type: 'figures',
            figures: [
              { label: 'pass@1 before', value: metricOf(base, 'pass@1'), format: 'percent', note: 'base model' },
              { label: 'pass@1 after', value: metricOf(reinforced, 'pass@1'), format: 'percent', note: 'SFT + GRPO' },
              {
                label: 'Gain',
                value: { value: difference, standardError },
                format: 'percent',
                note: `paired bootstrap, p = ${pValue!.toPrecision(2)}`,
              },
              { label: 'Problems', value: base.problems.length, note: '16 samples each' },
              { label: 'Tokens', value: 123456, note: 'prompt and completion' },
            ],
          },
        ],
      },
      {
        title: 'Training',
        text: 'Faint: every step. Bold: exponential moving average.',
        blocks: trainingCurves(training, { smoothing: 0.9, percent: ['reward'] }),
      },
      {
        title: 'Evaluation',
        text: 'Held-out problems, temperature 0.7.',
        blocks: evaluationBlocks(results, { names }),
      },
      {
        title: 'Test-time scaling',
        text: 'All points of a curve come from the same 16 samples per problem.',
        blocks: [
          ...samplesCurvePlots([
            { name: 'majority vote', points: samplesCurve(reinforced, majorityAtK) },
            { name: 'best of N by hint', points: samplesCurve(reinforced, (k) => bestAtK(k, { by: 'hint' })) },
            { name: 'pass@k (oracle)', points: samplesCurve(reinforced, passAtK) },
          ]),
          {
            type: 'scatter',
            title: 'Accuracy by problem size',
            caption: 'Each point is a problem.',
            xLabel: 'a + b',
            yLabel: 'share of right samples',
            yFormat: 'percent',
            series: names.slice(1).map((name, i) => ({
              name,
              points: metricOf(results[i + 1]!, 'pass@1').values.map((y, x) => ({ x: 3 * x, y })),
            })),
          },
        ],
      },
      {
        title: 'Completions',
        blocks: [
          examples,
          {
            type: 'examples',
            examples: [
              {
                title: `Hostile text ${HOSTILE.slice(0, 30)}`,
                prompt: [
                  { role: 'system', content: 'You add numbers.' },
                  { role: 'user', content: HOSTILE },
                ],
                target: HOSTILE,
                completions: [
                  { text: HOSTILE, score: null, label: HOSTILE.slice(0, 20) },
                  { text: '', score: 0.5 },
                ],
              },
            ],
          },
          { type: 'text', tone: 'warning', text: `The text above is what a model may write.\n\n${HOSTILE}` },
        ],
      },
    ],
  };
}
