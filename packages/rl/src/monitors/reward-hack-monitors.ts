import { type Given, integer, number, options } from '@posttrain/interfaces';
import type { Metrics } from '@posttrain/training';
import type { Annotator } from '../annotator.js';
import { groupsOf, type Rollout, trainedTokens } from '../rollout.js';

const monitorOptions = options('rewardHackMonitors', {
  /** Steps of a window: what a step is compared with, and what trends are of. Default 5. */
  window: integer({ default: 5, min: 2 }),
  /** Alarm where the KL to the reference (nats a token) speeds up by more than this from window to window. Default 0.02. */
  klAcceleration: number({ default: 0.02, min: 0 }),
  /** Alarm where a window's entropy is less than this part of the first window's. Default 0.5. */
  entropy: number({ default: 0.5, min: 0 }),
  /** Alarm where advantages are so far from those of the first window (Wasserstein-1, in units of its standard deviation). Default 0.5. */
  advantageDrift: number({ default: 0.5, min: 0 }),
  /** Alarm where one reward is more than this part of all, where there are several. Default 0.8. */
  rewardShare: number({ default: 0.8, min: 0, max: 1 }),
  /** Alarm where a window's completions are so many times as long as the first window's, or as short. Default 1.5. */
  lengthDrift: number({ default: 1.5, min: 1 }),
  /** Alarm where more than this part of a window's groups have rewards without spread. Default 0.5. */
  groupCollapse: number({ default: 0.5, min: 0, max: 1 }),
});
/** Options of `rewardHackMonitors`. */
export type RewardHackMonitorsOptions = Given<typeof monitorOptions>;

/** What a step looked like. */
interface Seen {
  /** Nats a token; undefined where nothing says what the reference thinks. */
  readonly kl: number | undefined;
  readonly entropy: number;
  readonly length: number;
  readonly share: number | undefined;
  readonly collapsed: number;
}

interface MonitorState {
  readonly steps: readonly Seen[];
  /** Advantages of the first window, sorted. */
  readonly baseline: readonly number[];
}

/**
 * Signals of reward hacking in what a run logs anyway, an annotator that changes nothing. Windows are means over `window` steps; the first of the run is
 * what later ones are compared with. Logged when they can be told, beside `hack/alarms`, how many are beyond their limit in this step:
 *
 * - `hack/kl_acceleration`: the second difference of the last three windows' mean log π_old - log π_ref of sampled tokens, nats a token
 * - `hack/entropy_ratio`: the last window's mean -log π_old of sampled tokens (an estimate of the entropy), by the first's
 * - `hack/advantage_drift`: Wasserstein-1 between this step's advantages and the first window's, by the latter's standard deviation
 * - `hack/reward_share`: the largest |mean reward| by the sum of all, over the last window
 * - `hack/length_ratio`: the last window's mean length in tokens, by the first's
 * - `hack/group_collapse`: the share of groups without spread in the last window
 *
 * They see what changes, not why: a policy that learns the task as it was meant moves in the same ways. Where it was measured (docs/rl/pipelines.md), and
 * in the reports of who proposed them, they are of use for an audit afterwards and give no reliable early warning.
 *
 * @throws OptionError
 */
export function rewardHackMonitors(given: RewardHackMonitorsOptions = {}): Annotator {
  const settings = monitorOptions.read(given);
  const { window } = settings;
  let steps: Seen[] = [];
  let baseline: number[] = [];
  return {
    name: 'reward-hack-monitors',
    settings: monitorOptions.settings(given),
    gives: [],
    annotate: async (rollouts) => rollouts,
    async learn(rollouts, advantages): Promise<Metrics> {
      if (rollouts.length === 0) return {};
      const present = rollouts.flatMap((rollout, i) => meanAdvantage(rollout, advantages[i]!));
      const isFirst = steps.length < window;
      if (isFirst) baseline = [...baseline, ...present].sort((a, b) => a - b);
      // The first window is kept for good; of the others, those that a trend is of.
      steps = [...steps.slice(0, window), ...steps.slice(window).slice(1 - 3 * window), seenOf(rollouts)];
      const metrics: Record<string, number> = {};
      const alarms: boolean[] = [];
      const say = (name: string, value: number | undefined, isAlarming: (value: number) => boolean) => {
        if (value === undefined || !Number.isFinite(value)) return;
        metrics[`hack/${name}`] = value;
        alarms.push(isAlarming(value));
      };
      const mean = (key: keyof Seen, back = 0, of = steps) => {
        const values = of.slice(of.length - (back + 1) * window, of.length - back * window).map((one) => one[key]);
        return values.length < window || values.includes(undefined) ? Number.NaN : meanOf(values as number[]);
      };
      const first = (key: keyof Seen) => mean(key, 0, steps.slice(0, window));
      const recent = steps.length >= 3 * window;
      say(
        'kl_acceleration',
        recent ? mean('kl') - 2 * mean('kl', 1) + mean('kl', 2) : undefined,
        (x) => x > settings.klAcceleration,
      );
      say('entropy_ratio', mean('entropy') / first('entropy'), (x) => x < settings.entropy);
      const spread = deviationOf(baseline);
      const drift = isFirst || spread === 0 ? undefined : wasserstein(present, baseline) / spread;
      say('advantage_drift', drift, (x) => x > settings.advantageDrift);
      say('reward_share', mean('share'), (x) => x > settings.rewardShare);
      const { lengthDrift } = settings;
      say('length_ratio', mean('length') / first('length'), (x) => x > lengthDrift || x < 1 / lengthDrift);
      say('group_collapse', mean('collapsed'), (x) => x > settings.groupCollapse);
      return { ...metrics, 'hack/alarms': alarms.filter(Boolean).length };
    },
    state: (): MonitorState => ({ steps: [...steps], baseline: [...baseline] }),
    load(state) {
      const saved = state as MonitorState;
      [steps, baseline] = [[...saved.steps], [...saved.baseline]];
    },
  };
}

function seenOf(rollouts: readonly Rollout[]): Seen {
  const sums = { tokens: 0, surprise: 0, apart: 0 };
  for (const rollout of rollouts) {
    const { oldLogProbs, referenceLogProbs } = rollout;
    trainedTokens(rollout).forEach((isTrained, t) => {
      if (!isTrained) return;
      sums.tokens++;
      sums.surprise -= oldLogProbs[t]!;
      sums.apart += oldLogProbs[t]! - (referenceLogProbs?.[t] ?? Number.NaN);
    });
  }
  const names = Object.keys(rollouts[0]?.rewards ?? {});
  const sizes = names.map((name) => Math.abs(meanOf(rollouts.map(({ rewards }) => rewards?.[name] ?? 0))));
  const total = sizes.reduce((a, b) => a + b, 0);
  const groups = groupsOf(rollouts).map((group) => group.flatMap(({ reward }) => reward ?? []));
  return {
    kl: Number.isNaN(sums.apart) ? undefined : sums.apart / sums.tokens,
    entropy: sums.surprise / sums.tokens,
    length: sums.tokens / rollouts.length,
    share: names.length < 2 || total === 0 ? undefined : Math.max(...sizes) / total,
    collapsed: meanOf(groups.map((rewards) => Number(Math.max(...rewards) - Math.min(...rewards) < 1e-8))),
  };
}

/** The mean over trained tokens, none where nothing is trained. */
function meanAdvantage(rollout: Rollout, advantage: number | ArrayLike<number>): number[] {
  if (typeof advantage === 'number') return [advantage];
  const trained = trainedTokens(rollout).flatMap((isTrained, t) => (isTrained ? [advantage[t]!] : []));
  return trained.length === 0 ? [] : [meanOf(trained)];
}

/** W1 of two samples: ∫ |F(x) - G(x)| dx. @param sorted one of them, in order */
function wasserstein(sample: readonly number[], sorted: readonly number[]): number {
  const other = [...sample].sort((a, b) => a - b);
  const edges = [...sorted, ...other].sort((a, b) => a - b);
  let [i, j, sum] = [0, 0, 0];
  for (let k = 0; k + 1 < edges.length; k++) {
    while (i < sorted.length && sorted[i]! <= edges[k]!) i++;
    while (j < other.length && other[j]! <= edges[k]!) j++;
    sum += Math.abs(i / sorted.length - j / other.length) * (edges[k + 1]! - edges[k]!);
  }
  return sum;
}

const meanOf = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

function deviationOf(values: readonly number[]): number {
  const mean = meanOf(values);
  return Math.sqrt(meanOf(values.map((value) => (value - mean) ** 2)));
}
