import { assertKnownOptions, type DecisiveSettings, PosttrainError, settingsOf } from '@posttrain/interfaces';
import type { Tensor } from '../tensor.js';
import { mapNamed, type Named, type Optimizer, type ParameterFilter } from './optimizer.js';

/** Parameters that are updated alike. Weight decay and the other numbers of a rule are its optimizer's. */
export interface ParameterGroup {
  /** Which parameters: a pattern that matches somewhere in the name, or a function. Left out: all that are left. */
  readonly match?: RegExp | ParameterFilter;
  readonly optimizer: Optimizer<object>;
  /** The group's learning rate as a multiple of the one given to `update`. Default 1. */
  readonly learningRateFactor?: number;
}

/** The state of `parameterGroups`: that of each group. */
export interface ParameterGroupsState {
  /** The state of each group's optimizer, in the order of the groups. */
  readonly groups: readonly object[];
}

/**
 * Several optimizers as one: every parameter is updated by the first group that matches it.
 *
 * @throws PosttrainError when a parameter is in no group, or what a group matches does not exist
 */
export function parameterGroups(groups: readonly ParameterGroup[]): Optimizer<ParameterGroupsState> {
  for (const group of groups) {
    assertKnownOptions('parameterGroups', group, ['match', 'optimizer', 'learningRateFactor']);
  }
  const split = (named: Named, parameters: Named): Named[] => {
    const parts: Record<string, Tensor>[] = groups.map(() => ({}));
    for (const [name, tensor] of Object.entries(named)) {
      const index = groups.findIndex(({ match }) => matches(match, name, parameters[name]!));
      const part = parts[index];
      if (!part)
        throw new PosttrainError('PARAMETER_GROUPS', `parameter ${name} is in no group; add one without match`);
      part[name] = tensor;
    }
    return parts;
  };
  return {
    name: groups.map(({ optimizer }) => optimizer.name).join('+'),
    settings: settingsOf(
      groups.map(({ match, optimizer, learningRateFactor = 1 }) => ({
        match: match instanceof RegExp ? String(match) : match,
        optimizer,
        learningRateFactor,
      })),
    ) as DecisiveSettings,
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
      return { groups: groups.map(({ optimizer }, i) => optimizer.init(parts[i]!)) };
    },
    update(parameters, gradients, state, learningRate) {
      const [parts, partsOfGradients] = [split(parameters, parameters), split(gradients, parameters)];
      const results = groups.map(({ optimizer, learningRateFactor = 1 }, i) => {
        const rate = learningRateFactor === 1 ? learningRate : learningRate.mul(learningRateFactor);
        return optimizer.update(parts[i]!, partsOfGradients[i]!, state.groups[i]!, rate);
      });
      const updated: Named = Object.assign({}, ...results.map((result) => result.parameters));
      return {
        // In the order that they came in.
        parameters: mapNamed(parameters, (_, name) => updated[name]!),
        state: { groups: results.map((result) => result.state) },
      };
    },
    refresh(gradients, state, step) {
      // A gradient has the rank and shape of its parameter, which is all that a filter may look at.
      const parts = split(gradients, gradients);
      const pending = groups.map(({ optimizer }, i) => optimizer.refresh?.(parts[i]!, state.groups[i]!, step));
      if (pending.every((one) => one === undefined)) return undefined;
      return Promise.all(pending.map(async (one, i) => (await one) ?? state.groups[i]!)).then((all) => ({
        groups: all,
      }));
    },
  };
}

function matches(match: ParameterGroup['match'], name: string, parameter: Tensor): boolean {
  if (match === undefined) return true;
  if (typeof match === 'function') return match(name, parameter);
  // A global pattern would remember where it stopped.
  return new RegExp(match.source, match.flags.replace(/[gy]/g, '')).test(name);
}
