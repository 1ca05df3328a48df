import { Environment, Interpreter, parse, tokenize } from '@huggingface/jinja';
import { isPosttrainError } from '@posttrain/interfaces';
import { ChatTemplateError } from './errors.js';
import { strftime } from './strftime.js';

/** Two strings put around what a `{% generation %}` block renders. */
export interface GenerationMarks {
  readonly open: string;
  readonly close: string;
}

const GENERATION_TAG = /([ \t]*)\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}(\n?)/g;

/** Whether a template marks what the assistant says with `{% generation %}` blocks. */
export function hasGenerationMarkers(template: string): boolean {
  return /\{%[-+]?\s*generation\s*[-+]?%\}/.test(template);
}

/**
 * Renders a chat template in the environment `transformers` gives it: `trim_blocks`, `lstrip_blocks`, loop controls,
 * `raise_exception`, `strftime_now`, `tojson` and the given variables.
 *
 * `{% generation %}` tags, which the Jinja library drops, become expressions that print `marks` (nothing by default),
 * with the white space control of a block tag.
 *
 * @throws ChatTemplateError
 */
export function renderJinja(
  template: string,
  variables: Readonly<Record<string, unknown>>,
  now: Date,
  marks: GenerationMarks = { open: '', close: '' },
): string {
  const globals = {
    true: true,
    false: false,
    none: null,
    True: true,
    False: false,
    None: null,
    range,
    strftime_now: (format: string) => strftime(now, format),
    raise_exception: (message: string) => {
      throw new ChatTemplateError(`refused the conversation: ${message}`);
    },
    ...variables,
  };
  try {
    const program = parse(tokenize(printMarks(template, marks), { lstrip_blocks: true, trim_blocks: true }));
    const environment = new Environment();
    for (const [name, value] of Object.entries(globals)) environment.set(name, value);
    return String(new Interpreter(environment).run(program).value);
  } catch (cause) {
    if (isPosttrainError(cause)) throw cause;
    throw new ChatTemplateError(`failed to render: ${(cause as Error).message}`, { cause });
  }
}

function printMarks(template: string, marks: GenerationMarks): string {
  return template.replace(
    GENERATION_TAG,
    (_, indent: string, left: string, end: string | undefined, right: string, newline: string, offset: number) => {
      const startsLine = offset === 0 || template[offset - 1] === '\n';
      const before = left === '' && startsLine ? '' : indent;
      const after = right === '' ? '' : newline;
      const mark = end === undefined ? marks.open : marks.close;
      return `${before}{{${left === '-' ? '-' : ''} '${mark}' ${right === '-' ? '-' : ''}}}${after}`;
    },
  );
}

function range(start: number, stop?: number, step = 1): number[] {
  const [first, end] = stop === undefined ? [0, start] : [start, stop];
  return Array.from({ length: Math.max(0, Math.ceil((end - first) / step)) }, (_, i) => first + i * step);
}
