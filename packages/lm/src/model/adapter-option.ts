import { custom } from '@posttrain/interfaces';
import type { Adapter, RowInputs } from './adapter.js';

const isAdapter = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && 'hooks' in value && typeof value.hooks === 'function';

/** The option `adapter` of a function: applied beside the weights. Default: none. */
export const adapterOption = custom<Adapter>()('an adapter', isAdapter, { optional: true });

/** The option `adapter` of what lives longer than a training step: asked before every call. Default: none. */
export const askedAdapterOption = custom<() => Adapter>()(
  'a function that gives the adapter: () => adapter',
  (value) => typeof value === 'function',
  { optional: true },
);

/** What the adapter reads of each sequence, beside what it finds in the tokens. Default: nothing. */
export const adapterInputsOption = custom<readonly RowInputs[]>()(
  'a list, an object of whole numbers for each sequence',
  Array.isArray,
  { optional: true },
);
