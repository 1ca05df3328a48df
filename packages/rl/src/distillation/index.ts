export {
  type BondAnchorOptions,
  type BondOptions,
  bestOfNLaw,
  bond,
  bondAnchor,
  bondFields,
} from './bond.js';
export { type MiniLlmOptions, miniLlm } from './minillm.js';
export {
  type OnPolicyDistillationOptions,
  onPolicyDistillation,
  reverseKlMetric,
} from './on-policy-distillation.js';
export { type SdftOptions, sdft } from './sdft.js';
export {
  type RolloutFeedback,
  type SuccessfulRolloutOptions,
  successfulRollout,
} from './sdpo.js';
export {
  type PrivilegedContext,
  type PrivilegedPrompt,
  type RowWithColumns,
  type TeacherLogProbsOptions,
  type TeachersLogProbsOptions,
  teacherLogProb,
  teacherLogProbs,
  teachersLogProbs,
} from './teacher-log-probs.js';
export type { SelfTeacher, TokenTeacher } from './token-teacher.js';
