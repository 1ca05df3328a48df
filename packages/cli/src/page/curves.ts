import type { LinePlot, PlotSeries, ReportBlock, ReportSection } from '@posttrain/eval';
import type { RunOnDisk } from './read-run.js';

/** More points than this are smoothed: a single step says little then. */
const MANY = 40;
const SMOOTHING = 0.8;
const SHARES = /accurac|frac_|ratio|clipped|win_rate/;

/** A plot: its title, what is along y, and which metrics are its lines. */
interface Curve {
  readonly title: string;
  readonly y: string;
  readonly caption?: string;
  /** Metrics by the name of their line; those that are not logged are left out. */
  readonly lines: Readonly<Record<string, string>>;
}

const plain = (title: string, key: string, y = key): Curve => ({ title, y, lines: { [key]: key } });

/** Plots that belong together, in the order of the page. */
const SECTIONS: readonly { readonly title: string; readonly curves: readonly Curve[] }[] = [
  {
    title: 'Training',
    curves: [
      { title: 'Loss', y: 'loss', lines: { training: 'loss', 'held out': 'eval_loss' } },
      {
        title: 'Accuracy of tokens',
        y: 'share of tokens that are most likely',
        lines: { training: 'mean_token_accuracy', 'held out': 'eval_mean_token_accuracy' },
      },
      {
        title: 'Accuracy',
        y: 'share of pairs',
        lines: { training: 'accuracy', 'held out': 'eval_accuracy' },
      },
      plain('Learning rate', 'learning_rate', 'rate'),
      {
        ...plain('Gradient norm', 'grad_norm', 'norm, before it is clipped'),
        caption: 'A peak is a batch that pulls hard; one that grows without end is a rate that is too high.',
      },
    ],
  },
  {
    title: 'Rewards',
    curves: [
      {
        title: 'Rewards of preferences',
        y: 'β log-ratio to the reference',
        lines: { chosen: 'rewards/chosen', rejected: 'rewards/rejected' },
      },
      {
        title: 'Margin',
        y: 'chosen less rejected',
        lines: { training: 'rewards/margins', 'held out': 'eval_rewards/margins' },
      },
      {
        title: 'Pairs in the right order',
        y: 'share of pairs',
        lines: { training: 'rewards/accuracies', 'held out': 'eval_rewards/accuracies' },
      },
      plain('Groups without a signal', 'frac_reward_zero_std', 'share of prompts, all completions rewarded alike'),
    ],
  },
  {
    title: 'Distance and entropy',
    curves: [
      plain('KL divergence from the reference', 'kl', 'nats per token'),
      {
        title: 'Entropy',
        y: 'nats per token',
        caption: 'How undecided the policy is. Where it falls to 0, nothing new is sampled.',
        lines: { training: 'entropy', 'held out': 'eval_entropy' },
      },
      {
        title: 'Clipped',
        y: 'share of tokens',
        lines: { below: 'clip_ratio/low_mean', above: 'clip_ratio/high_mean' },
      },
    ],
  },
  {
    title: 'Lengths',
    curves: [
      {
        title: 'Length of completions',
        y: 'tokens',
        lines: {
          longest: 'completions/max_length',
          mean: 'completions/mean_length',
          shortest: 'completions/min_length',
        },
      },
      plain('Cut off at the limit', 'completions/clipped_ratio', 'share of completions'),
    ],
  },
];

/** Metrics that are no curve of their own. */
const NO_CURVE = new Set(['epoch', 'num_tokens', 'step_time', 'reward_std', 'completions/mean_terminated_length']);

/** The curves of a run, section by section; what did not change is a line of a table. */
export function curveSections(run: RunOnDisk): ReportSection[] {
  const keys = [...new Set(run.log.flatMap(({ metrics }) => Object.keys(metrics)))];
  const used = new Set<string>(NO_CURVE);
  const sections = SECTIONS.map(({ title, curves }) => {
    const known = curves.flatMap((curve) => {
      const lines = Object.entries(curve.lines).filter(([, key]) => keys.includes(key));
      for (const [, key] of lines) used.add(key);
      return lines.length === 0 ? [] : [plotOf(run, { ...curve, lines: Object.fromEntries(lines) })];
    });
    const more = title === 'Rewards' ? rewardPlots(run, keys, used) : title === 'Lengths' ? speedPlots(run) : [];
    return { title: title === 'Lengths' ? 'Lengths and speed' : title, blocks: [...more, ...known] };
  });
  const left = keys.filter((key) => !used.has(key) && !/\/(?:std|failed)$/.test(key));
  const evaluations = left.filter((key) => key.startsWith('eval_'));
  const others = left.filter((key) => !key.startsWith('eval_'));
  return [
    ...sections,
    { title: 'Evaluation', blocks: evaluations.map((key) => plotOf(run, plain(key, key))) },
    { title: 'Everything else', blocks: rest(run, others) },
  ].filter(({ blocks }) => blocks.length > 0);
}

/** What changed as plots, what did not as a table. */
function rest(run: RunOnDisk, keys: readonly string[]): ReportBlock[] {
  const valuesOf = (key: string) => new Set(run.log.flatMap(({ metrics }) => (key in metrics ? [metrics[key]!] : [])));
  const constant = keys.filter((key) => valuesOf(key).size <= 1);
  const plots = keys.filter((key) => !constant.includes(key)).map((key) => plotOf(run, plain(key, key)));
  const rows = constant.map((key) => ({ metric: key, value: [...valuesOf(key)][0] ?? null }));
  return rows.length === 0
    ? plots
    : [...plots, { type: 'table', rows, caption: 'Metrics that were the same all along.' }];
}

/** A mean of completions with its spread: one standard deviation above and below. */
function rewardPlots(run: RunOnDisk, keys: readonly string[], used: Set<string>): LinePlot[] {
  const named = keys.flatMap((key) => /^rewards\/(.+)\/mean$/.exec(key)?.[1] ?? []);
  const all = [
    ...(keys.includes('reward') ? [{ title: 'Reward', mean: 'reward', deviation: 'reward_std' }] : []),
    ...named.map((name) => ({
      ...{ title: `Reward ${name}`, mean: `rewards/${name}/mean`, deviation: `rewards/${name}/std` },
    })),
  ];
  return all.map(({ title, mean, deviation }) => {
    used.add(mean);
    const shifted = (by: number): PlotSeries['points'] =>
      run.log.flatMap(({ step, metrics }) => {
        const [value, spread] = [metrics[mean], metrics[deviation]];
        return typeof value === 'number' && typeof spread === 'number' ? [{ x: step + 1, y: value + by * spread }] : [];
      });
    const spread = [
      { name: 'one standard deviation above', points: shifted(1) },
      { name: 'below', points: shifted(-1) },
    ];
    return {
      ...plotOf(run, { title, y: 'reward', lines: { mean } }),
      caption: 'The mean over the completions of a step, and how far they spread around it.',
      series: [{ name: 'mean', points: pointsOf(run, mean) }, ...spread]
        .filter(({ points }) => points.length > 0)
        .map((one) => ({ ...one, ...smoothed(one.points.length) })),
    };
  });
}

/** Tokens a second, by when the entries of the log were written; evaluations are not counted in. */
export function speedPlots({ log, times }: Pick<RunOnDisk, 'log' | 'times'>): LinePlot[] {
  const tokens = new Map(
    log.flatMap(({ step, metrics }) => ('num_tokens' in metrics ? [[step, metrics.num_tokens]] : [])),
  );
  const points = times.flatMap((time, i) => {
    const before = times[i - 1];
    if (time.isEvaluation || before?.attempt !== time.attempt) return [];
    // Of the step before, which an evaluation may follow.
    const [from, to] = [tokens.get(before.step), tokens.get(time.step)];
    const seconds = time.seconds - before.seconds;
    if (typeof from !== 'number' || typeof to !== 'number' || seconds <= 0) return [];
    return [{ x: time.step + 1, y: (to - from) / seconds }];
  });
  if (points.length === 0) return [];
  return [
    {
      ...{
        type: 'line',
        title: 'Speed',
        xLabel: 'steps done',
        yLabel: 'tokens a second',
        series: [{ name: 'tokens', points }],
      },
      caption:
        'Of whole steps, with all that they need; the first of an attempt, in which functions are compiled, is left out.',
      ...smoothed(points.length),
    },
  ];
}

const pointsOf = ({ log }: RunOnDisk, key: string): PlotSeries['points'] =>
  log.flatMap(({ step, metrics }) => (key in metrics ? [{ x: step + 1, y: metrics[key]! }] : []));

/** Evaluations are few, and each is of many rows: they stay as they are. */
const smoothed = (count: number) => (count > MANY ? { smoothing: SMOOTHING } : {});

function plotOf(run: RunOnDisk, { title, y, caption, lines }: Curve): LinePlot {
  const series = Object.entries(lines).map(([name, key]) => {
    const points = pointsOf(run, key);
    return { name, points, ...(title !== 'Learning rate' && smoothed(points.length)) };
  });
  return {
    ...{ type: 'line', title, xLabel: 'steps done', yLabel: y, series },
    ...(caption !== undefined && { caption }),
    ...(Object.values(lines).every((key) => SHARES.test(key)) && { yFormat: 'percent' as const }),
  };
}
