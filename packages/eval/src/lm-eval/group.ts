import { showValue } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import type { EvalResult } from '../log/format.js';
import type { LmEvalAggregate, LmEvalGroupConfig, LmEvalTaskConfig } from './config.js';

/** A group of tasks with what is computed over them. */
export interface LmEvalGroup {
  readonly group: string;
  /** Names of all tasks below it. */
  readonly tasks: readonly string[];
  readonly aggregates: readonly LmEvalAggregate[];
}

/** Tasks that a name stands for, and the groups above them, outermost first. */
export interface ResolvedLmEvalTasks {
  readonly tasks: readonly LmEvalTaskConfig[];
  readonly groups: readonly LmEvalGroup[];
}

type Config = LmEvalTaskConfig | LmEvalGroupConfig;
type Overrides = Readonly<Record<string, unknown>>;
const GROUP_KEYS = ['group', 'group_alias', 'task', 'aggregate_metric_list', 'metadata'];
const isGroup = (config: object): config is LmEvalGroupConfig => typeof (config as Overrides).group === 'string';

/**
 * The tasks of a task, a group or a tag, as lm-evaluation-harness finds them: members of a group may be tasks, tags, groups, tasks with keys
 * of their own, and groups written in place; what else stands in a group is put into each of its tasks.
 *
 * @param configs all that may be named (`readLmEvalConfig` of each file)
 * @throws EvaluationError `LM_EVAL_TASK` for a name that is not there, or a group that holds itself
 */
export function resolveLmEvalTasks(name: string, configs: readonly Config[]): ResolvedLmEvalTasks {
  const byName = new Map<string, Config>(
    configs.map((config) => [isGroup(config) ? config.group : (config as LmEvalTaskConfig).task, config]),
  );
  const tagged = (tag: string) =>
    configs.filter((config): config is LmEvalTaskConfig => !isGroup(config) && [config.tag ?? []].flat().includes(tag));
  const wrong = (problem: string) => new EvaluationError('LM_EVAL_TASK', `lm-eval tasks "${name}": ${problem}`);

  const ofConfig = (
    config: Config | Overrides,
    overrides: Overrides,
    within: readonly string[],
  ): ResolvedLmEvalTasks => {
    if (!isGroup(config)) return { tasks: [{ ...config, ...overrides } as LmEvalTaskConfig], groups: [] };
    if (within.includes(config.group)) throw wrong(`the group ${config.group} holds itself.`);
    const merged: Readonly<Record<string, unknown>> = { ...config, ...overrides };
    const passed = Object.fromEntries(Object.entries(merged).filter(([key]) => !GROUP_KEYS.includes(key)));
    const members = [config.task].flat() as readonly (string | Overrides)[];
    const below = members.map((member) => ofMember(member, passed, [...within, config.group]));
    const tasks = below.flatMap((each) => each.tasks);
    const aggregates = [config.aggregate_metric_list ?? []].flat() as readonly LmEvalAggregate[];
    const own: LmEvalGroup = { group: config.group, tasks: tasks.map(({ task }) => task), aggregates };
    return { tasks, groups: [own, ...below.flatMap(({ groups }) => groups)] };
  };
  const ofMember = (
    member: string | Overrides,
    overrides: Overrides,
    within: readonly string[],
  ): ResolvedLmEvalTasks => {
    if (typeof member !== 'string') {
      if (isGroup(member)) return ofConfig(member, overrides, within);
      const { task, ...own } = member;
      const base = byName.get(String(task));
      if (base === undefined && tagged(String(task)).length === 0) return ofConfig(member, overrides, within);
      return ofMember(String(task), { ...own, ...overrides }, within);
    }
    const found = byName.get(member);
    if (found) return ofConfig(found, overrides, within);
    const some = tagged(member);
    if (some.length === 0) throw wrong(`there is no task, group or tag ${showValue(member)}.`);
    return { tasks: some.map((config) => ({ ...config, ...overrides })), groups: [] };
  };
  return ofMember(name, {}, []);
}

/** A metric of a group. */
export interface LmEvalGroupMetric {
  readonly group: string;
  readonly metric: string;
  readonly filter: string;
  readonly value: number;
  /** Pooled over the tasks, √(Σ (nᵢ−1) seᵢ² nᵢ / (Σ nᵢ − k) / Σ nᵢ); `null` where one of them has none. */
  readonly standardError: number | null;
}

/**
 * Metrics of a group from the results of its tasks: the mean over tasks, or over problems with `weight_by_size`, as lm-evaluation-harness has
 * it. A task without the metric is left out.
 *
 * @param results by the names of tasks
 * @throws EvaluationError `LM_EVAL_TASK` for a result that is missing, and an aggregation other than the mean
 */
export function lmEvalGroupMetrics(
  group: LmEvalGroup,
  results: Readonly<Record<string, EvalResult>>,
): LmEvalGroupMetric[] {
  const wrong = (problem: string) => new EvaluationError('LM_EVAL_TASK', `lm-eval group "${group.group}": ${problem}`);
  return group.aggregates.flatMap(
    ({ metric, aggregation = 'mean', weight_by_size: bySize = false, filter_list: filters = 'none' }) => {
      if (aggregation !== 'mean')
        throw wrong(`the aggregation ${showValue(aggregation)} is not carried over; there is mean.`);
      return [filters].flat().flatMap((filter) => {
        const found = group.tasks.flatMap((task) => {
          if (!Object.hasOwn(results, task)) throw wrong(`there is no result of its task "${task}".`);
          const of = results[task]!.metrics.find((each) => each.metric === metric && each.grader === filter);
          return of && of.value !== null ? [{ ...of, value: of.value, size: results[task]!.problems.length }] : [];
        });
        if (found.length === 0) return [];
        const weights = found.map(({ size }) => (bySize ? size : 1));
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        const value = found.reduce((sum, each, i) => sum + each.value * weights[i]!, 0) / total;
        return [{ group: group.group, metric, filter, value, standardError: pooled(found) }];
      });
    },
  );
}

function pooled(parts: readonly { readonly standardError: number | null; readonly size: number }[]): number | null {
  if (parts.some(({ standardError }) => standardError === null)) return null;
  const sizes = parts.reduce((sum, { size }) => sum + size, 0);
  const squares = parts.reduce((sum, { size, standardError }) => sum + (size - 1) * standardError! ** 2 * size, 0);
  return Math.sqrt(squares / (sizes - parts.length) / sizes);
}
