import type { Generator } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';

/** What a map has under a key. @throws EvaluationError `BAD_ROW` naming `where` and `what` */
export function foundIn<T>(where: string, map: ReadonlyMap<string, T>, key: string, what: string): T {
  const value = map.get(key);
  if (value === undefined) throw new EvaluationError('BAD_ROW', `${where}: there is no ${what} "${key}".`);
  return value;
}

/**
 * A prompt of a benchmark's judge with its values in the places of `{name}`, as Python's `str.format` fills them: `{{` and `}}` are braces.
 * @throws EvaluationError `BAD_ROW` for a name without a value
 */
export function filledTemplate(where: string, template: string, values: Readonly<Record<string, string>>): string {
  const known = new Map(Object.entries(values));
  return template.replace(/\{\{|\}\}|\{(\w+)\}/g, (all, key?: string) =>
    key === undefined ? all[0]! : foundIn(where, known, key, 'value for the prompt’s'),
  );
}

/**
 * What a judge says to each prompt, greedily.
 * @throws EvaluationError `BAD_RESPONSE` for a judge that leaves prompts out
 */
export async function judgedTexts(
  judge: Generator,
  asked: readonly { readonly system?: string; readonly user: string }[],
  maxTokens: number,
): Promise<string[]> {
  const answers = await judge.generate(
    asked.map(({ system, user }) => ({
      prompt: [
        ...(system === undefined ? [] : [{ role: 'system' as const, content: system }]),
        { role: 'user' as const, content: user },
      ],
      maxTokens,
      temperature: 0,
    })),
  );
  return asked.map((_, i) => firstText(judge, answers[i]?.[0]?.text));
}

/** A text that a generator must have given. @throws EvaluationError `BAD_RESPONSE` */
export function firstText({ name }: Generator, text: string | undefined): string {
  if (text !== undefined) return text;
  throw new EvaluationError('BAD_RESPONSE', `${name} gave fewer answers than it was asked for.`);
}
