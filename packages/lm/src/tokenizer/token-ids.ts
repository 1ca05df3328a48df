import { assertArgument, PosttrainError } from '@posttrain/interfaces';

/** A number that is no token id where one is needed. */
export class TokenIdError extends PosttrainError {
  constructor(id: unknown, where: string, vocabSize: number) {
    super('TOKEN_ID', `${where}: ${named(id)} is no token id; ids are whole numbers from 0 to ${vocabSize - 1}.`);
  }
}

function named(id: unknown): string {
  if (typeof id === 'string') return JSON.stringify(id);
  return typeof id === 'object' && id !== null ? 'an object' : String(id);
}

/**
 * Refuses what is no id of a vocabulary: negative numbers (padding and masks such as -100), fractions, NaN, ids beyond it.
 *
 * @param vocabSize the number of ids, or what has it: a tokenizer, the configuration of a model
 * @param where whose ids they are, for the error: "row 3", say
 * @throws TokenIdError that names the id and its position
 */
export function assertTokenIds(
  vocabSize: number | { readonly vocabSize: number },
  ids: ArrayLike<number>,
  where: string,
): void {
  const isList = Array.isArray(ids) || ArrayBuffer.isView(ids);
  assertArgument(where, 'ids', ids, isList, 'a list of token ids');
  const size = typeof vocabSize === 'number' ? vocabSize : vocabSize.vocabSize;
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i]!;
    if (!(Number.isInteger(id) && id >= 0 && id < size)) throw new TokenIdError(id, `${where}, position ${i}`, size);
  }
}
