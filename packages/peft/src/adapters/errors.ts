import { PosttrainError } from '@posttrain/interfaces';

/** An option of an adapter that cannot be right. */
export class AdapterConfigError extends PosttrainError {
  constructor(message: string) {
    super('ADAPTER_CONFIG', message);
  }
}

/** A target pattern that matches no module, or a module that the method cannot enter. */
export class TargetModulesError extends PosttrainError {
  constructor(message: string) {
    super('TARGET_MODULES', message);
  }
}

/** An adapter folder that does not fit the model, or uses what is not supported. */
export class AdapterFileError extends PosttrainError {
  constructor(path: string, problem: string, options?: ErrorOptions) {
    super('ADAPTER_FILE', `${path}: ${problem}`, options);
  }
}

/** A training step of an adapter that cannot be trained as it is: its file has what it computes and not what it is computed from. */
export class AdapterTrainingError extends PosttrainError {
  constructor(message: string) {
    super('ADAPTER_TRAINING', message);
  }
}

/** An adapter that cannot be merged into, or taken out of, the weights; models or adapters that do not merge. */
export class MergeError extends PosttrainError {
  constructor(message: string, options?: ErrorOptions) {
    super('ADAPTER_MERGE', message, options);
  }
}
