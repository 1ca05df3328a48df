import { type GenerationMarks, JinjaError, Template } from '@posttrain/interfaces/jinja';
import { ChatTemplateError } from './errors.js';

/** Whether a template marks what the assistant says with `{% generation %}` blocks. */
export function hasGenerationMarkers(template: string): boolean {
  return /\{%[-+]?\s*generation\s*[-+]?%\}/.test(template);
}

/** Compiled templates by their text, the one used last at the end: a conversation after another has the same. */
const compiled = new Map<string, Template>();
const MOST_COMPILED = 32;

function compile(source: string): Template {
  const template = compiled.get(source) ?? new Template(source);
  compiled.delete(source);
  compiled.set(source, template);
  if (compiled.size > MOST_COMPILED) compiled.delete(compiled.keys().next().value!);
  return template;
}

/**
 * Renders a chat template as `transformers` does.
 *
 * @param marks put around what each `{% generation %}` block renders. Default: nothing
 * @throws ChatTemplateError
 */
export function renderJinja(
  template: string,
  variables: Readonly<Record<string, unknown>>,
  now: Date,
  marks?: GenerationMarks,
): string {
  try {
    return compile(template).render(variables, { now, marks });
  } catch (cause) {
    if (!(cause instanceof JinjaError)) throw cause;
    const what = cause.kind === 'raised' ? 'refused the conversation' : 'failed to render';
    throw new ChatTemplateError(`${what}: ${cause.kind === 'raised' ? cause.problem : cause.message}`, { cause });
  }
}
