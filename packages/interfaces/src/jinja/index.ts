export { JinjaError, type JinjaErrorKind } from './errors.js';
export { parseJsonText } from './json-text.js';
export type { WhiteSpace } from './lexer.js';
export type { GenerationMarks } from './run.js';
export { type RenderOptions, Template, type TemplateOptions } from './template.js';
