import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { DataFileError, messageOf } from './errors.js';
import { eachRow, type RowSource } from './rows.js';
import { canonicalJson } from './stable-hash.js';
import type { AnyStep } from './step.js';

/** What a dataset is, by its content. */
export interface DataVersion {
  /** SHA-256 over all rows in their order, in hexadecimal. */
  readonly hash: string;
  readonly rows: number;
  /** The version it was made of, and the steps that made it. */
  readonly parent?: string;
  readonly steps?: readonly string[];
}

/**
 * The version of rows by their content (data versioning as DVC's, by hashes and not by names): the same rows in the same order have the same hash, in any file format, and with keys of objects in any
 * order; one value that differs gives another. With `parent` and `steps` the hash stands on those too, so that an edit far up changes every version below, even where its rows come out equal.
 *
 * @throws DataStepError for what is no row
 */
export async function dataVersion<R extends object>(
  rows: RowSource<R>,
  { parent, steps }: { readonly parent?: DataVersion; readonly steps?: readonly AnyStep[] } = {},
): Promise<DataVersion> {
  const sha = createHash('sha256');
  const made = steps?.map(({ name, version }) => `${name} ${version ?? ''}`);
  sha.update(`${canonicalJson({ parent: parent?.hash ?? null, steps: made ?? [] })}\n`);
  let count = 0;
  for await (const row of eachRow('dataVersion', rows)) {
    sha.update(`${canonicalJson({ ...row })}\n`);
    count++;
  }
  return { hash: sha.digest('hex'), rows: count, ...(parent && { parent: parent.hash }), ...(made && { steps: made }) };
}

/** MD5 of a file's bytes in hexadecimal: what DVC (3 and later) writes as `md5` of an output. @throws DataFileError */
export async function fileVersion(path: string): Promise<string> {
  const md5 = createHash('md5');
  try {
    for await (const chunk of createReadStream(path)) md5.update(chunk as Uint8Array);
  } catch (error) {
    throw new DataFileError({ path }, `cannot be read: ${messageOf(error)}`, { cause: error });
  }
  return md5.digest('hex');
}
