export type { CheckpointToSave, DecisiveSettings, RunState, TrainerSnapshot } from './run/checkpoint.js';
export {
  CheckpointError,
  latestCheckpoint,
  loadCheckpoint,
  refuseOtherSettings,
  refuseUsedFolder,
  saveCheckpoint,
} from './run/checkpoint.js';
export { RowOrder } from './run/row-order.js';
export type { RunIdentity } from './run/run-identity.js';
export { runIdentity } from './run/run-identity.js';
export type { RunOptions, StepMetrics } from './run/run-options.js';
export { RUN_OPTIONS, warn } from './run/run-options.js';
export type { Metrics, StepsToRun } from './run/run-steps.js';
export { runSteps } from './run/run-steps.js';
export { saveTrained } from './run/save-trained.js';
export type { StepRecord } from './run/step-log.js';
export { StepLog } from './run/step-log.js';
export type { PackedRow } from './sft/packing.js';
export { bestFitDecreasing, packRows } from './sft/packing.js';
export type { SftResult } from './sft/sft.js';
export { sft, toTrainingRows } from './sft/sft.js';
export type { SftLogEntry, SftOptions } from './sft/sft-options.js';
export type { SftRow, TokenizedRow, TokenizedRows, TokenizeOptions } from './sft/tokenize-rows.js';
export { SftRowError, tokenizeRows } from './sft/tokenize-rows.js';
export { NonFiniteError } from './trainer/non-finite-error.js';
export type { RowBatch, TrainingRow } from './trainer/rows.js';
export { TrainingRowError } from './trainer/rows.js';
export type { TokenLoss, TokenLossInputs } from './trainer/token-loss.js';
export { negativeLogLikelihood, weightedSum } from './trainer/token-loss.js';
export type { TrainableAdapter } from './trainer/trainable-adapter.js';
export type { ForwardBackwardResult, OptimStepResult, TrainerOptions } from './trainer/trainer.js';
export { Trainer } from './trainer/trainer.js';
