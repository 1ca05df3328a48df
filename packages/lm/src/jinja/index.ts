export { JinjaError } from './errors.js';
export { parseJsonText } from './json-text.js';
export type { GenerationMarks } from './run.js';
export { Template } from './template.js';
