import { ifbenchFormChecks } from './ifbench-forms.js';
import { ifbenchSentenceChecks } from './ifbench-sentences.js';
import { ifbenchWordChecks } from './ifbench-words.js';

/** The 58 kinds of IFBench (arXiv 2507.02833) by their ids, as its authors' checkers decide. */
export const ifbenchChecks = { ...ifbenchWordChecks, ...ifbenchSentenceChecks, ...ifbenchFormChecks } as const;

/** The id of an instruction of IFBench. */
export type IfbenchInstruction = keyof typeof ifbenchChecks;
