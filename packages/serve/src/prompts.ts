import { invalidField } from './api-error.js';
import { contextLengthError } from './chat-turn.js';
import type { Fields } from './fields.js';
import { checkPromptBytes } from './prompt-bytes.js';
import type { RequestContext } from './run-completions.js';
import type { ServedModel } from './served-model.js';
import { Turns } from './turns.js';

/**
 * The `prompt` of a text completion as token ids: a text, a list of texts, token ids, or a list of lists of them. Ids are
 * taken as they are: nothing is put before them.
 *
 * @throws ApiError that names the prompt and the place of what is no token of the model
 */
export async function promptsOf(
  fields: Fields,
  model: ServedModel,
  most: number,
  { maxPromptBytes, signal }: RequestContext,
): Promise<(readonly number[])[]> {
  const value = fields.required('prompt', fields.get('prompt'));
  const isOne = typeof value === 'string' || (Array.isArray(value) && typeof value[0] === 'number');
  const list: readonly unknown[] = isOne || !Array.isArray(value) ? [value] : value;
  if (list.length === 0) throw invalidField('prompt', 'must not be an empty list.', 'empty_array');
  if (list.length > most) throw invalidField('prompt', `at most ${most} completions at once; there are more prompts.`);
  const turns = new Turns();
  const prompts: (readonly number[])[] = [];
  for (const [i, prompt] of list.entries()) {
    const param = isOne ? 'prompt' : `prompt[${i}]`;
    if (typeof prompt === 'string') checkPromptBytes(model, Buffer.byteLength(prompt), 'prompt', maxPromptBytes);
    const ids =
      typeof prompt === 'string'
        ? await model.tokenize(prompt, { addSpecialTokens: true, signal })
        : tokenIdsOf(prompt, model, param);
    if (ids.length === 0) throw invalidField('prompt', 'has no tokens.', 'empty_prompt');
    if (ids.length >= model.contextLength) throw contextLengthError(model, ids.length, 'prompt');
    prompts.push(ids);
    // Many short ones take as long as a long one.
    await turns.next();
  }
  return prompts;
}

function tokenIdsOf(prompt: unknown, model: ServedModel, param: string): readonly number[] {
  if (!Array.isArray(prompt)) {
    throw invalidField(param, 'expected text, a list of texts, or token ids of the model.', 'invalid_type');
  }
  // Millions of ids are not looked at one by one.
  if (prompt.length >= model.contextLength) throw contextLengthError(model, prompt.length, 'prompt');
  const isId = (id: unknown) => Number.isInteger(id) && (id as number) >= 0 && (id as number) < model.vocabularySize;
  const wrong = prompt.findIndex((id) => !isId(id));
  if (wrong < 0) return prompt;
  const shown = String(JSON.stringify(prompt[wrong])).slice(0, 40);
  const problem = `expected token ids of the model, 0 to ${model.vocabularySize - 1}, not ${shown}.`;
  throw invalidField(`${param}[${wrong}]`, problem, 'invalid_type');
}
