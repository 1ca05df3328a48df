import type { Key } from '@posttrain/core-tensor';
import {
  custom,
  integer,
  number,
  OptionError,
  type Options,
  type PairJudge,
  PosttrainError,
  type Read,
} from '@posttrain/interfaces';
import type { CausalLM } from '@posttrain/lm';
import {
  collectRows,
  contentHash,
  isRows,
  type Metrics,
  ROWS,
  RowOrder,
  type Rows,
  rowsHint,
  type UncheckedRows,
} from '@posttrain/training';
import type { PromptRow, Rewards } from '../rewards/reward.js';
import {
  isRewards,
  REWARDS,
  refuseUnscorable,
  rewardSettings,
  weightedRewardsOf,
} from '../rewards/score-completions.js';
import { type SingleTurnOptions, singleTurn } from '../rollout/single-turn.js';
import type { SampledRollout } from '../rollout.js';
import { samplingOf, samplingShape, scoringOption } from './policy-options.js';
import type { PreferenceRequest, PreferenceSource } from './preference-source.js';
import { checkPrompts } from './prompts.js';
import { scoreRollouts } from './rollouts.js';

/** Options of a source of preferences that samples completions of prompts. */
export const promptsShape = {
  /** The prompts; further columns reach rewards and judge. Every epoch has an order of its own. */
  rows: custom<Rows<PromptRow> | UncheckedRows>()(ROWS, isRows, { decisive: false, hint: rowsHint }),
  /** Most tokens of a completion; TRL's `max_new_tokens`. With the longest prompt it must fit into `maxLength`. Default 512. */
  maxCompletionLength: integer({ default: 512, min: 1 }),
  ...samplingShape,
  /** Memory only: completions decoded together. Default 64. */
  maxBatch: integer({ default: 64, min: 1, decisive: false }),
};

const isJudge = (value: unknown): boolean => typeof (value as Partial<PairJudge> | null)?.compare === 'function';

/** Options of one that says which of two completions is better. */
export const judgedShape = {
  ...promptsShape,
  /** What scores completions: the better of two is chosen. TRL's `reward_funcs`. */
  rewards: custom<Rewards<PromptRow>>()(REWARDS, isRewards, { optional: true, settings: rewardSettings }),
  /** Or what compares two completions. It sees them in a random order. */
  judge: custom<PairJudge>()('a judge of pairs, with compare', isJudge, {
    optional: true,
    settings: ({ name }) => name,
  }),
  /** What a completion that reaches the limit loses of its score. Default: nothing. */
  missingEosPenalty: number({ optional: true, above: 0 }),
  ...scoringOption,
};

/** What a source that compares is given: rewards see the columns of its rows. */
export type JudgedOptions<Given, Row extends PromptRow> = Omit<Given, 'rows' | 'rewards'> & {
  /** The prompts; further columns reach rewards and judge. */
  readonly rows: Rows<Row> | UncheckedRows;
  /** What scores completions: the better of two is chosen. */
  readonly rewards?: Rewards<NoInfer<Row>>;
};

type PromptSettings = Read<Options<typeof promptsShape>>;
type JudgedSettings = Pick<Read<Options<typeof judgedShape>>, 'rewards' | 'judge' | 'missingEosPenalty' | 'scoring'>;

/**
 * What a source that compares is made of: its settings, its prompts, and the members that it has of them.
 *
 * @throws OptionError, also unless there are rewards or a judge
 */
export function judgedSource<Shape extends typeof judgedShape>(declaration: Options<Shape>, given: object) {
  const { where } = declaration;
  const declared = given as Parameters<typeof declaration.read>[0];
  const settings = declaration.read(declared);
  const judgedSettings = settings as JudgedSettings & PromptSettings;
  checkJudged(where, judgedSettings);
  const feed = promptFeed(where, judgedSettings);
  return { settings, feed, members: { settings: declaration.settings(declared), begin: feed.begin } };
}

function checkJudged(where: string, { rewards, judge, missingEosPenalty }: JudgedSettings): void {
  const wrong = (option: string, problem: string) => new OptionError('INVALID_OPTION', where, option, problem);
  if ((rewards === undefined) === (judge === undefined)) {
    throw wrong('rewards', `give rewards or a judge, and not ${rewards ? 'both' : 'none of them'}.`);
  }
  if (judge && missingEosPenalty !== undefined) {
    throw wrong('missingEosPenalty', 'missingEosPenalty is taken off a score, and a judge gives none.');
  }
  if (rewards) weightedRewardsOf(rewards);
}

/** What a batch is drawn from. */
interface Prompts {
  readonly rows: readonly PromptRow[];
  readonly tokens: readonly (readonly number[])[];
  readonly order: RowOrder;
  /** The model that the run began with. */
  readonly model: CausalLM;
}

/** Who says the completions. Default: the policy. */
interface Speaker {
  readonly completionsPerPrompt: number;
  readonly from?: Pick<PreferenceRequest, 'model' | 'adapter'>;
  readonly mix?: SingleTurnOptions['mix'];
  /** Names the random numbers, where a step has several speakers. Default: the step's. */
  readonly key?: Key;
}

/** The prompts of a source of preferences, from which completions are sampled step by step. */
export interface PromptFeed {
  readonly begin: NonNullable<PreferenceSource['begin']>;
  /** What the loss compares the policy with. */
  referenceOf(request: PreferenceRequest): Pick<PreferenceRequest, 'model' | 'adapter'>;
  /** Completions of the prompts of a step, those of one prompt behind each other. */
  sample(request: PreferenceRequest, speaker: Speaker): Promise<readonly SampledRollout[]>;
}

/** @param where names the source in errors */
export function promptFeed(
  where: string,
  settings: PromptSettings & { readonly rewards?: Rewards<PromptRow> | undefined },
): PromptFeed {
  let prompts: Prompts | undefined;
  const begun = (): Prompts => {
    if (prompts) return prompts;
    const code = where.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
    throw new PosttrainError(code, `${where}: begin() was not called before next()`);
  };
  return {
    async begin({ model, adapter, seed, maxLength, ...context }) {
      const { maxCompletionLength, rewards } = settings;
      const { rows } = await collectRows<PromptRow>(where, settings.rows, context);
      if (rewards) refuseUnscorable(where, rewards, rows);
      const tokens = checkPrompts(rows, { model, ...(adapter && { adapter }), maxCompletionLength: 1, ...context });
      const longest = Math.max(...tokens.map((prompt) => prompt.length));
      if (longest + maxCompletionLength > maxLength) {
        const behind = `maxCompletionLength ${maxCompletionLength} behind the longest prompt (${longest} tokens)`;
        const problem = `${behind} does not fit into maxLength ${maxLength}; make it smaller.`;
        throw new OptionError('INVALID_OPTION', where, 'maxCompletionLength', problem);
      }
      prompts = { rows, tokens, order: new RowOrder(rows.length, seed), model };
      return { prompts: contentHash(tokens), columns: contentHash(rows) };
    },
    referenceOf: ({ reference, referenceModel }) => ({ model: referenceModel ?? begun().model, adapter: reference }),
    sample(request, { completionsPerPrompt, from, mix, key = request.key }) {
      const { rows, tokens, order } = begun();
      const { count, step } = request;
      const indices = Array.from({ length: count }, (_, i) => order.at(step * count + i));
      return singleTurn(mix ? { mix } : {}).sample({
        ...{ ...request, ...from, key },
        rows: indices.map((i) => rows[i]!),
        prompts: indices.map((i) => tokens[i]!),
        ...{ completionsPerPrompt, firstGroup: 0, maxBatch: settings.maxBatch, sampling: samplingOf(settings) },
      });
    },
  };
}

/** Of the keys of a step, prompts have those from 0 up; these are of the order in which a judge sees completions, and of a second speaker. */
const JUDGE = 2 ** 32 - 1;
export const SECOND_SPEAKER = 2 ** 32 - 2;

/** Two completions of one prompt. */
export type Couple = readonly [first: SampledRollout, second: SampledRollout];

/** What rewards or a judge say of couples. */
export interface Preferences {
  /** By how much the first is better, or from -1 to 1 of a judge; 0: equally good, null: not said. */
  readonly preferences: readonly (number | null)[];
  /** Of each completion, the first ones and then the second ones; undefined of a judge. */
  readonly scores?: readonly (number | null)[];
  readonly metrics: Metrics;
}

/** Says which of two completions is better. @throws RewardError; what the judge throws */
export const preferencesOf = (
  where: string,
  settings: JudgedSettings,
  couples: readonly Couple[],
  { step, key, signal }: PreferenceRequest,
): Promise<Preferences> =>
  settings.judge
    ? judged(where, settings.judge, couples, key.child(JUDGE), signal)
    : scored(couples, settings, step, signal);

/** Metrics of what was sampled. */
export const completionMetrics = (rollouts: readonly SampledRollout[]): Metrics => ({
  'val/contain_eos_token': meanOf(rollouts.map(({ finishReason }) => (finishReason === 'length' ? 0 : 1))),
  'completions/mean_length': meanOf(rollouts.map(({ completionTokens }) => completionTokens.length)),
});

export const meanOf = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

async function scored(
  couples: readonly Couple[],
  { rewards, scoring = {}, missingEosPenalty: penalty = 0 }: JudgedSettings,
  step: number,
  signal: AbortSignal | undefined,
): Promise<Preferences> {
  const all = await scoreRollouts(couples.flat(), { rewards: rewards!, scoring, step, signal });
  const scores = all.map(({ reward, finishReason }) =>
    reward === null ? null : reward - (finishReason === 'length' ? penalty : 0),
  );
  const preferences = couples.map((_, i) => {
    const [first, second] = [scores[2 * i]!, scores[2 * i + 1]!];
    return first === null || second === null ? null : first - second;
  });
  const known = scores.filter((score) => score !== null);
  const margins = preferences.flatMap((preference) => (preference ? [Math.abs(preference)] : []));
  return {
    preferences,
    scores: [0, 1].flatMap((place) => couples.map((_, i) => scores[2 * i + place]!)),
    metrics: {
      ...(known.length > 0 && { 'objective/scores': meanOf(known) }),
      ...(margins.length > 0 && { 'objective/scores_margin': meanOf(margins) }),
    },
  };
}

async function judged(
  where: string,
  judge: PairJudge,
  couples: readonly Couple[],
  key: Key,
  signal: AbortSignal | undefined,
): Promise<Preferences> {
  const swapped = Array.from(key.uniformHost(couples.length), (x) => x < 0.5);
  const requests = couples.map(([a, b], i) => {
    const [first, second] = swapped[i] ? [b.text, a.text] : [a.text, b.text];
    const { row } = a;
    return { prompt: row.prompt, first, second, row: { ...row }, ...(signal && { signal }) };
  });
  const verdicts = await judge.compare(requests);
  if (verdicts.length !== couples.length) {
    const problem = `the judge ${judge.name} gave ${verdicts.length} verdicts for ${couples.length} pairs`;
    throw new PosttrainError('JUDGE', `${where}: ${problem}`);
  }
  const preferences = verdicts.map(({ winner, preference }, i) => {
    if (winner === null) return null;
    // From -1 to 1, as a probability of 0 to 1.
    const said = preference === undefined ? { first: 1, tie: 0, second: -1 }[winner] : 2 * preference - 1;
    return swapped[i] ? -said : said;
  });
  return { preferences, metrics: {} };
}
