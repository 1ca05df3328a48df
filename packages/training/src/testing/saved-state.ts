import { copyState, joinState, splitState } from '../run/stored-state.js';

/** A state as a resumed run has it, whose checkpoint kept its JSON in a text and its arrays in a file. */
export async function savedState(state: unknown): Promise<unknown> {
  const { json, tensors } = splitState(await copyState(state, 'the state'));
  return joinState({ json: JSON.parse(JSON.stringify(json)), tensors });
}
