import { type Given, options } from '@posttrain/interfaces';
import { dynamicsShape, type InContextDynamics, inContextDynamics } from './in-context-dynamics.js';
import { standardized } from './principal-components.js';

const viclOptions = options('vicl', dynamicsShape);
/** Options of `vicl`. */
export type ViclOptions = Given<typeof viclOptions>;

/**
 * vICL (arXiv 2410.11711, §3.1): every dimension of the rows is a series of its own, which the model of series goes on with as if the others were not
 * there. Actions are not rows' business; what is predicted is what has happened under whoever acted.
 *
 * @throws OptionError
 */
export function vicl(given: ViclOptions): InContextDynamics {
  return inContextDynamics('vicl', viclOptions.read(given), standardized);
}
