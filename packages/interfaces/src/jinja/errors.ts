import { PosttrainError } from '../errors.js';

const CODES = {
  /** The template is not Jinja. */
  syntax: 'JINJA_SYNTAX',
  /** Python would raise: a wrong type, an undefined value, a missing argument, an unsafe attribute. */
  runtime: 'JINJA_RUNTIME',
  /** Valid in Python, and not rendered here: refused by name rather than rendered otherwise. */
  unsupported: 'JINJA_UNSUPPORTED',
  /** A bound on steps, text, nesting or numbers. */
  limit: 'JINJA_LIMIT',
  /** The template called `raise_exception`. */
  raised: 'JINJA_RAISED',
} as const;

export type JinjaErrorKind = keyof typeof CODES;

/** Why a template was not parsed or not rendered. The message begins with the line, once that is known. */
export class JinjaError extends PosttrainError {
  constructor(
    readonly kind: JinjaErrorKind,
    readonly problem: string,
    /** From 1; undefined where the problem is in the variables. */
    readonly line?: number,
    options?: ErrorOptions,
  ) {
    super(CODES[kind], line === undefined ? problem : `line ${line}: ${problem}`, options);
  }

  at(line: number): JinjaError {
    return this.line === undefined && line > 0 ? new JinjaError(this.kind, this.problem, line, { cause: this }) : this;
  }
}

/** What Python raises as TypeError, ValueError, UndefinedError and their kin. */
export function fail(problem: string): never {
  throw new JinjaError('runtime', problem);
}

/** What Python renders and this interpreter does not. */
export function unsupported(problem: string): never {
  throw new JinjaError('unsupported', problem);
}

export function overLimit(problem: string): never {
  throw new JinjaError('limit', problem);
}
