import { PosttrainError } from '@posttrain/interfaces';

const SIGNS = /out of memory|bad_alloc|bad allocation|failed to allocate|allocation failed|cannot allocate|ENOMEM/i;

/** What an engine or Node says when memory has run out, as an error that says what to lower; undefined for other errors. */
export function outOfMemory(where: string, cause: unknown): PosttrainError | undefined {
  const texts: string[] = [];
  for (let error = cause; error instanceof Error && texts.length < 8; error = error.cause) texts.push(error.message);
  if (!texts.some((text) => SIGNS.test(text))) return undefined;
  return new PosttrainError(
    'OUT_OF_MEMORY',
    `${where}: memory ran out (${texts[0]}). Lower maxTokensPerPass (where completions are sampled, also maxBatch), turn ` +
      'gradientCheckpointing on, or train an adapter instead of the whole model. The last checkpoint is intact.',
    { cause },
  );
}
