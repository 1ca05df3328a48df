export type { CheckpointToSave, LoadCheckpointOptions, RunState, TrainerSnapshot } from './run/checkpoint.js';
export {
  CheckpointError,
  latestCheckpoint,
  loadCheckpoint,
  refuseUsedFolder,
  saveCheckpoint,
} from './run/checkpoint.js';
export { collectRows, isRows, ROWS, type Rows, rowsHint } from './run/collect-rows.js';
export { adapterIdentity, contentHash, modelIdentity, rowsIdentity } from './run/identity.js';
export { RowOrder } from './run/row-order.js';
export { lockFolder, RUN_LOCK, type RunLock, RunLockedError } from './run/run-lock.js';
export type { StepsToRun } from './run/run-steps.js';
export { runSteps } from './run/run-steps.js';
export { saveTrained } from './run/save-trained.js';
export type { StepRecord } from './run/step-log.js';
export { StepLog } from './run/step-log.js';
export { timed } from './run/timed.js';
export type { Metrics, RunOptions, StepMetrics, TrainingOptions, TrainingSettings } from './run/training-options.js';
export { createTrainer, planRates, trainingIdentity, trainingShape, warn } from './run/training-options.js';
export { trlHints, trlNames } from './run/trl-names.js';
export { type UpdateResult, update } from './run/update.js';
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
