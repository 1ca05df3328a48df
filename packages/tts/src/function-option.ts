import { custom, type Option, type Prompt } from '@posttrain/interfaces';

const isFunction = (value: unknown): boolean => typeof value === 'function';

/** An option that makes a prompt of what `of` says. */
export const promptOption = <F extends (...given: never[]) => Prompt>(of: string): Option<F, 'required'> =>
  custom<F>()(`a function that makes a prompt of ${of}`, isFunction, {});

/** The same, which may be left out. */
export const optionalPrompt = <F extends (...given: never[]) => Prompt>(of: string): Option<F, 'optional'> =>
  custom<F>()(`a function that makes a prompt of ${of}`, isFunction, { optional: true });

/** An option that is a function of a text; `expects` says which. */
export const functionOption = <F extends (...given: never[]) => unknown>(expects: string): Option<F, 'required'> =>
  custom<F>()(expects, isFunction, {});

/** The same, which may be left out. */
export const optionalFunction = <F extends (...given: never[]) => unknown>(expects: string): Option<F, 'optional'> =>
  custom<F>()(expects, isFunction, { optional: true });
