import { type Given, integer, options } from '@posttrain/interfaces';
import { dynamicsShape, type InContextDynamics, inContextDynamics } from './in-context-dynamics.js';
import { type FeatureMap, principalComponents, standardized } from './principal-components.js';

const diclOptions = options('dicl', {
  ...dynamicsShape,
  /** Directions that are kept: c of the paper. Default: as many as the rows have features. */
  components: integer({ min: 1, optional: true }),
});
/** Options of `dicl`. */
export type DiclOptions = Given<typeof diclOptions>;

/**
 * DICL (arXiv 2410.11711, §3.2): as vICL, but of the principal components of the context in the place of its dimensions: φ standardises the features and
 * turns them to where they do not correlate, every component is predicted by itself, and φ⁻¹ leads back. Rows of states make it DICL-(s); rows of states
 * and actions, the action being what was done in the state, DICL-(s, a), whose first features are the predicted states (`stateActionRows`).
 *
 * @throws OptionError; SeriesError at the first rows that have fewer features than `components`
 */
export function dicl(given: DiclOptions): InContextDynamics {
  const { components, ...settings } = diclOptions.read(given);
  return inContextDynamics('dicl', settings, (rows): FeatureMap => {
    const scale = standardized(rows);
    const turn = principalComponents(
      rows.map((row) => scale.transform(row)),
      components === undefined ? {} : { components },
    );
    return {
      components: turn.components,
      transform: (row) => turn.transform(scale.transform(row)),
      inverse: (own) => scale.inverse(turn.inverse(own)),
    };
  });
}

/**
 * Rows [n][states + actions] for DICL-(s, a): what was seen before each action, and the action.
 *
 * @param actions vectors, or numbers, one for each observation; those beyond the last action are left out
 */
export const stateActionRows = (
  observations: readonly ArrayLike<number>[],
  actions: readonly (number | ArrayLike<number>)[],
): number[][] =>
  actions.map((action, t) => [
    ...Array.from(observations[t]!),
    ...(typeof action === 'number' ? [action] : Array.from(action)),
  ]);
