/**
 * One notion of a final answer for rewards, votes and grades: what a completion answers (`extractFinalAnswer`), how an
 * answer is spelled (`normalizeAnswer`), what number (`parseRational`) or day (`readDate`) it is, which program (`extractCode`), and whether
 * two are the same (`answersEqual`).
 */
export { type AnswerOptions, answerSettings, answerShape, assertAnswerOptions } from './answer-options.js';
export { type CodeBlock, codeBlocks, definitionOf, extractCode } from './code-answer.js';
export { readDate } from './date.js';
export { type AnswerExtractor, afterThinking, extractBoxed, extractFinalAnswer, markedAnswer } from './extract.js';
export { type AnswerVerdict, gradeAnswer, referenceAnswers } from './grade.js';
export { answersEqual, equalAnswer, normalizeAnswer } from './normalize.js';
export { parseRational } from './number.js';
export { type Rational, rationalToNumber } from './rational.js';
