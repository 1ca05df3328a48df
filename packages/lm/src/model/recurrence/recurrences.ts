import type { Tensor } from '@posttrain/core-tensor';
import type { HiddenActivation, Recurrence } from '../../config/index.js';
import type { Projection } from '../decoder-layers.js';
import type { BoundLayers, ForwardInput, ParameterInfo } from '../family.js';
import { gatedDelta, gatedDeltaParameters, gatedDeltaProjections, gatedDeltaState } from './gated-delta.js';
import type { StateShape } from './layer-state.js';
import { mamba2, mamba2Parameters, mamba2Projections, mamba2State, type RecurrencePlace } from './mamba2.js';

// Whichever recurrence a config says.

/** The linear layers of a block's recurrence over states of `width` components. */
export const recurrenceProjections = (width: number, own: Recurrence, block: string): Projection[] =>
  own.kind === 'mamba2' ? mamba2Projections(width, own, block) : gatedDeltaProjections(width, own, block);

/** Its other parameters. */
export const recurrenceParameters = (own: Recurrence, block: string): ParameterInfo[] =>
  own.kind === 'mamba2' ? mamba2Parameters(own, block) : gatedDeltaParameters(own, block);

/** What a row's state is. */
export const recurrenceState = (own: Recurrence): StateShape =>
  own.kind === 'mamba2' ? mamba2State(own) : gatedDeltaState(own);

/** x [b, s, width] → [b, s, width]. */
export const recurrence = (
  own: Recurrence,
  act: HiddenActivation,
  layers: BoundLayers,
  input: ForwardInput,
  x: Tensor,
  place: RecurrencePlace,
): Tensor =>
  own.kind === 'mamba2' ? mamba2(own, act, layers, input, x, place) : gatedDelta(own, act, layers, input, x, place);
