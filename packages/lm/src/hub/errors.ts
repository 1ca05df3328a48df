import { PosttrainError } from '@posttrain/interfaces';

/** An optional package is needed and not installed. */
export class MissingPackageError extends PosttrainError {
  constructor(packageName: string, purpose: string, options?: ErrorOptions) {
    super(
      'MISSING_PACKAGE',
      `${purpose} needs the package "${packageName}", which is not installed. Run: npm install ${packageName}`,
      options,
    );
  }
}

/** The hub has no such model or revision. */
export class ModelNotFoundError extends PosttrainError {
  constructor(name: string, revision: string, options?: ErrorOptions, kind: 'model' | 'dataset' = 'model') {
    const what = kind === 'model' ? 'model' : 'data set';
    super(
      kind === 'model' ? 'MODEL_NOT_FOUND' : 'DATASET_NOT_FOUND',
      `The hub has no ${what} "${name}" with the revision "${revision}". Check both names; for a private one, pass a ` +
        'token that may read it (the token option, or HF_TOKEN).',
      options,
    );
  }
}

/** The hub refuses access: the model is gated or private, or the token is wrong. */
export class ModelAccessError extends PosttrainError {
  constructor(name: string, status: number, hasToken: boolean, options?: ErrorOptions) {
    super(
      'MODEL_ACCESS',
      `The hub refuses access to "${name}" (status ${status}). ` +
        (hasToken
          ? 'The token may not read it: accept the model’s terms on its page with the same account.'
          : 'Accept the model’s terms on its page and pass a token (the token option, or HF_TOKEN).'),
      options,
    );
  }
}

/** A download stopped, or what came is not what the hub announced. */
export class DownloadError extends PosttrainError {
  constructor(problem: string, options?: ErrorOptions) {
    super('DOWNLOAD_FAILED', problem, options);
  }
}

/** In offline mode the model is not in the cache, or not all of it. */
export class NotInCacheError extends PosttrainError {
  constructor(name: string, problem: string) {
    super(
      'NOT_IN_CACHE',
      `"${name}" cannot be used offline: ${problem}. Run once without HF_HUB_OFFLINE to download it.`,
    );
  }
}
