/**
 * Verifiers that need no model, and what others are made with. A reward, a grade and a score of a search are one type,
 * `Verifier`, so each of these is all three.
 */
export { VerifierFailedError, VerifierInputError, VerifierTimeoutError } from './errors.js';
export { type ExactMatchOptions, exactMatch } from './exact-match.js';
export { applyFilters, type Filter } from './filter.js';
export { type FormatTagsOptions, formatTags } from './format-tags.js';
export { type FunctionVerifierOptions, functionVerifier, type VerifierResult } from './function-verifier.js';
export {
  type GenerativeVerifierOptions,
  generativeVerifier,
  VERIFICATION_ANSWERS,
  verificationPrompt,
} from './generative-verifier.js';
export {
  INSTRUCTION_IDS,
  type InstructionConstraintsOptions,
  instructionConstraints,
} from './instruction-constraints.js';
export { type LanguageConsistencyOptions, languageConsistency } from './language-consistency.js';
export { type NumericMatchOptions, numericMatch } from './numeric-match.js';
export { columnOf } from './reference.js';
export { type Criterion, criterionPrompt, type RubricOptions, rubric } from './rubric.js';
export { type ChecksRows, ruleVerifier } from './rule-verifier.js';
export { type SeverityOptions, type SeverityRule, severity } from './severity.js';
export { normalizedMatch, type SquadOptions, squadF1, squadNormalized, tokenF1 } from './squad-answers.js';
