import { custom, options as declare, type Given } from '@posttrain/interfaces';
import { defaultCacheDir, ModelCache } from './cache.js';
import { downloadSnapshot, hubShape, isOffline } from './download-snapshot.js';
import { DownloadError } from './errors.js';

/** Files of rows, as `readRows` of @posttrain/data reads them. */
const ROW_FILE = /\.(parquet|jsonl|ndjson|json|csv|tsv)(\.gz)?$/i;

const downloadDatasetOptions = declare('downloadDataset', {
  ...hubShape,
  /** Which files, by their paths in the repository. Default: all of rows (Parquet, JSON Lines, JSON, CSV, TSV). */
  files: custom<(path: string) => boolean>()('a function of a path', (value) => typeof value === 'function', {
    optional: true,
    decisive: false,
  }),
});
/** Options of downloading a data set from the Hugging Face hub into its standard cache. */
export type DownloadDatasetOptions = Given<typeof downloadDatasetOptions>;

/**
 * Downloads the files of rows of a data set into the cache that all Hugging Face libraries share, and returns the folder:
 * `readDataset` and `streamRows` of @posttrain/data read it, split by split. Otherwise as `downloadModel`.
 *
 * @param name `org/name`
 * @throws OptionError, ModelNotFoundError (code DATASET_NOT_FOUND), ModelAccessError, DownloadError, NotInCacheError (offline),
 *   MissingPackageError
 */
export async function downloadDataset(name: string, given: DownloadDatasetOptions = {}): Promise<string> {
  const options = downloadDatasetOptions.read(given);
  const { revision, cacheDir = defaultCacheDir(), files: isWanted = (path) => ROW_FILE.test(path) } = options;
  const cache = new ModelCache(cacheDir, name, revision, 'dataset');
  if (isOffline(options)) return cache.presentSnapshot();
  const { snapshot } = await downloadSnapshot(
    {
      kind: 'dataset',
      cache,
      needed(all) {
        const wanted = all.filter(({ path }) => isWanted(path));
        if (wanted.length > 0) return wanted;
        const there = all.map(({ path }) => path).sort();
        throw new DownloadError(
          `${name}: has no files of rows that are wanted; there are ${there.slice(0, 20).join(', ')}.`,
        );
      },
    },
    options,
  );
  return snapshot;
}
