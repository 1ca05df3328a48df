import {
  boolean,
  custom,
  type DecisiveSettings,
  type Given,
  number,
  OptionError,
  options,
  PosttrainError,
  type Read,
  settingsOf,
} from '@posttrain/interfaces';
import { scalar } from '../create.js';
import type { Tensor } from '../tensor.js';
import { clipByGlobalNorm } from './clip.js';
import { mapNamed, type Named, type Optimizer, type ParameterFilter } from './optimizer.js';
import { type Schedule, type ScheduleName, type ScheduleSettings, scheduleByName } from './schedules.js';

/** A schedule of a group by its Hugging Face name, with the length of the run and of its warm-up. */
export type GroupSchedule = {
  readonly name: ScheduleName;
  readonly totalSteps: number;
  readonly warmupSteps?: number;
} & Partial<ScheduleSettings>;

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;

const groupOptions = options('parameterGroups', {
  /** Which parameters: a pattern that matches somewhere in the name, or a function. Left out: all that are left. */
  match: custom<RegExp | ParameterFilter>()(
    'a regular expression or a function of name and parameter',
    (value) => value instanceof RegExp || typeof value === 'function',
    { optional: true, settings: (match) => (match instanceof RegExp ? String(match) : settingsOf(match)) },
  ),
  /** The rule, with its weight decay and other numbers. To be given where the group is not frozen. */
  optimizer: custom<Optimizer<object>>()('an optimizer', (value) => isObject(value) && 'update' in value, {
    optional: true,
  }),
  /** The group's learning rate as a multiple of the one given to `update`. Default 1. */
  learningRateFactor: number({ default: 1, min: 0 }),
  /** Multiplies the rate further, by the number of the update. Default: the rate given to `update` is all there is. */
  schedule: custom<GroupSchedule>()('{ name, totalSteps, … }', (value) => isObject(value) && 'name' in value, {
    optional: true,
  }),
  /** What the group's gradients are multiplied by, before they are clipped: a normaliser of its own. Default 1. */
  gradientFactor: number({ optional: true }),
  /**
   * The group's gradients are scaled down to this norm, as torch's clip_grad_norm_ does with a group's parameters; the
   * trainer's `maxGradNorm` is then of the others. Default: the trainer's counts.
   */
  maxGradNorm: number({ optional: true, above: 0 }),
  /** The parameters stay as they are: no gradient is computed for them and no state kept. Default false. */
  frozen: boolean({ optional: true }),
});
/** Parameters that are updated alike. */
export type ParameterGroup = Given<typeof groupOptions>;

/** The state of `parameterGroups`: that of each group. */
export interface ParameterGroupsState {
  /** The state of each group's optimizer, in the order of the groups. */
  readonly groups: readonly object[];
  /** What the schedules say of the next update, by the number of the group. Absent where no group has one. */
  readonly schedules?: Named;
}

interface Group extends Omit<Read<typeof groupOptions>, 'schedule'> {
  readonly rateAt?: Schedule;
}

/** Reads one group. @throws OptionError */
function groupOf(given: ParameterGroup): Group {
  const { schedule, ...group } = groupOptions.read(given);
  if ((group.optimizer === undefined) !== (group.frozen ?? false)) {
    const what = group.optimizer ? 'given for a group that is frozen' : 'missing';
    const problem = `optimizer is ${what}; a group has one, or is frozen.`;
    throw new OptionError(
      group.optimizer ? 'INVALID_OPTION' : 'MISSING_OPTION',
      'parameterGroups',
      'optimizer',
      problem,
    );
  }
  if (!schedule) return group;
  const { name, ...settings } = schedule;
  return { ...group, rateAt: scheduleByName(name, settings as Parameters<typeof scheduleByName>[1]) };
}

/**
 * Several optimizers as one, as torch's parameter groups: every parameter is updated by the first group that matches
 * it, with that group's rate, schedule, decay and clip, or not at all.
 *
 * @throws OptionError; PosttrainError when a parameter is in no group, or what a group matches does not exist
 */
export function parameterGroups(given: readonly ParameterGroup[]): Optimizer<ParameterGroupsState> {
  const groups = given.map(groupOf);
  const groupAt = (name: string, parameter: Tensor): number => {
    const index = groups.findIndex(({ match }) => matches(match, name, parameter));
    if (index >= 0) return index;
    throw new PosttrainError('PARAMETER_GROUPS', `parameter ${name} is in no group; add one without match`);
  };
  const split = (named: Named, parameters: Named): Named[] => {
    const parts: Record<string, Tensor>[] = groups.map(() => ({}));
    for (const [name, tensor] of Object.entries(named)) parts[groupAt(name, parameters[name]!)]![name] = tensor;
    return parts;
  };
  const scheduled = groups.flatMap(({ rateAt }, i) => (rateAt ? [[String(i), rateAt] as const] : []));
  const schedulesAt = (step: number): Pick<ParameterGroupsState, 'schedules'> =>
    scheduled.length === 0
      ? {}
      : { schedules: Object.fromEntries(scheduled.map(([i, rateAt]) => [i, scalar(rateAt(step))])) };
  return {
    name: groups.map(({ optimizer }) => optimizer?.name ?? 'frozen').join('+'),
    settings: settingsOf(given.map((group) => groupOptions.settings(group))) as DecisiveSettings,
    trains(name, parameter) {
      const { optimizer } = groups[groupAt(name, parameter)]!;
      return optimizer !== undefined && (optimizer.trains?.(name, parameter) ?? true);
    },
    clips(name, parameter) {
      const { optimizer, maxGradNorm } = groups[groupAt(name, parameter)]!;
      return maxGradNorm !== undefined || (optimizer?.clips?.(name, parameter) ?? false);
    },
    init(parameters) {
      const parts = split(parameters, parameters);
      const empty = parts.findIndex((part, i) => groups[i]!.match && Object.keys(part).length === 0);
      if (empty >= 0) {
        const { match } = groups[empty]!;
        const which = match instanceof RegExp ? ` (${match})` : '';
        throw new PosttrainError(
          'PARAMETER_GROUPS',
          `group ${empty}${which} matches no parameter; there are ${Object.keys(parameters).slice(0, 5).join(', ')} …`,
        );
      }
      return { groups: groups.map(({ optimizer }, i) => optimizer?.init(parts[i]!) ?? {}), ...schedulesAt(0) };
    },
    update(parameters, gradients, state, learningRate) {
      const [parts, partsOfGradients] = [split(parameters, parameters), split(gradients, parameters)];
      const results = groups.map((group, i) => {
        const own = state.groups[i]!;
        if (!group.optimizer) return { parameters: parts[i]!, state: own };
        const rate = rateOf(group, learningRate, state.schedules?.[i]);
        return group.optimizer.update(parts[i]!, gradientsOf(group, partsOfGradients[i]!), own, rate);
      });
      const updated: Named = Object.assign({}, ...results.map((result) => result.parameters));
      return {
        // In the order that they came in.
        parameters: mapNamed(parameters, (_, name) => updated[name]!),
        state: { ...state, groups: results.map((result) => result.state) },
      };
    },
    refresh(gradients, state, step) {
      // A gradient has the rank and shape of its parameter, which is all that a filter may look at.
      const parts = split(gradients, gradients);
      const pending = groups.map(({ optimizer }, i) => optimizer?.refresh?.(parts[i]!, state.groups[i]!, step));
      if (scheduled.length === 0 && pending.every((one) => one === undefined)) return undefined;
      return Promise.all(pending.map(async (one, i) => (await one) ?? state.groups[i]!)).then((all) => ({
        groups: all,
        ...schedulesAt(step),
      }));
    },
  };
}

function rateOf({ learningRateFactor }: Group, learningRate: Tensor, scheduled: Tensor | undefined): Tensor {
  const rate = learningRateFactor === 1 ? learningRate : learningRate.mul(learningRateFactor);
  return scheduled ? rate.mul(scheduled) : rate;
}

function gradientsOf({ gradientFactor, maxGradNorm }: Group, gradients: Named): Named {
  const own = gradientFactor === undefined ? gradients : mapNamed(gradients, (g) => g.mul(gradientFactor));
  if (maxGradNorm === undefined || Object.keys(own).length === 0) return own;
  return clipByGlobalNorm(own, maxGradNorm).gradients;
}

function matches(match: ParameterGroup['match'], name: string, parameter: Tensor): boolean {
  if (match === undefined) return true;
  if (typeof match === 'function') return match(name, parameter);
  // A global pattern would remember where it stopped.
  return new RegExp(match.source, match.flags.replace(/[gy]/g, '')).test(name);
}
