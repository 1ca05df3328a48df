import { showValue } from '@posttrain/interfaces';
import { Template } from '@posttrain/interfaces/jinja';
import { literalEval } from '../python/expression.js';
import { isDigits } from '../python/text.js';
import { type Doc, type LmEvalField, LmEvalFunction, type LmEvalTaskConfig, taskError } from './config.js';

/** What stands for `!function file.name`, by that name. */
export type LmEvalFunctions = Readonly<Record<string, (...args: never[]) => unknown>>;

/** The environment of lm-evaluation-harness: Jinja2's own white space, a last line end that stays, strict undefined values. */
const ENVIRONMENT = { trimBlocks: false, lstripBlocks: false, keepTrailingNewline: true, strict: true } as const;

/** Reads the fields of a task from its rows, as lm-evaluation-harness does: a column by its name, else a Jinja template. */
export class Fields {
  readonly #config: LmEvalTaskConfig;
  readonly #columns: ReadonlySet<string>;
  readonly #functions: LmEvalFunctions;
  readonly #templates = new Map<string, Template>();
  /** What `strftime_now` says; tasks do not ask. */
  readonly #now = new Date(0);

  constructor(config: LmEvalTaskConfig, columns: ReadonlySet<string>, functions: LmEvalFunctions) {
    this.#config = config;
    this.#columns = columns;
    this.#functions = functions;
  }

  render(template: string, doc: Doc): string {
    const compiled = this.#templates.get(template) ?? new Template(template, ENVIRONMENT);
    this.#templates.set(template, compiled);
    return compiled.render(doc, { now: this.#now });
  }

  /** The function that stands for one of Python's. @throws EvaluationError `LM_EVAL_TASK` where it is not given */
  function<T>({ name }: LmEvalFunction, key: string): (...args: readonly unknown[]) => T {
    const found = Object.hasOwn(this.#functions, name) ? this.#functions[name] : undefined;
    if (typeof found === 'function') return found as unknown as (...args: readonly unknown[]) => T;
    throw taskError(
      this.#config,
      `${key} is the Python function ${name}, which is not run. Give what it does: functions: { '${name}': (…) => … }.`,
    );
  }

  /** `doc_to_text`: a text, the index of a choice, or what a function says. */
  text(doc: Doc, field: LmEvalField | undefined = this.#config.doc_to_text): unknown {
    return this.#read(doc, field, 'doc_to_text', (text) => text);
  }

  /** `doc_to_target`: a text, the index of a choice, or a list of either. */
  target(doc: Doc, field: LmEvalField | undefined = this.#config.doc_to_target): unknown {
    return this.#read(doc, field, 'doc_to_target', (text) => {
      if (text.length < 2 || !text.startsWith('[') || !text.endsWith(']')) return text;
      try {
        return literalEval(text);
      } catch {
        return text;
      }
    });
  }

  /** `doc_to_choice`. @throws EvaluationError `LM_EVAL_TASK` unless it is a list of texts */
  choices(doc: Doc, field: LmEvalField | undefined = this.#config.doc_to_choice): readonly string[] {
    const choices = this.#choices(doc, field);
    if (Array.isArray(choices) && choices.length > 0 && choices.every((choice) => typeof choice === 'string'))
      return choices;
    throw taskError(this.#config, `doc_to_choice gives ${showValue(choices)}; it must be a list of texts.`);
  }

  /** `gen_prefix`; undefined where there is none. */
  prefix(doc: Doc): string | undefined {
    const { gen_prefix: field } = this.#config;
    if (field === undefined) return undefined;
    const prefix = this.#columns.has(field) ? doc[field] : this.render(field, doc);
    if (typeof prefix === 'string') return prefix;
    throw taskError(this.#config, `gen_prefix gives ${showValue(prefix)}; it must be a text.`);
  }

  #choices(doc: Doc, field: LmEvalField | undefined): unknown {
    if (field instanceof LmEvalFunction) return this.function(field, 'doc_to_choice')(doc);
    if (typeof field === 'string') return this.#columns.has(field) ? doc[field] : literalEval(this.render(field, doc));
    return Array.isArray(field) || field === undefined ? field : Object.values(field);
  }

  #read(doc: Doc, field: LmEvalField | undefined, key: string, ofText: (text: string) => unknown): unknown {
    if (field instanceof LmEvalFunction) return this.function(field, key)(doc);
    if (typeof field === 'number' || Array.isArray(field)) return field;
    if (typeof field !== 'string')
      throw taskError(this.#config, `${key} is ${showValue(field)}; it must be a column, a template or a number.`);
    if (this.#columns.has(field)) return doc[field];
    const text = this.render(field, doc);
    return isDigits(text) && this.#config.doc_to_choice !== undefined ? Number(text) : ofText(text);
  }
}
