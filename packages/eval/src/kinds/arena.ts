import type { Generator, PairJudge, PairVerdict, SamplingParams } from '@posttrain/interfaces';
import { showValue } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import type { ProblemBase } from '../log/format.js';
import type { Row } from '../task.js';
import {
  hashRequest,
  type KindTask,
  problemSeed,
  recordOf,
  requireList,
  requireMethod,
  type TaskKind,
  untilAborted,
} from '../task-kind.js';
import { judgedInBothOrders, type LoggedSide, scoreOf, sidesOf } from './judged-pairs.js';

/** A battle as it is logged: who, and the judge's verdicts in both orders. */
export interface LoggedBattle {
  readonly a: string;
  readonly b: string;
  /** First with a's completion shown first, then with b's. */
  readonly verdicts: readonly [aFirst: PairVerdict, bFirst: PairVerdict];
  /** 1: a was preferred in both orders; 0: b in both; 0.5: anything else that was said; `null`: a verdict is missing. */
  readonly score: number | null;
}

/** A prompt of an arena as it is logged. */
export interface ArenaProblem extends ProblemBase {
  readonly seed: number;
  /** Name of the model that is evaluated. */
  readonly model: string;
  /** What each player wrote, by name; the model first. */
  readonly completions: Readonly<Record<string, LoggedSide>>;
  /** All pairs of players. */
  readonly battles: readonly LoggedBattle[];
}

/** A model and others in all pairs before a judge. Made by `arena`. */
export interface ArenaTask<R extends Row = Row> extends KindTask<R, Generator, ArenaProblem> {
  readonly type: 'arena';
  /** The other players, which get the same requests. Their names differ from each other's and from the model's. */
  readonly opponents: readonly Generator[];
  readonly judge: PairJudge;
  /** How all draw; the seed is `evaluate`'s. */
  readonly sampling?: Omit<SamplingParams, 'seed'>;
}

/**
 * An arena (Chatbot Arena, arXiv 2403.04132): for every prompt, the model and its `opponents` write, and each pair of them is shown to the judge
 * in both orders, as `pairwise` does. `bradleyTerryRating` and `eloRating` make ratings of the battles.
 */
export const arenaKind: TaskKind<ArenaTask, Generator, ArenaProblem> = {
  type: 'arena',
  keys: ['opponents', 'judge', 'sampling'],
  checkModel: (model, where) => requireMethod(model, 'generate', 'generator', 'LocalGenerator', where),
  check({ opponents, judge }, where) {
    const wrong = (problem: string) => new EvaluationError('BAD_TASK', `${where}: ${problem}`);
    requireList(opponents, 'opponents', 'generate', 'a generator', where);
    if (opponents.length === 0) throw wrong('opponents is empty; an arena needs at least one.');
    const twice = opponents.find(({ name }, i) => opponents.findIndex((it) => it.name === name) < i);
    if (twice) throw wrong(`two opponents are called ${showValue(twice.name)}; names tell players apart.`);
    if (typeof (judge as PairJudge | undefined)?.compare !== 'function')
      throw wrong(`judge is ${showValue(judge)}; it must be an object with a name and compare(requests).`);
  },
  settings: ({ sampling = {}, opponents, judge }) => ({
    sampling,
    opponents: opponents.map(({ name }) => name),
    judge: judge.name,
  }),
  hash: ({ sampling }, { id, prompt }, { seed }) => hashRequest({ prompt, ...sampling, seed: problemSeed(seed, id) }),
  async ask(task, problems, model, context) {
    const begun = performance.now();
    const { signal, seed } = context;
    const players = [model, ...task.opponents];
    if (task.opponents.some(({ name }) => name === model.name)) {
      const rule = 'names tell players apart';
      throw new EvaluationError(
        'BAD_TASK',
        `${task.name}: an opponent is called "${model.name}", as the model; ${rule}.`,
      );
    }
    const written = await Promise.all(
      players.map((player) => untilAborted(() => sidesOf(task, player, problems, context), signal, task.name)),
    );
    const pairs = players.flatMap((_, a) => players.slice(a + 1).map((__, i) => [a, a + 1 + i] as const));
    const shown = problems.flatMap(({ prompt, row }, i) =>
      pairs.map(([a, b]) => ({ prompt, row, first: written[a]![i]!.text, second: written[b]![i]!.text })),
    );
    const verdicts = await judgedInBothOrders(task, shown, signal);
    const seconds = (performance.now() - begun) / 1000 / problems.length;
    return problems.map((problem, i) => ({
      ...recordOf(problem, arenaKind.hash(task, problem, context), seconds),
      seed: problemSeed(seed, problem.id),
      model: model.name,
      completions: Object.fromEntries(players.map(({ name }, p) => [name, written[p]![i]!])),
      battles: pairs.map(([a, b], p): LoggedBattle => {
        const both = verdicts[i * pairs.length + p]!;
        return { a: players[a]!.name, b: players[b]!.name, verdicts: both, score: scoreOf(both) };
      }),
    }));
  },
  seen: (record) => record,
  usage: ({ completions, model }) => {
    const { usage } = completions[model]!;
    return usage ? [usage] : [];
  },
  verdicts: ({ battles }) => battles.flatMap(({ verdicts }) => verdicts),
  warnings(records) {
    const battles = records.flatMap((record) => record.battles);
    const missing = battles.filter(({ score }) => score === null).length;
    return missing === 0 ? [] : [`The judge did not say which is better in ${missing} of ${battles.length} battles.`];
  },
};

/** An arena of the keys that all tasks have, `opponents`, `judge` and `sampling`. */
export function arena<R extends Row>(task: Omit<ArenaTask<R>, 'type' | 'kind'>): ArenaTask<R> {
  return { ...task, type: 'arena', kind: arenaKind };
}
