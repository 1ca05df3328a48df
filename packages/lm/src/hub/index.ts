export { defaultCacheDir } from './cache.js';
export { type DownloadDatasetOptions, downloadDataset } from './download-dataset.js';
export type { DownloadModelOptions } from './download-model.js';
export { downloadModel, resolveModelFolder } from './download-model.js';
export {
  DownloadError,
  MissingPackageError,
  ModelAccessError,
  ModelNotFoundError,
  NotInCacheError,
} from './errors.js';
